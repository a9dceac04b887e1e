"""Checkpoints of the published code: what is learned is taken, the rest is compared with the backbone."""

import json

import numpy as np
import pytest
import torch

from biomed_dpt.__main__ import main
from clip import build_backbone
from dassl.errors import InputError
from datasets.phantom import Phantom
from tests import published_code
from tests.test_parity import golden  # noqa: F401
from tools.random_model import small_clip, small_model, small_pmcclip
from trainers.bundle import CARD_FILE, UNCALIBRATED, read_bundle
from trainers.card import card
from trainers.checkpoint import load_into
from trainers.method import Setup
from trainers.official import compare_frozen
from trainers.predictor import Predictor
from trainers.registry import METHOD_REGISTRY

CLASSES = ["glioma tumor", "normal brain"]
COOP = [f"a photo of a {name}." for name in CLASSES]


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    written = {"BiomedCLIP": small_model, "CLIP": small_clip, "PMC-CLIP": small_pmcclip}
    return {name: build_backbone(name, str(write(root / name))) for name, write in written.items()}


def method_on(name, backbone, classes=CLASSES, **settings):
    cls = METHOD_REGISTRY.get(name)
    setup = Setup(backbone, None, list(classes), torch.empty(0, dtype=torch.long), for_training=False)
    return cls(setup, cls.Config(**settings))


def saved(tmp_path, weights, name="model.pth.tar-100"):
    torch.save({"state_dict": weights, "epoch": 100}, tmp_path / name)
    return tmp_path / name


def loaded(method, path):
    return load_into(method, path, {"method": type(method).__name__, "backbone": method.backbone.name})


LAYOUTS = [
    ("BiomedCoOp", "BiomedCLIP", published_code.biomed_coop),
    ("CoOp", "BiomedCLIP", published_code.biomed_dpt),
    ("DPT", "BiomedCLIP", published_code.dpt),
    ("CoOp", "CLIP", published_code.biomed_dpt_clip),
    ("BiomedCoOp", "PMC-CLIP", published_code.biomed_coop_pmcclip),
]


@pytest.mark.parametrize(("name", "on", "layout"), LAYOUTS)
def test_learned_part_is_taken_and_every_other_tensor_compared(name, on, layout, backbones, tmp_path, capsys):
    backbone = backbones[on]
    weights = layout(backbone, COOP, 4)
    method = method_on(name, backbone)
    loaded(method, saved(tmp_path, weights))
    state = method.state_dict()
    assert torch.equal(state.pop("context.ctx"), weights["prompt_learner.ctx"])
    if name == "DPT":
        assert torch.equal(state.pop("tokens.values"), weights["image_encoder.ctx_learner.ctx"][None])
    assert not state
    printed = capsys.readouterr().out
    missing = {key for key in backbone.state_dict() if key.endswith("num_batches_tracked")}
    count = len(backbone.state_dict()) - len(missing if on != "PMC-CLIP" else ())
    assert f"{count} frozen tensors were compared with those of {on} and are the same (largest difference 0)" in printed
    assert f"trained on the prompts of these classes, in this order: {CLASSES}" in printed


def test_weights_rounded_to_half_precision_are_the_same_and_others_are_not(backbones):
    own = backbones["BiomedCLIP"]
    frozen = {f"text_encoder.{name}": value.half() for name, value in own.state_dict().items() if "visual" not in name}
    rounded = compare_frozen(frozen, own)
    assert rounded.differing == rounded.unknown == []
    assert 0 < rounded.largest < 1e-2
    name = "text_encoder.model.text.proj.0.weight"
    value = own.state_dict()["model.text.proj.0.weight"]
    changed = {**frozen, name: value * 1.002}
    assert compare_frozen(changed, own).differing == [name]
    assert compare_frozen(changed, own).largest == pytest.approx(0.002 * value.abs().max().item(), rel=1e-2)
    assert compare_frozen({name: value[:1]}, own).differing == [name]
    assert compare_frozen({name: torch.full_like(value, torch.nan)}, own).differing == [name]
    assert compare_frozen({"text_encoder.model.text.transformer.embeddings.position_ids": value}, own).unknown == []


def test_another_backbone_is_refused_by_name_and_nothing_is_loaded(backbones, tiny, tmp_path):
    path = saved(tmp_path, published_code.biomed_dpt(backbones["BiomedCLIP"], COOP, 4))
    method = method_on("CoOp", tiny)
    before = method.context.ctx.clone()
    with pytest.raises(InputError, match=r"another backbone: \d+ of \d+ frozen tensors differ from those of Tiny"):
        loaded(method, path)
    assert torch.equal(method.context.ctx, before)


