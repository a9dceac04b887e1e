"""What is done to the tokens of the image tower: the method's visual prompt, its variants, and controls."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from clip import Backbone, VisualPrompt
from dassl.errors import InputError, unknown_name
from evidence.results import NO_PROMPT, Condition

TOKENS = 4  # of Biomed-DPT's visual prompt
COUNTS = (1, 8, 16)  # other numbers of tokens
DRAWS = 3  # of random patches
SEED = 0  # of the random patches and of the noise


@dataclass(frozen=True)
class MeanPrompt(VisualPrompt):
    """Tokens that are the mean of the image's patch tokens in the input of each block."""

    filling: ClassVar[str] = "mean"

    def written(self, layer: int, tokens: Tensor) -> Tensor:
        """The mean (B, n, W) over the patches of each image."""
        return tokens[:, 1:].mean(1, keepdim=True).expand(-1, self.tokens, -1)

    def key(self) -> list:
        """That of a zero prompt, and what is written."""
        return [*super().key(), self.filling]


@dataclass(frozen=True)
class NoisePrompt(MeanPrompt):
    """Tokens drawn from a normal distribution with mean and deviation of the image's patch tokens, per channel."""

    filling: ClassVar[str] = "noise"

    def written(self, layer: int, tokens: Tensor) -> Tensor:
        """The tokens (B, n, W); the random numbers depend on the block only."""
        generator = torch.Generator().manual_seed(SEED + layer)
        drawn = torch.randn(1, self.tokens, tokens.shape[-1], generator=generator).to(tokens)
        patches = tokens[:, 1:]
        return patches.mean(1, keepdim=True) + drawn * patches.std(1, keepdim=True)


Prompts = dict[str, tuple[Condition, VisualPrompt | None]]


def conditions_of(backbone: Backbone, patches: int) -> Prompts:
    """All conditions of an image tower with their prompts, by name; the first is NO_PROMPT.

    Args:
        backbone: gives the number of blocks.
        patches: the number of patches, from which random ones are drawn.
    """
    found: Prompts = {}

    def add(name: str, about: str, prompt: VisualPrompt | None, control: bool = False) -> None:
        found[name] = Condition(name, about, control), prompt

    depth = backbone.vision_depth
    add(NO_PROMPT, "no visual prompt", None)
    add("replace", f"{TOKENS} zero tokens replace the first {TOKENS} patches before every block", VisualPrompt(TOKENS))
    add("insert", f"{TOKENS} zero tokens are inserted before every block", VisualPrompt(TOKENS, placement="insert"))
    for blocks in depths(depth):
        plural = "s" * (blocks > 1)
        about = f"as replace, before the first {blocks} of {depth} blocks"
        add(f"replace-{blocks}-block{plural}", about, VisualPrompt(TOKENS, blocks))
    for count in COUNTS:
        plural, verb = ("s", "replace") if count > 1 else ("", "replaces")
        about = f"{count} zero token{plural} {verb} the first patch{'es' * (count > 1)} before every block"
        add(f"replace-{count}-token{plural}", about, VisualPrompt(count))
    draw = random.Random(SEED)
    for number in range(1, DRAWS + 1):
        places = tuple(sorted(draw.sample(range(patches), TOKENS)))
        where = ", ".join(map(str, places))
        about = f"{TOKENS} zero tokens replace random patches ({where}) before every block"
        add(f"random-{number}", about, VisualPrompt(TOKENS, positions=places), control=True)
    mean = f"{TOKENS} tokens with the mean of the image's patch tokens replace the first patches"
    noise = f"{TOKENS} random tokens, distributed as the image's patch tokens, replace the first patches"
    add("mean", mean, MeanPrompt(TOKENS), control=True)
    add("noise", noise, NoisePrompt(TOKENS), control=True)
    return found


def depths(blocks: int) -> list[int]:
    """Numbers of first blocks: 1, 2, 4, … below the number of all blocks."""
    return [1 << k for k in range(blocks.bit_length()) if 1 << k < blocks]


def chosen(conditions: Prompts, names: Sequence[str]) -> Prompts:
    """The named conditions in the order of all, and NO_PROMPT; all if none is named.

    Raises:
        InputError: a name is unknown, or NO_PROMPT is the only one.
    """
    for name in names:
        if name not in conditions:
            raise unknown_name("condition", name, tuple(conditions))
    if not names:
        return conditions
    if {*names} == {NO_PROMPT}:
        raise InputError(f"the condition '{NO_PROMPT}' is what others are compared with; name another one")
    return {name: found for name, found in conditions.items() if name == NO_PROMPT or name in names}
