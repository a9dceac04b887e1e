"""A timm vision transformer's forward pass with a visual prompt written into its token sequence."""

import torch
from torch import Tensor, nn

from clip.backbone import VisualPrompt


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
        tokens = block(tokens)
    return trunk.forward_head(trunk.norm(tokens))


def _prompt_values(prompt: VisualPrompt, tokens: Tensor, blocks: int) -> Tensor:
    depth = blocks if prompt.depth is None else prompt.depth
    if prompt.values is None:
        return tokens.new_zeros(depth, prompt.tokens, tokens.shape[-1])
    expected = (depth, prompt.tokens, tokens.shape[-1])
    if tuple(prompt.values.shape) != expected:
        raise ValueError(f"visual prompt values have shape {tuple(prompt.values.shape)}, expected {expected}")
    return prompt.values.to(tokens.dtype)
