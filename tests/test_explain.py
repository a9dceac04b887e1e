"""Maps of every method and backbone, of what the tuned model computes; nearest words; the two commands."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from biomed_dpt.__main__ import main
from biomed_dpt.explain import EXPLAINERS, explain, nearest_words
from clip import BACKBONE_REGISTRY
from dassl.errors import InputError, OutputError
from tests.registered import METHODS
from tests.test_pairs import SHORT, WRITERS
from tests.test_readme import PAGES, block
from trainers.bundle import write_bundle
from trainers.predictor import Predictor

UNCALIBRATED = {"temperature": 1.0, "fitted_on": "uncalibrated"}
ON_TOKENS = [name for name in EXPLAINERS if name != "grad-cam"]
FEW = {name: [f"TRAINER.{name.upper()}.{key}", value] for name, (key, value) in SHORT.items()}


@pytest.fixture
def tuned(build, few_images):
    """Builds a predictor whose method has not been trained; its parameters were moved away from their start."""

    def _tuned(method, *opts, precision="", **words):
        words.setdefault("root", str(few_images))
        trainer = build(method, opts=[*FEW.get(method, ()), *opts], **words)
        torch.manual_seed(1)
        for value in trainer.method.parameters():
            value.data += 0.05 * torch.randn_like(value)
        trainer.method.set_classes(trainer.method.classnames)  # text features of the moved parameters
        return Predictor(trainer.bundle(UNCALIBRATED, {}), trainer.backbone, precision=precision)

    return _tuned


@pytest.fixture(scope="module")
def scan():
    """A picture that is wider than high."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))


def left_behind(backbone):
    """Hooks, adapted layers and gradients of a backbone."""
    hooks = [m for m in backbone.modules() if m._forward_hooks or m._forward_pre_hooks or m._backward_hooks]
    return hooks, backbone._adapted_layers, [p for p in backbone.parameters() if p.requires_grad or p.grad is not None]


