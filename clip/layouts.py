"""Convert state dicts of CLIP models to one layout: OpenAI's names, which open_clip's models use too."""

import re
from pathlib import Path

import torch
from torch import Tensor

from clip.hub import WHAT_TO_DO, building_from, check_keys, read_weights
from dassl.errors import InputError, shown
from dassl.utils.tensors import state_dict_of, why_unusable

# Sizes that OpenAI's state dicts hold beside the weights. They are not needed: the shapes of the weights imply them.
OPENAI_SIZES = ("input_resolution", "context_length", "vocab_size")
# How transformers' CLIPModel names weights: prefixes of the keys, then parts of the keys inside a block.
PREFIXES = {
    "text_model.embeddings.token_embedding.": "token_embedding.",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.encoder.layers.": "transformer.resblocks.",
    "text_model.final_layer_norm.": "ln_final.",
    "text_projection.weight": "text_projection",
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.": "visual.conv1.",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "visual_projection.weight": "visual.proj",
}
BLOCK_PARTS = {
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    ".self_attn.out_proj.": ".attn.out_proj.",
}
# Linear layers without bias in transformers; in OpenAI's layout, matrices with which features are multiplied.
TRANSPOSED = ("text_projection", "visual.proj")
SEPARATE_QKV = re.compile(r"(.+)\.self_attn\.[qkv]_proj\.(weight|bias)")


def read_state_dict(file: Path, drop: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Read the state dict in a file, which may hold it directly or under the key "state_dict".

    The prefix "module." is removed from the keys, and the keys in `drop` are left out.

    Raises:
        InputError: the file cannot be read, or it does not hold a state dict.
    """
    weights = {key: value for key, value in state_dict_of(read_weights(file), file).items() if key not in drop}
    if problem := next((f"'{key}' {why}" for key, value in weights.items() if (why := why_unusable(value))), ""):
        raise InputError(f"the weights in '{file}' cannot be used: {problem}; download the file again")
    return weights


def check_dimensions(file: Path, weights: dict[str, Tensor], dimensions: dict[str, int]) -> None:
    """Check that weights are there and have a number of dimensions, before sizes are read from their shapes.

    Raises:
        InputError: with the names of those that do not.
    """
    check_keys(file, [key for key in dimensions if key not in weights], [])
    for key, number in dimensions.items():
        if weights[key].dim() != number or 0 in weights[key].shape:
            shape = shown(tuple(weights[key].shape), 60)
            raise InputError(f"the weights in '{file}' do not fit the model: '{key}' has shape {shape}; {WHAT_TO_DO}")


def read_clip(file: Path) -> dict[str, Tensor]:
    """Read the state dict of a CLIP in OpenAI's, open_clip's or transformers' layout and convert it to OpenAI's.

    Unknown keys stay in the result; loading the weights into the model reports them.
    """
    weights = read_state_dict(file, drop=OPENAI_SIZES)
    if any(key.startswith(("text_model.", "vision_model.")) for key in weights):
        with building_from(file):
            return _from_transformers(weights, file)
    return weights


def _from_transformers(weights: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        if key.endswith(".position_ids"):  # constants, stored by transformers before 4.31
            continue
        if match := SEPARATE_QKV.fullmatch(key):
            parts = [f"{match[1]}.self_attn.{part}_proj.{match[2]}" for part in "qkv"]
            check_keys(file, [part for part in parts if part not in weights], [])
            found[_renamed(f"{match[1]}.attn.in_proj_{match[2]}")] = torch.cat([weights[part] for part in parts])
        else:
            name = _renamed(key)
            found[name] = value.T.contiguous() if name in TRANSPOSED else value
    return found


def _renamed(key: str) -> str:
    for prefix, ours in PREFIXES.items():
        if key.startswith(prefix):
            key = ours + key.removeprefix(prefix)
            break
    for theirs, ours in BLOCK_PARTS.items():
        key = key.replace(theirs, ours)
    return key
