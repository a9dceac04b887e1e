"""`python -m evidence attention` on a few phantom images, from images to results."""

import pytest
import torch
from torch.nn import functional as F

from clip import BiomedCLIP, VisualPrompt
from dassl.data.datasets import build_image_reader
from dassl.errors import InputError
from evidence.__main__ import main
from evidence.accuracy import nearest_class_means
from evidence.maps import encode
from evidence.masks import Masks, on_grid, seen
from evidence.measures import measure_maps
from evidence.results import read_results
from evidence.texts import tuned_texts
from tests.bundles import random_bundle
from trainers.bundle import write_bundle

CONDITIONS = "replace,random-1,mean"


@pytest.fixture(scope="module")
def measured(few_images, tmp_path_factory):
    """The folder of a measurement of all 24 test images, and how many images went through the tower."""
    home = tmp_path_factory.mktemp("evidence")
    words = ["attention", "--root", str(few_images), "--conditions", CONDITIONS, "--curves", "replace", "--steps", "2"]
    words += ["--shots", "1", "--seeds", "1,2", "--output", str(home / "found")]
    counts, reported, encode_image = [], [], BiomedCLIP.encode_image

    def counted(self, pixels, prompt=None):
        counts.append(len(pixels))
        return encode_image(self, pixels, prompt)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BiomedCLIP, "encode_image", counted)
        patch.setattr("evidence.attention.print_report", lambda results, folder: reported.append(results))
        patch.setenv("BIOMED_DPT_CACHE", str(home / "cache"))
        assert main(words) == 0
        first = sum(counts)
        counts.clear()
        assert main(words) == 0
    assert len(reported) == 2
    return home / "found", first, sum(counts), words


def test_each_condition_costs_one_pass_per_image(measured):
    _, first, second, _ = measured
    tested, trained, conditions, blank = 24, 2 * 8, 4, 1
    curves = 2 * 2 * 2 * 2 * tested  # with and without zeros, two maps, two curves of two steps
    assert first == (tested + trained) * conditions + curves + blank
    assert second == blank  # everything is in the cache


def test_numbers_are_those_of_each_image_alone(measured, tiny, build, few_images):
    results = read_results(measured[0])
    trainer = build("ZeroShot", root=str(few_images))
    (index,) = (k for k, image in enumerate(results.images) if k == 13)
    item = trainer.dm.dataset.test[index]
    assert item.impath.endswith(results.images[index].path)
    reader = build_image_reader(trainer.cfg)
    picture = reader(item.impath)
    mask = seen(Masks(trainer.dm.dataset, [item.impath], reader, few_images).mask(item.impath, picture), (160, 160))
    assert results.images[index].area == pytest.approx(float(mask.mean()))
    pixels = trainer.dm.test_loader.dataset[index]["img"][None]
    text = trainer.method.template_features(trainer.method.prompts.template, trainer.method.classnames)
    with_zeros = encode(tiny, pixels, VisualPrompt(), {"template": text}, torch.tensor([item.label]))
    without = encode(tiny, pixels, None, {"template": text}, torch.tensor([item.label]))
    kept, every = with_zeros["seen"], torch.ones(10, 10, dtype=torch.bool)
    expected = {
        "all": measure_maps(with_zeros["maps"][0], on_grid(mask, 10, 10), every),
        "kept": measure_maps(with_zeros["maps"][0], on_grid(mask, 10, 10), kept),
        "reference": measure_maps(without["maps"][0], on_grid(mask, 10, 10), kept),
    }
    for place, name in enumerate(map(str, results.maps[:4])):
        for scope, found in expected.items():
            for measure, value in found[place].items():
                assert results.measures["replace"][name][scope][measure][index] == pytest.approx(value, rel=1e-3)
    logits = tiny.logit_scale * with_zeros["features"] @ text.T
    assert results.outcomes["replace"].predicted["template"][index] == int(logits.argmax())
    probability = float(logits.softmax(-1)[0, item.label])
    assert results.outcomes["replace"].probability["template"][index] == pytest.approx(probability, rel=1e-3)


def test_what_the_folder_holds(measured):
    folder = measured[0]
    results = read_results(folder)
    assert [condition.name for condition in results.conditions] == ["none", "replace", "random-1", "mean"]
    assert len(results.images) == 24
    assert results.about["images with a lesion"] == 24
    assert sorted(results.pictures.values()) == [f"image{k}" for k in range(1, 9)]  # one of each class
    assert len([*(folder / "pictures").iterdir()]) == 16
    assert {len(outcome.few_shot) for outcome in results.outcomes.values()} == {2}
    assert [*results.curves] == ["none", "replace"]
    assert all(0 <= value <= 1 for of_map in results.curves["replace"].values() for value in of_map["insertion"])
    assert len(results.heads["none"]) == 6


def test_another_measurement_in_the_folder_is_kept(measured, capsys):
    folder, _, _, words = measured
    before = (folder / "results.json").read_bytes()
    assert main([*words, "--texts", "template"]) == 2
    assert "holds another measurement" in capsys.readouterr().err
    assert (folder / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--conditions", "repalce"], "unknown condition 'repalce'"),
        (["--curves", "twice"], "unknown condition 'twice'"),
        (["--texts", "poem"], "unknown text 'poem'"),
        (["--masks", "nowhere"], "nowhere"),
        (["--bundle", "nowhere"], "nowhere"),
        (["--dataset", "phantoms"], "phantoms"),
    ],
)
def test_bad_arguments(words, message, few_images, tmp_path, capsys):
    given = ["--root", str(few_images), "--shots", "1", "--output", str(tmp_path / "out")]
    assert main(["attention", *given, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_tuned_model_gives_one_more_text(few_images, build, tmp_path, monkeypatch):
    monkeypatch.setattr("evidence.attention.print_report", lambda results, folder: None)
    trainer = build("CoOp", root=str(few_images))
    write_bundle(tmp_path / "run", trainer.bundle({"temperature": 1.0, "fitted_on": "uncalibrated"}, {}), "")
    words = [
        "--shots",
        "1",
        "--texts",
        "template",
        "--bundle",
        str(tmp_path / "run"),
        "--bundle",
        str(tmp_path / "run"),
    ]
    words += ["--conditions", "insert", "--limit", "4", "--output", str(tmp_path / "out"), "--pictures", "0"]
    assert main(["attention", "--root", str(few_images), *words]) == 0
    results = read_results(tmp_path / "out")
    assert [*results.outcomes["none"].predicted] == ["template", "CoOp", "CoOp #2"]
    assert len(results.images) == 4
    assert results.outcomes["none"].few_shot == []  # some images of the test part are missing


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("CoCoOp", "differ from image to image"),
        ("TipAdapter", "not come from text"),
        ("VPT", "changes the image tower"),
    ],
)
def test_a_bundle_that_does_not_predict_from_text_alone(method, reason, tiny, tmp_path):
    bundle = random_bundle(method, tiny)
    write_bundle(tmp_path / "run", bundle, "")
    with pytest.raises(InputError, match=reason):
        tuned_texts([str(tmp_path / "run")], bundle.classnames, tiny)


def test_nearest_class_means_by_hand():
    train = F.normalize(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), dim=-1)  # means: (0.894, 0.447), (0, 1)
    tested = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    labels = torch.tensor([0, 0, 1])
    # Similarities of the last image: 0.894 with class 0, 0.8 with class 1.
    assert nearest_class_means(train, labels, tested, torch.tensor([0, 1, 1])) == pytest.approx(100 * 2 / 3)
