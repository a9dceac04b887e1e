"""Maps of a batch: those of single images, and of what the image tower computes."""

import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from torch.testing import assert_close

from biomed_dpt.explain import explain
from clip import VisualPrompt, build_backbone
from dassl.errors import InputError
from evidence.maps import encode, map_names
from evidence.results import MapName
from tests.bundles import random_bundle
from tools.random_model import small_pmcclip
from trainers.predictor import Predictor

PROMPTS = [None, VisualPrompt(4), VisualPrompt(4, placement="insert"), VisualPrompt(2, positions=(3, 50))]


@pytest.fixture(scope="module")
def pixels(tiny):
    return torch.randn(3, 3, tiny.image_size, tiny.image_size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def text(tiny):
    return F.normalize(torch.randn(3, tiny.embed_dim, generator=torch.Generator().manual_seed(2)), dim=-1)


LABELS = torch.tensor([0, 2, 1])


@pytest.mark.parametrize("prompt", PROMPTS, ids=["none", "replace", "insert", "positions"])
def test_a_batch_gives_the_maps_of_its_images(tiny, pixels, text, prompt):
    found = encode(tiny, pixels, prompt, {"text": text}, LABELS)
    with torch.no_grad():
        assert_close(found["features"], F.normalize(tiny.encode_image(pixels, prompt), dim=-1))
    for k in range(len(pixels)):
        alone = encode(tiny, pixels[k, None], prompt, {"text": text}, LABELS[k, None])
        for name in ("features", "maps", "heads"):
            assert_close(found[name][k], alone[name][0], rtol=1e-4, atol=1e-6)
    unseen = {None: 0}.get(prompt, 0 if prompt and prompt.placement == "insert" else prompt and prompt.tokens)
    assert int((~found["seen"]).sum()) == unseen
    assert not found["maps"][..., ~found["seen"]].any()
    assert_close(found["maps"][:, :2].sum((-2, -1)), torch.ones(3, 2))
    assert not any(value.requires_grad for value in found.values())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in tiny.parameters())


def test_attention_is_that_of_the_class_token_in_each_head(tiny, pixels):
    """Recomputed from the queries and keys of one block."""
    inputs = []
    (layer, _) = tiny.attention_projections("image")[1]["q"]
    hook = layer.register_forward_hook(lambda _module, _args, output: inputs.append(output.detach()))
    found = encode(tiny, pixels, None, {}, LABELS)
    hook.remove()
    heads = found["heads"].shape[2]
    query, key, _ = inputs[0].unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    weights = (query[:, :, :1] @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(-1)[:, :, 0, 1:]
    expected = (weights / weights.sum(-1, keepdim=True)).unflatten(-1, found["seen"].shape)
    assert_close(found["heads"][:, 1], expected)
    last = found["maps"][:, 0]
    assert_close(last, found["heads"][:, -1].mean(1), rtol=0, atol=0.05)  # a mean of shares is not a share of means


@pytest.mark.parametrize("explainer", ["rollout", "gradient-attention", "grad-eclip"])
def test_maps_are_those_of_the_explainers_of_a_tuned_model(tiny, explainer):
    predictor = Predictor(random_bundle("BiomedDPT", tiny), tiny)
    picture = Image.effect_noise((200, 200), 60).convert("RGB")
    text = predictor.method.text_features()
    pixels = predictor.pixels([picture])
    found = encode(tiny, pixels, predictor.method.visual_prompt(), {"BiomedDPT": text}, torch.tensor([2]))
    expected = torch.from_numpy(explain(predictor, picture, explainer, predictor.classnames[2]).grid)
    names = map_names({"BiomedDPT": text})
    place = names.index(MapName(explainer) if explainer == "rollout" else MapName(explainer, "true", "BiomedDPT"))
    assert_close(found["maps"][0, place], expected / expected.sum(), rtol=1e-4, atol=1e-6)


def test_true_and_predicted_class_have_the_same_map_where_they_are_the_same(tiny, pixels, text):
    predicted = (F.normalize(tiny.encode_image(pixels), dim=-1) @ text.T).argmax(1)
    found = encode(tiny, pixels, None, {"text": text}, predicted)["maps"]
    assert torch.equal(found[:, 2:4], found[:, 4:6])


def test_names_say_what_a_map_shows(text):
    assert [str(name) for name in map_names({"template": text})] == [
        "attention",
        "rollout",
        "gradient-attention of the true class, template",
        "grad-eclip of the true class, template",
        "gradient-attention of the predicted class, template",
        "grad-eclip of the predicted class, template",
    ]


def test_a_tower_without_tokens_is_refused(tmp_path):
    backbone = build_backbone("PMC-CLIP", str(small_pmcclip(tmp_path / "model")))
    blank = torch.zeros(1, 3, backbone.image_size, backbone.image_size)
    with pytest.raises(InputError, match="has no attention"):
        encode(backbone, blank, None, {}, torch.tensor([0]))
