"""BiomedCLIP and Tiny: loading, text without padding, visual prompts, errors."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch

from clip import VisualPrompt, build_backbone
from dassl.errors import InputError
from datasets.phantom import Phantom
from datasets.splits import make_split
from tests import forked
from tools.random_model import full_size_model, hub_cache, small_model

PROJECT = Path(__file__).resolve().parent.parent
SENTENCES = [
    "a photo of a cyst.",
    "A much longer sentence about a round dark cyst with a thin bright rim in fatty tissue.",
]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = small_model(tmp_path_factory.mktemp("model") / "small")
    return folder, build_backbone("BiomedCLIP", str(folder))


def test_weights_and_sizes_come_from_a_local_folder(small):
    folder, backbone = small
    stored = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    assert all(torch.equal(value, stored[key]) for key, value in backbone.model.state_dict().items())
    assert backbone.logit_scale == pytest.approx(85.2323, rel=1e-5)
    assert (backbone.image_size, backbone.embed_dim, backbone.context_length) == (224, 32, 256)
    assert (backbone.text_width, backbone.text_depth) == (64, 2)
    assert (backbone.vision_width, backbone.vision_depth) == (192, 12)
    assert backbone.pixel_mean == (0.48145466, 0.4578275, 0.40821073)
    assert not backbone.training
    assert not any(p.requires_grad for p in backbone.parameters())


def test_padding_does_not_change_text_features(small):
    _, backbone = small
    tokens = backbone.tokenize(SENTENCES)
    assert tokens.ids.shape[1] == tokens.mask.sum(1).max() < 40
    padded = torch.nn.functional.pad(tokens.ids, (0, 256 - tokens.ids.shape[1]))
    with torch.no_grad():
        short = backbone.encode_text(backbone.embed_tokens(tokens.ids), tokens.mask)
        torch.testing.assert_close(short, backbone.model.text(padded), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(backbone.encode_sentences(SENTENCES[::-1]).flip(0), short, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("placement", ["replace", "insert"])
def test_zero_prompt_follows_the_class_token_in_every_blocks_input(small, placement):
    _, backbone = small
    trunk = backbone.model.visual.trunk
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    seen = []
    entered = [block.norm1 for block in trunk.blocks]
    hooks = [norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone())) for norm in entered]
    try:
        with torch.no_grad():
            prompted = backbone.encode_image(pixels, VisualPrompt(tokens=4, placement=placement))
            entering = list(seen)
            seen.clear()
            plain = backbone.encode_image(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(entering) == 12
    assert all(tokens.shape[1] == (197 if placement == "replace" else 201) for tokens in entering)
    assert all((tokens[:, 1:5] == 0).all() for tokens in entering)
    kept = entering[0][:, 5:] if placement == "replace" else torch.cat([entering[0][:, :1], entering[0][:, 5:]], 1)
    assert torch.equal(kept, seen[0][:, 5:] if placement == "replace" else seen[0])
    assert not torch.allclose(prompted, plain)


def test_prompt_without_tokens_changes_nothing(small):
    _, backbone = small
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(backbone.encode_image(pixels, VisualPrompt(tokens=0)), backbone.encode_image(pixels))


def test_last_block_computes_only_the_class_token_with_the_same_result(small):
    _, backbone = small
    visual = backbone.model.visual
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    rows = []
    hook = visual.trunk.blocks[-1].mlp.register_forward_pre_hook(lambda _, args: rows.append(args[0].shape[1]))
    with torch.no_grad():
        ours = backbone.encode_image(pixels)
        torch.testing.assert_close(ours, visual(pixels), atol=1e-5, rtol=1e-4)
    hook.remove()
    assert rows == [1, 197]


def test_padding_does_not_change_the_features_of_a_causal_text_tower():
    """CLIP's own text tower pools at the end token, so tokens after it do not change the features."""
    from open_clip.transformer import TextTransformer

    torch.manual_seed(0)
    tower = TextTransformer(context_length=77, vocab_size=100, width=32, heads=2, layers=3, output_dim=16).eval()
    ids = torch.zeros(2, 77, dtype=torch.long)
    ids[0, :6], ids[1, :9] = torch.tensor([98, 5, 9, 3, 7, 99]), torch.tensor([98, 5, 9, 3, 7, 8, 8, 2, 99])
    causal = tower.attn_mask

    def encode(length):
        tower.attn_mask = causal[:length, :length]
        with torch.no_grad():
            return tower(ids[:, :length])

    torch.testing.assert_close(encode(9), encode(77), atol=1e-6, rtol=1e-5)
    assert not torch.allclose(encode(8), encode(77), atol=1e-3)


def test_digest_depends_on_the_weights(small, tmp_path):
    folder, backbone = small
    assert build_backbone("BiomedCLIP", str(folder)).digest == backbone.digest
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    weights = torch.load(other / "open_clip_pytorch_model.bin", weights_only=True)
    weights["visual.trunk.norm.bias"][3] += 1e-3
    torch.save(weights, other / "open_clip_pytorch_model.bin")
    assert build_backbone("BiomedCLIP", str(other)).digest != backbone.digest


