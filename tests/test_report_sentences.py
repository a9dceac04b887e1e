"""A report shows runs that were made with other sentences apart."""

from sweep.__main__ import main
from sweep.report.collect import collect
from sweep.report.sentences import set_apart
from tests.result_trees import few_shot

OLD, NEW = (
    {"file": "busi.json", "digest": "0ld000000000"},
    {"file": "busi.json", "version": 2, "digest": "abc123abc123"},
)


def test_runs_with_other_sentences_stand_apart(tmp_path, capsys):
    for seed in (1, 2, 3):
        few_shot(tmp_path, "busi", "BiomedDPT", 4, seed, 80.0 + seed, prompts=NEW)
        few_shot(tmp_path, "busi", "BiomedCoOp", 4, seed, 60.0 + seed, prompts=OLD if seed == 3 else NEW)
        few_shot(tmp_path, "busi", "CoOp", 4, seed, 70.0)
        few_shot(tmp_path, "btmri", "BiomedDPT", 4, seed, 50.0, prompts=OLD)  # the only sentences of this data set
    found = collect(tmp_path)
    lines = set_apart(found)
    apart = {(variant, run.dataset, run.method, run.seed) for variant, run in found.records if variant != "clean"}
    assert apart == {("clean_sentences_0ld000000000", "busi", "BiomedCoOp", 3)}
    (line,) = lines
    assert line.startswith("busi: 1 runs were made with other sentences than the rest")
    assert found.problems == []
    assert main(["report", str(tmp_path), "--formats", "md"]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "stand apart" in text
    assert "clean\\_sentences\\_0ld000000000" in text
    capsys.readouterr()


def test_one_kind_of_sentences_is_left_alone(tmp_path):
    few_shot(tmp_path, "busi", "BiomedDPT", 4, 1, 80.0, prompts=NEW)
    few_shot(tmp_path, "busi", "CoOp", 4, 1, 70.0)
    found = collect(tmp_path)
    assert set_apart(found) == []
    assert {variant for variant, _ in found.records} == {"clean"}
    assert found.problems == []
