"""Download data sets: python -m datasets.fetch btmri busi --root DATA"""

import argparse
import sys
from pathlib import Path

import datasets  # noqa: F401 - registers the data sets
from dassl.data.datasets import DATASET_REGISTRY
from dassl.data.datasets.download import download, unpack
from dassl.errors import exit_code, unknown_name
from datasets.folder import HUB_DATASET, FolderDataset


def fetch(name: str, root: Path) -> None:
    """Download and unpack a data set, unless its folder exists. The archive is deleted after unpacking."""
    classes = [DATASET_REGISTRY.get(registered) for registered in DATASET_REGISTRY.registered_names()]
    by_name = {cls.prompts: cls for cls in classes if issubclass(cls, FolderDataset) and cls.drive_id}
    if name not in by_name:
        raise unknown_name("dataset", name, by_name)
    dataset = by_name[name]
    if (root / dataset.folder / dataset.folder).is_dir():
        print(f"{name}: '{root / dataset.folder}' exists already")
        return
    root.mkdir(parents=True, exist_ok=True)
    archive = root / f"{dataset.folder}.zip"
    if not _download_from_hub(archive.name, root):
        download(f"https://drive.google.com/uc?id={dataset.drive_id}", str(archive), from_gdrive=True)
    unpack(str(archive), str(root))
    archive.unlink()


def _download_from_hub(name: str, root: Path) -> bool:
    """Download an archive from the Hugging Face data set that mirrors all archives; return whether it succeeded."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        hf_hub_download(HUB_DATASET, name, repo_type="dataset", local_dir=root)
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        print(f"{name}: the download from Hugging Face failed ({type(error).__name__}); trying Google Drive")
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="data sets, as in configs/datasets/")
    parser.add_argument("--root", type=Path, default=Path("data"), help="the data root (default: data)")
    args = parser.parse_args()

    def work() -> None:
        for name in args.names:
            fetch(name, args.root)

    return exit_code(work, "run the same command again to continue")


if __name__ == "__main__":
    sys.exit(main())
