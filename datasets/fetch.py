"""Download data sets: python -m datasets.fetch btmri busi --root DATA; "all" stands for all, --list shows them.

An archive that lies in the data root already, as ROOT/BTMRI.zip, is used instead of a download, and never deleted.
"""

import argparse
import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from tabulate import tabulate

import datasets  # noqa: F401 - registers the data sets
from dassl.data.datasets import DATASET_REGISTRY
from dassl.data.datasets.archive import ArchiveError, unpack
from dassl.errors import InputError, exit_code, unknown_name
from dassl.utils import write_json
from datasets.downloads import Sources, drive_link, recorded_sha256
from datasets.folder import HUB_DATASET, FolderDataset
from datasets.layout import arrange, what_is_missing

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
RECORD = "archive.json"  # in the folder of a data set: the archive that it came from
Dataset = type[FolderDataset]


def available() -> dict[str, Dataset]:
    """Return the data sets with an archive, by name."""
    classes = [DATASET_REGISTRY.get(registered) for registered in DATASET_REGISTRY.registered_names()]
    return {cls.prompts: cls for cls in classes if issubclass(cls, FolderDataset) and cls.drive_id}


def fetch(dataset: Dataset, root: Path, sources: Sources) -> None:
    """Download and unpack a data set, unless it is there.

    It is unpacked beside its place, checked, and moved there in one step, so that its folder is never half full. An
    archive that this program downloaded is deleted after that.

    Raises:
        InputError: there is an incomplete folder, no archive could be had, or the archive is damaged, unsafe or of
            another data set.
    """
    target = root / dataset.folder
    there = _is_there(dataset, target)
    if there and not (root / f".fetch-{dataset.folder}").is_dir():
        return
    root.mkdir(parents=True, exist_ok=True)
    with _work_folder(root, dataset.folder) as work:
        if not there and not _is_there(dataset, target):  # another process may have fetched it
            _obtain(dataset, root, work, sources)
        shutil.rmtree(work, ignore_errors=True)


def _obtain(dataset: Dataset, root: Path, work: Path, sources: Sources) -> None:
    """Install a data set from an archive in the data root or, if there is none, from a downloaded one."""
    own = [path for suffix in SUFFIXES if (path := root / f"{dataset.folder}{suffix}").exists()]
    archive = own[0] if own else work / f"{dataset.folder}.zip"
    if own and not archive.is_file():
        raise InputError(f"'{archive}' is no regular file; move it away")
    if not archive.is_file():
        source = sources.download(dataset, work)
        print(f"{dataset.prompts}: downloaded {archive.name} from {source}")
    try:
        _install(dataset, archive, work / "unpacked", root / dataset.folder)
    except ArchiveError as error:
        if own:
            raise
        kept = archive.with_name(f"{archive.name}.damaged")
        os.replace(archive, kept)
        raise InputError(f"{error} (the next run does that; this copy is kept as '{kept}')") from error
    print(f"{dataset.prompts}: unpacked into '{root / dataset.folder}'")


def _is_there(dataset: Dataset, target: Path) -> bool:
    """Return whether a data set is there; raise an InputError if a part of it is."""
    if not os.path.lexists(target):
        return False
    missing = what_is_missing(target, dataset)
    if missing:
        raise InputError(
            f"'{target}' exists, but is not complete: {missing}. Nothing in it was changed; move it away, or put the "
            "missing files into it, and run the same command again"
        )
    print(f"{dataset.prompts}: '{target}' exists already")
    return True


def _install(dataset: Dataset, archive: Path, unpacked: Path, target: Path) -> None:
    """Unpack an archive, check its content and move it to its place."""
    import pooch

    sha256 = pooch.file_hash(str(archive), alg="sha256")
    expected = dataset.sha256 or recorded_sha256(archive)
    if expected not in ("", sha256):
        raise ArchiveError(f"archive '{archive}' has the SHA-256 {sha256}, not {expected}; download it again")
    known = "as published" if expected else "the published one is not known"
    print(f"{dataset.prompts}: SHA-256 of '{archive}': {sha256} ({known})")
    unpacked.mkdir()
    try:
        unpack(archive, unpacked / "content")
        try:
            folder = arrange(unpacked / "content", dataset)
        except InputError as error:
            raise InputError(f"archive '{archive}' cannot be used: {error}; replace it") from error
        write_json({"archive": archive.name, "size": archive.stat().st_size, "sha256": sha256}, str(folder / RECORD))
        os.replace(folder, target)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


