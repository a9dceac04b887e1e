"""The model card: metadata that the hub reads, the facts of the bundle, and nothing that a name can break."""

import re

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from biomed_dpt.__main__ import main
from trainers.bundle import CARD_FILE, Bundle, write_bundle
from trainers.card import card

ATTACKS = ["a|b", "<script>alert(1)</script>", "---\nlicense: mit", "[x](http://x)", "\udcff\u202e", "# b `c` *d* _e_"]


@pytest.fixture(scope="module")
def about():
    """What a run writes, without its tensors."""
    return {
        "method": "BiomedDPT",
        "settings": {},
        "settings_version": 2,
        "classes": ["benign nodule", "malignant nodule"],
        "template": "an ultrasound image of a {}.",
        "preprocessing": {
            "SIZE": [224, 224], "INTERPOLATION": "bicubic", "PIXEL_MEAN": [0.5] * 3, "PIXEL_STD": [0.25] * 3,
            "TRANSFORMS": ["normalize"], "DEPTH": "rescale", "FRAMES": "first",
            "ORIENTATION": "apply", "MAX_PIXELS": 10**8,
        },
        "backbone": {"name": "BiomedCLIP", "digest": "0123abcd", "text_padding": "longest"},
        "precision": {"features": "fp32", "method": "fp32"},
        "calibration": {"temperature": 1.25, "fitted_on": "validation shots", "images": 8},
        "provenance": {
            "protocol": "few_shot", "dataset": "thyroid", "shots": 16, "seed": 3, "training_images": ["ab"] * 32,
            "environment": {"torch": "2.11", "git_commit": "05e136a", "device": None},
        },
        "metrics": {"all": {"total": 40, "accuracy": 82.5, "macro_f1": 81.25, "auroc": None, "brier": 0.3}},
    }  # fmt: skip


def sections(text):
    return dict(re.findall(r"^## (.+?)\n\n(.*?)(?=\n\n## |\n\Z)", text, flags=re.DOTALL | re.MULTILINE))


def rows(section):
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")][2:]


def test_metadata_is_what_the_hub_reads(about):
    data = ModelCard(card(about)).data
    assert (data.library_name, data.pipeline_tag) == ("biomed-dpt", "image-classification")
    assert data.tags == ["biomedical", "few-shot", "prompt-tuning", "BiomedDPT", "BiomedCLIP"]
    assert data.base_model == "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
    assert data.license is None
    found = [(result.dataset_type, result.metric_type, result.metric_value) for result in data.eval_results]
    assert found == [("thyroid", "accuracy", 82.5), ("thyroid", "f1", 81.25), ("thyroid", "brier_score", 0.3)]


@pytest.mark.parametrize(("backbone", "base"), [("Tiny", None), ("CLIP", "timm/vit_base_patch16_clip_224.openai")])
def test_base_model_is_the_repository_of_the_backbones_own_class(about, backbone, base):
    changed = {**about, "method": "TipAdapter", "backbone": {**about["backbone"], "name": backbone}}
    data = ModelCard(card(changed)).data
    assert data.base_model == base
    assert "prompt-tuning" not in data.tags


def test_sections_have_the_facts_of_the_bundle(about):
    found = sections(card(about))
    named = ["Classes", "Use", "Training", "Results", "Calibration", "Preprocessing", "Limits", "Provenance"]
    assert list(found) == named
    assert rows(found["Classes"]) == [["0", "benign nodule"], ["1", "malignant nodule"]]
    expected = {"data set": "thyroid", "protocol": r"few\_shot", "shots": "16", "seed": "3", "training images": "32"}
    assert dict(rows(found["Training"])) == expected
    assert rows(found["Results"]) == [["all", "40", "82.5", "81.25", "0.3"]]
    assert "divided by the temperature 1.25, which was fitted on 8 images (validation shots)." in found["Calibration"]
    assert rows(found["Preprocessing"])[:2] == [["SIZE", "224, 224"], ["INTERPOLATION", "bicubic"]]
    assert "For research only. This is not a medical device" in found["Limits"]
    assert [r"git\_commit", "05e136a"] in rows(found["Provenance"])


def test_what_is_not_known_is_left_out(about):
    bare = {**about, "provenance": {}, "metrics": None, "method": "Mine", "backbone": {"name": "Own", "digest": "1"}}
    bare["calibration"] = {"temperature": 1.0, "fitted_on": "uncalibrated", "images": 0}
    text = card(bare)
    found = sections(text)
    assert found["Results"] == "None are stored."
    assert found["Calibration"].startswith("Uncalibrated")
    assert rows(found["Training"]) == [["source", "unknown"]]
    data = ModelCard(text).data
    assert (data.eval_results, data.base_model) == (None, None)


def test_prediction_sets_are_described(about):
    sets = {"kind": "lac", "coverage": 0.9, "threshold": 0.83, "images": 40}
    found = sections(card({**about, "calibration": {**about["calibration"], "conformal": sets}}))
    assert "sets (lac) hold the true class with probability 0.9 or more, on images like the 40" in found["Calibration"]


def test_names_cannot_break_the_card(about):
    plain = sections(card(about))
    for name in ATTACKS:
        provenance = {**about["provenance"], "dataset": name, "environment": {name: name}}
        environment = {"name": name, "digest": name, "text_padding": "longest"}
        changed = {**about, "method": name, "classes": [name, "b"], "provenance": provenance, "backbone": environment}
        text = card(changed)
        text.encode()
        found = sections(text)
        assert list(found) == list(plain)
        assert len(rows(found["Classes"])) == 2
        assert "<script" not in text.partition("\n---\n")[2]
        assert not re.search(r"(?<!\\)\[", found["Classes"])
        data = yaml.safe_load(text.split("---\n")[1]) if "---" not in name else ModelCard(text).data.to_dict()
        assert set(data) == {"library_name", "pipeline_tag", "tags", "model-index"}
        assert "license" not in data


def test_card_command_shows_and_rewrites_it(about, tmp_path, capsys):
    bundle = write_bundle(tmp_path / "bundle", Bundle(about, {"text_features": torch.eye(2)}), "old")
    assert main(["card", str(tmp_path / "bundle")]) == 0
    assert capsys.readouterr().out == card(bundle.about) + "\n"
    file = tmp_path / "bundle" / CARD_FILE
    assert file.read_text() == "old"
    assert main(["card", str(tmp_path / "bundle"), "--write"]) == 0
    assert file.read_text() == card(bundle.about)
    assert main(["card", "hf://user/name", "--write"]) == 2
    assert "is on the hub; download it" in capsys.readouterr().err
