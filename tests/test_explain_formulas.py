"""Explainers by hand: the formulas on a few numbers, and the way from a grid to the whole picture."""

import contextlib
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from biomed_dpt.explain import explain
from biomed_dpt.explain.attention import Attention, AttentionRecorder, Layout
from biomed_dpt.explain.geometry import over_picture, seen_interval
from biomed_dpt.explain.grad_eclip import weighted_values
from biomed_dpt.explain.gradient_attention import relevance
from biomed_dpt.explain.rollout import rollout
from clip import VisualPrompt
from dassl.errors import InputError

# Two heads of the first block, whose mean is [[.5, .5, 0], [.5, .5, 0], [.25, .25, .5]], and two of the last block for
# the class token only, whose mean is [0, .5, .5].
FIRST = torch.tensor([[[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5]], [[0, 1, 0], [1, 0, 0], [0, 0.5, 0.5]]])
LAST = torch.tensor([[[0, 0.0, 1]], [[0, 1, 0]]])
THREE = Layout(None, 3, 2)


def test_rollout():
    # (A + I) / 2 of the first block: [[.75, .25, 0], [.25, .75, 0], [.125, .125, .75]]; last row: [.5, .25, .25]
    assert rollout([FIRST, LAST], THREE).tolist() == [0.46875, 0.34375, 0.1875]


def test_rollout_restarts_at_prompt_tokens_that_are_written_before_every_block():
    every, once = (Layout(VisualPrompt(1, depth), 3, 2) for depth in (None, 1))
    # the second row of the first block is [0, 1, 0]
    assert rollout([FIRST, LAST], every).tolist() == [0.40625, 0.40625, 0.1875]
    assert rollout([FIRST, LAST], once).tolist() == rollout([FIRST, LAST], THREE).tolist()


def test_relevance():
    first = torch.tensor([[[2.0, 9, 9], [9, 4, 9], [8, 9, 4]], [[9, 2, 9], [-4, 9, 9], [9, -4, -1]]])
    last = torch.tensor([[[9, 9, 4.0]], [[9, 2, 9]]])
    # positive parts of A ⊙ gradient: first block, mean of the heads: [[1, 1, 0], [0, 2, 0], [2, 0, 1]]; last: [0, 1, 2]
    # R after the first block: [[2, 1, 0], [0, 3, 0], [2, 0, 2]]; row of the class token after the last:
    # [2, 1, 0] + [0, 3, 0] + 2 · [2, 0, 2]
    assert relevance([FIRST, LAST], [first, last], THREE).tolist() == [6, 4, 4]


def heads(*tokens):
    """(1, 2, L, 1) from L tokens of width 2: two heads of width 1."""
    return torch.tensor(tokens).T[None, :, :, None]


def test_grad_eclip():
    # class token, one prompt token, four patches with cosines 1, 0, 0.6, 1 to the query (1, 0)
    key = heads([0.0, 1], [-1, 0], [2, 0], [0, 1], [3, 4], [1, 0])
    value = heads([9.0, 9], [9, 9], [1, 2], [5, 5], [4, -1], [-1, 0])
    block = Attention(heads([1.0, 0]), key, value, None, None)
    row = weighted_values(block, heads([2.0, -0.5]), Layout(VisualPrompt(1, placement="insert"), 6, 2))
    # value · gradient of the patches: 1, 7.5, 8.5, -2
    torch.testing.assert_close(row, torch.tensor([0, 0, 1, 0, 0.6 * 8.5, 0]))


def test_grad_eclip_with_equal_cosines_uses_the_values_alone():
    block = Attention(heads([1.0, 0]), heads([1.0, 0], [1, 0], [1, 0]), heads([9.0, 9], [1, 0], [2, 0]), None, None)
    assert weighted_values(block, heads([1.0, 0]), THREE).tolist() == [0, 1, 2]


def test_prompt_tokens_have_no_place_in_the_grid():
    row = torch.arange(1.0, 7)
    grid, seen = Layout(VisualPrompt(1, placement="insert"), 6, 2).grid(row)
    assert grid.tolist() == [[3, 4], [5, 6]]
    assert seen.all()
    grid, seen = Layout(VisualPrompt(1, placement="replace"), 5, 2).grid(row[:5])
    assert grid.tolist() == [[0, 3], [4, 5]]
    assert seen.tolist() == [[False, True], [True, True]]
    grid, _ = Layout(None, 5, 2).grid(row[:5])
    assert grid.tolist() == [[2, 3], [4, 5]]
    with pytest.raises(InputError, match="6 tokens, which are no class token, prompt and square grid"):
        Layout(None, 6, 2).grid(row)


