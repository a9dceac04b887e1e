"""The interface of a frozen vision-language model; everything above this folder knows only what stands here."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.utils import Registry

BACKBONE_REGISTRY = Registry("backbone")
SENTENCE_BATCH = {"cpu": 16, "cuda": 256}  # a CPU is fastest on batches that stay in its caches
# The rows of a linear layer's output that hold the queries, keys or values of a block's attention.
Projection = tuple[nn.Linear, slice]


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts: ids (N, L) int64 and mask (N, L) int64, 1 on tokens and 0 on padding."""

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.ids)


Placement = Literal["replace", "insert"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)
Tower = Literal["text", "image"]


@dataclass(frozen=True)
class VisualPrompt:
    """Tokens written into a vision transformer's sequence right after the class token, before its first blocks.

    Attributes:
        tokens: how many.
        depth: before how many blocks, counted from the first, they are written anew; None for every block.
        placement: "replace" puts them in the place of the first patch tokens (the sequence keeps its length),
            "insert" adds them to the sequence.
        values: (depth, tokens, width), learnable or given; None for zeros, which have no parameters: a tower
            with a zero prompt is as frozen as one without.
    """

    tokens: int = 4
    depth: int | None = None
    placement: Placement = "replace"
    values: Tensor | None = None

    def __post_init__(self):
        if self.placement not in PLACEMENTS:
            raise ValueError(f"visual prompt placement is 'replace' or 'insert', not '{self.placement}'")

    def detached(self) -> "VisualPrompt":
        """The same prompt with values that carry no gradient."""
        return self if self.values is None else replace(self, values=self.values.detach())


class Backbone(nn.Module):
    """A frozen image tower and a frozen text tower that share one space of width `embed_dim`.

    Subclasses set the attributes and implement the four methods. Features are not normalised.

    Attributes:
        image_tokens: whether the image tower works on a sequence of tokens, which visual prompts can be put into.
        digest: names the weights by their content: models of the same digest give the same features.
        pad_text: pad every text to `context_length`, as the published code does; slower, the same features.
    """

    image_tokens: ClassVar[bool] = True
    name: str
    digest: str
    pad_text: bool = False
    image_size: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    embed_dim: int
    text_width: int
    text_depth: int
    context_length: int
    vision_width: int
    vision_depth: int
    logit_scale: float

    def tokenize(self, texts: list[str]) -> Tokens:
        """Tokenise N texts with start and end token, padded to the longest of them (not to `context_length`)."""
        raise NotImplementedError

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Word embeddings (N, L, text_width) of token ids (N, L), before position embeddings."""
        raise NotImplementedError

    def encode_text(self, embeddings: Tensor, mask: Tensor, deep: Tensor | None = None) -> Tensor:
        """Text features (N, embed_dim) of word embeddings (N, L, text_width) under a mask (N, L).

        With `deep` (J - 1, n, text_width), the tokens 1 … n, those after the start token, are overwritten before
        each of the layers 2 … J (MaPLe, arXiv 2210.03117, eq. 4).
        """
        raise NotImplementedError

    def encode_image(self, pixels: Tensor, prompt: VisualPrompt | None = None) -> Tensor:
        """Image features (B, embed_dim) of normalised pixels (B, 3, image_size, image_size)."""
        raise NotImplementedError

    def attention_projections(self, tower: Tower) -> list[dict[str, Projection]]:
        """Of each block of a tower, from the first: the "q", "k" and "v" projections of its self-attention."""
        raise NotImplementedError

    def set_text_dropout(self, on: bool) -> None:
        """Switch the text tower's dropout, which a frozen tower does without; a tower that has none ignores it."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def freeze(self) -> "Backbone":
        """Evaluation mode, no gradients on any weight."""
        return self.eval().requires_grad_(False)

    @torch.no_grad()
    def encode_sentences(self, texts: list[str]) -> Tensor:
        """Features (N, embed_dim) of plain texts, not normalised, in batches of similar length."""
        tokens = self.tokenize(texts)
        lengths = tokens.mask.sum(1).tolist()
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        features = torch.empty(len(texts), self.embed_dim, device=self.device)
        size = SENTENCE_BATCH.get(self.device.type, 64)
        for start in range(0, len(texts), size):
            chosen = order[start : start + size]
            length = self.text_length(lengths[chosen[-1]])
            ids, mask = F.pad(tokens.ids[chosen], (0, length)), F.pad(tokens.mask[chosen], (0, length))
            features[chosen] = self.encode_text(self.embed_tokens(ids[:, :length]), mask[:, :length]).float()
        return features

    def text_length(self, longest: int) -> int:
        """How many tokens a batch of texts is padded to whose longest has `longest`."""
        return self.context_length if self.pad_text else longest


def build_backbone(name: str, path: str = "") -> Backbone:
    """Build a backbone by name, frozen, on the CPU, in fp32.

    Args:
        name: a name of BACKBONE_REGISTRY.
        path: folder with the weights in the hub's own layout; "" for the backbone's own source.

    Raises:
        InputError: unknown name, or weights that cannot be found or do not fit.
    """
    backbone = BACKBONE_REGISTRY.get(name)(path).freeze()
    backbone.digest = _digest(backbone)
    return backbone


def _digest(backbone: Backbone) -> str:
    """A hash over names, shapes and bytes of all weights."""

    def of_one(item: tuple[str, Tensor]) -> bytes:
        name, value = item
        about = f"{name} {value.dtype} {tuple(value.shape)}".encode()
        return hashlib.blake2b(value.contiguous().view(-1).view(torch.uint8).numpy()).digest() + about

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing lets other threads run
        parts = pool.map(of_one, sorted(backbone.state_dict().items()))
        return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
