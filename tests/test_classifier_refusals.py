"""What the classifier refuses: arguments, settings, labels and images that cannot be used."""

import pytest

from configs import Choice, build_cfg
from dassl.data.datasets import build_dataset
from dassl.errors import InputError
from datasets.phantom import Phantom
from tests.classifier import NAMES, classifier, two_classes


@pytest.fixture(scope="module")
def images(few_images):
    return two_classes(few_images)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"method": "CoOpp"}, "unknown trainer 'CoOpp'. Did you mean 'CoOp'?"),
        ({"backbone": "Tinny"}, "unknown backbone 'Tinny'"),
        ({"settings": {"OPTIM.MAX_EPOC": 1}}, "settings: OPTIM.MAX_EPOC 1: unknown configuration key"),
        ({"settings": {"OPTIM.MAX_EPOCH": "many"}}, "settings: OPTIM.MAX_EPOCH many"),
        ({"settings": {"TRAINER.BIOMEDDPT.L1_LAMBDA": 1}}, "settings: TRAINER.BIOMEDDPT.L1_LAMBDA has no effect"),
        ({"settings": {"SEED": 1}}, "SEED is set by the argument `seed`"),
        ({"settings": {"DATASET.FOLDS": 2}}, "DATASET.FOLDS' has no effect"),
        ({"shots": 7}, "shots is 7; it must be a number from 1 to .* 6, or None"),
        ({"validation": 6}, "validation is 6; it must be a share between 0 and 1"),
        ({"prompts": "none.json", "method": "BiomedDPT"}, "prompt file 'none.json' does not exist"),
        ({"method": "TipAdapter"}, "no validation images.* `validation` of FewShotClassifier"),
    ],
)
def test_arguments_that_cannot_be_used(words, match, images):
    with pytest.raises(InputError, match=match):
        classifier(**words).fit(images.given, images.names)


def test_images_in_two_parts(images, capsys):
    twice = {"X_val": images.given[:1] + images.given[6:7], "y_val": NAMES}
    classifier("ZeroShot", verbose=1).fit(images.given, images.names, **twice)
    assert "warning: images with equal content in two parts" in capsys.readouterr().out
    strict = classifier("ZeroShot", settings={"DATASET.DUPLICATES": "error"})
    with pytest.raises(InputError, match="2 of 2 val images are also in train"):
        strict.fit(images.given, images.names, **twice)
    with pytest.raises(InputError, match="is given with two labels"):
        classifier("ZeroShot").fit([*images.given, images.given[0]], [*images.names, NAMES[1]])
    with pytest.raises(InputError, match="use one of them"):
        classifier("ZeroShot", validation=1).fit(images.given, images.names, **twice)
    with pytest.raises(InputError, match=r"y_val has the labels \['x'\]"):
        classifier("ZeroShot").fit(images.given, images.names, X_val=images.unseen[:1], y_val=["x"])


def test_the_data_set_of_the_classifier_is_none_of_the_command_line():
    with pytest.raises(InputError, match="gets its images in Python"):
        build_dataset(build_cfg(Choice("ZeroShot", opts=["DATASET.NAME", "Given"])))


def test_the_phantom_has_the_names_of_these_tests():
    assert set(NAMES) < set(Phantom.classes)
