"""The interface of a frozen vision-language model. Code outside this package uses backbones only through it."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.utils import Registry

BACKBONE_REGISTRY = Registry("backbone")
SENTENCE_BATCH = {"cpu": 16, "cuda": 256}  # small batches stay in a CPU's caches, which is faster
# A linear layer, and the rows of its output that hold the queries, keys or values of one attention block.
Projection = tuple[nn.Linear, slice]
# A function of a projection's input (..., in_features); its result (..., rows) is added to the projection's output.
Addition = Callable[[Tensor], Tensor]
Tower = Literal["text", "image"]
# A module of timm, open_clip or transformers. Type checkers cannot know the attributes of these modules.
LibraryModule = Any


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts: ids (N, L) int64 and mask (N, L) int64, 1 on tokens and 0 on padding."""

    ids: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.ids)


Placement = Literal["replace", "insert"]
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)


@dataclass(frozen=True)
class VisualPrompt:
    """Prompt tokens in the sequence of a vision transformer, placed right after the class token.

    Attributes:
        tokens: the number of prompt tokens.
        depth: the number of blocks, counted from the first, that get prompt tokens of their own; None for all blocks.
        placement: "replace" overwrites patch tokens, so that the sequence keeps its length; "insert" makes the sequence
            longer.
        values: (depth, tokens, width); None for zeros. A zero prompt has no parameters, so that a tower with a zero
            prompt is as frozen as a tower without a prompt.
        positions: which patches "replace" overwrites, counted from 0; None for the first ones.
    """

    tokens: int = 4
    depth: int | None = None
    placement: Placement = "replace"
    values: Tensor | None = None
    positions: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.placement not in PLACEMENTS:
            raise ValueError(f"the placement of a visual prompt must be 'replace' or 'insert', not '{self.placement}'")
        if self.positions is not None and (self.placement == "insert" or len({*self.positions}) != self.tokens):
            raise ValueError("positions are for a visual prompt that replaces patches: a different one for each token")

    def written(self, layer: int, tokens: Tensor) -> Tensor:
        """Return the n tokens, (1, n, W) or (B, n, W), that are written into the input (B, L, W) of a block."""
        if self.values is None:
            return tokens.new_zeros(1, self.tokens, tokens.shape[-1])
        return self.values[layer, None].to(tokens.dtype)

    def key(self) -> list:
        """What features depend on, as JSON values, for a prompt without values. A subclass adds its own."""
        return [self.tokens, self.depth, self.placement, *([list(self.positions)] if self.positions else [])]


class Backbone(nn.Module):
    """A frozen image tower and a frozen text tower whose features share one space of width `embed_dim`.

    A subclass sets the attributes and implements the methods that raise NotImplementedError. Features are not
    normalised.

    Attributes:
        image_tokens: whether the image tower processes a sequence of tokens, which can hold a visual prompt.
        digest: hash of the weights. Backbones with the same digest compute the same features.
        pad_text: pad every text to `context_length`, as the published code does. This is slower and gives the same
            features.
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

    def __init__(self) -> None:
        super().__init__()
        self._adapted_layers: list[nn.Linear] = []

    def tokenize(self, texts: list[str]) -> Tokens:
        """Tokenise N texts with start and end tokens, padded to the longest of them and not to `context_length`."""
        raise NotImplementedError

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Return the word embeddings (N, L, text_width) of token ids (N, L), without position embeddings."""
        raise NotImplementedError

    def encode_text(self, embeddings: Tensor, mask: Tensor, deep: Tensor | None = None) -> Tensor:
        """Compute text features (N, embed_dim) from word embeddings (N, L, text_width) and a mask (N, L).

        `deep` (J - 1, n, text_width) holds deep prompts: they overwrite tokens 1 … n, which follow the start token,
        before each of the layers 2 … J (MaPLe, arXiv 2210.03117, eq. 4).
        """
        raise NotImplementedError

    def encode_image(self, pixels: Tensor, prompt: VisualPrompt | None = None) -> Tensor:
        """Compute image features (B, embed_dim) from normalised pixels (B, 3, image_size, image_size)."""
        raise NotImplementedError

    def vocabulary(self) -> tuple[list[str], Tensor]:
        """Return the V words of the tokeniser, in its spelling, and their embeddings (V, text_width)."""
        raise NotImplementedError

    def last_feature_map(self) -> nn.Module:
        """Return the module whose output is the last feature map (B, channels, rows, columns) of the image tower.

        Only a convolutional image tower has one.
        """
        raise NotImplementedError

    def attention_projections(self, tower: Tower) -> list[dict[str, Projection]]:
        """Return the "q", "k" and "v" projections of each self-attention block of a tower, first block first."""
        raise NotImplementedError

    @contextlib.contextmanager
    def adapted(self, additions: Iterable[tuple[Projection, Addition]]) -> Iterator[None]:
        """Add to the output of attention projections while the context is open.

        Methods that change what a tower computes (LoRA, for example) must do it through this context manager: a tower
        skips work only where no projection is adapted. Contexts can be nested; their additions accumulate.

        Args:
            additions: projections of this backbone with the function to add to each.
        """
        with contextlib.ExitStack() as stack:
            for (layer, rows), addition in additions:
                stack.enter_context(layer.register_forward_hook(_adding(rows, addition)))
                self._adapted_layers.append(layer)
                stack.callback(self._adapted_layers.remove, layer)
            yield

    def is_adapted(self, layer: nn.Module) -> bool:
        """Return whether an open `adapted` context changes the output of a layer."""
        return any(layer is other for other in self._adapted_layers)

    def set_text_dropout(self, on: bool) -> None:
        """Switch the text tower's dropout on or off. It is off by default; a tower without dropout ignores the call."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def freeze(self) -> "Backbone":
        """Set evaluation mode and switch off the gradients of all weights."""
        return self.eval().requires_grad_(False)

    @torch.no_grad()
    def encode_sentences(self, texts: list[str]) -> Tensor:
        """Compute text features (N, embed_dim) of plain texts, in batches of similar length."""
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
        """Return the length to which a batch is padded if its longest text has `longest` tokens."""
        return self.context_length if self.pad_text else longest


def build_backbone(name: str, path: str = "") -> Backbone:
    """Build a backbone by name: frozen, on the CPU, in fp32.

    Args:
        name: a name in BACKBONE_REGISTRY.
        path: folder with the weights in the layout of the hub; "" for the source that the backbone's class names.

    Raises:
        InputError: the name is unknown, or the weights cannot be found or do not fit the model.
    """
    backbone = BACKBONE_REGISTRY.get(name)(path).freeze()
    backbone.digest = _digest(backbone)
    return backbone


def _digest(backbone: Backbone) -> str:
    """Hash the names, types, shapes and bytes of all weights."""

    def digest_of_tensor(item: tuple[str, Tensor]) -> bytes:
        name, value = item
        header = f"{name} {value.dtype} {tuple(value.shape)}".encode()
        return hashlib.blake2b(value.contiguous().view(-1).view(torch.uint8).numpy().data).digest() + header

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing releases the global interpreter lock
        parts = pool.map(digest_of_tensor, sorted(backbone.state_dict().items()))
        return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def _adding(rows: slice, addition: Addition) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    """Make a forward hook that adds `addition(input)` to some rows of a layer's output."""

    def hook(_layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        start, stop, _ = rows.indices(output.shape[-1])
        return output + F.pad(addition(args[0]), (start, output.shape[-1] - stop))

    return hook
