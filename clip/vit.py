"""Vision transformers with a visual prompt written into their token sequence; what timm's and open_clip's share."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import Projection, VisualPrompt

NO_PROMPT = VisualPrompt(tokens=0)
Short = Callable[[nn.Module, Tensor], Tensor]


def forward_with_prompt(trunk: nn.Module, pixels: Tensor, prompt: VisualPrompt) -> Tensor:
    """Run a timm ViT with a prompt in its token sequence.

    Args:
        trunk: a timm VisionTransformer.
        pixels: (B, 3, H, W).
        prompt: what is written, where and how deep.

    Returns:
        The trunk's pooled output (B, width), as its own forward pass gives it.
    """
    start = trunk.num_prefix_tokens
    writer = PromptWriter(prompt, len(trunk.blocks), trunk.embed_dim, start)
    tokens = trunk.norm_pre(writer.begin(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(pixels)))))
    short = _class_token if _only_class_token_counts(trunk, trunk.blocks[-1]) else None
    tokens = through_blocks(trunk.blocks, tokens, writer, short)
    return trunk.forward_head(trunk.norm(tokens))


def through_blocks(blocks: Sequence[nn.Module], tokens: Tensor, writer: "PromptWriter", short: Short | None) -> Tensor:
    """Send tokens (B, L, W) through a tower's blocks with a prompt written before each.

    `short` computes the last block for the class token alone, (B, 1, W); None to run the block as it is.
    """
    for layer, block in enumerate(blocks):
        tokens = writer.before(layer, tokens)
        tokens = short(block, tokens) if short and layer + 1 == len(blocks) else block(tokens)
    return tokens


class PromptWriter:
    """Writes a visual prompt into a sequence: into the embedded image, and anew before the blocks that it reaches.

    Args:
        prompt: what is written, where and how deep.
        blocks: how many the tower has.
        width: of its tokens.
        start: the place of the first prompt token, after the class token.

    Raises:
        ValueError: values of another shape than (depth, tokens, width).
    """

    def __init__(self, prompt: VisualPrompt, blocks: int, width: int, start: int = 1):
        self.prompt, self.start, self.width = prompt, start, width
        self.depth = blocks if prompt.depth is None else prompt.depth
        expected = (self.depth, prompt.tokens, width)
        if prompt.values is not None and tuple(prompt.values.shape) != expected:
            raise ValueError(f"visual prompt values have shape {tuple(prompt.values.shape)}, expected {expected}")

    def begin(self, tokens: Tensor) -> Tensor:
        """Put the first layer's prompt into the embedded image (B, L, W), or in the place of its first patches."""
        return self._write(tokens, 0, skip=0 if self.prompt.placement == "insert" else self.prompt.tokens)

    def before(self, layer: int, tokens: Tensor) -> Tensor:
        """Overwrite the prompt's tokens in what enters a block.

        What is learned for the first layer has been through the tower's norm before the first block; zeros are zeros
        there too.
        """
        if layer >= self.depth or (layer == 0 and self.prompt.values is not None):
            return tokens
        return self._write(tokens, layer, skip=self.prompt.tokens)

    def _write(self, tokens: Tensor, layer: int, skip: int) -> Tensor:
        if not self.prompt.tokens:
            return tokens
        if self.prompt.values is None:
            written = tokens.new_zeros(self.prompt.tokens, self.width)
        else:
            written = self.prompt.values[layer].to(tokens.dtype)
        written = written.expand(len(tokens), -1, -1)
        return torch.cat([tokens[:, : self.start], written, tokens[:, self.start + skip :]], dim=1)


def fused_projections(blocks: Iterable[nn.Module]) -> list[dict[str, Projection]]:
    """The parts of the fused query, key and value layer `attn.qkv` of each block."""

    def parts(qkv: nn.Linear) -> dict[str, Projection]:
        width = qkv.in_features
        return {name: (qkv, slice(k * width, (k + 1) * width)) for k, name in enumerate("qkv")}

    return [parts(block.attn.qkv) for block in blocks]


def class_token_heads(attn: nn.Module, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The class token's query (B, heads, 1, w), and the keys and values (B, heads, L, w), of a block's attention.

    Args:
        attn: with a fused layer `qkv` and `num_heads`.
        normed: what enters the attention (B, L, W).
    """
    width, weight, bias = normed.shape[-1], attn.qkv.weight, attn.qkv.bias
    bias = (None, None) if bias is None else (bias[:width], bias[width:])
    query = F.linear(normed[:, :1], weight[:width], bias[0])
    key, value = F.linear(normed, weight[width:], bias[1]).chunk(2, dim=-1)
    return tuple(x.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for x in (query, key, value))


def _only_class_token_counts(trunk: nn.Module, block: nn.Module) -> bool:
    """Whether the head reads the class token alone, and the block is of the make that `_class_token` knows."""
    from timm.layers import Attention  # takes most of a second to load
    from timm.models.vision_transformer import Block

    if trunk.global_pool != "token" or trunk.training or type(block) is not Block or type(block.attn) is not Attention:
        return False
    attn = block.attn
    if attn.qkv._forward_hooks:  # somebody adds to what this layer gives
        return False
    plain = getattr(attn, "gate", None) is None and isinstance(getattr(attn, "norm", None), nn.Identity | None)
    return plain and attn.qkv.out_features == 3 * attn.qkv.in_features


def _class_token(block: nn.Module, tokens: Tensor) -> Tensor:
    """The class token (B, 1, W) after a block, without the work for the tokens that nothing reads after it."""
    attn = block.attn
    query, key, value = class_token_heads(attn, block.norm1(tokens))
    mixed = F.scaled_dot_product_attention(attn.q_norm(query), attn.k_norm(key), value, scale=attn.scale)
    token = tokens[:, :1] + block.ls1(attn.proj(mixed.transpose(1, 2).flatten(2)))
    return token + block.ls2(block.mlp(block.norm2(token)))
