"""Reports of small result trees: numbers, missing runs, and every format."""

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from PIL import Image

from runs.folder import MARKER
from sweep.__main__ import main
from sweep.report.build import build_report
from sweep.report.collect import Selection, collect
from sweep.report.curves import accuracy_curves
from sweep.report.drawing import Drawing
from sweep.report.grid import grids
from sweep.report.latex import escaped
from tests.result_trees import GPU, base2new, few_shot

ALL = ["ZeroShot", "CoOp", "BiomedDPT"]


def report(output, **chosen):
    selection = Selection(**chosen)
    found = collect(output, selection)
    return build_report(found, [(grid, accuracy_curves(grid)) for grid in grids(found, selection)], "Report")


def cells(made, key, section=0):
    (table,) = [table for table in made.sections[section].tables if table.key == key]
    return {name: [cell.plain for cell in row] for name, row in table.rows}


@pytest.fixture
def tree(tmp_path):
    """Two data sets, shots 1 and 4, seeds 1 and 2: CoOp and BiomedDPT whole, zero-shot once."""
    output = tmp_path / "out"
    for d, dataset in enumerate(("btmri", "busi")):
        few_shot(output, dataset, "ZeroShot", 1, 1, 50.0 + 10 * d)
        for k, shots in enumerate((1, 4)):
            for seed in (1, 2):
                base = 60.0 + 10 * d + 5 * k
                few_shot(output, dataset, "CoOp", shots, seed, base + 2 * (seed - 1))
                few_shot(output, dataset, "BiomedDPT", shots, seed, base + 4 + (1 - d) * (seed - 1), environment=GPU)
    return output


def test_means_and_averages_by_hand(tree):
    made = report(tree)
    # t(0.975, 1) = 12.706: CoOp at K=1 on btmri is 60, 62, deviation √2, 12.706 · √2 / √2.
    assert cells(made, "accuracy_btmri")["CoOp"] == ["61.00 ± 12.71", "66.00 ± 12.71"]
    assert cells(made, "accuracy_btmri")["ZeroShot"] == ["50.00", "50.00"]
    # BiomedDPT per seed: btmri 64, 65, busi 74, 74; averages 69, 69.5.
    assert cells(made, "accuracy_average")["BiomedDPT"] == ["69.25 ± 3.18", "74.25 ± 3.18"]
    assert cells(made, "macro_f1_busi")["BiomedDPT"] == ["73.00 ± 0.00", "78.00 ± 0.00"]
    assert cells(made, "ece_average")["ZeroShot"] == ["5.00", "5.00"]
    (table,) = [table for table in made.sections[0].tables if table.key == "accuracy_average"]
    assert [name for name, row in table.rows if row[0].marked] == ["BiomedDPT"]


def test_a_missing_run_is_counted_and_never_averaged_over(tree):
    (tree / "few_shot/busi/Tiny/CoOp/4shots/seed2" / MARKER).unlink()
    made = report(tree)
    assert cells(made, "accuracy_busi")["CoOp"] == ["71.00 ± 12.71", "– (1)"]
    assert cells(made, "accuracy_average")["CoOp"] == ["66.00 ± 12.71", "– (1)"]
    assert cells(made, "against_CoOp")["BiomedDPT"][1] == "– (1)"
    assert made.sections[0].missing == ["busi, CoOp, 4 shots: seed 2"]
    assert made.facts[0] == ("runs", "17 complete, 1 started; 1 runs of the tables missing")
    # A seed that only one run has is missing everywhere else; --seeds leaves it out.
    few_shot(tree, "btmri", "CoOp", 1, 3, 61.0)
    assert report(tree).facts[0][1].endswith("; 8 runs of the tables missing")
    assert cells(report(tree), "accuracy_btmri")["BiomedDPT"] == ["– (1)", "– (1)"]
    assert cells(report(tree, seeds=(1, 2)), "accuracy_btmri")["BiomedDPT"][0].startswith("64.50")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
        ('{"protocol": "few_shot"}', "'dataset' is missing"),
        (None, "its method is CoOp, its folder says BiomedDPT"),
    ],
)
def test_damaged_results_are_named_and_shown_as_missing(tree, text, reason, capsys):
    file = tree / "few_shot/btmri/Tiny/BiomedDPT/1shots/seed1/results.json"
    other = tree / "few_shot/btmri/Tiny/CoOp/1shots/seed1/results.json"
    file.write_text(text or other.read_text())
    assert main(["report", str(tree), "--formats", "md"]) == 0
    assert cells(report(tree), "accuracy_btmri")["BiomedDPT"][0] == "– (1)"
    printed = capsys.readouterr().out
    assert "damaged: few_shot/btmri/Tiny/BiomedDPT/1shots/seed1: results.json" in printed
    assert reason in printed


