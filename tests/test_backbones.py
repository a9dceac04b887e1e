"""CLIP, PubMedCLIP and PMC-CLIP: equality with the libraries' own models, layouts, prompts, errors."""

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from clip import VisualPrompt, build_backbone
from clip.bert import square_mask
from clip.pmcclip import IMAGE_FILE, PROJECTION_FILE, TEXT_FILE
from dassl.errors import InputError
from tools.random_model import small_clip, small_pmcclip, small_pubmedclip

WRITERS = {"CLIP": lambda folder: small_clip(folder, 128), "PubMedCLIP": small_pubmedclip, "PMC-CLIP": small_pmcclip}
OPENAI = ("CLIP", "PubMedCLIP")
SENTENCES = ["a photo of a cyst.", "A much longer sentence about a round dark cyst with a thin rim.", "cyst"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder and backbone by name."""
    root = tmp_path_factory.mktemp("models")
    return {name: (write(root / name), build_backbone(name, str(root / name))) for name, write in WRITERS.items()}


def own_model(name, folder):
    """The library's own model with the weights in a folder."""
    from open_clip.model import build_model_from_openai_state_dict
    from safetensors.torch import load_file

    if name == "CLIP":
        weights = load_file(folder / "open_clip_model.safetensors")
        model = build_model_from_openai_state_dict(dict(weights), cast_dtype=torch.float32).float()
        model.load_state_dict(weights)  # the function above has rounded them to half precision
        return model
    weights = torch.load(folder / "PubMedCLIP_ViT32.pth", weights_only=True)["state_dict"]
    return build_model_from_openai_state_dict(weights).float()


def pixels_for(backbone, count=3, seed=0):
    size = backbone.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def encode(backbone, tokens, **words):
    with torch.no_grad():
        return backbone.encode_text(backbone.embed_tokens(tokens.ids), tokens.mask, **words)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", OPENAI)
def test_features_equal_open_clips_own(models, name):
    folder, backbone = models[name]
    own, pixels, tokens = own_model(name, folder), pixels_for(backbone), backbone.tokenize(SENTENCES)
    with torch.no_grad():
        close(encode(backbone, tokens), own.encode_text(F.pad(tokens.ids, (0, 77 - tokens.ids.shape[1]))))
        close(backbone.encode_image(pixels), own.encode_image(pixels))
        close(backbone.model.encode_image(pixels), own.encode_image(pixels))  # computes all tokens in the last block
    assert backbone.logit_scale == pytest.approx(100)
    assert (backbone.embed_dim, backbone.image_size, backbone.context_length) == (32, 32, 77)
    assert (backbone.text_depth, backbone.vision_depth) == (2, 2)
    assert backbone.text_width == backbone.vision_width == (128 if name == "CLIP" else 64)
    assert {p.dtype for p in backbone.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in backbone.parameters())


def test_pmcclip_features_equal_the_libraries_own(models):
    from open_clip.modified_resnet import ModifiedResNet
    from transformers import BertConfig, BertModel

    folder, backbone = models["PMC-CLIP"]
    image = ModifiedResNet([1, 1, 1, 1], 32, heads=8, image_size=64, width=8).eval()
    image.load_state_dict(torch.load(folder / IMAGE_FILE, weights_only=True))
    text = BertModel(BertConfig.from_pretrained(folder)).eval()
    weights = torch.load(folder / TEXT_FILE, weights_only=True)
    text.load_state_dict({key.removeprefix("module."): value for key, value in weights.items()}, strict=False)
    projection = torch.load(folder / PROJECTION_FILE, weights_only=True)
    pixels, tokens = pixels_for(backbone), backbone.tokenize(SENTENCES)
    with torch.no_grad():
        close(backbone.encode_image(pixels), image(pixels))
        pooled = text(input_ids=tokens.ids, attention_mask=tokens.mask).pooler_output
        close(encode(backbone, tokens), pooled @ projection)
    assert backbone.logit_scale == pytest.approx(83.864, rel=1e-4)
    assert (backbone.image_size, backbone.embed_dim, backbone.context_length) == (64, 32, 77)
    assert (backbone.vision_width, backbone.vision_depth, backbone.text_width) == (0, 0, 64)


@pytest.fixture(scope="module")
def transformers_clip():
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(1)
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2, "num_hidden_layers": 2}
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    text = {**sizes, "eos_token_id": 49407}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)).eval()


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_transformers_layout_gives_transformers_features(transformers_clip, tmp_path, file):
    if file == "model.safetensors":
        transformers_clip.save_pretrained(tmp_path)
    else:
        constant = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
        torch.save({**transformers_clip.state_dict(), **constant}, tmp_path / file)
    backbone = build_backbone("PubMedCLIP", str(tmp_path))
    tokens, pixels = backbone.tokenize(SENTENCES), pixels_for(backbone)
    with torch.no_grad():
        text = transformers_clip.get_text_features(input_ids=tokens.ids, attention_mask=tokens.mask)
        image = transformers_clip.get_image_features(pixel_values=pixels)
        close(encode(backbone, tokens), getattr(text, "pooler_output", text))
        close(backbone.encode_image(pixels), getattr(image, "pooler_output", image))
    assert backbone.logit_scale == pytest.approx(transformers_clip.logit_scale.exp().item())