def test_what_another_method_learned_is_refused(backbones, tmp_path):
    own = backbones["BiomedCLIP"]
    weights = published_code.dpt(own, COOP, 4)
    with pytest.raises(InputError, match=r"1 tensors that neither CoOp nor BiomedCLIP has: image_encoder.ctx_learner"):
        loaded(method_on("CoOp", own), saved(tmp_path, weights))
    with pytest.raises(InputError, match=r"1 tensors that neither VPT nor BiomedCLIP has: prompt_learner.ctx"):
        loaded(method_on("VPT", own), saved(tmp_path, weights))
    weights = published_code.biomed_dpt(own, COOP, 4) | {"image_encoder.prompt_embeddings": torch.ones(1, 4, 192)}
    with pytest.raises(InputError, match=r"neither CoOp nor BiomedCLIP has: image_encoder.prompt_embeddings"):
        loaded(method_on("CoOp", own), saved(tmp_path, weights))


def test_classes_of_a_checkpoint_are_recognised_by_its_prompts(backbones, tmp_path, capsys):
    own = backbones["BiomedCLIP"]
    path = saved(tmp_path, published_code.biomed_coop(own, COOP, 4))
    loaded(method_on("BiomedCoOp", own, CLASSES[::-1]), path)
    assert "on these classes in another order; this run uses ['normal brain', 'gl" in capsys.readouterr().out
    loaded(method_on("BiomedCoOp", own, ["polyp", "ulcer"]), path)
    assert "on other classes, or with other words in the prompt; this run uses ['p" in capsys.readouterr().out
    loaded(method_on("BiomedCoOp", own, CTX_INIT="a scan of a"), path)
    assert "or with other words" not in capsys.readouterr().out  # all of these words are learned
    weights = published_code.biomed_coop(own, COOP, 4)
    weights["prompt_learner.ctx"] = weights["prompt_learner.ctx"].expand(2, -1, -1).clone()
    method = method_on("BiomedCoOp", own, CLASSES[::-1], CSC=True)
    with pytest.raises(InputError, match="on these classes in another order, and has a context per class"):
        loaded(method, saved(tmp_path, weights))


def test_files_that_hold_only_what_is_trained(backbones, tmp_path):
    own = backbones["BiomedCLIP"]
    learner = published_code.learner(own, COOP, 4).state_dict()
    unused = {"bias_vectors": torch.zeros(1, 32), "meta_net.linear1.weight": torch.zeros(32, 32)}
    method = method_on("KgCoOp", own)
    loaded(method, saved(tmp_path, learner | unused))
    assert torch.equal(method.context.ctx, learner["ctx"])
    with pytest.raises(InputError, match=r"unknown: bias_vectors, meta_net.linear1.weight"):
        loaded(method_on("CoOp", own), saved(tmp_path, learner | unused))
    tokens = torch.ones(4, own.vision_width)
    method = method_on("VPT", own)
    loaded(method, saved(tmp_path, {"ctx": tokens}))
    assert torch.equal(method.tokens.values, tokens[None])


def test_published_maple_has_depth_one(backbones, tmp_path):
    own = backbones["BiomedCLIP"]
    more = {"proj": torch.nn.Linear(own.text_width, own.vision_width)}
    more["compound_prompts_text"] = torch.nn.ParameterList([torch.zeros(4, own.text_width)])
    learner = published_code.learner(own, COOP, 4, **more)
    weights = published_code.whole(learner, own.model.visual, published_code.Holder(model=own.model))
    method = method_on("MaPLe", own, PROMPT_DEPTH=1)
    loaded(method, saved(tmp_path, weights))
    assert torch.equal(method.projections[0].weight, more["proj"].weight)
    with pytest.raises(InputError, match=r"with these settings: missing: context.deep, projections.1"):
        loaded(method_on("MaPLe", own), saved(tmp_path, weights))


def test_evaluation_and_training_read_the_folder_of_the_published_code(command, few_images, tiny, tmp_path):
    folder = tmp_path / "published"
    (folder / "prompt_learner").mkdir(parents=True)
    prompts = [f"a phantom scan of a {name}." for name in Phantom.classes]
    path = saved(folder / "prompt_learner", published_code.biomed_dpt(tiny, prompts, 5))
    words = ["--trainer", "BiomedDPT", "--shots", 1]
    code, printed = command(*words, "--eval-only", "--model-dir", folder, out=None, root=few_images)
    assert code == 0, printed.err
    assert "trained on the prompts of these classes" in printed.out
    assert "accuracy" in printed.out
    code, printed = command(*words, "--no-train", "MODEL.INIT_WEIGHTS", path, root=few_images)
    assert code == 0, printed.err
    saved(folder / "prompt_learner", {}, "model.pth.tar-50")
    code, printed = command(*words, "--eval-only", "--model-dir", folder, out=None, root=few_images)
    assert code == 2
    assert "has checkpoints of several epochs: model.pth.tar-100, model.pth.tar-50; choose one" in printed.err