def assert_sound(predictor, found, picture):
    assert found.map.shape == (picture.height, picture.width)
    assert found.map.dtype == np.float32
    assert np.isfinite(found.map).all()
    assert found.map.min() >= 0
    assert found.map.max() <= 1
    assert not found.map[:, :10].any()  # outside of the central square
    expected = predictor.logits(predictor.features(predictor.pixels([picture])))[0]
    torch.testing.assert_close(torch.from_numpy(found.logits), expected, rtol=1e-5, atol=1e-5)
    assert left_behind(predictor.backbone) == ([], [], [])
    assert not any(p.requires_grad or p.grad is not None for p in predictor.method.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_explained_as_it_predicts(method, tuned, scan):
    predictor = tuned(method)
    prompt = predictor.method.visual_prompt()
    for explainer in ON_TOKENS:
        found = explain(predictor, scan, explainer)
        assert_sound(predictor, found, scan)
        assert found.grid.shape == (10, 10)
        assert found.classname == predictor.classnames[found.logits.argmax()]
        if prompt and prompt.placement == "replace":
            assert not found.grid[0, : prompt.tokens].any()
            assert not found.map[0, 15 : 15 + 9 * prompt.tokens].any()
        if explainer == "rollout":
            assert (found.grid > 0).sum() == 100 - (prompt.tokens if prompt and prompt.placement == "replace" else 0)
    if predictor.method.context is None:
        with pytest.raises(InputError, match=f"{method} learns no text context"):
            nearest_words(predictor)
    else:
        assert all(len(vector.neighbours) == 5 for vector in nearest_words(predictor))


def test_the_map_depends_on_what_was_learned_and_on_the_class(tuned, scan):
    first = tuned("CLIPLoRA")
    found = explain(first, scan)
    assert found.explainer == "gradient-attention"
    with torch.no_grad():
        for value in first.method.parameters():
            value.mul_(2)
    assert not np.allclose(explain(first, scan).map, found.map, atol=1e-3)
    named = [explain(first, scan, classname=name) for name in first.classnames[:2]]
    assert [one.classname for one in named] == first.classnames[:2]
    assert not np.allclose(named[0].map, named[1].map, atol=1e-3)


def test_the_computation_is_fp32_whatever_the_precision_and_gradient_mode(tuned, scan):
    predictor = tuned("VPT")
    expected = explain(predictor, scan)
    bf16 = Predictor(predictor.bundle, predictor.backbone, precision="bf16")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = explain(bf16, scan)
    assert np.array_equal(found.grid, expected.grid)
    assert np.array_equal(found.logits, expected.logits)


def test_a_last_block_for_the_class_token_only_gives_the_same_maps(tuned, scan):
    predictor = tuned("VPTDeep")
    last = predictor.backbone.attention_projections("image")[-1]["q"]
    for explainer in ON_TOKENS:
        expected = explain(predictor, scan, explainer)
        with predictor.backbone.adapted([(last, lambda x: torch.zeros_like(x))]):  # all tokens are computed
            found = explain(predictor, scan, explainer)
        assert np.allclose(found.map, expected.map, atol=1e-4)


def test_covering_what_the_map_shows_lowers_the_probability(tuned, few_images):
    """The 15 cells of 100 with the largest values, replaced by the mean colour, against 15 random cells."""
    predictor = tuned("ZeroShot")
    random = torch.Generator().manual_seed(0)
    drops = {"gradient-attention": [], "rollout": [], "random": []}
    for path in sorted((few_images / "Phantom" / "Phantom").glob("*/*.png"))[::4]:
        picture = predictor.reader(str(path))
        pixels = predictor.pixels([picture])
        label, whole = _most_probable(predictor, pixels)
        for name, found in drops.items():
            grid = torch.rand(100, generator=random)
            if name != "random":
                grid = torch.from_numpy(explain(predictor, picture, name).grid).flatten()
            covered = torch.zeros(100).scatter(0, grid.topk(15).indices, 1).view(1, 1, 10, 10)
            covered = torch.nn.functional.interpolate(covered, scale_factor=16)
            changed = torch.lerp(pixels, pixels.mean((2, 3), keepdim=True), covered)
            found.append(whole - _most_probable(predictor, changed, label)[1])
    means = {name: sum(found) / len(found) for name, found in drops.items()}
    assert means["gradient-attention"] > means["random"] + 0.1
    assert means["rollout"] > means["random"]


def _most_probable(predictor, pixels, label=None):
    (row,) = predictor.probabilities(predictor.logits(predictor.features(pixels)))
    label = int(row.argmax()) if label is None else label
    return label, float(row[label])


@pytest.mark.parametrize(
    ("backbone", "method", "side"),
    [("BiomedCLIP", "BiomedDPT", 14), ("CLIP", "CLIPLoRA", 2), ("PubMedCLIP", "CoCoOp", 2), ("PMC-CLIP", "CoOp", 2)],
)
def test_every_backbone(backbone, method, side, tuned, scan, tmp_path_factory):
    folder = WRITERS[backbone](tmp_path_factory.mktemp("weights") / backbone)
    predictor = tuned(method, "MODEL.BACKBONE.PATH", folder, backbone=backbone)
    convolutional = not BACKBONE_REGISTRY.get(backbone).image_tokens
    if convolutional:
        pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (requirements-explain.txt)")
    for explainer in ["auto", *(["grad-cam"] if convolutional else ON_TOKENS)]:
        found = explain(predictor, scan, explainer)
        assert_sound(predictor, found, scan)
        assert found.grid.shape == (side, side)
    assert_vocabulary(predictor.backbone)
    with pytest.raises(InputError, match=r"convolutional network|vision transformer"):
        explain(predictor, scan, "rollout" if convolutional else "grad-cam")


def assert_vocabulary(backbone):
    words, embeddings = backbone.vocabulary()
    ids = backbone.tokenize(["a scan of tissue"]).ids
    assert embeddings.shape == (len(words), backbone.text_width)
    assert len(set(words)) == len(words)
    assert [words[k].removesuffix("</w>") for k in ids[0, 1:-1]] == ["a", "scan", "of", "tissue"]
    assert torch.equal(embeddings[ids], backbone.embed_tokens(ids))


def test_tiny_has_a_vocabulary(tiny):
    assert_vocabulary(tiny)


def test_without_grad_cam_the_message_names_the_requirements(tuned, scan, monkeypatch):
    predictor = tuned("ZeroShot")
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    monkeypatch.setattr(type(predictor.backbone), "image_tokens", False)
    with pytest.raises(InputError, match=r"needs grad-cam: pip install -r requirements-explain.txt"):
        explain(predictor, scan)


def test_bad_requests(tuned, scan):
    predictor = tuned("ZeroShot")
    with pytest.raises(InputError, match=r"unknown explainer 'rolout'. Did you mean 'rollout'"):
        explain(predictor, scan, "rolout")
    with pytest.raises(InputError, match="unknown class 'cyst'"):
        explain(predictor, scan, classname="cyst")
    with pytest.raises(InputError, match="mode L; convert it to RGB"):
        explain(predictor, scan.convert("L"))
    monkeypatched = predictor.backbone.model.visual.trunk.blocks[0].attn
    monkeypatched.fused_attn = False
    try:
        with pytest.raises(InputError, match=r"5 of 6 blocks .* maps need all"):
            explain(predictor, scan)
    finally:
        monkeypatched.fused_attn = True


def test_the_nearest_words_of_a_context(tuned, build, few_images):
    trainer = build("CoOp", root=str(few_images))  # starts from the words "a photo of a"
    predictor = Predictor(trainer.bundle(UNCALIBRATED, {}), trainer.backbone)
    found = nearest_words(predictor, 2)
    words, embeddings = predictor.backbone.vocabulary()
    tokens = predictor.backbone.tokenize(["a photo of a"]).ids[0, 1:5].tolist()
    assert [vector.position for vector in found] == [1, 2, 3, 4]
    assert [vector.neighbours[0].word for vector in found] == [words[k] for k in tokens]
    for vector, token in zip(found, tokens, strict=True):
        first, second = vector.neighbours
        assert vector.classname == ""
        assert first.distance == 0
        assert first.cosine == pytest.approx(1)
        distances = (embeddings - embeddings[token]).square().sum(1).sqrt()
        distances[token] = torch.inf
        assert second.word == words[distances.argmin()]
        assert second.distance == pytest.approx(float(distances.min()), rel=1e-5)


def test_words_of_class_specific_contexts_and_of_no_context(tuned):
    predictor = tuned("CoOp", "TRAINER.COOP.CSC", True, "TRAINER.COOP.N_CTX", 2)
    found = nearest_words(predictor, 1)
    assert [(v.classname, v.position) for v in found] == [(c, k) for c in predictor.classnames for k in (1, 2)]
    for count in (0, 10**6):
        with pytest.raises(InputError, match=r"number of words is .*; it must be from 1 to \d+"):
            nearest_words(predictor, count)


def test_the_overlay_is_the_picture_where_the_map_is_0(tuned, scan, tmp_path):
    found = explain(tuned("ZeroShot"), scan)
    overlay = np.array(found.overlay())
    assert np.array_equal(overlay[found.map == 0], np.array(scan)[found.map == 0])
    peak = np.unravel_index(found.map.argmax(), found.map.shape)
    red, _, blue = overlay[peak].astype(int)
    assert red > blue + 50
    found.save(tmp_path / "map.png")
    found.save_array(tmp_path / "map.npy")
    assert np.array_equal(np.array(Image.open(tmp_path / "map.png")), overlay)
    assert np.array_equal(np.load(tmp_path / "map.npy", allow_pickle=False), found.map)
    with pytest.raises(InputError, match=r"'map.jpg' must end with .png"):
        found.save("map.jpg")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        found.save(tmp_path / "file" / "map.png")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["file", "map.npy", "map.png"]


def test_commands(tuned, scan, tmp_path, capsys):
    predictor = tuned("BiomedDPT")
    write_bundle(tmp_path / "bundle", predictor.bundle, "card")
    scan.save(tmp_path / "scan.png")
    out, array = tmp_path / "map.png", tmp_path / "map.npy"
    words = ["explain", str(tmp_path / "bundle"), str(tmp_path / "scan.png"), "--out"]
    name = predictor.classnames[3]
    assert main([*words, str(out), "--array", str(array), "--explainer", "grad-eclip", "--class", name]) == 0
    found = explain(predictor, scan, "grad-eclip", name)
    assert np.array_equal(np.load(array, allow_pickle=False), found.map)
    assert np.array_equal(np.array(Image.open(out)), np.array(found.overlay()))
    printed = capsys.readouterr().out
    assert f"predicted: {predictor.classnames[found.logits.argmax()]} (" in printed
    assert f"explained: {name} (" in printed
    assert main([*words, str(tmp_path / "map.tif")]) == 2
    assert main([*words, str(out), "--class", "cyst"]) == 2
    assert "unknown class 'cyst'" in capsys.readouterr().err
    assert main(["words", str(tmp_path / "bundle"), "--count", "3"]) == 0
    vectors = nearest_words(predictor, 3)
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + 3 * len(vectors)
    assert rows[2].split()[-4:-1] == ["1", vectors[0].neighbours[0].word, f"{vectors[0].neighbours[0].distance:.3f}"]


def test_the_example_of_the_page(tuned, scan, tmp_path, monkeypatch):
    predictor = tuned("CoOp")
    write_bundle(tmp_path / "output" / "explained", predictor.bundle, "card")
    scan.save(tmp_path / "scan.png")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block("python", "nearest_words", PAGES["EXPLAIN.md"]), names)
    assert np.array_equal(names["found"].map, explain(predictor, scan).map)
    assert (tmp_path / "map.png").is_file()
    assert all(f"| `{name}` |" in PAGES["EXPLAIN.md"] for name in EXPLAINERS)