@pytest.mark.parametrize("name", WRITERS)
def test_padding_does_not_change_text_features(models, name):
    _, backbone = models[name]
    tokens = backbone.tokenize([*SENTENCES, "cyst and rim " * 60])
    assert tokens.ids.shape[1] == backbone.context_length == tokens.mask[-1].sum()
    ends = tokens.ids[torch.arange(4), tokens.mask.sum(1) - 1]
    assert len(set(ends.tolist())) == 1  # the text that is too long still has its end token
    close(backbone.encode_sentences(SENTENCES), encode(backbone, tokens)[:3])
    assert backbone.tokenize(SENTENCES).ids.shape[1] < 40


def test_vocabulary_file_replaces_the_tokenizer_file(models, tmp_path):
    import json
    import shutil

    folder, backbone = models["PMC-CLIP"]
    shutil.copytree(folder, tmp_path / "model")
    ids = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (tmp_path / "model" / "tokenizer.json").unlink()
    (tmp_path / "model" / "vocab.txt").write_text("\n".join(sorted(ids, key=ids.get)) + "\n")
    other = build_backbone("PMC-CLIP", str(tmp_path / "model"))
    assert torch.equal(other.tokenize(SENTENCES).ids, backbone.tokenize(SENTENCES).ids)
    assert other.digest == backbone.digest


def layers_by_hand(name, folder, backbone, tokens):
    """The embedded tokens, the layers and the output function of a text tower, made of the library's own parts."""
    embeddings = backbone.embed_tokens(tokens.ids)
    if name == "PMC-CLIP":
        mask = torch.where(square_mask(tokens.mask), 0.0, -torch.inf)
        layers = [lambda hidden, layer=layer: layer(hidden, mask) for layer in backbone.text.encoder.layer]
        end = lambda hidden: backbone.text.pooler(hidden) @ backbone.projection  # noqa: E731
        return backbone.text.embeddings(inputs_embeds=embeddings), layers, end
    own, length = own_model(name, folder), tokens.ids.shape[1]
    mask = own.attn_mask[:length, :length]
    layers = [lambda hidden, layer=layer: layer(hidden, attn_mask=mask) for layer in own.transformer.resblocks]
    rows = torch.arange(len(tokens.ids)), tokens.mask.sum(1) - 1
    return (
        embeddings + own.positional_embedding[:length],
        layers,
        lambda hidden: own.ln_final(hidden)[rows] @ own.text_projection,
    )


@pytest.mark.parametrize("name", WRITERS)
def test_deep_text_prompts_are_written_before_the_later_layers(models, name):
    folder, backbone = models[name]
    tokens = backbone.tokenize(SENTENCES[:2])
    deep = torch.randn(1, 2, backbone.text_width, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        hidden, layers, end = layers_by_hand(name, folder, backbone, tokens)
        hidden = layers[0](hidden)
        hidden[:, 1:3] = deep[0]
        close(encode(backbone, tokens, deep=deep), end(layers[1](hidden)))
    assert not torch.allclose(encode(backbone, tokens, deep=deep), encode(backbone, tokens), atol=1e-3)
    with pytest.raises(ValueError, match="the text tower has 2"):
        encode(backbone, tokens, deep=deep.expand(2, -1, -1))


def entering(modules, run):
    """Return the result of a function and the inputs of some modules during its run."""
    seen = []
    hooks = [module.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone())) for module in modules]
    with torch.no_grad():
        result = run()
    for hook in hooks:
        hook.remove()
    return result, seen


@pytest.mark.parametrize("placement", ["replace", "insert"])
def test_zero_prompt_is_in_the_input_of_every_block(models, placement):
    _, backbone = models["CLIP"]
    pixels, blocks = pixels_for(backbone), backbone.model.visual.transformer.resblocks
    prompt = VisualPrompt(tokens=2, placement=placement)
    norms = [backbone.model.visual.ln_pre, *(block.ln_1 for block in blocks)]
    prompted, seen = entering(norms, lambda: backbone.encode_image(pixels, prompt))
    plain, seen_plain = entering(norms, lambda: backbone.encode_image(pixels))
    assert all(tokens.shape[1] == (5 if placement == "replace" else 7) for tokens in seen)
    assert all((tokens[:, 1:3] == 0).all() for tokens in seen)
    assert torch.equal(seen[0][:, 3:], seen_plain[0][:, 3:] if placement == "replace" else seen_plain[0][:, 1:])
    assert not torch.allclose(prompted, plain, atol=1e-3)
    close(backbone.encode_image(pixels, VisualPrompt(tokens=0)), plain)


