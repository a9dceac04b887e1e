"""The checks of a split, whether it comes from a file, from images.csv or from class folders."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dassl.errors import InputError, shown

PARTS = ("train", "val", "test")
Entry = tuple[str, int, str]  # path relative to the image folder, label, class name
Parts = Mapping[str, Sequence[Entry]]

FORM = "'train', 'val' and 'test', each a list of [path, label, class name]"
NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
DRIVE = re.compile("[A-Za-z]:")
SHOWN = 3  # names in a message


def some(names: Iterable[str]) -> str:
    """The first names of many, for a message, and how many more there are."""
    names = list(names)
    more = f" (and {len(names) - SHOWN:,} more)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def path_problem(path: str) -> str:
    """Why a path is not the plain path of a file below the image folder; "" if it is.

    There is one plain form of each path, so that two different paths are two different files.
    """
    if not path or path != path.strip():
        return "is empty or begins or ends with a space"
    if not is_text(path):
        return "has letters that are no text; rename the file"
    if "\\" in path:
        return "has a backslash; folders are separated by /"
    parts = path.split("/")
    if path.startswith("/") or DRIVE.match(path) or ".." in parts:
        return "lies outside the image folder; paths are relative to it"
    return "has an empty part or '.'" if "" in parts or "." in parts else ""


def is_text(text: str) -> bool:
    """Whether a text has no control characters and no surrogates, which stand for bytes that are not UTF-8."""
    return not NO_TEXT.search(text)


def parse_parts(content: Any, where: str) -> dict[str, list[Entry]]:
    """The parts of a split from the content of its file; only their form is checked.

    Raises:
        InputError: it is not of the form of a split file.
    """
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in PARTS):
        raise InputError(f"{where} must hold {FORM}; replace the file")
    wrong = [
        f"entry {place} of {part} is {shown(entry)}"
        for part in PARTS
        for place, entry in enumerate(content[part], start=1)
        if not _is_entry(entry)
    ]
    if wrong:
        raise InputError(
            f"{where} must hold {FORM}, where the label is a whole number from 0 and the names are texts: "
            f"{some(wrong)}; correct these entries"
        )
    return {part: [(path, label, name) for path, label, name in content[part]] for part in PARTS}


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, list | tuple) or len(entry) != 3:
        return False
    path, label, name = entry
    label_fits = isinstance(label, int) and not isinstance(label, bool) and label >= 0
    return label_fits and isinstance(path, str) and isinstance(name, str) and bool(name.strip()) and is_text(name)


def check_parts(parts: Parts, where: str) -> None:
    """Refuse a split that contradicts itself; one place for splits of every origin.

    A split without training images serves tests of a trained model; only such a split may lack images of a class.
    Validation images may be missing altogether.

    Raises:
        InputError: with every kind of problem, its number of entries, and the first of them.
    """
    problems = [*_bad_paths(parts), *_repeated(parts), *_contradicting_names(parts)]
    if not parts["test"]:
        problems.append("there are no test images")
    if parts["train"] and not problems:
        problems = [*_gaps(parts), *_missing_classes(parts)]
    if problems:
        listed = "".join(f"\n- {problem}" for problem in problems)
        raise InputError(f"{where} cannot be used:{listed}\nCorrect or remove these entries")


def _bad_paths(parts: Parts) -> list[str]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for part in PARTS:
        for path, _, _ in parts[part]:
            if problem := path_problem(path):
                reasons[problem].append(shown(path))
    return [f"{_count(paths, 'path')} {reason}: {some(paths)}" for reason, paths in reasons.items()]


def _repeated(parts: Parts) -> list[str]:
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for part in PARTS:
        for path, label, _ in parts[part]:
            places[path].append((part, label))
    kinds: dict[str, list[str]] = defaultdict(list)
    for path, found in places.items():
        if len(found) == 1:
            continue
        in_parts, labels = dict.fromkeys(part for part, _ in found), dict.fromkeys(label for _, label in found)
        if len(in_parts) > 1:
            kinds["in two parts"].append(f"{shown(path)} ({', '.join(in_parts)})")
        elif len(labels) > 1:
            kinds["under two labels"].append(f"{shown(path)} ({', '.join(map(str, labels))})")
        else:
            kinds["listed twice"].append(f"{shown(path)} ({found[0][0]})")
    return [f"{_count(names, 'image')} {kind}: {some(names)}" for kind, names in kinds.items()]


def _contradicting_names(parts: Parts) -> list[str]:
    names: dict[int, set[str]] = defaultdict(set)
    labels: dict[str, set[int]] = defaultdict(set)
    for part in PARTS:
        for _, label, name in parts[part]:
            names[label].add(name)
            labels[name].add(label)
    wrong = [
        f"label {label} is {' and '.join(map(shown, sorted(of)))}" for label, of in sorted(names.items()) if len(of) > 1
    ]
    wrong += [
        f"{shown(name)} has labels {' and '.join(map(str, sorted(of)))}"
        for name, of in sorted(labels.items())
        if len(of) > 1
    ]
    return [f"labels and class names disagree: {some(wrong)}"] if wrong else []


def _gaps(parts: Parts) -> list[str]:
    labels = sorted({label for part in PARTS for _, label, _ in parts[part]})
    missing = next((place for place, label in enumerate(labels) if place != label), None)
    return [] if missing is None else [f"no image has label {missing}; labels count from 0 without gaps"]


def _missing_classes(parts: Parts) -> list[str]:
    names = {part: {name for _, _, name in parts[part]} for part in PARTS}
    problems = []
    for part in PARTS:
        absent = sorted(set().union(*names.values()) - names[part])
        if absent and (parts[part] or part != "val"):
            problems.append(f"{part} has no images of {_count(absent, 'class')}: {some(map(shown, absent))}")
    return problems


def _count(items: Sequence, noun: str) -> str:
    many = "classes" if noun == "class" else f"{noun}s"
    return f"{len(items):,} {noun if len(items) == 1 else many}"
