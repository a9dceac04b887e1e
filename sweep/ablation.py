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
from sweep.check import check
from sweep.options import Options
from sweep.plan import Axes, make_plan
from sweep.report.escape import markdown
from sweep.report.grid import Grid, metric
from sweep.report.stats import Value, over_datasets, over_seeds
from sweep.report.summary import grid_of
from sweep.report.tables import shots_label

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
    output = args.output or Path("output_ablation")
    sweeps = [
        (name, *_of_variant(args, output / name, settings, dataset))
        for name, settings in plan.variants.items()
        for dataset in _datasets(args.datasets)
    ]
    for _, _, grids, options in sweeps:  # a wrong setting of the last variant is refused before the first one runs
        check([run for axes in grids for run in make_plan(*axes)], options)
    code = 0
    for k, (name, of_variant, grids, options) in enumerate(sweeps, start=1):
        settings = " ".join(options.opts[len(args.opts) :]) or "as it is"
        print(f"{k} of {len(sweeps)}: variant '{name}', {grids[0].datasets[0]}: {settings}")
        code = max(code, run_command.run(of_variant, grids, options, lambda: None))
    axes = [axes for name, _, grids, _ in sweeps if name == next(iter(plan.variants)) for axes in grids]
    if not args.dry_run:
        text = table(axes, output, list(plan.variants))
        print(f"\n{text}")
        with atomic_path(output / "ablation.md") as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")
    return code


def _datasets(given: Sequence[str]) -> Sequence[str]:
    """The data sets one by one, as the settings of a variant may hold their name."""
    if [*given] == ["all"]:
        from configs import paper_datasets

        return paper_datasets()
    return list(dict.fromkeys(given))


def _of_variant(
    args: argparse.Namespace, output: Path, settings: Mapping[str, str], dataset: str
) -> tuple[argparse.Namespace, list[Axes], Options]:
    """The arguments of one variant on one data set, and what they mean."""
    pairs = [word for key, value in settings.items() for word in (key, value.replace(DATASET, dataset))]
    own = argparse.Namespace(**vars(args))
    own.output, own.datasets, own.opts = output, (dataset,), [*args.opts, *pairs]
    return own, *grids_and_options(own)


def table(grids: Sequence[Axes], output: Path, variants: Sequence[str]) -> str:
    """Accuracy of each variant and its paired difference to the first one, as Markdown.

    A table per method and part of the classes (base-to-new has two) for the average over the data sets, if there are
    several, and for each of them. A table has a row per variant, and two columns per number of shots.

    Args:
        grids: one per data set and protocol, with the runs of every variant.
        output: holds a folder per variant.
        variants: their names; the others are compared with the first.
    """
    texts = []
    for protocol in dict.fromkeys(axes.protocol for axes in grids):
        of_protocol = [axes for axes in grids if axes.protocol == protocol]
        read = {name: [grid_of(axes, output / name)[0] for axes in of_protocol] for name in variants}
        for method in of_protocol[0].methods:
            for part in ("all",) if protocol == "few_shot" else ("base", "new"):
                texts += _tables(method, part, read)
    note = "Mean ± half of the 95 % interval over seeds; the difference is of the same seeds, to the first variant."
    return "\n\n".join([*texts, note])


def _tables(method: str, part: str, grids: Mapping[str, Sequence[Grid]]) -> list[str]:
    """The tables of one method and part of the classes; `grids` has one grid per data set for each variant."""
    pick = metric(part, "accuracy")
    first = next(iter(grids.values()))
    names, all_shots = [grid.datasets[0] for grid in first], first[0].shots
    places = {name: [k] for k, name in enumerate(names)}
    chosen = {f"average over {len(names)} data sets": [*range(len(names))], **places} if len(names) > 1 else places
    header = ["variant", *(word for shots in all_shots for word in (shots_label(shots), "difference"))]
    texts = []
    for title, of_title in chosen.items():
        rows: dict[str, list[str]] = {name: [] for name in grids}
        for shots in all_shots:
            found = {
                name: over_datasets([of_data[k].values(method, names[k], shots, pick) for k in of_title])
                for name, of_data in grids.items()
            }
            for name, cells in _cells(found).items():
                rows[name] += cells
        of_classes = "" if part == "all" else f", {part} classes"
        text = tabulate([[name, *cells] for name, cells in rows.items()], header, "github", disable_numparse=True)
        texts.append(f"{markdown(title)}, {markdown(method)}{of_classes}, accuracy in %\n\n{text}")
    return texts


def _cells(found: Mapping[str, Sequence[float | None]]) -> dict[str, list[str]]:
    """Two cells of each variant from its values, one per seed: the mean, and the difference to the first variant."""
    first = next(iter(found))
    cells = {}
    for name, values in found.items():
        pairs = [None if a is None or b is None else a - b for a, b in zip(values, found[first], strict=True)]
        cells[name] = [_text(over_seeds(values), ""), "" if name == first else _text(over_seeds(pairs), "+")]
    return cells


def _text(value: Value, sign: str) -> str:
    if value.mean is None:
        return "–"
    return f"{value.mean:{sign}.2f}" + (f" ± {value.half:.2f}" if value.half is not None else "")