def test_learned_visual_prompts_get_a_gradient(models):
    _, backbone = models["PubMedCLIP"]
    values = torch.zeros(2, 2, 64, requires_grad=True)
    backbone.encode_image(pixels_for(backbone), VisualPrompt(2, values=values, placement="insert")).sum().backward()
    assert (values.grad.abs().sum((1, 2)) > 0).all()


@pytest.mark.parametrize("depth", [None, 2])
def test_zero_prompt_zeroes_channels_before_the_first_stages(models, depth):
    _, backbone = models["PMC-CLIP"]
    pixels, tower = pixels_for(backbone), backbone.visual
    stages = [tower.layer1, tower.layer2, tower.layer3, tower.layer4]
    prompted, seen = entering(stages, lambda: backbone.encode_image(pixels, VisualPrompt(4, depth=depth)))
    assert [bool((hidden[:, :4] == 0).all()) for hidden in seen] == [k < (depth or 4) for k in range(4)]
    assert all(hidden[:, 4:].abs().sum() > 0 for hidden in seen)
    assert not torch.allclose(prompted, backbone.encode_image(pixels), atol=1e-3)


def test_resnet_refuses_learned_and_inserted_prompts(models):
    _, backbone = models["PMC-CLIP"]
    assert not backbone.image_tokens
    learned = VisualPrompt(4, depth=1, values=torch.zeros(1, 4, 8))
    for prompt in (learned, VisualPrompt(4, placement="insert")):
        with pytest.raises(InputError, match="is a ResNet and has no token sequence"):
            backbone.encode_image(pixels_for(backbone), prompt)
    with pytest.raises(InputError, match=r"first stage has 8; use fewer tokens"):
        backbone.encode_image(pixels_for(backbone), VisualPrompt(9))
    with pytest.raises(InputError, match="is a ResNet and has no self-attention blocks"):
        backbone.attention_projections("image")


def test_only_bert_has_text_dropout(models):
    _, backbone = models["PMC-CLIP"]
    tokens = backbone.tokenize(SENTENCES)
    backbone.set_text_dropout(True)
    assert not torch.equal(encode(backbone, tokens), encode(backbone, tokens))
    assert not backbone.visual.training
    backbone.set_text_dropout(False)
    assert torch.equal(encode(backbone, tokens), encode(backbone, tokens))
    models["CLIP"][1].set_text_dropout(True)


@pytest.mark.parametrize("name", WRITERS)
def test_mixed_precision_runs(models, name):
    _, backbone = models[name]
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        text = encode(backbone, backbone.tokenize(SENTENCES)).float()
        image = backbone.encode_image(pixels_for(backbone), VisualPrompt(2)).float()
    close_to = F.cosine_similarity(text, encode(backbone, backbone.tokenize(SENTENCES)))
    assert close_to.min() > 0.99
    assert image.isfinite().all()


@pytest.mark.parametrize("name", WRITERS)
def test_preprocessing_equals_the_libraries(models, build, name):
    """The evaluation transform of a run equals open_clip's, and transformers' except for the position of the crop."""
    from open_clip.transform import image_transform

    try:
        from transformers import CLIPImageProcessorPil
    except ImportError:  # the older name of the same class
        from transformers import CLIPImageProcessor as CLIPImageProcessorPil

    folder, backbone = models[name]
    own = build("ZeroShot", backbone=name, opts=["MODEL.BACKBONE.PATH", folder]).test_loader.dataset.transform
    size = backbone.image_size
    library = image_transform(size, is_train=False, mean=backbone.pixel_mean, std=backbone.pixel_std)
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    for excess, shift in ((8, 0), (7, 1)):
        width = -(-200 * (size + excess) // size)
        image = Image.effect_mandelbrot((width, 200), (-2, -1, 1, 1), 50).convert("RGB")
        torch.testing.assert_close(own(image), library(image))
        theirs = processor(image, return_tensors="pt")["pixel_values"][0]
        # Where the longer side exceeds the crop by 3, 7, 11 … pixels, transformers crops one pixel nearer to its start.
        torch.testing.assert_close(own(image)[:, :, : size - shift], theirs[:, :, shift:])
