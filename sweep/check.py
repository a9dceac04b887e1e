"""What is checked before a sweep starts: names, settings, the data root, and the runs that are complete already."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dassl.errors import InputError
from runs.contents import Contents
from runs.results import DamagedError
from runs.run import Run
from runs.settings import Settings, refuse_other_settings
from sweep.options import Options
from sweep.plan import Series

if TYPE_CHECKING:
    from yacs.config import CfgNode

# Settings that have arguments of their own in a sweep.
OWN_ARGUMENTS = {
    "SEED": "--seeds",
    "DATASET.NUM_SHOTS": "--shots",
    "DATASET.FOLDS": "--folds",
    "DATASET.FOLD": "--folds",
    "MODEL.BACKBONE.NAME": "--backbone",
    "PROTOCOL": "--protocol",
    "OUTPUT_DIR": "--output",
    "DATASET.ROOT": "--root",
}


@dataclass(frozen=True)
class Configured:
    """The configuration of a series of runs.

    Attributes:
        settings: the settings of its first run.
        contents: the files of its data set by fold, shared by all series on it.
        epochs: the length of the training.
    """

    settings: Settings
    contents: Mapping[int, Contents]
    epochs: int

    def settings_of(self, run: Run) -> Settings:
        """The settings of a run of the series."""
        return self.settings.of_cell(run.shots or 1, run.seed, run.fold)


def check(plan: Iterable[Run], options: Options) -> dict[Series, Configured]:
    """Build the configuration of every series of a plan once.

    Raises:
        InputError: an unknown name, a bad setting, a setting that no run reads, a data root that does not exist, or a
            method that does not work on the backbone or under the protocol.
    """
    from configs import unread
    from runs.arguments import configuration, parse_args

    if len(options.opts) % 2 == 0:
        for key in options.opts[::2]:
            if key in OWN_ARGUMENTS:
                raise InputError(f"{key} is the same for all runs of a sweep; use {OWN_ARGUMENTS[key]}")
    configured: dict[Series, Configured] = {}
    contents: dict[str, dict[int, Contents]] = {}
    folds = range(1, options.folds + 1) if options.folds else (0,)
    not_read = set(options.opts[::2])
    for run in plan:
        series = Series.of(run)
        if series in configured:
            continue
        cfg, _ = configuration(parse_args(options.command(run)))
        root = Path(cfg.DATASET.ROOT).expanduser()
        if run.dataset != "phantom" and not root.is_dir():  # phantom images are generated where they are missing
            raise InputError(f"data root '{root}' does not exist; name the folder that holds the data with --root")
        not_read = set(unread(not_read, cfg))
        if run.dataset not in contents:
            contents[run.dataset] = {fold: Contents(_of_fold(cfg, fold)) for fold in folds}
            if options.folds:
                _ = contents[run.dataset][1].split  # an InputError where the data set has no cross-validation
        configured[series] = Configured(Settings.of(cfg), contents[run.dataset], cfg.OPTIM.MAX_EPOCH)
    if not_read:
        raise InputError(f"command line: no run of this sweep reads {', '.join(sorted(not_read))}")
    return configured


def refuse_unwritable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written, before a sweep fails run by run; nothing is left behind.

    Raises:
        InputError: with the reason.
    """
    try:
        for path in (folder.absolute(), *folder.absolute().parents):
            with contextlib.suppress(FileNotFoundError):
                os.lstat(path)
                break
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(
            f"output folder '{folder}' cannot be written ({error.strerror}); name another with --output"
        ) from error


def _of_fold(cfg: "CfgNode", fold: int) -> "CfgNode":
    if not fold:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASET.FOLD = fold
    return cfg


def refuse_other_runs(
    complete: Iterable[Run], options: Options, configured: dict[Series, Configured]
) -> dict[Run, DamagedError]:
    """Refuse a sweep over complete runs that were made with other settings or files; returns the damaged ones.

    Raises:
        InputError: with the difference of the first of them.
    """
    damaged: dict[Run, DamagedError] = {}
    for run in complete:
        of_series = configured[Series.of(run)]
        try:
            settings, contents = of_series.settings_of(run), of_series.contents[run.fold]
            refuse_other_settings(settings, contents, run.path(options.output))
        except DamagedError as error:
            damaged[run] = error
    return damaged
