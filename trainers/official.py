"""Checkpoints of other code: their names of weights, and files that hold the whole model.

CoOp-style code stores the modules that it trains. The published BiomedCoOp and Biomed-DPT code stores the whole model:
the prompt learner, both towers, and copies of them. What is learned is taken, and the rest is compared with the
backbone. docs/SHARING.md has the layouts and their sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dassl.errors import InputError, shown
from dassl.utils.tensors import listed, why_unusable

if TYPE_CHECKING:
    from trainers.method import Method

LEARNER = "prompt_learner."  # begins the names of the prompt learner's weights, where a file holds more
TOWERS = ("image_encoder.", "text_encoder.", f"{LEARNER}ZS_image_encoder.", "ZS_image_encoder.")
# Word embeddings of the prompts, which follow from the class names.
PROMPTS = ("token_prefix", "token_suffix")
# Modules of a method whose weights were stored, or are stored by CoOp-style code, without the module's name.
FORMER_ROOTS = ("context", "tokens", "adapter", "cache", "linear", "lora")
OTHER_NAMES = {
    "image_encoder.ctx_learner.ctx": "tokens.values",
    "proj.weight": "projections.0.weight",
    "proj.bias": "projections.0.bias",
}
# Weights that the published code of a method creates and stores, and does not use.
UNUSED = {
    "KgCoOp": ("bias_vectors", "meta_net.linear1."),
    "MaPLe": ("compound_prompts_text.", "compound_prompt_projections."),
}
ZEROS = ("image_encoder.prompt_embeddings", "image_encoder.deep_prompt_embeddings")  # Biomed-DPT's visual prompt
CONSTANTS = (".position_ids", ".num_batches_tracked")
# Beginnings of the names of frozen weights, and what they become; applied until none is left.
WRAPPERS = {
    LEARNER: "",
    "ZS_image_encoder.": "visual.",
    "image_encoder.clipmodel.": "",
    "image_encoder.image_encoder.": "visual.",
    "image_encoder.": "visual.",
    "text_encoder.model.": "",
    "text_encoder.": "",
}
# Parts of names, in the published code and in the backbones of this project.
RENAMED = {".attn.in_proj_": ".attn.qkv.", "text_projection_layer": "projection"}
HALF = torch.finfo(torch.float16).eps
STEP = torch.finfo(torch.float16).smallest_normal * HALF  # between the smallest numbers of half precision


@dataclass(frozen=True)
class Comparison:
    """Frozen weights of a checkpoint, compared with those of a backbone.

    Attributes:
        compared: how many tensors of the backbone were compared.
        largest: the largest difference of two numbers.
        differing: names of tensors that differ by more than rounding to 16 bits.
        unknown: names of tensors that the backbone does not have.
    """

    compared: int
    largest: float
    differing: list[str]
    unknown: list[str]


def learned_weights(weights: Mapping[str, Any], method: "Method", path: Path) -> dict[str, Any]:
    """The weights of a checkpoint that a method learns, under the method's names.

    For a file that holds the whole model, notes are printed about what was taken and compared. A name that the method
    does not have stays in the result where the file holds no towers; the caller refuses it.

    Args:
        weights: the state dict of the file, without the prefix "module.".
        method: gets the weights later.
        path: the file, for messages.

    Raises:
        InputError: frozen weights are not those of the method's backbone, or weights belong to neither.
    """
    own = frozenset(method.state_dict())
    learned: dict[str, Any] = {}
    frozen: dict[str, Any] = {}
    unused = UNUSED.get(type(method).__name__, ())
    for name, value in weights.items():
        plain = name.removeprefix(LEARNER)
        # The learned tokens are all that VPT's code stores.
        known = "tokens.values" if [*weights] == ["ctx"] and "context.ctx" not in own else _own_name(plain, own)
        if known in own:
            learned[known] = _of_one_layer(value) if known == "tokens.values" else value
        elif not plain.startswith((*PROMPTS, *unused)):
            frozen[name] = value
    if not any(name.startswith(TOWERS) for name in weights):
        return learned | frozen
    _refuse_others(compare_frozen(frozen, method.backbone), frozen, method, path)
    _say_whose_prompts(weights, learned, method, path)
    return learned


def compare_frozen(frozen: Mapping[str, Any], backbone: torch.nn.Module) -> Comparison:
    """Compare frozen weights of the published code, which may hold several copies, with those of a backbone.

    Numbers that differ by no more than rounding to half precision (to bfloat16, where they are stored so) are equal.
    """
    own = backbone.state_dict()
    compared: set[str] = set()
    seen: set[tuple[str, int]] = set()
    largest, differing, unknown = 0.0, [], []
    for name, value in frozen.items():
        if name.startswith(ZEROS) and not why_unusable(value) and not value.any():
            continue
        ours = _backbone_name(name, own)
        if ours is None:
            unknown += [] if name.endswith(CONSTANTS) else [name]
            continue
        compared.add(ours)
        if why_unusable(value) or value.shape != own[ours].shape:
            differing.append(name)
        elif (ours, value.data_ptr()) not in seen:  # copies of a tower share their memory
            seen.add((ours, value.data_ptr()))
            difference, beyond = _difference(value, own[ours].cpu())
            largest = max(largest, difference)
            differing += [name] * beyond
    return Comparison(len(compared), largest, differing, unknown)


def _own_name(name: str, own: frozenset[str]) -> str:
    """The name in the method of a weight that earlier versions and other code store under another one."""
    if name in own:
        return name
    prefixed = [f"{root}.{name}" for root in FORMER_ROOTS if f"{root}.{name}" in own]
    return prefixed[0] if prefixed else OTHER_NAMES.get(name, name)


def _of_one_layer(value: Any) -> Any:
    """Image tokens (depth, n, W); the published code, which has them in one layer only, stores (n, W)."""
    return value[None] if isinstance(value, Tensor) and value.dim() == 2 else value


def _backbone_name(name: str, own: Mapping[str, Tensor]) -> str | None:
    while wrapper := next((beginning for beginning in WRAPPERS if name.startswith(beginning)), ""):
        name = WRAPPERS[wrapper] + name.removeprefix(wrapper)
    for theirs, ours in RENAMED.items():
        name = name.replace(theirs, ours)
    return next((ours for ours in (f"model.{name}", name, f"text.{name}") if ours in own), None)


def _difference(value: Tensor, own: Tensor) -> tuple[float, bool]:
    """The largest difference of two tensors, and whether it is more than rounding."""
    if not value.numel():
        return 0.0, False
    relative = max(HALF, torch.finfo(value.dtype).eps) if value.is_floating_point() else HALF
    own = own.float()
    difference = (value.float() - own).abs()
    return difference.max().item(), bool((difference > own.abs() * relative + STEP).any())


def _refuse_others(found: Comparison, frozen: Mapping[str, Any], method: "Method", path: Path) -> None:
    backbone = method.backbone.name
    if found.differing:
        raise InputError(
            f"checkpoint '{path}' was trained on another backbone: {len(found.differing)} of {len(frozen)} frozen "
            f"tensors differ from those of {backbone} by more than rounding to 16 bits (largest difference "
            f"{found.largest:.2g}): {listed(found.differing)}; name its backbone with --backbone, or the folder of its "
            "weights with MODEL.BACKBONE.PATH"
        )
    if found.unknown:
        raise InputError(
            f"checkpoint '{path}' holds {len(found.unknown)} tensors that neither {type(method).__name__} nor "
            f"{backbone} has: {listed(found.unknown)}; it is of another method or backbone"
        )
    print(
        f"note: '{path.name}' holds the whole model; {found.compared} frozen tensors were compared with those of "
        f"{backbone} and are the same (largest difference {found.largest:.2g})"
    )


def _say_whose_prompts(weights: Mapping[str, Any], learned: dict, method: "Method", path: Path) -> None:
    """Print whether the stored prompts are those of the run's classes; refuse others where the classes matter."""
    suffix: Any = weights.get(f"{LEARNER}token_suffix", weights.get("token_suffix"))
    context = method.context
    uses = f"this run uses {shown(method.classnames, 400)}"
    known = context is not None and getattr(learned.get("context.ctx"), "shape", None) == context.ctx.shape
    if not known or context is None or why_unusable(suffix) or suffix.dim() != 3:
        print(f"note: '{path.name}' does not say which classes it was trained on; {uses}")
        return
    rows = [_row_of(context.words_after(name).cpu(), suffix) for name in method.classnames]
    if rows == list(range(len(suffix))):
        print(f"note: it was trained on the prompts of these classes, in this order: {shown(method.classnames, 400)}")
        return
    problem = "on other classes, or with other words in the prompt"
    if set(rows) == set(range(len(suffix))):
        problem = "on these classes in another order"
    if method.classes_matter:
        raise InputError(f"checkpoint '{path}' was trained {problem}, and has a context per class; {uses}")
    print(f"note: it was trained {problem}; {uses}")


def _row_of(words: Tensor, suffix: Tensor) -> int | None:
    """The place of a prompt (L, W) among stored ones (C, L', W); None if it is not there."""
    if words.shape[0] > suffix.shape[1] or words.shape[1] != suffix.shape[2]:
        return None
    same = [not _difference(row[: len(words)], words)[1] for row in suffix]
    return same.index(True) if True in same else None
