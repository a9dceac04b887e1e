"""Names from folders and results files reach no format of a report unescaped, and are no paths."""

import csv
import json
import re
from html.parser import HTMLParser

import pytest

from dassl.errors import InputError, exit_code, printable
from dassl.utils.csvtext import csv_cell
from runs.folder import MARKER, RESULTS_FILE
from sweep.__main__ import main
from sweep.progress import Progress
from sweep.report.collect import collect
from sweep.report.escape import file_name, latex, markdown
from tests.result_trees import CPU

DATASETS = ["=1+1", "a|b_*c*", "<script>alert(1)", "x\n\nDamaged:\x1b[2J", "$x^{$", "\udcff", "average"]
METHODS = ["@SUM(A1)", "[m]\\evil{", "\u202ereversed", '"><img src=x onerror=alert(1)>', "*", "average"]
BACKBONE = 'B&"<b>\n% \\input{x}'
ENVIRONMENT = {**CPU, "device": '=cmd|" /C calc"!A0', "torch": "</dd><script>alert(2)</script>", "git_commit": "-2+3\t"}
IMPORTED = {"from": "+1\r\n=2, ../../x"}


def write(output, dataset, method, shots, seed, **more):
    folder = output / "few_shot" / dataset / BACKBONE / method / f"{shots}shots" / f"seed{seed}"
    folder.mkdir(parents=True)
    results = {
        "protocol": "few_shot", "dataset": dataset, "backbone": BACKBONE, "method": method, "shots": shots,
        "seed": seed, "metrics": {"all": {"accuracy": 60.0 + shots}}, "environment": ENVIRONMENT, "imported": IMPORTED,
        **more,
    }  # fmt: skip
    (folder / RESULTS_FILE).write_text(json.dumps(results))
    (folder / MARKER).touch()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A tree of results whose names attack every format; with a damaged, a missing and a started run."""
    output = tmp_path_factory.mktemp("x") / "out\x1b[31m"
    for k, dataset in enumerate(DATASETS):
        for method in METHODS if k == 0 else METHODS[:1]:
            for shots in (1, 2):
                write(output, dataset, method, shots, 1)
    write(output, DATASETS[3], METHODS[2], 2, 1, variant="x/../../../../TRAVERSED\x1b[2J")
    assert main(["report", str(output), "--formats", "md,csv,tex,html"]) == 0
    return output


def test_the_files_are_where_they_belong(tree):
    report = tree / "report"
    assert sorted(path.name for path in tree.iterdir()) == ["few_shot", "report"]
    assert [path.name for path in tree.parent.iterdir()] == [tree.name]
    (folder,) = (report / "curves").iterdir()
    for path in [folder, *folder.iterdir()]:
        assert re.fullmatch(r"[A-Za-z0-9_.+-]+", path.name)
    pictures = [path.name for path in folder.glob("*.png")]
    assert len(pictures) == 1 + len(DATASETS) == len(set(pictures))
    assert {"average.png", "data_set_average.png"} <= set(pictures)


def test_terminal(tree, capsys):
    assert main(["report", str(tree), "--formats", "md"]) == 0
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.removesuffix(f"'{tree / 'report'}'\n").splitlines())
    assert "\nDamaged:" not in printed
    assert "x\\n\\nDamaged:\\x1b[2J" in printed
    assert "\\u202ereversed" in printed
    (problem,) = collect(tree).problems
    assert problem.isprintable()
    assert problem in printed
    main(["table", "--output", str(tree), "--datasets", "busi", "--methods", "CoOp"])
    assert "\x1b" not in capsys.readouterr().out


def test_markdown(tree):
    text = (tree / "report" / "report.md").read_text()
    assert all(line.isprintable() for line in text.splitlines())
    assert "<script" not in text
    assert "<img" not in text
    assert not re.search(r"(?<!\\)\[m\]", text)
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block
    for link in re.findall(r"^!\[.*\]\((.*)\)$", text, flags=re.MULTILINE):
        assert (tree / "report" / link).is_file()


class Page(HTMLParser):
    """The tags of a page, and its attributes."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.ids = [], set(), []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attributes}
        self.ids += [value for name, value in attributes if name == "id"]


