"""The visual prompts that are compared: what is written, where, and how they are told apart."""

import pytest
import torch
from torch.testing import assert_close

from clip import VisualPrompt, build_backbone
from clip.vit import PromptWriter
from dassl.errors import InputError
from evidence.conditions import DRAWS, MeanPrompt, NoisePrompt, chosen, conditions_of, depths
from evidence.results import NO_PROMPT
from tools.random_model import small_pmcclip


@pytest.fixture(scope="module")
def pixels(tiny):
    return torch.randn(2, 3, tiny.image_size, tiny.image_size, generator=torch.Generator().manual_seed(1))


def test_the_first_positions_are_what_replace_overwrites_anyway(tiny, pixels):
    named = tiny.encode_image(pixels, VisualPrompt(4, positions=(0, 1, 2, 3)))
    assert torch.equal(named, tiny.encode_image(pixels, VisualPrompt(4)))
    assert not torch.equal(named, tiny.encode_image(pixels, VisualPrompt(4, positions=(0, 1, 2, 4))))


def test_zeros_are_written_at_the_positions_and_nowhere_else():
    tokens = torch.arange(1.0, 13.0).view(1, 6, 2)  # a class token and five patches
    writer = PromptWriter(VisualPrompt(2, positions=(1, 4)), blocks=3, width=2)
    expected = tokens.clone()
    expected[0, [2, 5]] = 0
    for written in (writer.begin(tokens), writer.before(0, tokens), writer.before(2, tokens)):
        assert torch.equal(written, expected)
    assert tokens.min() == 1  # the input is left alone


@pytest.mark.parametrize("positions", [(1,), (1, 1), (0, 1, 2)])
def test_there_is_a_position_for_each_token(positions):
    with pytest.raises(ValueError, match="a different one for each token"):
        VisualPrompt(2, positions=positions)


def test_positions_do_not_go_with_inserting():
    with pytest.raises(ValueError, match="replaces patches"):
        VisualPrompt(1, placement="insert", positions=(0,))


def test_a_convolutional_tower_has_no_positions(tmp_path):
    backbone = build_backbone("PMC-CLIP", str(small_pmcclip(tmp_path / "model")))
    blank = torch.zeros(1, 3, backbone.image_size, backbone.image_size)
    with pytest.raises(InputError, match="no token sequence"):
        backbone.encode_image(blank, VisualPrompt(1, positions=(3,)))


def test_mean_tokens_by_hand():
    tokens = torch.tensor([[[9.0, 9.0], [1.0, 2.0], [3.0, 6.0]]])  # the class token does not count
    assert_close(MeanPrompt(2).written(0, tokens), torch.tensor([[[2.0, 4.0], [2.0, 4.0]]]))


def test_noise_tokens_have_mean_and_deviation_of_the_patches():
    tokens = torch.tensor([[[9.0], [1.0], [3.0]]])
    written = NoisePrompt(20_000).written(3, tokens)
    assert abs(float(written.mean()) - 2) < 0.05
    assert abs(float(written.std()) - 2**0.5) < 0.05
    assert torch.equal(written, NoisePrompt(20_000).written(3, tokens))
    assert not torch.equal(written, NoisePrompt(20_000).written(4, tokens))


def test_all_conditions_of_the_issue_and_all_different(tiny, pixels):
    found = conditions_of(tiny, 100)
    assert next(iter(found)) == NO_PROMPT
    controls = {name for name, (condition, _) in found.items() if condition.control}
    assert controls == {*(f"random-{k}" for k in range(1, DRAWS + 1)), "mean", "noise"}
    assert {"replace", "insert", "replace-1-block", "replace-4-blocks", "replace-1-token", "replace-16-tokens"} <= {
        *found
    }
    keys = [prompt and prompt.key() for _, prompt in found.values()]
    assert len({repr(key) for key in keys}) == len(found)  # none takes another's features from the cache
    features = [tiny.encode_image(pixels, prompt) for _, prompt in found.values()]
    for k, one in enumerate(features):
        assert not any(torch.equal(one, other) for other in features[:k])


def test_a_plain_prompt_keeps_the_key_of_earlier_caches():
    assert VisualPrompt(4).key() == [4, None, "replace"]


def test_depths_double():
    assert depths(12) == [1, 2, 4, 8]
    assert depths(1) == []


def test_choosing(tiny):
    found = conditions_of(tiny, 100)
    assert [*chosen(found, ["mean", "replace"])] == [NO_PROMPT, "replace", "mean"]
    assert chosen(found, []) == found
    with pytest.raises(InputError, match=r"unknown condition 'replaced'.*replace"):
        chosen(found, ["replaced"])
    with pytest.raises(InputError, match="name another one"):
        chosen(found, [NO_PROMPT])
