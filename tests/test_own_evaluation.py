"""A trained model is tested on labelled images of one's own, without training images."""

import json

import pytest
import torch

import train
from dassl.engine import build_trainer
from dassl.errors import InputError
from tests.own_images import class_folders, dataset, settings, write_images, write_manifest, write_split
from tests.registered import LEARNING

ALL = ("TEST.SPLIT", "all")
PROMPTS = {
    "template": "a scan of {}",
    "classes": {name: [f"{name} {k}" for k in range(50)] for name in ("a", "b", "c")},
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Roots of images for training, 9 of each of three classes, and for a test: 1 of a, 2 of c and none of b."""
    trained, tested = tmp_path_factory.mktemp("trained"), tmp_path_factory.mktemp("tested")
    class_folders(trained, {"a": 9, "b": 9, "c": 9})
    class_folders(tested, {"a": 1, "c": 2})
    (trained / "prompts.json").write_text(json.dumps(PROMPTS))
    return trained, tested


def trainer_on(roots, root, method, out, *opts):
    prompts = ("DATASET.PROMPTS", roots[0] / "prompts.json", "OUTPUT_DIR", out, "DATALOADER.NUM_WORKERS", 0)
    cfg = settings(root, *prompts, *opts, "DATASET.CLASSES", "['a','b','c']", trainer=method, accept_unread=True)
    return build_trainer(cfg)


@pytest.mark.parametrize("method", LEARNING)
def test_checkpoints_suffice_for_a_test(roots, tmp_path, method):
    """The logits of a model that was built without training images are those of the model that was saved."""
    saved = trainer_on(roots, roots[0], method, tmp_path, "OPTIM.MAX_EPOCH", 1)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in saved.method.state_dict().values():
            value.copy_(torch.rand(value.shape, generator=generator))
    saved.save_model(0, str(tmp_path))
    loaded = trainer_on(roots, roots[1], method, tmp_path, *ALL)
    assert loaded.dm.dataset.train_x == []
    loaded.load_model(str(tmp_path))
    expected, found = (logits(trainer, loaded.dm.dataset.test) for trainer in (saved, loaded))
    assert expected.shape == (3, 3)
    assert torch.equal(expected, found)
    assert loaded.evaluate()["all"]["total"] == 3
    with pytest.raises(InputError, match="has no training images: test a trained model with --eval-only"):
        list(loaded.batches())


@torch.no_grad()
def logits(trainer, items):
    trainer.set_model_mode("eval")
    with trainer.method.adapted():
        features, _ = trainer.encoder.images(items, trainer.method.visual_prompt(), "images", keep=False)
        return trainer.method.logits(features)


def words(root, *more, trainer="CoOp"):
    own = ["DATASET.NAME", "Folder", "DATASET.FOLDER", "Mine", "DATALOADER.NUM_WORKERS", "0"]
    return [*map(str, ["--trainer", trainer, "--root", root, "--shots", 2, *own, *more])]


def test_training_and_then_a_test_on_other_images(roots, tmp_path, capsys):
    trained, tested = roots
    run = tmp_path / "run"
    assert train.main(words(trained, "--output-dir", run, "OPTIM.MAX_EPOCH", 1)) == 0
    capsys.readouterr()
    test = ("--eval-only", "--model-dir", run, *ALL)
    assert train.main(words(tested, *test, "DATASET.CLASSES", "['a','b','c']")) == 0
    printed = capsys.readouterr().out
    assert "* total: 3\n" in printed
    assert "Evaluate on the *all* set" in printed
    assert sorted(path.name for path in (tested / "Mine").iterdir()) == ["Mine"]
    assert train.main(words(trained, *test)) == 0
    assert "* total: 27\n" in capsys.readouterr().out
    assert train.main(words(trained, "--eval-only", "--model-dir", run, "TEST.SPLIT", "val")) == 0
    assert "* total: 6\n" in capsys.readouterr().out
    assert train.main(words(trained, "--output-dir", tmp_path / "other", *ALL)) == 2
    assert "it goes with --eval-only" in capsys.readouterr().err
    assert train.main(words(tested, *test, "DATASET.CLASSES", "['a','b']")) == 2
    assert "missing ['b'], unknown ['c']" in capsys.readouterr().err


def test_a_split_without_training_images_is_for_tests_alone(roots, tmp_path, capsys):
    write_images(tmp_path, ["x/0.png", "x/1.png"])
    write_split(tmp_path, [], [], [["x/0.png", 0, "a"], ["x/1.png", 2, "c"]])
    classes = ("DATASET.CLASSES", "['a','b','c']")
    assert [item.label for item in dataset(tmp_path, *classes).test] == [0, 2]
    assert train.main(words(tmp_path, "--eval-only", *classes, trainer="ZeroShot")) == 0
    assert "* total: 2\n" in capsys.readouterr().out
    assert train.main(words(tmp_path, "--output-dir", tmp_path / "run", *classes)) == 2
    assert "the data set has no training images" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"has the classes \['a', 'c'\], but Folder expects \['a', 'c', 'b'\]"):
        dataset(tmp_path, "DATASET.CLASSES", "['a','c','b']")


def test_a_manifest_of_images_to_test_on(tmp_path):
    write_images(tmp_path, ["0.png", "1.png"], below="Mine")
    write_manifest(tmp_path, "path,label", "0.png,c", "1.png,a")
    data = dataset(tmp_path, *ALL, "DATASET.CLASSES", "['a','b','c']")
    assert ([item.label for item in data.test], data.classnames, data.num_classes) == ([2, 0], ["a", "b", "c"], 3)
    assert dataset(tmp_path, *ALL).classnames == ["a", "c"]
    write_manifest(tmp_path, "path,label,part", "0.png,c,test", "1.png,a,test")
    assert len(dataset(tmp_path, "DATASET.CLASSES", "['a','b','c']").test) == 2


def test_all_images_of_a_split_that_came_with_the_data(tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4})
    parts = [[[f"{name}/0{k}.png", label, name] for label, name in enumerate("ab")] for k in range(3)]
    write_split(tmp_path, *parts)
    assert len(dataset(tmp_path, *ALL).test) == 6
    assert len(dataset(tmp_path).test) == 2


def test_no_images_to_test_on(tmp_path):
    (tmp_path / "Mine" / "Mine" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match="there are no images to test on in"):
        dataset(tmp_path, *ALL)


def test_a_choice_on_validation_images_needs_some(roots, tmp_path):
    class_folders(tmp_path, {"a": 4, "b": 4})
    parts = [[[f"{name}/0{k}.png", label, name] for label, name in enumerate("ab")] for k in range(2)]
    write_split(tmp_path, parts[0], [], parts[1])
    trainer = build_trainer(settings(tmp_path, "TEST.SPLIT", "val", "OUTPUT_DIR", tmp_path / "run"))
    with pytest.raises(InputError, match=r"no validation images, which this method, TEST.SPLIT val or"):
        trainer.evaluate()
    out = ("OUTPUT_DIR", tmp_path / "run", "TEST.FINAL_MODEL", "best_val")
    with pytest.raises(InputError, match="the data set has no validation images"):
        build_trainer(settings(tmp_path, *out, trainer="CoOp", shots=1)).train()
    assert not (tmp_path / "run").exists()
