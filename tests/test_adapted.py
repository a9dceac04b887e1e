"""Additions to attention projections through the interface of a backbone."""

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from clip import build_backbone
from tools.random_model import small_clip, small_pmcclip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    written = {"CLIP": small_clip(root / "clip"), "PMC-CLIP": small_pmcclip(root / "pmcclip")}
    return {name: build_backbone(name, str(folder)) for name, folder in written.items()}


@pytest.mark.parametrize(("name", "tower"), [("CLIP", "text"), ("CLIP", "image"), ("PMC-CLIP", "text")])
def test_adapted_projections_change_the_features(models, name, tower):
    backbone = models[name]
    tokens = backbone.tokenize(["a photo of a cyst.", "a normal scan"])
    pixels = torch.randn(2, 3, backbone.image_size, backbone.image_size, generator=torch.Generator().manual_seed(0))

    def features():
        with torch.no_grad():
            if tower == "image":
                return backbone.encode_image(pixels)
            return backbone.encode_text(backbone.embed_tokens(tokens.ids), tokens.mask)

    plain, blocks = features(), backbone.attention_projections(tower)
    assert len(blocks) == 2
    for block in blocks:  # includes the last block of the image tower, which otherwise computes only the class token
        for layer, rows in block.values():
            width = len(range(*rows.indices(layer.out_features)))
            assert width == layer.in_features
            weight = torch.randn(width, width, generator=torch.Generator().manual_seed(4))
            with backbone.adapted([((layer, rows), partial(F.linear, weight=weight))]):
                assert backbone.is_adapted(layer)
                assert not torch.allclose(features(), plain, atol=1e-4)
            assert not backbone.is_adapted(layer)
    assert torch.equal(features(), plain)


def test_additions_of_nested_contexts_accumulate_and_end_with_them(models):
    backbone = models["CLIP"]
    layer, rows = backbone.attention_projections("image")[-1]["k"]
    x = torch.ones(1, layer.in_features)
    plain = layer(x)

    def ones(entering):
        return torch.ones(len(entering), layer.in_features)

    def fail():
        with backbone.adapted([((layer, rows), ones)]):
            raise RuntimeError("inside")

    with backbone.adapted([((layer, rows), ones)]):
        with backbone.adapted([((layer, rows), ones)]):
            torch.testing.assert_close((layer(x) - plain)[:, rows], 2 * ones(x))
        with pytest.raises(RuntimeError, match="inside"):
            fail()
        assert backbone.is_adapted(layer)
        changed = layer(x) - plain
        torch.testing.assert_close(changed[:, rows], ones(x))
        assert changed.count_nonzero() == layer.in_features
    assert not backbone.is_adapted(layer)
    assert torch.equal(layer(x), plain)