@pytest.mark.parametrize(
    ("accuracy", "more", "reason"),
    [
        (720.0, {}, "720.0 is no percentage"),
        (72.0, {"variant": "../../clean"}, "'../../clean' is no name of a variant"),
        (72.0, {"trainable_parameters": [512]}, "[512] is no number of parameters"),
        (72.0, {"seconds": {"train_and_test": 1.0, "runs_in_stack": 0}}, "runs_in_stack is 0"),
    ],
)
def test_impossible_values_are_damaged_results(tmp_path, accuracy, more, reason):
    few_shot(tmp_path, "busi", "CoOp", 1, 1, accuracy, **more)
    (found,) = collect(tmp_path).problems
    assert reason in found


def test_base_to_new_by_hand(tmp_path):
    for seed, (base, new) in enumerate([(80.0, 60.0), (84.0, 62.0)], start=1):
        base2new(tmp_path, "btmri", "CoOp", seed, base, new)
        base2new(tmp_path, "busi", "CoOp", seed, 60.0, 100.0)
    made = report(tmp_path)
    # H of 80, 60: 68.571; of 84, 62: 71.342; mean 69.957, interval 12.706 · 2.771 / 2.
    assert cells(made, "accuracy_btmri_16")["CoOp"] == ["82.00 ± 25.41", "61.00 ± 12.71", "69.96 ± 17.60"]
    base, new, of_averages, of_sets = cells(made, "accuracy_average_16")["CoOp"]
    # Averages 70, 72 and 80, 81: means 71, 80.5, whose H is 75.45; busi's H is 75: mean of H (69.957 + 75) / 2.
    assert (base[:5], new[:5], of_averages[:5], of_sets[:5]) == ("71.00", "80.50", "75.45", "72.48")
    without = cells(made, "accuracy_average_without_busi_16")["CoOp"]
    assert (without[0][:5], without[2][:5], without[3][:5]) == ("82.00", "69.96", "69.96")
    (table,) = [table for table in made.sections[0].tables if table.key == "accuracy_average_16"]
    assert "100 % by construction" in table.notes[0]


def test_significance_pairs_data_sets_and_seeds(tmp_path):
    gains = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    for k, gain in enumerate(gains):
        dataset, seed = f"set{k // 3}", k % 3 + 1
        few_shot(tmp_path, dataset, "CoOp", 1, seed, 60.0 + k)
        few_shot(tmp_path, dataset, "BiomedDPT", 1, seed, 60.0 + k + gain)
    few_shot(tmp_path, "set0", "ZeroShot", 1, 1, 60.0)
    few_shot(tmp_path, "set1", "ZeroShot", 1, 1, 60.0)
    made = report(tmp_path)
    # Six positive differences: 2 / 64; zero-shot 0, −1 … −5: five negative ones, 2 / 32; Holm with two methods.
    assert cells(made, "against_CoOp")["BiomedDPT"] == ["+3.50 (p 0.062)"]
    assert cells(made, "against_CoOp")["ZeroShot"] == ["-2.50 (p 0.062)"]
    assert set(cells(made, "against_BiomedDPT")) == {"ZeroShot", "CoOp"}


