"""A timm vision transformer's forward pass with a visual prompt written into its token sequence."""

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import VisualPrompt

NO_PROMPT = VisualPrompt(tokens=0)


def forward_with_prompt(trunk: nn.Module, pixels: Tensor, prompt: VisualPrompt) -> Tensor:
    """Run a timm ViT block by block and write the prompt before each of the first `prompt.depth` blocks.

    Args:
        trunk: a timm VisionTransformer.
        pixels: (B, 3, H, W).
        prompt: what is written, where and how deep.

    Returns:
        The trunk's pooled output (B, width), as its own forward pass gives it.
    """
    tokens = trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(pixels))))
    start = trunk.num_prefix_tokens
    values = _prompt_values(prompt, tokens, len(trunk.blocks))
    for layer, block in enumerate(trunk.blocks):
        if layer < len(values):
            # After an insertion before the first block the inserted tokens are simply overwritten.
            skip = 0 if prompt.placement == "insert" and layer == 0 else prompt.tokens
            written = values[layer].expand(len(tokens), -1, -1)
            tokens = torch.cat([tokens[:, :start], written, tokens[:, start + skip :]], dim=1)
        last = layer + 1 == len(trunk.blocks)
        tokens = _class_token(block, tokens) if last and _only_class_token_counts(trunk, block) else block(tokens)
    return trunk.forward_head(trunk.norm(tokens))


def _only_class_token_counts(trunk: nn.Module, block: nn.Module) -> bool:
    """Whether the head reads the class token alone, and the block is of the make that `_class_token` knows."""
    if trunk.global_pool != "token" or trunk.training or type(block) is not Block or type(block.attn) is not Attention:
        return False
    attn = block.attn
    plain = getattr(attn, "gate", None) is None and isinstance(getattr(attn, "norm", None), nn.Identity | None)
    return plain and attn.qkv.out_features == 3 * attn.qkv.in_features


def _class_token(block: Block, tokens: Tensor) -> Tensor:
    """The class token (B, 1, W) after a block, without the work for the tokens that nothing reads after it."""
    attn, width = block.attn, tokens.shape[-1]
    normed = block.norm1(tokens)
    weight, bias = attn.qkv.weight, attn.qkv.bias
    bias = (None, None) if bias is None else (bias[:width], bias[width:])
    query = F.linear(normed[:, :1], weight[:width], bias[0])
    key, value = F.linear(normed, weight[width:], bias[1]).chunk(2, dim=-1)
    query, key, value = (x.unflatten(-1, (attn.num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    mixed = F.scaled_dot_product_attention(attn.q_norm(query), attn.k_norm(key), value, scale=attn.scale)
    token = tokens[:, :1] + block.ls1(attn.proj(mixed.transpose(1, 2).flatten(2)))
    return token + block.ls2(block.mlp(block.norm2(token)))


def _prompt_values(prompt: VisualPrompt, tokens: Tensor, blocks: int) -> Tensor:
    depth = blocks if prompt.depth is None else prompt.depth
    if prompt.values is None:
        return tokens.new_zeros(depth, prompt.tokens, tokens.shape[-1])
    expected = (depth, prompt.tokens, tokens.shape[-1])
    if tuple(prompt.values.shape) != expected:
        raise ValueError(f"visual prompt values have shape {tuple(prompt.values.shape)}, expected {expected}")
    return prompt.values.to(tokens.dtype)
