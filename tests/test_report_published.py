"""The published averages: their numbers and sources, and when they are compared with ours."""

import csv
import json

import pytest

from configs import paper_datasets
from sweep.report.csvfiles import wide_csv
from sweep.report.published import published
from tests.result_trees import base2new, few_shot
from tests.test_report import cells, report

NAMES = {
    "CLIP-Adapter": "CLIPAdapter", "Tip-Adapter": "TipAdapter", "Tip-Adapter-F": "TipAdapterF",
    "Standard LP": "LinearProbe", "LP++": "LPpp", "Biomed-DPT": "BiomedDPT", "BiomedCLIP": "ZeroShot",
}  # fmt: skip

PAPER_DATASETS = list(paper_datasets())


def ours(printed):
    return NAMES.get(printed, printed)


def by_method(rows, *fields):
    return {row["method"]: tuple(row.get(field) for field in fields) for row in rows}


def test_every_number_is_that_of_the_source(shared):
    facts = json.loads((shared / "facts" / "paper_tables.json").read_text())
    dpt, coop, known = facts["biomed_dpt"], facts["biomedcoop"], published()
    assert known["datasets"] == PAPER_DATASETS
    few = {ours(name): row for name, row in dpt["few_shot_average_11_datasets_3_seeds"]["rows"].items()}
    few["TipAdapterF"] = coop["few_shot_average"]["rows"]["Tip-Adapter-F"]
    few["ZeroShot"] = dict.fromkeys(map(str, (1, 2, 4, 8, 16)), dpt["zero_shot_average"]["BiomedCLIP"]["value"])
    assert {row["method"]: row["accuracy"] for row in known["few_shot"]} == few
    rows = dpt["base_to_novel_average_11_datasets_16shot"]["rows"]
    wanted = {ours(name): (row["base"], row["novel"], row["HM_printed"]) for name, row in rows.items()}
    assert by_method(known["base2new"], "base", "new", "HM_as_printed") == wanted
    derived = dpt["base_to_novel_novel_average_without_BUSI"]["values"]
    wanted = {ours(name): (None, value, "derived") for name, value in derived.items()}
    row = coop["base_to_novel_average_10_datasets"]["rows"]["BiomedCLIP"]
    wanted["ZeroShot"] = (row["base"], row["novel"], "printed")
    assert by_method(known["base2new_without_one_new_class"], "base", "new", "kind") == wanted


def test_every_source_is_named(shared):
    facts = json.loads((shared / "facts" / "paper_tables.json").read_text())
    dpt, coop = facts["biomed_dpt"], facts["biomedcoop"]
    sources, known = published()["sources"], published()
    assert sources["biomed_dpt"] == dpt["few_shot_average_11_datasets_3_seeds"]["source"]
    assert sources["biomedcoop"] == coop["few_shot_average"]["source"]
    assert sources["overview"] == dpt["zero_shot_average"]["BiomedCLIP"]["source"]
    rows = [*known["few_shot"], *known["base2new"], *known["base2new_without_one_new_class"]]
    assert {row["source"] for row in rows} == set(sources)
    assert all(row["kind"] == ("derived" if row["source"] == "derived" else "printed") for row in rows)


def test_differences_need_all_eleven_data_sets(tmp_path):
    for dataset in PAPER_DATASETS[:-1]:
        few_shot(tmp_path, dataset, "BiomedDPT", 16, 1, 70.0, backbone="BiomedCLIP")
        base2new(tmp_path, dataset, "BiomedDPT", 1, 80.0, 60.0, backbone="BiomedCLIP")
    made = report(tmp_path)
    assert cells(made, "published")["BiomedDPT"] == ["70.00 vs 73.51"]
    notes = next(table.notes for table in made.sections[0].tables if table.key == "published")
    assert any("this report has 10 data sets, not those 11" in note for note in notes)
    few_shot(tmp_path, PAPER_DATASETS[-1], "BiomedDPT", 16, 1, 81.0, backbone="BiomedCLIP")
    base2new(tmp_path, PAPER_DATASETS[-1], "BiomedDPT", 1, 80.0, 60.0, backbone="BiomedCLIP")
    made = report(tmp_path)
    assert cells(made, "published")["BiomedDPT"] == ["71.00 vs 73.51 (-2.51)"]
    found = cells(made, "published", section=1)["BiomedDPT"]
    assert found == ["80.00 vs 78.06 (+1.94)", "60.00 vs 75.97 (-15.97)", "77.02"]
    found = cells(made, "published_without_busi", section=1)["BiomedDPT"]
    assert found == ["80.00 vs –", "60.00 vs 73.57 (-13.57)", "–"]
    notes = next(table.notes for table in made.sections[1].tables if table.key == "published")
    assert any("arithmetic mean" in note for note in notes)


def test_the_csv_has_the_published_averages_beside_ours(tmp_path):
    for dataset, new in (("busi", 100.0), ("btmri", 60.0), ("chmnist", 50.0)):
        few_shot(tmp_path, dataset, "BiomedDPT", 16, 1, 70.0, backbone="BiomedCLIP")
        for method in ("BiomedDPT", "ZeroShot"):
            base2new(tmp_path, dataset, method, 1, 80.0, new, backbone="BiomedCLIP")
    few_shot(tmp_path, "phantom", "CoOp", 16, 1, 70.0)
    rows = list(csv.DictReader(wide_csv(report(tmp_path)).splitlines()))
    averages = {
        tuple(row[word] for word in ("protocol", "variant", "classes", "dataset", "method")): row["K=16"]
        for row in rows
        if row["dataset"].startswith("average") and row["metric"] == "accuracy" and row["backbone"] == "BiomedCLIP"
    }
    ours, theirs = "clean", "published averages, printed"
    assert averages["few_shot", ours, "all", "average", "BiomedDPT"] == "70.0"
    assert averages["few_shot", theirs, "all", "average", "BiomedDPT"] == "73.51"
    assert averages["base2new", ours, "new", "average", "BiomedDPT"] == "70.0"
    assert averages["base2new", ours, "new", "average without busi", "BiomedDPT"] == "55.0"
    assert averages["base2new", theirs, "new", "average", "BiomedDPT"] == "75.97"
    derived = ("base2new", "published averages, derived", "new", "average without busi", "BiomedDPT")
    assert averages[derived] == "73.57"
    # BiomedCLIP's published row leaves BUSI out.
    assert ("base2new", theirs, "new", "average", "ZeroShot") not in averages
    assert averages["base2new", theirs, "new", "average without busi", "ZeroShot"] == "65.42"
    assert not any(row["variant"].startswith("published") for row in rows if row["backbone"] == "Tiny")


@pytest.mark.parametrize(
    ("backbone", "dataset", "why"), [("Tiny", "busi", "made with BiomedCLIP"), ("BiomedCLIP", "phantom", "none of")]
)
def test_no_comparison_is_explained(tmp_path, backbone, dataset, why):
    few_shot(tmp_path, dataset, "CoOp", 1, 1, 70.0, backbone=backbone)
    (section,) = report(tmp_path).sections
    assert any(why in note for note in section.tables[0].notes)
    assert not any(table.key == "published" for table in section.tables)
