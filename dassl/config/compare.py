"""The settings of a configuration as flat text, and how they differ from stored ones."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from dassl.config.keys import declared_keys
from dassl.config.yamltext import parse_yaml
from dassl.errors import InputError

# Settings that do not change the numbers of a run.
WITHOUT_EFFECT = {"OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATASET.ROOT", "TRAIN.PRINT_FREQ"}
WITHOUT_EFFECT |= {"DATALOADER.NUM_WORKERS", "DATASET.DUPLICATES", "INPUT.MAX_PIXELS"}
BY_FILE_NAME = {"DATASET.PROMPTS"}  # of these files the content is compared, wherever they lie
LISTED = 10  # lines of a difference in a message


def flat_settings(node: Mapping, prefix: str = "") -> dict[str, str]:
    """The settings that can change the numbers of a run, as JSON text by key, such as "OPTIM.LR"."""
    values: dict[str, str] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            values |= flat_settings(value, f"{name}.")
        elif name not in WITHOUT_EFFECT:
            value = Path(value).name if name in BY_FILE_NAME and isinstance(value, str) else value
            values[name] = json.dumps(value, default=str)
    return values


def read_config(path: Path) -> dict[str, Any]:
    """The content of a run's yaml file.

    Raises:
        InputError: the file cannot be read or holds no settings.
    """
    try:
        stored = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"'{path}' cannot be read ({error}); delete the folder to run again") from error
    if not isinstance(stored, dict):
        raise InputError(f"'{path}' holds no settings; delete the folder to run again")
    return stored


def difference(
    asked: Mapping[str, str], stored: Mapping[str, str], defaults: Mapping[str, str], ignored: Collection[str] = ()
) -> str:
    """The settings that differ, two lines each and ten lines at most; "" for none.

    Args:
        asked, stored: settings as `flat_settings` gives them.
        defaults: the values of keys that only one of the two has.
        ignored: keys that are not compared.
    """
    lines = []
    for key in sorted({*asked, *stored} - set(ignored)):
        old, new = (values.get(key, defaults.get(key)) for values in (stored, asked))
        if old != new:
            lines += [f"{sign}{key}: {value}" for sign, value in (("-", old), ("+", new)) if value is not None]
    more = [f"and {len(lines) - LISTED} lines more"] if len(lines) > LISTED else []
    return "\n".join(lines[:LISTED] + more)


def declared_defaults() -> dict[str, str]:
    """The defaults of the declared keys, as JSON text."""
    return {name: json.dumps(key.default, default=str) for name, key in declared_keys().items()}


def refuse_difference(changed: str, folder: Path | str) -> None:
    """Refuse to go on in a folder whose run has other settings, if there are any.

    Raises:
        InputError: with the settings that differ.
    """
    if changed:
        raise InputError(
            f"'{folder}' holds a run with other settings; --overwrite replaces it, --output-dir keeps it:\n"
            f"--- stored\n+++ asked for\n{changed}"
        )