def test_import_makes_the_bundle_of_a_run_without_its_images(command, few_images, tmp_path, tiny, capsys):
    assert command("--trainer", "CoOp", "--shots", 1, "OPTIM.MAX_EPOCH", 1, root=few_images)[0] == 0
    words = ["import", str(tmp_path / "run"), "--trainer", "CoOp", "--dataset", "phantom"]
    words += ["--out", str(tmp_path / "bundle")]
    assert main(words) == 0
    of_run, imported = read_bundle(tmp_path / "run"), read_bundle(tmp_path / "bundle")
    assert (tmp_path / "run" / "bundle" / CARD_FILE).read_text() == card(of_run.about)
    assert imported.tensors.keys() == of_run.tensors.keys()
    assert all(torch.equal(value, of_run.tensors[name]) for name, value in imported.tensors.items())
    same = ("method", "settings", "classes", "template", "preprocessing", "backbone", "precision")
    assert {key: imported.about[key] for key in same} == {key: of_run.about[key] for key in same}
    assert imported.calibration == {"temperature": 1.0, "fitted_on": UNCALIBRATED, "images": 0}
    assert imported.about["provenance"]["source"] == "imported from model.pth"
    assert imported.about["provenance"]["dataset"] == "phantom"
    assert "metrics" not in imported.about
    capsys.readouterr()
    assert main([*words, "--classes", "polyp", "ulcer"]) == 0
    assert "note: trained on the classes ['cyst in fatty tissue'" in capsys.readouterr().out
    predictor = Predictor(read_bundle(tmp_path / "bundle"), tiny)
    assert predictor.classnames == ["polyp", "ulcer"]


def test_import_refuses_what_has_no_bundle(tmp_path, tiny, capsys):
    path = saved(tmp_path, published_code.learner(tiny, COOP, 4).state_dict())
    out = tmp_path / "bundle"

    def refused(*words):
        assert main(["import", str(path), "--dataset", "phantom", "--out", str(out), *words]) == 2
        assert not out.exists()
        return capsys.readouterr().err

    assert "ZeroShot learns nothing" in refused("--trainer", "ZeroShot")
    assert "unknown dataset 'nope'" in refused("--trainer", "CoOp", "--dataset", "nope")
    assert "is of epoch 100, epoch 50 was asked for" in refused("--trainer", "CoOp", "--load-epoch", "50")
    assert "hold one more than once" in refused("--trainer", "CoOp", "--classes", "a", "a")
    assert "does not fit the method" in refused("--trainer", "BiomedDPT")
    assert "holds ['model.pth.tar-100'] and no bundle" in refused("--trainer", "CoOp", "--out", str(tmp_path))
    (tmp_path / "own.yaml").write_text("DATASET:\n  NAME: Folder\n  FOLDER: Own\n")
    assert "name at least one class" in refused("--trainer", "CoOp", "--dataset", str(tmp_path / "own.yaml"))


def test_import_of_base2new_takes_the_base_classes(tmp_path, tiny):
    path = saved(tmp_path, published_code.learner(tiny, COOP, 4).state_dict())
    words = [
        "--trainer",
        "CoOp_Tiny",
        "--dataset",
        "phantom",
        "--protocol",
        "base2new",
        "--set",
        "TRAINER.COOP.PREC",
        "amp",
    ]
    assert main(["import", str(path), *words, "--out", str(tmp_path / "bundle")]) == 0
    imported = read_bundle(tmp_path / "bundle")
    assert imported.classnames == list(Phantom.classes[:4])
    assert imported.about["settings"]["PREC"] == "amp"


@pytest.mark.parametrize("name", ["BiomedDPT_end_dropoff", "BiomedCoOp_dropoff"])
def test_imported_checkpoint_gives_the_logits_of_the_published_code(name, golden, tmp_path):  # noqa: F811
    run, inputs = np.load(golden / "runs" / f"{name}.npz"), np.load(golden / "inputs.npz")
    classes = json.loads((golden / "inputs.json").read_text())["classnames"]
    backbone = build_backbone("BiomedCLIP", str(golden / "model"))
    method = name.partition("_")[0]
    template = "a MR photo of a {} in the brain." if method == "BiomedDPT" else "a photo of a {}."
    layout = published_code.biomed_dpt if method == "BiomedDPT" else published_code.biomed_coop
    context = torch.from_numpy(run["final/prompt_learner.ctx"])
    weights = layout(backbone, [template.format(c) for c in classes], len(context))
    weights["prompt_learner.ctx"] = context
    words = ["--trainer", method, "--backbone", "BiomedCLIP", "--backbone-path", str(golden / "model")]
    words += ["--dataset", "btmri", "--classes", *classes, "--out", str(tmp_path / "bundle")]
    assert main(["import", str(saved(tmp_path, weights)), *words]) == 0
    predictor = Predictor(read_bundle(tmp_path / "bundle"), backbone)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (backbone.pixel_mean, backbone.pixel_std))
    pixels = (torch.from_numpy(inputs["test_u8"][:8]) / 255 - mean) / std
    found = predictor.logits(predictor.features(pixels))
    np.testing.assert_allclose(found, run["logits_after"][:8], atol=1e-3)