@contextlib.contextmanager
def _work_folder(root: Path, name: str) -> Iterator[Path]:
    """Lock the folder in which a data set is downloaded and unpacked; what a killed process unpacked there is deleted.

    The kernel holds the lock, and frees that of a killed process. A partial download stays, to be resumed.

    Raises:
        InputError: another process holds the lock.
    """
    work, lock = root / f".fetch-{name}", FileLock(root / f".fetch-{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise InputError(f"another process fetches '{name}' into '{root}'; wait until it ends") from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        print(f"no locks on the file system of '{root}': let no second process fetch '{name}'")
    try:
        shutil.rmtree(work / "unpacked", ignore_errors=True)
        work.mkdir(exist_ok=True)
        yield work
    finally:
        with contextlib.suppress(OSError):  # it holds a download
            work.rmdir()
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def remove_leftovers(root: Path, known: Iterable[Dataset]) -> None:
    """Delete what killed processes unpacked, for all data sets that no process works on."""
    for dataset in known:
        if (root / f".fetch-{dataset.folder}" / "unpacked").is_dir():
            with contextlib.suppress(InputError, OSError), _work_folder(root, dataset.folder):
                pass


def listing(known: dict[str, Dataset]) -> str:
    """Return a table of the data sets: archive, size, checksum, licence and where the images come from."""
    rows = [
        (name, f"{cls.folder}.zip", *(value or "unknown" for value in (cls.archive_size, cls.licence, cls.sha256)))
        for name, cls in sorted(known.items())
    ]
    lines = tabulate(rows, ["name", "archive", "size", "licence", "SHA-256"], disable_numparse=True)
    origins = "\n".join(f"{n}: {c.source or 'unknown'}; archive: {drive_link(c)}" for n, c in sorted(known.items()))
    mirror = f"All archives are also in the Hugging Face data set {HUB_DATASET}."
    return f"{lines}\n\nThe images come from:\n{origins}\n\n{mirror}"


def fetch_all(names: Iterable[str], root: Path) -> int:
    """Fetch data sets, go on after a failure, and return the exit code: 2 if one failed."""
    known = available()
    names = [*dict.fromkeys(other for name in names for other in (sorted(known) if name == "all" else [name]))]
    for name in names:
        if name not in known:
            raise unknown_name("dataset", name, [*known, "all"])
    with contextlib.suppress(RuntimeError):  # no home folder: the path stays as it is
        root = root.expanduser()
    if root.exists() and not root.is_dir():
        raise InputError(f"the data root '{root}' is no folder; name a folder with --root")
    remove_leftovers(root, known.values())
    sources, failed = Sources(), {}
    for name in names:
        try:
            fetch(known[name], root, sources)
        except (InputError, OSError) as error:  # an OSError: the file system refuses what the program must do there
            failed[name] = str(error)
    if failed:
        print(f"error: {len(failed)} of {len(names)} data sets could not be fetched:", file=sys.stderr)
        for name, reason in failed.items():
            print(f"  {name}: {reason}", file=sys.stderr)
    return 2 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="data sets, as in configs/datasets/, or 'all'")
    parser.add_argument("--root", type=Path, default=Path("data"), help="the data root (default: data)")
    parser.add_argument("--list", action="store_true", help="show the data sets with sizes, sources and licences")
    args = parser.parse_args()
    if not args.names and not args.list:
        parser.error("name data sets, or 'all'; --list shows them")

    def work() -> int:
        if args.list:
            print(listing(available()))
        return fetch_all(args.names, args.root)

    return exit_code(work, "run the same command again to continue")


if __name__ == "__main__":
    sys.exit(main())