def test_variants_backbones_and_protocols_are_kept_apart(tree):
    few_shot(tree, "btmri", "ProGrad", 1, 1, 70.0, variant="published")
    few_shot(tree, "btmri", "CoOp", 1, 1, 70.0, backbone="CLIP")
    base2new(tree, "btmri", "CoOp", 1, 80.0, 70.0)
    titles = [section.title for section in report(tree).sections]
    assert titles == [
        "Few-shot, CLIP, clean", "Few-shot, Tiny, clean", "Few-shot, Tiny, published", "Base-to-new, Tiny, clean",
    ]  # fmt: skip
    assert len(report(tree, backbones=("CLIP",)).sections) == 1
    assert "ProGrad" not in cells(report(tree), "accuracy_btmri", section=1)


def test_restrictions(tree):
    made = report(tree, datasets=("busi",), methods=("CoOp", "ZeroShot"), shots=(4,), seeds=(1,))
    assert cells(made, "accuracy_busi") == {"CoOp": ["75.00"], "ZeroShot": ["60.00"]}
    assert [table.key for table in made.sections[0].tables if table.key.startswith("accuracy")] == ["accuracy_busi"]
    assert cells(report(tree, seeds=(1, 2, 7)), "accuracy_busi")["CoOp"] == ["– (1)", "– (1)"]


def test_a_method_that_learns_nothing_is_known_by_its_folder(tmp_path):
    """Not by its name; runs of it below other shots are not counted."""
    for shots in (1, 4):
        few_shot(tmp_path, "busi", "CoOp", shots, 1, 60.0)
    few_shot(tmp_path, "busi", "NewMethod", 0, 1, 55.0)
    few_shot(tmp_path, "busi", "NewMethod", 16, 2, 54.0)
    made = report(tmp_path)
    assert cells(made, "accuracy_busi") == {"NewMethod": ["55.00", "55.00"], "CoOp": ["60.00", "60.00"]}
    assert made.sections[0].missing == []
    assert cells(report(tmp_path, shots=(4,), seeds=(1,)), "accuracy_busi")["NewMethod"] == ["55.00"]


def test_results_with_the_keys_of_earlier_versions_are_read(tmp_path):
    seconds = {"build": 1.0, "train_and_test": 30.0, "runs_side_by_side": 3}
    folder = few_shot(tmp_path, "busi", "CoOp", 1, 1, 60.0, seconds=seconds)
    file = folder / "results.json"
    file.write_text(file.read_text().replace("trainable_parameters", "learned_parameters"))
    assert cells(report(tmp_path), "cost")["CoOp"] == ["1", "0.00", "11.0", "0.00", "512", "–"]


def test_a_run_whose_loss_diverged_is_read(tmp_path):
    folder = few_shot(tmp_path, "busi", "CoOp", 1, 1, 33.3, loss_per_epoch=[2.5, float("nan")])
    assert "NaN" in (folder / "results.json").read_text()
    assert cells(report(tmp_path), "accuracy_busi") == {"CoOp": ["33.30"]}


def test_cost_shares_the_time_of_a_stack(tmp_path):
    for seed in (1, 2):
        seconds = {"build": 600.0, "train_and_test": 6000.0, "runs_in_stack": 2}
        few_shot(tmp_path, "busi", "CoOp", 1, seed, 70.0, seconds=seconds, environment=GPU)
    few_shot(tmp_path, "busi", "BiomedDPT", 1, 1, 70.0, seconds={"build": 0, "train_and_test": 36.0})
    found = cells(report(tmp_path), "cost")
    assert found["CoOp"] == ["2", "2.00", "3600.0", "2.00", "512", "–"]
    assert found["BiomedDPT"] == ["1", "0.01", "36.0", "0.00", "512", "–"]