def test_learnable_shallow_prompt_gets_a_gradient(small):
    _, backbone = small
    values = torch.zeros(1, 4, 192, requires_grad=True)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    backbone.encode_image(pixels, VisualPrompt(4, depth=1, placement="insert", values=values)).sum().backward()
    assert values.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r"must have shape \(2, 4, 192\), not \(1, 4, 192\)"):
        backbone.encode_image(pixels, VisualPrompt(4, depth=2, values=values))
    with pytest.raises(ValueError, match="'replace' or 'insert', not 'append'"):
        VisualPrompt(placement="append")


def test_preprocessing_equals_open_clips(tiny, build):
    """The evaluation transform of a run equals open_clip's for the same model."""
    from open_clip.transform import image_transform
    from PIL import Image

    trainer = build("ZeroShot")
    own = trainer.test_loader.dataset
    library = image_transform(tiny.image_size, is_train=False, mean=tiny.pixel_mean, std=tiny.pixel_std)
    image = Image.effect_mandelbrot((300, 200), (-2, -1, 1, 1), 50).convert("RGB")
    torch.testing.assert_close(own.transform(image), library(image))


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The home of an empty hub cache, without a network; tests/test_hub.py sets the same through the environment."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    return tmp_path / "hf"


def test_biomedclip_loads_from_the_hub_cache_without_a_network(small, offline):
    folder, _ = small
    hub_cache(offline, folder)
    assert build_backbone("BiomedCLIP").logit_scale == pytest.approx(85.2323, rel=1e-5)


def test_error_of_missing_weights_offline_says_how_to_download(offline):
    with pytest.raises(InputError) as raised:
        build_backbone("BiomedCLIP")
    assert "neither in the local cache nor can they be downloaded" in str(raised.value)
    assert "hf download" in str(raised.value)
    assert "MODEL.BACKBONE.PATH" in str(raised.value)


def test_folders_that_do_not_hold_a_model_are_refused(small, tmp_path):
    folder, _ = small
    with pytest.raises(InputError, match="does not exist"):
        build_backbone("BiomedCLIP", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"lacks open_clip_config.json, tokenizer.json, open_clip_model"):
        build_backbone("BiomedCLIP", str(tmp_path))
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in folder.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    weights = torch.load(folder / "open_clip_pytorch_model.bin", weights_only=True)
    del weights["visual.trunk.norm.weight"]
    weights["visual.extra"] = torch.zeros(1)
    torch.save(weights, broken / "open_clip_pytorch_model.bin")
    with pytest.raises(
        InputError, match=r"missing keys \['visual.trunk.norm.weight'\], unexpected keys \['visual.extra'\]"
    ):
        build_backbone("BiomedCLIP", str(broken))
    (broken / "open_clip_pytorch_model.bin").write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        build_backbone("BiomedCLIP", str(broken))
    with pytest.raises(InputError, match=r"unknown backbone 'BiomedClip'. Did you mean 'BiomedCLIP'"):
        build_backbone("BiomedClip")


def test_tiny_is_small(tiny):
    assert sum(p.numel() for p in tiny.parameters()) < 2_000_000
    assert sum(file.stat().st_size for file in (PROJECT / "clip" / "tiny").iterdir()) <= 8_000_000
    assert (PROJECT / "clip" / "tiny" / "open_clip_model.safetensors").is_file()


MEASURE = """
import resource, sys
import configs, open_clip, sklearn.metrics, torchmetrics, train, transformers.models.bert.modeling_bert

def peak():  # in a process that is forked; that of a new program would start with the peak of pytest
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

framework = peak()
code = train.main(sys.argv[1:])
print("GB above the framework's own", peak() - framework)
sys.exit(code)
"""


@pytest.mark.slow
def test_full_size_model_needs_at_most_one_and_a_half_times_the_memory_of_its_weights(phantom_root, tmp_path):
    folder = full_size_model(tmp_path / "full")
    # The images are links; the split file selects one test image of each class.
    root = tmp_path / "data"
    (root / "Phantom").mkdir(parents=True)
    (root / "Phantom" / "Phantom").symlink_to(phantom_root / "Phantom" / "Phantom")
    split = make_split(root / "Phantom" / "Phantom", Phantom.classes)
    test = [entry for k, entry in enumerate(split.test) if k % 12 == 0]
    assert {label for _, label, _ in test} == set(range(8))
    content = {"train": split.train, "val": split.val, "test": test}
    (root / "Phantom" / "split_Phantom.json").write_text(json.dumps(content))
    words = ["--trainer", "BiomedDPT", "--backbone", "BiomedCLIP", "--root", str(root), "--shots", "1"]
    words += ["--output-dir", str(tmp_path / "run"), "MODEL.BACKBONE.PATH", str(folder), "OPTIM.MAX_EPOCH", "2"]
    words += ["DATALOADER.TRAIN_X.BATCH_SIZE", "8", "TRAINER.BIOMEDDPT.N_PROMPTS", "2"]
    words += ["INPUT.TRANSFORMS", "['normalize']"]  # both epochs show the same views, which are encoded once
    (tmp_path / "measure.py").write_text(MEASURE)
    done = forked.run(tmp_path / "measure.py", *words, log=tmp_path / "said.txt")
    assert done.returncode == 0, done.said
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["metrics"]["all"]["total"] == 8
    assert len(results["loss_per_epoch"]) == 2  # one step each
    weights = (folder / "open_clip_pytorch_model.bin").stat().st_size / 1e9
    assert weights > 0.78
    assert float(done.said.split()[-1]) < 1.5 * weights
