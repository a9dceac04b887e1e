"""The command `python -m sweep ablate`: the same runs with several variants of the settings, side by side."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from dassl.config import parse_yaml
from dassl.errors import InputError, first_line, shown, unknown_name
from dassl.utils import atomic_path
from sweep import run_command
from sweep.arguments import grids_and_options
from sweep.plan import Axes
from sweep.report.grid import metric
from sweep.report.stats import Value, over_seeds
from sweep.report.summary import grid_of

ARGUMENTS = ("protocol", "datasets", "methods", "shots", "seeds", "folds")  # that a plan may give
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,40}")  # of a variant, which becomes a folder
DATASET = "{dataset}"  # in a value: the name of the data set


@dataclass(frozen=True)
class Ablation:
    """What a plan file says.

    Attributes:
        arguments: those of `sweep run`, as words.
        variants: the settings of each variant; the others are compared with the first.
    """

    arguments: tuple[str, ...]
    variants: Mapping[str, Mapping[str, str]]


def read_plan(path: Path) -> Ablation:
    """Read a plan: yaml with `variants` (name -> settings) and the arguments of `sweep run` that it fixes.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    import yaml

    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"the plan '{path}' cannot be read: {first_line(error)}") from error
    if not isinstance(content, dict) or not isinstance(content.get("variants"), dict):
        raise InputError(f"the plan '{path}' must hold 'variants': a name for each, with its settings")
    words: list[str] = []
    for name, value in content.items():
        if name == "variants":
            continue
        if name not in ARGUMENTS:
            raise unknown_name(f"key of the plan '{path}'", str(name), ("variants", *ARGUMENTS))
        words += [f"--{name}", ",".join(map(str, value if isinstance(value, list) else [value]))]
    return Ablation(tuple(words), {name: _settings(path, name, of) for name, of in content["variants"].items()})


def _settings(path: Path, name: Any, settings: Any) -> dict[str, str]:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"the plan '{path}': {shown(name)} is no name of a variant: letters, digits, '_', '-' and '.'")
    if settings is None:
        return {}
    if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
        raise InputError(f"the plan '{path}': the variant '{name}' must hold settings by key")
    return {key: value if isinstance(value, str) else repr(value) for key, value in settings.items()}


def run(args: argparse.Namespace, plan: Ablation) -> int:
    """Carry out the runs of all variants, and print and write the table; returns 1 if runs failed.

    Args:
        args: the arguments of `sweep run`; the runs of a variant lie in <output>/<variant>.
        plan: the variants.
    """
    output, given = args.output or Path("output_ablation"), list(args.opts)
    code, axes = 0, []
    for name, settings in plan.variants.items():
        for dataset in args.datasets:
            opts = [word for key, value in settings.items() for word in (key, value.replace(DATASET, dataset))]
            of_variant = argparse.Namespace(**vars(args))
            of_variant.output, of_variant.datasets, of_variant.opts = output / name, (dataset,), [*given, *opts]
            grids, options = grids_and_options(of_variant)
            print(f"variant '{name}', {dataset}: {' '.join(opts) or 'as it is'}")
            code = max(code, run_command.run(of_variant, grids, options, lambda: None))
            axes += [] if name != next(iter(plan.variants)) else grids
    if not args.dry_run:
        text = table(axes, output, list(plan.variants))
        print(f"\n{text}")
        with atomic_path(output / "ablation.md") as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
    return code


def table(grids: Sequence[Axes], output: Path, variants: Sequence[str]) -> str:
    """Accuracy of each variant and its paired difference to the first one, as Markdown.

    Base-to-new has a row for each part of the classes.
    """
    rows = []
    for axes in grids:
        parts = ("all",) if axes.protocol == "few_shot" else ("base", "new")
        of_variants = {name: grid_of(axes, output / name)[0] for name in variants}
        for method in axes.methods:
            for shots in next(iter(of_variants.values())).shots:
                for part in parts:
                    pick = metric(part, "accuracy")
                    found = {n: grid.values(method, axes.datasets[0], shots, pick) for n, grid in of_variants.items()}
                    rows += _rows([axes.datasets[0], method, str(shots), part], found)
    header = ["data set", "method", "shots", "classes", "variant", "accuracy in %", "difference"]
    note = "Mean ± half of the 95 % interval over seeds; the difference is of the same seeds, to the first variant."
    return f"{tabulate(rows, header, tablefmt='github', disable_numparse=True)}\n\n{note}"


def _rows(cell: list[str], found: Mapping[str, Sequence[float | None]]) -> list[list[str]]:
    first = next(iter(found.values()))
    rows = []
    for k, (name, values) in enumerate(found.items()):
        pairs = [None if None in pair else pair[0] - pair[1] for pair in zip(values, first, strict=True)]  # type: ignore[operator]
        rows.append([*cell, name, _text(over_seeds(values), ""), _text(over_seeds(pairs), "+") if k else ""])
    return rows


def _text(value: Value, sign: str) -> str:
    if value.mean is None:
        return "–"
    return f"{value.mean:{sign}.2f}" + (f" ± {value.half:.2f}" if value.half is not None else "")
