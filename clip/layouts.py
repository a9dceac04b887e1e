"""State dicts as files hold them, brought to one layout: OpenAI's names, which open_clip's models have too."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clip.hub import check_keys, read_weights
from dassl.errors import InputError

# Numbers that OpenAI's state dicts hold beside the weights; the weights' shapes say the same.
OPENAI_NUMBERS = ("input_resolution", "context_length", "vocab_size")
# transformers' CLIPModel: beginnings of names, then what stands within the name of a block's weight.
BEGINNINGS = {
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
WITHIN = {
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    ".self_attn.out_proj.": ".attn.out_proj.",
}
MATRICES = (
    "text_projection",
    "visual.proj",
)  # layers without bias there, matrices that features are multiplied with here
APART = re.compile(r"(.+)\.self_attn\.[qkv]_proj\.(weight|bias)")


def read_state_dict(file: Path, drop: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The state dict in a file: itself or under "state_dict", without a "module." prefix and without the keys `drop`.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    content: Any = read_weights(file)
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    if not isinstance(content, dict):
        raise InputError(f"'{file}' holds a {type(content).__name__}, not a state dict; fetch the file again")
    weights = {key.removeprefix("module."): value for key, value in content.items()}
    weights = {key: value for key, value in weights.items() if key not in drop}
    strange = [key for key, value in weights.items() if not isinstance(value, Tensor)]
    check_keys(file, [], strange)
    return weights


def read_clip(file: Path) -> dict[str, Tensor]:
    """The state dict of a CLIP in OpenAI's, open_clip's or transformers' layout, in OpenAI's.

    Names that no layout has are kept, for the check against the model.
    """
    weights = read_state_dict(file, drop=OPENAI_NUMBERS)
    if any(key.startswith(("text_model.", "vision_model.")) for key in weights):
        return _from_transformers(weights, file)
    return weights


def _from_transformers(weights: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        if key.endswith(".position_ids"):  # constants, stored by transformers before 4.31
            continue
        if together := APART.fullmatch(key):
            parts = [f"{together[1]}.self_attn.{part}_proj.{together[2]}" for part in "qkv"]
            check_keys(file, [part for part in parts if part not in weights], [])
            found[_renamed(f"{together[1]}.attn.in_proj_{together[2]}")] = torch.cat([weights[part] for part in parts])
        else:
            name = _renamed(key)
            found[name] = value.T.contiguous() if name in MATRICES else value
    return found


def _renamed(key: str) -> str:
    for beginning, ours in BEGINNINGS.items():
        if key.startswith(beginning):
            key = ours + key.removeprefix(beginning)
            break
    for theirs, ours in WITHIN.items():
        key = key.replace(theirs, ours)
    return key
