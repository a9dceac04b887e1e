"""Which images are meant: files, folders, patterns and columns of CSV files become a list of paths."""

import glob
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePath

from dassl.errors import InputError, shown

COLUMNS = ("path", "file", "image")  # of a CSV file, the first of these names the images
ANY_DEPTH = "**"


def find_images(inputs: Sequence[str], column: str = "") -> list[str]:
    """Find the images that a command line names; no image is opened.

    Args:
        inputs: image files, which may have any name; folders, whose images are found at any depth by their suffix or,
            for DICOM, by their content; patterns with *, ? and **; CSV files with a column of paths, which are relative
            to the CSV file.
        column: the name of this column; "" for path, file or image.

    Returns:
        Paths, each file once, in the order of the inputs; those of a folder are sorted. A file that a CSV file names
        may be missing.

    Raises:
        InputError: an input does not exist or cannot be read, or there are no images.
    """
    sources = [source for text in inputs for source in _existing(text)]
    if column and not any(map(_is_table, sources)):
        raise InputError(f"--column {column}: it belongs to a CSV file, and none of the inputs is one")
    real_folder = cache(os.path.realpath)
    found: dict[tuple[str, str], str] = {}
    for source in sources:
        for path in _images_of(source, column):
            folder, name = os.path.split(path)
            found.setdefault((real_folder(folder), name), path)
    if not found:
        raise InputError(
            f"no images in {shown(list(inputs))}; in a folder, files count whose suffix is that of an image, and DICOM "
            "files"
        )
    return list(found.values())


def _existing(text: str) -> list[str]:
    """The files and folders that an input names; a pattern may name several."""
    if os.path.exists(text):
        return [text]
    if not glob.has_magic(text):
        raise InputError(f"the input '{text}' does not exist; name image files, folders, patterns or CSV files")
    matches = _at_any_depth(text) if ANY_DEPTH in PurePath(text).parts else glob.glob(text)
    if not matches:
        raise InputError(f"the pattern '{text}' fits no file; patterns have *, ? and **, and hidden files do not fit")
    return sorted(matches)


def _at_any_depth(pattern: str) -> list[str]:
    """The images that fit a pattern with **. Here a folder that a link leads to is searched once."""
    parts = PurePath(pattern).parts
    place = parts.index(ANY_DEPTH)
    above, rest = os.path.join("", *parts[:place]), os.path.join("", *parts[place + 1 :]) or "*"
    if ANY_DEPTH in parts[place + 1 :]:
        raise InputError(f"the pattern '{pattern}' has ** more than once; name the folder, or use ** once")
    found = []
    for folder in filter(os.path.isdir, glob.glob(above or os.curdir)):
        found += [path for path in _below(folder) if PurePath(os.path.relpath(path, folder)).match(rest)]
    return found


def _is_table(path: str) -> bool:
    return path.lower().endswith(".csv") and os.path.isfile(path)


def _images_of(source: str, column: str) -> Iterator[str]:
    if os.path.isdir(source):
        yield from _below(source)
    elif _is_table(source):
        yield from _listed(source, column)
    else:
        yield source


def _below(folder: str) -> Iterator[str]:
    from datasets.listing import images_below  # imports torch, which takes seconds: after the inputs were found

    try:
        names = images_below(Path(folder), look_inside=True)
    except (OSError, RecursionError) as error:
        raise InputError(
            f"the folder '{folder}' cannot be searched ({error}); make it readable, or name others"
        ) from error
    yield from (os.path.join(folder, name) for name in names)


def _listed(table: str, column: str) -> Iterator[str]:
    """The paths in a column of a CSV file, relative to its folder."""
    from datasets.table import read_table

    hint = "its first line must name the columns, and --column the one with the paths of the images"
    columns, rows = read_table(Path(table), [column.lower()] if column else [], hint)
    name = column.lower() or next((name for name in COLUMNS if name in columns), "")
    if not name:
        raise InputError(f"'{table}' has none of the columns {', '.join(COLUMNS)}, but {', '.join(columns)}; {hint}")
    paths = []
    for line, cells in rows.items():
        if not cells[name] or "\0" in cells[name]:
            raise InputError(f"'{table}', line {line}: column '{name}' has no path of an image")
        paths.append(os.path.join(os.path.dirname(table), cells[name]))
    if not any(map(os.path.exists, paths)):
        raise InputError(
            f"none of the {len(paths):,} files that '{table}' names exists, the first of them '{paths[0]}'; paths are "
            "relative to the CSV file"
        )
    yield from paths
