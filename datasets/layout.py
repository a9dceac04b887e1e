"""The layout of a data set on disk: what a folder lacks, and how an archive in another layout is mapped to it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from dassl.errors import InputError
from datasets.folder import FolderDataset
from datasets.splits import read_split, split_name

# Kaggle's archives hold segmentation masks beside the images ("benign (1)_mask.png") or in folders of their own.
MASK_NAME = re.compile(r"_mask(_\d+)?$", re.IGNORECASE)
_NO_IMAGES = {"mask", "masks", "__macosx"}
Dataset = type[FolderDataset]


def what_is_missing(folder: Path, dataset: Dataset) -> str:
    """Return what a folder lacks to be the complete data set; "" if it is complete.

    With a split file, all images that it names must be there; without one, each class folder must hold files.
    """
    images = folder / dataset.folder
    if not images.is_dir():
        return f"it has no folder '{dataset.folder}' with the class folders"
    split_path = folder / split_name(Path(dataset.folder))
    if not split_path.is_file():
        empty = [name for name in map(_folder_name, dataset.classes) if not _has_files(images / name)]
        return f"the class folders {_some(empty)} are missing or empty in '{dataset.folder}'" if empty else ""
    try:
        split = read_split(split_path)
    except InputError as error:
        return str(error)
    if split.classnames() != list(dataset.classes):
        return f"its split file has the classes {split.classnames()}, not {list(dataset.classes)}"
    there = {path.relative_to(images).as_posix() for path in images.rglob("*")}
    files = [file for file, _, _ in (*split.train, *split.val, *split.test)]
    missing = [file for file in files if file not in there]
    return (
        f"{len(missing):,} of {len(files):,} images of its split file are missing: {_some(missing)}" if missing else ""
    )


def arrange(unpacked: Path, dataset: Dataset) -> Path:
    """Find the data set in an unpacked archive, and return its folder, to be moved into the data root.

    The layout may have more or fewer top folders, other capitals, spaces and hyphens in the class folders, or Kaggle's
    names of them; what was changed is printed.

    Raises:
        InputError: there is no such data set in the archive. The message says what was found and what is needed.
    """
    expected = unpacked / dataset.folder
    problem = what_is_missing(expected, dataset) if expected.is_dir() else "it has another layout"
    if not problem and ((expected / split_name(expected)).is_file() or not _other_folders(expected, dataset)):
        return expected
    found = _class_folders(unpacked, dataset)
    unclear = {name: folders for name, folders in found.items() if len(folders) != 1}
    if unclear:
        raise InputError(_explain(unpacked, dataset, unclear))
    arranged = unpacked.with_name("arranged") / dataset.folder
    (arranged / dataset.folder).mkdir(parents=True)
    split = split_name(Path(dataset.folder))
    splits = [path for path in unpacked.rglob("*") if path.name.lower() == split.lower()]
    if len(splits) == 1:
        os.replace(splits[0], arranged / split)
    changed = []
    for name, (source,) in found.items():
        target = arranged / dataset.folder / _folder_name(name)
        changed.append(f"'{source.relative_to(unpacked)}' as '{_folder_name(name)}'")
        os.replace(source, target)
    problem = what_is_missing(arranged, dataset)
    if problem:
        raise InputError(f"it is incomplete: {problem}")
    masks = _remove_masks(arranged / dataset.folder)
    print(
        f"{dataset.prompts}: the archive has another layout; took {', '.join(changed)}"
        + (f"; left out {masks:,} masks" if masks else "")
        + ("" if splits else f"; it has no {split}, so a seeded split is made on first use")
    )
    return arranged


def _class_folders(unpacked: Path, dataset: Dataset) -> dict[str, list[Path]]:
    """Find the folders of each class, whatever lies above them."""
    names = {_plain(name): name for name in dataset.classes} | {_plain(k): v for k, v in dataset.other_folders.items()}
    found: dict[str, list[Path]] = {name: [] for name in dataset.classes}
    for folder in _folders(unpacked):
        name = names.get(_plain(folder.name))
        if name:
            images = folder / "images"  # Kaggle's COVID-19 archive has <class>/images and <class>/masks
            folder = images if images.is_dir() else folder
            if any(path.is_file() for path in folder.iterdir()):
                found[name].append(folder)
    return found


def _folders(top: Path) -> Iterator[Path]:
    for path in sorted(top.iterdir()):
        if path.is_dir() and not path.name.startswith(".") and path.name.lower() not in _NO_IMAGES:
            yield path
            yield from _folders(path)


def _remove_masks(images: Path) -> int:
    masks = [path for path in images.rglob("*") if MASK_NAME.search(path.stem) and path.is_file()]
    for path in masks:
        path.unlink()
    return len(masks)


def _explain(unpacked: Path, dataset: Dataset, unclear: dict[str, list[Path]]) -> str:
    top = [f"{path.name}/" if path.is_dir() else path.name for path in sorted(unpacked.iterdir())]
    below = [str(path.relative_to(unpacked)) for path in _folders(unpacked)]
    several = [str(folder.relative_to(unpacked)) for folders in unclear.values() for folder in folders]
    what = f"several folders for one class: {_some(several)}" if several else f"the folders {_some(below)}"
    return (
        f"its layout is not known: found {_some(top)} at the top and {what}; needed is one folder with files for each "
        f"class, as in {dataset.folder}/{dataset.folder}/{_folder_name(dataset.classes[0])}/, and "
        f"there is none, or more than one, for {_some(list(unclear))}"
    )


def _other_folders(folder: Path, dataset: Dataset) -> set[str]:
    """The folders beside the class folders; without a split file, a run refuses them."""
    there = {path.name for path in (folder / dataset.folder).iterdir() if path.is_dir() and path.name[0] != "."}
    return there - {*map(_folder_name, dataset.classes)}


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_file() and not path.name.startswith(".") for path in folder.rglob("*"))


def _folder_name(classname: str) -> str:
    return classname.replace(" ", "_")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip()).lower()


def _some(names: list[str], count: int = 4) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return (", ".join(repr(name[:80]) for name in names[:count]) or "nothing") + more
