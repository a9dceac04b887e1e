"""Checks of tensors that were read from files."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dassl.errors import InputError, shown

LISTED = 3  # weights in a message


def why_unusable(value: Any) -> str:
    """What keeps a value from being used as a weight, in words; "" if it is a dense tensor of finite real numbers."""
    if not isinstance(value, Tensor):
        return f"is a {type(value).__name__}, not a tensor"
    if problem := _why_not_dense(value):
        return problem
    if value.is_complex():
        return "holds complex numbers"
    if value.is_floating_point() and value.element_size() < 2:
        return "holds floating-point numbers of 8 bits or fewer"  # torch cannot compute with them
    return "" if is_finite(value) else "holds numbers that are not finite"


def _why_not_dense(value: Tensor) -> str:
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        return "is sparse, quantised or without values"
    if value.untyped_storage().nbytes() < value.numel() * value.element_size():
        return f"declares {value.numel():,} numbers and holds fewer"
    return ""


def is_finite(value: Tensor) -> bool:
    """Whether all numbers of a dense tensor are finite."""
    if not value.is_floating_point() or not value.numel():
        return True
    # The sum reads large weights once; it may overflow where every number is finite.
    return bool(value.detach().sum().isfinite()) or bool(value.isfinite().all())


def state_dict_of(content: Any, where: object) -> dict[str, Tensor]:
    """The state dict that a file holds directly or under the key "state_dict", without the prefix "module.".

    Raises:
        InputError: it holds something else.
    """
    weights = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(weights, dict):
        raise InputError(f"'{where}' holds a {type(weights).__name__}, not a state dict")
    if odd := [key for key in weights if not isinstance(key, str)]:
        raise InputError(f"'{where}' holds no state dict: {shown(odd[0])} is no name of a weight")
    return {key.removeprefix("module."): value for key, value in weights.items()}


def why_not_fitting(weights: Any, own: Mapping[str, Tensor]) -> str:
    """How the weights of a file differ from what a model has, in a line; "" where they fit."""
    if not isinstance(weights, dict):
        return f"it holds a {type(weights).__name__} instead of weights by name"
    parts = []
    for kind, names in (("missing", own.keys() - weights.keys()), ("unknown", weights.keys() - own.keys())):
        parts += [f"{kind}: {listed(sorted(map(str, names)))}"] if names else []
    if parts:
        return "; ".join(parts)
    unusable = [f"'{name}' {problem}" for name in own if (problem := why_unusable(weights[name]))]
    if unusable:
        return listed(unusable)
    pairs = [(name, weights[name], value) for name, value in own.items()]
    differing = [
        f"'{name}' has shape {_some_of(found.shape)}, the model's {_some_of(value.shape)}"
        for name, found, value in pairs
        if found.shape != value.shape
    ]
    differing += [
        f"'{name}' has numbers of type {found.dtype}, the model's {value.dtype}"
        for name, found, value in pairs
        if found.is_floating_point() != value.is_floating_point()
    ]
    return listed(differing)


def digest_of(content: Any) -> str:
    """A hash of nested dictionaries, lists, tensors and plain values; equal contents have equal hashes.

    Raises:
        ValueError: a tensor that cannot be hashed, or deeper nesting than files of this project have.
    """
    digest = hashlib.blake2b(digest_size=16)

    def add(value: Any, depth: int) -> None:
        if depth > 20:
            raise ValueError("too deeply nested")
        if isinstance(value, Tensor):
            if problem := _why_not_dense(value):
                raise ValueError(f"a tensor {problem}")
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        elif isinstance(value, dict):
            digest.update(f"dict {len(value)}".encode())  # of any kind: their order counts, their class does not
            for key, element in value.items():
                add(key, depth + 1)
                add(element, depth + 1)
        elif isinstance(value, list | tuple):
            digest.update(f"{type(value).__name__} {len(value)}".encode())
            for element in value:
                add(element, depth + 1)
        else:
            text = repr(value) if isinstance(value, str | int | float | bool | None) else ""
            digest.update(f"{type(value).__name__} {text};".encode(errors="backslashreplace"))

    add(content, 0)
    return digest.hexdigest()


def listed(texts: list[str]) -> str:
    """The first names of a list, and how many more there are, for a message."""
    more = f" and {len(texts) - LISTED} more" if len(texts) > LISTED else ""
    return ", ".join(texts[:LISTED]) + more


def _some_of(shape: torch.Size) -> str:
    return shown(tuple(shape), 60)