def test_the_recorder_computes_the_same_attention_in_its_own_thread_only():
    query, key, value = torch.randn(3, 1, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    fused = F.scaled_dot_product_attention(query, key, value, scale=0.3)
    with AttentionRecorder() as recorder:
        torch.testing.assert_close(F.scaled_dot_product_attention(query, key, value, scale=0.3), fused)
        other = threading.Thread(target=F.scaled_dot_product_attention, args=(query, key, value))
        other.start()
        other.join()
        with pytest.raises(InputError, match="masks its attention"):
            F.scaled_dot_product_attention(query, key, value, attn_mask=torch.zeros(5, 5))
    (block,) = recorder.blocks
    torch.testing.assert_close(block.weights.sum(-1), torch.ones(1, 2, 5))
    F.scaled_dot_product_attention(query, key, value)
    assert len(recorder.blocks) == 1


class OnePatch(nn.Module):
    """A transformer of one block on 4 × 4 patches, and the class score is a channel that only patch (1, 2) fills."""

    image_tokens, vision_depth, name = True, 1, "OnePatch"

    def encode_image(self, pixels, prompt=None):
        patches = F.avg_pool2d(pixels.mean(1), 2).flatten(1)
        value = F.pad(torch.stack([torch.where(torch.arange(16) == 6, patches, 0), patches], -1), (0, 0, 1, 0))
        token = torch.cat([torch.ones(1, 1, 1), patches[..., None]], 1).unsqueeze(1)
        return F.scaled_dot_product_attention(token, token, value.unsqueeze(1))[:, 0, 0]


class Convolution(nn.Module):
    """A convolution of two channels; the class scores are products of its channels' values at one place."""

    image_tokens, name = False, "Convolution"

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 2, 2).requires_grad_(False)

    def last_feature_map(self):
        return self.conv

    def encode_image(self, pixels, prompt=None):
        return self.conv(pixels)[:, :, 1, 2] ** 2


def predictor_of(backbone, logits):
    method = SimpleNamespace(
        adapted=contextlib.nullcontext, visual_prompt=lambda: None, encode_images=backbone.encode_image, logits=logits
    )
    return SimpleNamespace(
        backbone=backbone,
        method=method,
        device=torch.device("cpu"),
        classnames=["one", "other"],
        bundle=SimpleNamespace(about={"preprocessing": {"SIZE": [8, 8]}}),
        pixels=lambda pictures: torch.stack([torch.tensor(np.array(p)).permute(2, 0, 1) / 255 for p in pictures]),
    )


def noise():
    return Image.fromarray(np.random.default_rng(0).integers(50, 255, (8, 8, 3), dtype=np.uint8))


@pytest.mark.parametrize("explainer", ["gradient-attention", "grad-eclip"])
def test_gradient_methods_find_the_patch_that_the_score_depends_on(explainer):
    found = explain(predictor_of(OnePatch(), lambda features: features), noise(), explainer, "one")
    assert found.grid.shape == (4, 4)
    assert found.grid[1, 2] > 0
    assert (found.grid > 0).sum() == 1
    assert np.unravel_index(found.map.argmax(), (8, 8)) in [(y, x) for y in (2, 3) for x in (4, 5)]
    other = explain(predictor_of(OnePatch(), lambda features: features), noise(), explainer, "other")
    assert (other.grid > 0).sum() > 1


def test_grad_cam_is_the_mean_gradient_times_the_channels():
    pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed (requirements-explain.txt)")
    torch.manual_seed(0)
    backbone = Convolution()
    predictor = predictor_of(backbone, lambda features: features @ torch.tensor([[1.0, 0], [2, -1]]))
    found = explain(predictor, noise(), classname="one")
    channels = backbone.conv(predictor.pixels([noise()]))[0]
    weights = torch.tensor([2.0, 4]) * channels[:, 1, 2] / 16  # gradient of c₀² + 2 c₁² at one of 16 places
    expected = (weights[:, None, None] * channels).sum(0).clamp(min=0)
    torch.testing.assert_close(torch.from_numpy(found.grid), expected)
    assert found.explainer == "grad-cam"
    assert not backbone.conv._forward_hooks


@pytest.mark.parametrize(("width", "height"), [(160, 160), (100, 75), (31, 400), (401, 33), (8, 9)])
@pytest.mark.parametrize("crop", [(160, 160), (32, 33)])
def test_the_seen_part_is_that_of_the_transform(width, height, crop):
    from torchvision import transforms as T

    after = T.Resize(max(crop))(Image.new("L", (width, height))).size
    for side, length, cropped in ((0, width, crop[1]), (1, height, crop[0])):
        ramp = np.arange(after[side], dtype=np.int32)
        ramp = np.tile(ramp, (after[1], 1)) if side == 0 else np.tile(ramp[:, None], (1, after[0]))
        kept = np.array(T.CenterCrop(crop)(Image.fromarray(ramp)))
        scale = length / after[side]
        expected = kept.min() * scale, (kept.max() + 1) * scale
        assert seen_interval(length, min(width, height), max(crop), cropped) == pytest.approx(expected)


def test_a_grid_over_the_whole_picture():
    ones = torch.ones(1, 2, dtype=torch.bool)
    grid = torch.tensor([[2.0, 4]])
    assert over_picture(grid, ones, (2, 4), (2, 2)).tolist() == [[0, 0.5, 1, 0]] * 2
    assert over_picture(grid, ones, (4, 8), (2, 2)).tolist() == [[0, 0, 0.5, 0.625, 0.875, 1, 0, 0]] * 4
    assert over_picture(torch.zeros(1, 2), ones, (2, 4), (2, 2)).tolist() == [[0] * 4] * 2


def test_the_area_of_cells_that_are_not_seen_is_0():
    seen = torch.tensor([[False, True]])
    assert over_picture(torch.tensor([[0.0, 4]]), seen, (4, 8), (2, 2)).tolist() == [[0, 0, 0, 0, 0.75, 1, 0, 0]] * 4
