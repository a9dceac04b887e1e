"""Visual prompts in the token sequence of vision transformers, for the ViTs of timm and open_clip."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import LibraryModule, Projection, VisualPrompt

NO_PROMPT = VisualPrompt(tokens=0)
# A function that computes a block's output (B, 1, W) for the class token only, from the block and its input (B, L, W).
ClassTokenBlock = Callable[[LibraryModule, Tensor], Tensor]


def forward_with_prompt(trunk: LibraryModule, pixels: Tensor, prompt: VisualPrompt, may_shorten: bool = True) -> Tensor:
    """Run a timm ViT with a visual prompt in its token sequence.

    Args:
        trunk: a timm VisionTransformer.
        pixels: (B, 3, H, W).
        prompt: the prompt; NO_PROMPT for none.
        may_shorten: whether the last block may be computed for the class token only. Must be False if a projection of
            that block is adapted.

    Returns:
        The pooled output (B, width) of the trunk, as its own forward pass computes it.
    """
    start = trunk.num_prefix_tokens
    writer = PromptWriter(prompt, len(trunk.blocks), trunk.embed_dim, start)
    tokens = trunk.norm_pre(writer.begin(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(pixels)))))
    last_block = _class_token if may_shorten and _can_shorten(trunk, trunk.blocks[-1]) else None
    tokens = run_blocks(trunk.blocks, tokens, writer, last_block)
    return trunk.forward_head(trunk.norm(tokens))


def run_blocks(
    blocks: Sequence[nn.Module], tokens: Tensor, writer: "PromptWriter", last_block: ClassTokenBlock | None
) -> Tensor:
    """Run tokens (B, L, W) through the blocks of a tower, and write the prompt before each block.

    `last_block` replaces the forward pass of the last block, so that the result is (B, 1, W); None keeps it.
    """
    for layer, block in enumerate(blocks):
        tokens = writer.before(layer, tokens)
        tokens = last_block(block, tokens) if last_block and layer + 1 == len(blocks) else block(tokens)
    return tokens


class PromptWriter:
    """Writes a visual prompt into the embedded image and into the inputs of the first blocks.

    Args:
        prompt: the prompt.
        blocks: the number of blocks in the tower.
        width: the width of its tokens.
        start: the position of the first prompt token, after the class token.

    Raises:
        ValueError: the shape of the prompt's values is not (depth, tokens, width).
    """

    def __init__(self, prompt: VisualPrompt, blocks: int, width: int, start: int = 1):
        self.prompt, self.start = prompt, start
        self.depth = blocks if prompt.depth is None else prompt.depth
        expected = (self.depth, prompt.tokens, width)
        if prompt.values is not None and tuple(prompt.values.shape) != expected:
            raise ValueError(
                f"the values of a visual prompt must have shape {expected}, not {tuple(prompt.values.shape)}"
            )

    def begin(self, tokens: Tensor) -> Tensor:
        """Insert the prompt of the first block into the embedded image (B, L, W), or replace patches."""
        return self._write(tokens, 0, skip=0 if self.prompt.placement == "insert" else self.prompt.tokens)

    def before(self, layer: int, tokens: Tensor) -> Tensor:
        """Overwrite the prompt tokens in the input of a block.

        At the first block, learned values are not written again: `begin` inserted them before the tower's first norm
        layer. Zeros are written again, so that they are zero after that layer too.
        """
        if layer >= self.depth or (layer == 0 and self.prompt.values is not None):
            return tokens
        return self._write(tokens, layer, skip=self.prompt.tokens)

    def _write(self, tokens: Tensor, layer: int, skip: int) -> Tensor:
        if not self.prompt.tokens:
            return tokens
        written = self.prompt.written(layer, tokens).expand(tokens.shape[0], -1, -1)  # len() would fix an export's batch
        if self.prompt.positions is None:
            return torch.cat([tokens[:, : self.start], written, tokens[:, self.start + skip :]], dim=1)
        tokens = tokens.clone()
        tokens[:, [self.start + position for position in self.prompt.positions]] = written
        return tokens


def fused_projections(blocks: Iterable[LibraryModule]) -> list[dict[str, Projection]]:
    """Return the query, key and value projections of each block with a fused layer `attn.qkv`."""

    def parts(qkv: nn.Linear) -> dict[str, Projection]:
        width = qkv.in_features
        return {name: (qkv, slice(k * width, (k + 1) * width)) for k, name in enumerate("qkv")}

    return [parts(block.attn.qkv) for block in blocks]


def class_token_heads(attn: LibraryModule, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the query (B, heads, 1, w) of the class token and the keys and values (B, heads, L, w) of all tokens.

    Args:
        attn: attention with a fused layer `qkv` and the attribute `num_heads`.
        normed: the input of the attention (B, L, W).
    """
    width, weight, bias = normed.shape[-1], attn.qkv.weight, attn.qkv.bias
    bias = (None, None) if bias is None else (bias[:width], bias[width:])
    query = F.linear(normed[:, :1], weight[:width], bias[0])
    key, value = F.linear(normed, weight[width:], bias[1]).chunk(2, dim=-1)
    query, key, value = (x.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    return query, key, value


def _can_shorten(trunk: LibraryModule, block: LibraryModule) -> bool:
    """Return whether the head reads only the class token and `_class_token` supports the block's architecture."""
    from timm.layers import Attention  # takes most of a second to import
    from timm.models.vision_transformer import Block

    if trunk.global_pool != "token" or trunk.training or type(block) is not Block or type(block.attn) is not Attention:
        return False
    attn = block.attn
    plain = getattr(attn, "gate", None) is None and isinstance(getattr(attn, "norm", None), nn.Identity | None)
    return plain and attn.qkv.out_features == 3 * attn.qkv.in_features


def _class_token(block: LibraryModule, tokens: Tensor) -> Tensor:
    """Compute only the class token (B, 1, W) of a block's output, for the last block of a tower."""
    attn = block.attn
    query, key, value = class_token_heads(attn, block.norm1(tokens))
    mixed = F.scaled_dot_product_attention(attn.q_norm(query), attn.k_norm(key), value, scale=attn.scale)
    token = tokens[:, :1] + block.ls1(attn.proj(mixed.transpose(1, 2).flatten(2)))
    return token + block.ls2(block.mlp(block.norm2(token)))
