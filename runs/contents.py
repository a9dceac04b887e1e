"""The content of the files that a run reads besides its images: the split and the prompt file."""

from functools import cached_property
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from dassl.errors import InputError


class Contents:
    """Digests of the split and of the prompt file that runs on one data set use today.

    Files are read when a digest is first asked for. A split that was not made yet, and the files of a data set that
    is not derived from `datasets.folder.FolderDataset`, have none.

    Args:
        cfg: the configuration of a run on the data set.
    """

    def __init__(self, cfg: CfgNode):
        self._cfg = cfg

    @cached_property
    def split(self) -> tuple[Path, str] | None:
        """The split file and its digest."""
        from datasets.folder import FolderDataset, data_root
        from datasets.source import Source

        folder = self._cfg.DATASET.FOLDER or getattr(self._class, "folder", "")
        if not folder or not issubclass(self._class, FolderDataset):
            return None
        source = Source(data_root(self._cfg) / folder, self._cfg.DATASET, self._class.own)
        stored = source.stored(self._cfg.DATASET.CLASSES or self._class.classes)
        return (stored[0], stored[1].digest()) if stored else None

    @cached_property
    def prompts(self) -> tuple[Path, str] | None:
        """The prompt file and its digest."""
        from prompts import load_prompts

        name = self._cfg.DATASET.PROMPTS or getattr(self._class, "prompts", "")
        if not name:
            return None
        prompts = load_prompts(name, self._cfg.DATASET.TEMPLATE)
        return prompts.source, prompts.digest()

    def refuse_other(self, results: dict, folder: str | Path) -> None:
        """Refuse results that were made with another content of a file.

        Raises:
            InputError: with the name of the file.
        """
        for name in ("split", "prompts"):
            stored = results.get(name)
            if not isinstance(stored, dict) or "digest" not in stored or (today := getattr(self, name)) is None:
                continue
            path, digest = today
            if stored["digest"] != digest:
                raise InputError(
                    f"'{folder}' holds a run that was made with another content of '{path}' (digest "
                    f"{stored['digest']}, today {digest}); --overwrite replaces it, --output-dir keeps it"
                )

    @cached_property
    def _class(self) -> Any:
        from dassl.data.datasets import DATASET_REGISTRY

        return DATASET_REGISTRY.get(self._cfg.DATASET.NAME)
