"""The learned text context: a few word embeddings that replace the first words of a prompt."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip import Backbone, Tokens
from dassl.errors import InputError, shown, unknown_name

POSITIONS = ("end", "middle", "front")


class TextContext(nn.Module):
    """Prompts "prefix class name suffix" whose first `n_ctx` prefix tokens are learned (CoOp, arXiv 2109.01134, eq. 2).

    Args:
        backbone: frozen; its tokeniser and word embeddings are used.
        classnames: C names.
        prefix: words before the class name.
        suffix: text after the class name, with its leading space if there is one (" in the brain." or ".").
        n_ctx: number of learned tokens; 0 for as many as the prefix has words. Further tokens of it stay frozen.
        random_init: start from N(0, 0.02²) instead of the prefix's own embeddings.
        class_specific: one context per class, (C, n_ctx, W), instead of one for all classes, (n_ctx, W).
        position: where the class name stands: at the "end" of the context, in its "middle" (after the first half), or
            in "front" of it.
        depth: J, in how many layers of the text tower the context is learned. For J > 1, the layers 2 … J have their
            own learned tokens in the same places, `deep` (J - 1, n_ctx, W), which start from N(0, 0.02²).

    Raises:
        InputError: unknown position, more learned tokens than the prefix has, a prompt beyond the context length.
    """

    _frozen: Tensor
    _places: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classnames: list[str],
        prefix: str,
        suffix: str,
        n_ctx: int = 0,
        random_init: bool = False,
        class_specific: bool = False,
        position: str = "end",
        depth: int = 1,
    ):
        super().__init__()
        if depth > 1 and position != "end":
            raise InputError(f"a deep context stands before the class name: position 'end', not '{position}'")
        if position not in POSITIONS:
            raise unknown_name("class token position", position, POSITIONS)
        self._backbone = (backbone,)  # in a tuple, so that it is not registered as a sub-module
        self._encoded: Tensor | None = None
        self.prefix, self.suffix, self.position = prefix, suffix, position
        self.n_ctx = n_ctx or len(prefix.split())
        if not self.n_ctx:
            raise InputError("N_CTX is 0, and there are no words before the class name to be learned; set N_CTX")
        pieces = self._pieces([prefix])[0]
        if self.n_ctx > len(pieces):
            raise InputError(f"N_CTX is {self.n_ctx}, but the prompt's start {shown(prefix)} has {len(pieces)} tokens")
        start = self._embed(pieces[: self.n_ctx])
        values = start.expand(len(classnames), -1, -1) if class_specific else start
        self.ctx = nn.Parameter(torch.empty_like(values).normal_(std=0.02) if random_init else values.clone())
        deep = torch.empty(depth - 1, *start.shape, device=start.device).normal_(std=0.02)
        self.deep = nn.Parameter(deep) if depth > 1 else None
        self.set_classes(classnames)

    def set_classes(self, classnames: list[str]) -> None:
        """Build the prompts of other class names; the learned context does not change."""
        if self.ctx.dim() == 3 and len(classnames) != len(self.ctx):
            raise InputError(
                f"a class-specific context (CSC) of {len(self.ctx)} classes cannot serve {len(classnames)} others"
            )
        rows, places = zip(*(self._arrange(name) for name in classnames), strict=True)
        length = self._backbone[0].text_length(max(map(len, rows)))
        device = self._backbone[0].device
        ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=device)
        self.tokens = Tokens(ids, mask)
        with torch.no_grad():
            self.register_buffer("_frozen", self._backbone[0].embed_tokens(ids), persistent=False)
        index = torch.tensor(places, device=device)[..., None].expand(-1, -1, self._frozen.shape[-1])
        self.register_buffer("_places", index, persistent=False)

    def forward(self, shift: Tensor | None = None) -> Tensor:
        """Prompt embeddings (C, L, W): frozen words and the learned context.

        With `shift` (B, W), which is added to every token of the context, (B, C, L, W).
        """
        context = self.ctx if self.ctx.dim() == 3 else self.ctx.expand(len(self._frozen), -1, -1)
        frozen, places = self._frozen, self._places
        if shift is not None:
            context = context + shift[:, None, None]
            frozen, places = (x.expand(len(shift), *x.shape) for x in (frozen, places))
        return frozen.scatter(-2, places, context.to(frozen.dtype))

    def features(self, shift: Tensor | None = None) -> Tensor:
        """Normalised text features (C, D) of the prompts; with `shift` (B, W), of B sets of prompts, (B, C, D)."""
        encoded = self._encoded
        if encoded is None:
            prompts = self(shift)
            rows = prompts.flatten(0, -3)
            mask = self.tokens.mask.repeat(len(rows) // len(self.tokens), 1)
            encoded = self._backbone[0].encode_text(rows, mask, self.deep).unflatten(0, prompts.shape[:-2])
        return F.normalize(encoded, dim=-1)

    @contextlib.contextmanager
    def encoded_as(self, encoded: Tensor) -> Iterator[None]:
        """In this block, `features` uses these features (C, D), not normalised, instead of encoding the prompts."""
        self._encoded = encoded
        try:
            yield
        finally:
            self._encoded = None

    @torch.no_grad()
    def words_after(self, classname: str) -> Tensor:
        """Word embeddings (L, W) of what follows the learned words in a prompt that ends with the class name."""
        _, prefix, name, suffix, end = self._parts(classname)
        return self._embed(prefix[self.n_ctx :] + name + suffix + end)

    def _arrange(self, classname: str) -> tuple[list[int], list[int]]:
        """Token ids of one prompt, and the positions of the context in it."""
        start, prefix, name, suffix, end = self._parts(classname)
        context, rest = prefix[: self.n_ctx], prefix[self.n_ctx :]
        if self.position == "end":
            before, after = self.n_ctx, 0
            row = start + context + rest + name + suffix + end
        else:
            before = self.n_ctx // 2 if self.position == "middle" else 0
            after = self.n_ctx - before
            row = start + context[:before] + name + context[before:] + rest + suffix + end
        first = list(range(1, 1 + before))
        return row, first + list(range(1 + before + len(name), 1 + before + len(name) + after))

    def _parts(self, classname: str) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
        backbone = self._backbone[0]
        whole = f"{self.prefix} {classname}{self.suffix}"
        prefix, name, suffix = self._pieces([self.prefix, classname, self.suffix])
        length = len(prefix) + len(name) + len(suffix) + 2  # with start and end token
        if length > (limit := backbone.context_length):
            raise InputError(
                f"the prompt of class '{classname}' has {length} tokens, the backbone takes {limit}; "
                "shorten CTX_INIT, the template (DATASET.PROMPTS) or the class name"
            )
        tokens = backbone.tokenize([whole])
        ids = tokens.ids[0][tokens.mask[0].bool()].tolist()
        if ids[1:-1] != prefix + name + suffix:
            raise InputError(f"the parts of the prompt '{whole}' do not tokenise alone as they do together")
        return ids[:1], prefix, name, suffix, ids[-1:]

    def _pieces(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text without start and end token."""
        tokens = self._backbone[0].tokenize(texts)
        return [row[keep.bool()].tolist()[1:-1] for row, keep in zip(tokens.ids, tokens.mask, strict=True)]

    @torch.no_grad()
    def _embed(self, ids: list[int]) -> Tensor:
        backbone = self._backbone[0]
        return backbone.embed_tokens(torch.tensor(ids, device=backbone.device)[None])[0]


def encode_stack(contexts: Sequence[TextContext]) -> list[Tensor]:
    """Features (C, D), not normalised, of the prompts of several contexts of one backbone, in one forward pass."""
    backbone = contexts[0]._backbone[0]
    length = max(context.tokens.ids.shape[1] for context in contexts)
    missing = [length - context.tokens.ids.shape[1] for context in contexts]
    prompts = [F.pad(context(), (0, 0, 0, more)) for context, more in zip(contexts, missing, strict=True)]
    masks = [F.pad(context.tokens.mask, (0, more)) for context, more in zip(contexts, missing, strict=True)]
    encoded = backbone.encode_text(torch.cat(prompts), torch.cat(masks))
    return list(encoded.split([len(prompt) for prompt in prompts]))
