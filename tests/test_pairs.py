"""Every method on every backbone: two steps, saved, loaded, tested; unsupported pairs are refused with a reason."""

from itertools import product

import pytest
import torch

from clip import BACKBONE_REGISTRY
from configs import Choice, build_cfg
from configs.build import RefusedError
from dassl.errors import InputError
from tests.compare import assert_same_evaluation
from tests.registered import METHOD_CLASSES, METHODS
from tools.random_model import small_clip, small_model, small_pmcclip, small_pubmedclip
from trainers.bundle import read_bundle, write_bundle
from trainers.calibration import fit_temperature
from trainers.predictor import Predictor


def shallow_model(folder):
    """A BiomedCLIP whose ViT has six blocks of width 64."""
    return small_model(folder, "test_vit")


WRITERS = {"BiomedCLIP": shallow_model, "CLIP": small_clip, "PubMedCLIP": small_pubmedclip, "PMC-CLIP": small_pmcclip}


def written_as(backbone):
    """The backbone whose layout of weights a backbone has: its own or that of the class it is derived from."""
    cls = BACKBONE_REGISTRY.get(backbone)
    fitting = [name for name in WRITERS if issubclass(cls, BACKBONE_REGISTRY.get(name))]
    return backbone if backbone in WRITERS else next(iter(fitting), None)


def admitted(method, backbone):
    try:
        build_cfg(Choice(method, backbone=backbone))
    except RefusedError:
        return False
    return True


BACKBONES = ["Tiny", *(name for name in BACKBONE_REGISTRY.registered_names() if written_as(name) and name != "Tiny")]
PAIRS = list(product(METHODS, BACKBONES))
REFUSED = [pair for pair in PAIRS if not admitted(*pair)]
TWO_STEPS = ["OPTIM.MAX_EPOCH", 2, "DATALOADER.TRAIN_X.BATCH_SIZE", 8, "OPTIM.WARMUP_EPOCH", -1]
# Fewer sentences, steps and grid points than in earnest.
SHORT = {
    "BiomedCoOp": ["N_PROMPTS", 6],
    "BiomedDPT": ["N_PROMPTS", 3],
    "CLIPLoRA": ["ITERATIONS_PER_SHOT", 0],
    "LinearProbe": ["SEARCH_STEPS", 1],
    "LPpp": ["ALPHA_EVERY", 1],
    "PromptSRC": ["N_PROMPTS", 3],
    "TipAdapter": ["SEARCH_STEPS", 5],
    "TipAdapterF": ["SEARCH_STEPS", 5],
    "ZeroShotEnsemble": ["N_PROMPTS", 3],
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Folders of small random models, each in the layout of the genuine one."""
    root = tmp_path_factory.mktemp("weights")
    written = {name: str(write(root / name)) for name, write in WRITERS.items()}
    return {name: written[written_as(name)] for name in BACKBONES[1:]} | {"Tiny": ""}


@pytest.fixture
def pair(build, weights, few_images):
    def _pair(method, backbone, *opts, **words):
        opts = ["MODEL.BACKBONE.PATH", weights[backbone], *TWO_STEPS, *opts]
        if method in SHORT:
            opts += [f"TRAINER.{method.upper()}.{SHORT[method][0]}", SHORT[method][1]]
        return build(method, backbone=backbone, opts=[opt if opt != "" else "''" for opt in opts], **words)

    return _pair


def test_only_methods_that_need_a_transformer_are_refused_and_only_on_other_towers():
    assert {backbone for _, backbone in REFUSED} == {"PMC-CLIP"}
    assert not BACKBONE_REGISTRY.get("PMC-CLIP").image_tokens
    needing = {cls.__name__ for cls in METHOD_CLASSES if cls.needs_image_tokens}
    assert {method for method, _ in REFUSED} == needing | {"CLIPLoRA"}


@pytest.mark.parametrize(("method", "backbone"), REFUSED)
def test_unsupported_pairs_are_refused_before_anything_is_loaded(method, backbone):
    with pytest.raises(InputError, match=rf"{method} on {backbone}, few_shot: .* is a convolutional network"):
        build_cfg(Choice(method, backbone=backbone))


@pytest.mark.parametrize(("method", "backbone"), [pair for pair in PAIRS if pair not in REFUSED])
def test_two_steps_save_load_predict_test(method, backbone, pair, tmp_path):
    trainer = pair(method, backbone)
    frozen = {name: value.clone() for name, value in trainer.backbone.state_dict().items()}
    start = {name: value.clone() for name, value in trainer.method.state_dict().items()}
    trainer.train()
    assert all(torch.equal(value, frozen[name]) for name, value in trainer.backbone.state_dict().items())
    assert not any(p.requires_grad for p in trainer.backbone.parameters())
    assert trainer.evaluation["all"]["total"] == 24
    assert_a_bundle_predicts_as_the_test(trainer, tmp_path)
    learned = trainer.method.state_dict()
    assert set(learned) == set(start)
    if not learned:
        return
    unchanged = {name for name, value in learned.items() if torch.equal(value, start[name])}
    constant = {"cache.values", "cache.alpha", "cache.beta"} if method.startswith("TipAdapter") else set()
    assert unchanged <= constant, unchanged
    assert all(value.isfinite().all() for value in learned.values())
    again = pair(method, backbone)
    again.load_model(trainer.output_dir)
    assert_same_evaluation(again.evaluate(), trainer.evaluation)


def assert_a_bundle_predicts_as_the_test(trainer, folder):
    """A bundle that was written, moved and read gives the logits of the run's test to the last bit."""
    write_bundle(folder / "made", trainer.bundle(trainer.calibration(), {}), "card")
    (folder / "made").rename(folder / "moved")
    predictor = Predictor(read_bundle(folder / "moved"), trainer.backbone)
    items = trainer.dm.dataset.test
    pictures = [predictor.reader(item.impath) for item in items]
    logits = predictor.logits(predictor.features(predictor.pixels(pictures)))
    assert predictor.classnames == trainer.dm.dataset.classnames
    with torch.no_grad():
        tested, _ = trainer._logits(items, "test images")
    assert torch.equal(logits, tested)
    assert predictor.temperature == fit_temperature(*trainer._logits(trainer.dm.dataset.val, "validation images"))