class Tables(HTMLParser):
    """The texts of a page's cells, by table."""

    def __init__(self):
        super().__init__()
        self.tables, self.open = [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        assert not any(name in ("src", "href") and value.startswith("http") for name, value in attributes)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] in (["td"], ["th"], ["button"]):
            self.tables[-1][-1].append(data)


def test_all_formats_say_the_same(tree, capsys):
    assert main(["report", str(tree)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^CoOp +66\.00 ± 12\.71 +71\.00 ± 12\.71$", printed, flags=re.MULTILINE)
    folder = tree / "report"
    assert "| CoOp      | 66.00 ± 12.71    | 71.00 ± 12.71    |" in (folder / "report.md").read_text()
    page = Tables()
    page.feed((folder / "index.html").read_text())
    assert page.open == []
    assert ["CoOp", "66.00 ± 12.71", "71.00 ± 12.71"] in page.tables[0]
    with open(folder / "wide.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    (row,) = [r for r in rows if (r["dataset"], r["method"], r["metric"]) == ("average", "CoOp", "accuracy")]
    assert float(row["K=1"]) == 66.0
    assert float(row["K=1 interval"]) == pytest.approx(12.706, abs=1e-3)
    with open(folder / "runs.csv", newline="") as file:
        runs = list(csv.DictReader(file))
    assert len(runs) == 18
    assert {run["device"] for run in runs} == {"cpu", "Some GPU"}
    names = sorted(path.name for path in (folder / "curves" / "few_shot_Tiny_clean").iterdir())
    assert names == [".drawn", "average.png", "btmri.png", "busi.png", "curves.pdf"]
    with Image.open(folder / "curves" / "few_shot_Tiny_clean" / "average.png") as image:
        assert image.size == (840, 516)
    assert str(tree.parent) not in "".join(path.read_text() for path in folder.glob("*.*"))


def test_latex_is_balanced_and_compiles(tree, tmp_path):
    assert main(["report", str(tree), "--formats", "tex"]) == 0
    text = (tree / "report" / "tables.tex").read_text()
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}") > 5
    assert (
        text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == text.count("{tabular}") / 2
    )
    assert r"CoOp & 66.00 $\pm$ 12.71 & 71.00 $\pm$ 12.71 \\" in text
    assert not re.search(r"(?<!\\)_", re.sub(r"\\label\{.*?\}|%.*", "", text))
    assert escaped("LP++ 50 % of a_b & <c> ± –") == r"LP++ 50 \% of a\_b \& \textless{}c\textgreater{} $\pm$ --"
    if shutil.which("pdflatex"):
        document = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{text}\\end{{document}}"
        (tmp_path / "all.tex").write_text(document)
        words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]


def test_unchanged_curves_are_kept(tree):
    folder = tree / "curves"

    def drawn(*formats):
        with Drawing(formats) as drawing:
            count = drawing.start(report(tree).sections[0].curves, folder)
            drawing.finish()
            return count

    assert drawn() == 0
    assert drawn("png") == 3
    assert drawn("png") == 0
    assert drawn("pdf", "png") == 3
    first = (folder / "curves.pdf").read_bytes()
    assert drawn("pdf") == 0
    few_shot(tree, "busi", "KgCoOp", 1, 1, 60.0)
    assert drawn("png") == 3
    assert drawn("pdf", "png") == 3
    assert (folder / "curves.pdf").read_bytes() != first


def test_bad_input_is_said(tree, tmp_path, capsys):
    for words, said in (
        (["report", str(tmp_path / "none")], "does not exist"),
        (["report", str(tmp_path)], "has no complete run"),
        (["report", str(tree), "--methods", "MaPLe"], "no complete run of what was asked for"),
        (["report", str(tree), "--formats", "htm"], "Did you mean 'html'?"),
        (["report", str(tree), "--protocol", "fewshot"], "Did you mean 'few_shot'?"),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
    assert not (tree / "report").exists()
