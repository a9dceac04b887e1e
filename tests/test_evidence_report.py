"""The report of a measurement: its numbers, sentences, formats and page."""

import csv
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from evidence import figures
from evidence.__main__ import main
from evidence.report import csv_file, latex_text, markdown_text, write_report
from evidence.results import NO_PROMPT, Condition, MapName
from evidence.sentences import headlines
from evidence.summary import ALL, OTHERS, summarise
from evidence.tables import build_report
from tests.conftest import PROJECT
from tests.evidence_results import LESIONS, MAPS, add_pictures, make_results
from tests.test_report_page import opened

HOSTILE = ["=1+1", "<script>alert(1)", "a|b_*c*\\evil{", "x\n\n# y\x1b[2J", '"><img src=x onerror=alert(1)>', "$x^{$"]


@pytest.fixture(scope="module")
def results():
    return make_results()


@pytest.fixture(scope="module")
def summary(results):
    return summarise(results)


@pytest.fixture(scope="module")
def report(results, summary):
    return build_report(results, summary)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder with a whole report; one of its three pictures is damaged."""
    folder, results = tmp_path_factory.mktemp("measured"), make_results()
    add_pictures(results, folder, ["a1", "b2", "c3"])
    (folder / "pictures" / "b2-mask.png").write_bytes(b"no picture")
    results.write(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "FORMATS", {"png": figures.FORMATS["png"]})  # a PDF takes as long as all pictures
        assert main(["report", str(folder)]) == 0
    return folder


def table(report, key):
    (found,) = [table for table in report.tables if table.key == key]
    rows = {name: dict(zip(found.columns, cells, strict=True)) for name, cells in found.rows}
    return {name: {column: cell.plain for column, cell in cells.items()} for name, cells in rows.items()}


def test_changes_by_hand(summary):
    # Mean of 0.1 to 0.25; kept − reference = 0.0035 + 0.001 · (1 … 16), mean 0.012.
    change = summary.changes["replace", "attention", "mass", ALL]
    assert (change.without, change.with_prompt) == (pytest.approx(0.175), pytest.approx(0.207))
    assert (change.effect.mean, change.effect.images) == (pytest.approx(0.032), LESIONS)
    others = summary.changes["replace", "attention", "mass", OTHERS]
    assert (others.without, others.effect.mean) == (pytest.approx(0.195), pytest.approx(0.012))
    assert summary.explained["replace", "attention"] == pytest.approx(0.02)
    assert change.effect.mean == pytest.approx(summary.explained["replace", "attention"] + others.effect.mean)
    # 2 / 2^16 for 16 differences of one sign, times five conditions by Holm.
    assert others.effect.p == pytest.approx(2 / 2**16)
    assert others.effect.p_holm == pytest.approx(5 * 2 / 2**16)
    assert summary.changes["random-1", "attention", "mass", OTHERS].effect.p_holm == 1
    assert summary.changes["replace", "attention", "enrichment", OTHERS].effect.mean == pytest.approx(0.048)
    directions = {
        c: summary.changes[c, "attention", "mass", OTHERS].direction for c in ("replace", "insert", "random-1")
    }
    assert directions == {"replace": 1, "insert": -1, "random-1": 0}


def test_classes_accuracy_and_correlation_by_hand(summary):
    # Images 0, 2, … have k + 1 = 1, 3, …, 15, mean 8; images 1, 3, … mean 9.
    means = [summary.classes["replace", label, OTHERS].effect.mean for label in (0, 1)]
    assert means == [pytest.approx(0.0115), pytest.approx(0.0125)]
    assert summary.classes["replace", 0, OTHERS].effect.images == LESIONS // 2
    assert summary.accuracy[NO_PROMPT, "template"] == 75
    assert summary.accuracy["replace", "template"] == 70
    assert summary.zero_shot["replace", "template"].effect.mean == pytest.approx(-0.05)
    found = summary.few_shot["replace"]
    assert (found.accuracy.mean, found.difference.mean) == (63, 1)
    assert found.difference.half == pytest.approx(4.302653 * 1 / 3**0.5, abs=1e-4)  # differences 1, 0 and 2
    assert "insert" not in summary.few_shot
    link = summary.links["replace", "attention", "template"].found
    assert (link.rho, link.images) == (pytest.approx(-1), LESIONS)
    assert summary.links["random-1", "attention", "template"].found is None
    assert summary.links["replace", str(MAPS[1]), "template"].found.rho == pytest.approx(1)
    assert ("replace", str(MAPS[1]), "ensemble") not in summary.links


def test_tables(report):
    row = table(report, "mass")["replace"]
    assert row["no prompt, %"] == "17.50"
    assert row["with it, %"] == "20.70"
    assert row["change, points"] == "+3.20"
    assert row["explained by the replaced patches"] == "+2.00"
    assert row["change, other patches"] == "+1.20"
    assert row["p, other patches"] == "< 0.001"
    assert row["images"] == "16"
    assert table(report, "mass")["insert"]["explained by the replaced patches"] == "+0.00"
    assert list(table(report, "classes_other patches")["replace"]) == ["benign (8)", "malignant (8)"]
    assert table(report, "accuracy")["replace"]["text template"] == "70.00"
    assert table(report, "accuracy")["replace"]["change, few-shot"] == "+1.00 ± 2.48"
    assert table(report, "accuracy")["insert"]["few-shot"] == "–"
    assert table(report, "measures_attention_all patches")[NO_PROMPT]["enrichment"] == "0.70"
    assert table(report, "links")["replace"]["attention; template"] == "-1.00 (p < 0.001)"
    curves = table(report, "curves_attention")
    assert list(curves) == ["replace"]
    assert curves["replace"]["insertion, no prompt"] == "0.50"
    assert curves["replace"]["insertion, change"].startswith("+0.10 (+0.10 to +0.10")
    (mass,) = [table for table in report.tables if table.key == "mass"]
    marked = {name: cells[7 - 1].marked for name, cells in mass.rows}
    assert marked == {"replace": True, "insert": True, "replace-1-block": True, "random-1": False, "noise": True}


def test_sentences(results, summary):
    replaced, inserted, *more = headlines(results, summary)
    assert replaced.startswith(
        "replace (4 zero tokens replace the first 4 patches before every block): the share of the class token's "
        "attention inside lesions rises by 3.20 points, from 17.50 % to 20.70 % (95 % interval of the change +"
    )
    assert "p < 0.001; 16 images). The replaced patches explain +2.00 points of this" in replaced
    assert "Among the other patches, the share rises by 1.20 points, from 19.50 % to 20.70 %" in replaced
    assert "changes by -0.09 (noise) to +0.00 points (random-1); replace is above all controls." in replaced
    assert replaced.endswith("In the map grad-eclip of the true class, template, the share falls.")
    assert "attention inside lesions falls by 1.20 points, from 17.50 % to 16.30 %" in inserted
    assert "replaced patches" not in inserted
    assert "insert is below all controls" in inserted
    assert more[0].startswith(
        "Accuracy with the text template is 75.00 % with no prompt and 70.00 % with replace (-5.00 points; 95 %"
    )
    assert "Few-shot accuracy over seeds is 62.00 ± 4.97 % with no prompt and 63.00 ± 6.57 % with replace" in more[2]


def test_no_change_is_called_none():
    found = make_results([Condition(NO_PROMPT, ""), Condition("random-1", "about", control=True)])
    (text, *_) = headlines(found, summarise(found))
    assert "Among the other patches, the share shows no change beyond chance: +0.00 points" in text


def test_without_lesions_there_is_a_report(tmp_path):
    found = make_results(maps=MAPS[:1], texts=("template",))
    found.images = [type(image)(image.path, image.label, 0.0) for image in found.images]
    for scopes in (scopes for of_maps in found.measures.values() for scopes in of_maps.values()):
        for measures in scopes.values():
            measures.update({measure: [None] * len(found.images) for measure in measures})
    found.curves = {}
    found.heads = found.reference_heads = {name: [] for name in found.heads}
    found.write(tmp_path)
    assert write_report(found, tmp_path) == [
        "No image has a lesion, so that no share of the attention inside lesions can be measured."
    ]
    assert not (tmp_path / "figures").exists()


def test_csv_has_all_digits(summary):
    rows = list(csv.DictReader(csv_file(summary).splitlines()))
    (row,) = [r for r in rows if (r["condition"], r["map"], r["measure"], r["patches"]) ==
              ("replace", "attention", "mass", OTHERS)]  # fmt: skip
    assert float(row["difference"]) == pytest.approx(0.012, abs=1e-12)
    assert float(row["p"]) == pytest.approx(5 * 2 / 2**16)
    assert row["images"] == "16"


def test_figures_for_papers(results, summary, tmp_path):
    figures.save(lambda: figures.empty_figure(1, 1), tmp_path, "x")
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")


def test_hostile_names_in_text_formats(tmp_path):
    conditions = [Condition(NO_PROMPT, HOSTILE[1]), *(Condition(name, name) for name in HOSTILE)]
    maps = [MapName(name) for name in HOSTILE]
    found = make_results(conditions, HOSTILE[:2], maps, texts=HOSTILE[2:4], about=dict.fromkeys(HOSTILE, HOSTILE[3]))
    made = summarise(found)
    report = build_report(found, made)
    texts = markdown_text(report, [], HOSTILE), latex_text(report), csv_file(made)
    for text in texts:
        assert all(line.isprintable() for line in text.splitlines())
    assert "<script" not in texts[0]
    assert "<img" not in texts[0]
    for block in re.findall(r"(?:^\|.*\n)+", texts[0], flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    assert "\\evil" not in re.sub(r"^%.*$", "", texts[1], flags=re.MULTILINE)
    labels = re.findall(r"\\label\{(.*?)\}$", texts[1], flags=re.MULTILINE)
    assert len(labels) == len(set(labels)) == len(report.tables)
    assert all(re.fullmatch(r"tab:[A-Za-z0-9_.+-]+", label) for label in labels)
    for cell in (cell for row in csv.reader(texts[2].splitlines()) for cell in row if cell):
        assert cell[0] not in "=@\t\r" and (cell[0] not in "+-" or float(cell) <= 0)  # noqa: PT018
    from evidence.page import html

    page = html(report, tmp_path, [], HOSTILE)
    seen = SimpleNamespace(tags=[], attributes=set(), ids=[])
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: (
        seen.tags.append(tag),
        seen.attributes.update(name for name, _ in attributes),
        seen.ids.extend(value for name, value in attributes if name == "id"),
    )
    parser.feed(page)
    assert seen.tags.count("script") == 1
    assert "img" not in seen.tags
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert len(seen.ids) == len(set(seen.ids))
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", name) for name in seen.ids)
    assert all(line.isprintable() for line in page.splitlines())


def test_hostile_names_in_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "FORMATS", {"png": figures.FORMATS["png"]})
    conditions = [Condition(NO_PROMPT, ""), *(Condition(name, name) for name in HOSTILE[-2:])]
    found = make_results(conditions, HOSTILE[:2], MAPS[:1], texts=HOSTILE[3:4])
    found.heads = {}
    made = summarise(found)
    assert figures.save(lambda: figures.draw_accuracies(found, made), tmp_path, "x")


def test_files_of_the_command(measured):
    text = (measured / "tables.md").read_text()
    links = re.findall(r"^!\[.*\]\((.*)\)$", text, flags=re.MULTILINE)
    assert links == [f"figures/{name}.png" for name in ("changes", "distributions", "heads", "accuracy", "gallery")]
    assert all((measured / link).is_file() for link in links)
    assert "- picture b2: " in text
    assert (measured / "tables.tex").read_text().count("\\begin{table}") == text.count("\n### ")
    assert (measured / "measures.csv").is_file()


@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_a_browser(browser, measured, width):
    opened(browser, measured / "report.html", width, "dark" if width == 390 else "light")
    script = "document.querySelectorAll('details').forEach(d => d.open = true); "
    assert browser.execute_script(script + "return document.documentElement.scrollWidth") <= width
    sizes = browser.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth > 300)")
    assert sizes == [True] * 5
    assert browser.get_log("browser") == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    shown = browser.execute_script("return document.body.innerText")
    assert "rises by 3.20 points" in shown
    assert "Pictures that cannot be shown" in shown
    button = browser.find_element("css selector", "th:nth-child(4) button")
    browser.execute_script("arguments[0].click()", button)
    first = browser.execute_script("return document.querySelector('tbody th').innerText")
    assert first == "replace"


@pytest.mark.parametrize("damage", ["missing", "maps", "shape", "size"])
def test_damaged_pictures_leave_no_gallery(tmp_path, damage):
    from PIL import Image

    from evidence.gallery import draw_gallery

    found = make_results(maps=MAPS[:1])
    add_pictures(found, tmp_path, ["a1"])
    if damage == "missing":
        (tmp_path / "pictures" / "a1.png").unlink()
    elif damage == "maps":
        (tmp_path / "maps.safetensors").write_bytes(b"x" * 100)
    elif damage == "shape":
        found.grid = (3, 3)
    else:
        Image.new("L", (8, 8)).save(tmp_path / "pictures" / "a1-mask.png")
    drawn, (problem,) = draw_gallery(found, tmp_path, tmp_path / "figures")
    assert drawn == []
    assert problem
    assert not (tmp_path / "figures").exists()


def test_a_folder_without_results_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "results.json' cannot be read" in capsys.readouterr().err


def test_the_example_in_a_browser_says_what_the_readme_says(browser):
    opened(browser, PROJECT / "docs" / "example_evidence" / "report.html", 1280, "light")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [...document.images].every(i => i.complete && i.naturalWidth > 300)")
    page = browser.execute_script("return document.body.innerText")
    readme = " ".join((PROJECT / "README.md").read_text().split())
    rise, explained = re.search(r"rises by ([\d.]+) points of \d+ %, of which ([\d.]+)", readme).groups()
    (inserted,) = re.search(r"inserted zeros give ([\d.]+) points", readme).groups()
    assert f"rises by {rise} points" in page
    assert f"explain +{explained} points" in page
    assert f"rises by {inserted} points" in page