def test_html(tree):
    text = (tree / "report" / "index.html").read_text()
    page = Page()
    page.feed(text)
    assert page.tags.count("script") == 1
    assert set(page.tags) <= {
        "html", "head", "meta", "link", "title", "style", "body", "header", "h1", "h2", "h3", "dl", "dt", "dd", "p",
        "details", "summary", "ul", "li", "main", "section", "figure", "img", "div", "table", "thead", "tr", "th",
        "button", "tbody", "td", "script",
    }  # fmt: skip
    assert not [name for name in page.attributes if name.startswith("on")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.+-]+", name) for name in page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(line.isprintable() for line in text.splitlines())
    assert page.tags.count("img") == 1 + len(DATASETS)


def test_csv(tree):
    for name in ("runs.csv", "wide.csv"):
        with open(tree / "report" / name, newline="") as file:
            rows = list(csv.reader(file))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row if cell):
            assert cell.isprintable()
            assert cell[0] not in "=@\t\r" and (cell[0] not in "+-" or float(cell) <= 0)  # noqa: PT018
    assert "'=1+1" in {row[1] for row in rows} | {row[5] for row in rows}


def test_latex(tree):
    text = (tree / "report" / "tables.tex").read_text()
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\input" not in re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
    assert "\\evil" not in text
    assert "\n[m]" not in text
    for label in re.findall(r"\\label\{(.*?)\}$", text, flags=re.MULTILINE):
        assert re.fullmatch(r"tab:[A-Za-z0-9_.+-]+", label)
    depth = 0
    for token in re.findall(r"\\.|[{}]", re.sub(r"^%.*$", "", text, flags=re.MULTILINE)):
        depth += {"{": 1, "}": -1}.get(token, 0)
        assert depth >= 0
    assert depth == 0


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1", "'=1"), ("+1+1", "'+1+1"), ("-x", "'-x"), ("@a", "'@a"), ("\tx", "'\\tx"), ("\rx", "'\\rx"),
        ("\uff1d1", "'\uff1d1"), (" =1", "' =1"), ("-1.5", "-1.5"), ("+2e3", "+2e3"), (-1.5, -1.5), (None, None),
        ("K=1", "K=1"), ("a\nb", "a\\nb"), ("CoOp", "CoOp"), ("", ""),
    ],
)  # fmt: skip
def test_csv_cells(value, cell):
    assert csv_cell(value) == cell


def test_text_of_each_format():
    assert latex("a[b]*{c}\\d\n") == r"a{[}b]{*}\{c\}\textbackslash{}d\textbackslash{}n"
    assert markdown("a|b`c`[d](e)<f>&lt;\n#") == r"a\|b\`c\`\[d](e)&lt;f>&amp;lt;\\n#"
    assert file_name("busi") == "busi"
    assert file_name("CoOp_B.16-x+") == "CoOp_B.16-x+"
    for text in ("a/b", "..", ".hidden", "x" * 300, "a b", "\udcff"):
        assert re.fullmatch(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{1,110}", file_name(text))
    assert file_name("a b") != file_name("a_b") != file_name("a\tb")


def test_messages_on_a_terminal(capsys):
    def work():
        raise InputError("'a\x1b]0;title\x07\u202e\udcff' is wrong\nsecond line")

    assert exit_code(work) == 2
    assert capsys.readouterr().err == "error: 'a\\x1b]0;title\\x07\\u202e\\udcff' is wrong\nsecond line\n"
    Progress(1).note("from a log: \x1b[2J\udcff\nnext")
    assert capsys.readouterr().out == "from a log: \\x1b[2J\\udcff\nnext\n"
    assert printable("plain ± text") == "plain ± text"
