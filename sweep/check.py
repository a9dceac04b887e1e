"""What is checked before anything starts: names, settings, data root, refused pairs, and what lies there already."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dassl.config import dump_cfg
from dassl.errors import InputError
from sweep.run import WITHOUT_EFFECT, Kind, Run, Settings, refuse_other_settings

# Settings that are words of the sweep's own command line: they name the folder of a run.
OWN_WORDS = {
    "SEED": "--seeds",
    "DATASET.NUM_SHOTS": "--shots",
    "MODEL.BACKBONE.NAME": "--backbone",
    "PROTOCOL": "--protocol",
    "OUTPUT_DIR": "--output",
    "DATASET.ROOT": "--root",
}
_NAMES_WITHOUT_EFFECT = tuple(f"{key.rpartition('.')[2]}:" for key in sorted(WITHOUT_EFFECT))


# The lines in which runs of a kind differ, in the order of their text.
_OWN_LINES = re.compile(r"^(?:  NUM_SHOTS|OUTPUT_DIR|SEED): .*\n", re.MULTILINE)


@dataclass(frozen=True)
class Configured:
    """The settings that runs of a kind have in common: the yaml text around the lines that differ, and the epochs."""

    parts: tuple[str, str, str, str]
    epochs: int

    def of(self, run: Run, folder: str = "") -> str:
        """The settings of a run, as yaml text where yaml would not quote the folder."""
        first, second, third, last = self.parts
        own = f"OUTPUT_DIR: {folder}\n{third}SEED: {run.seed}\n"
        return f"{first}  NUM_SHOTS: {max(run.shots, 1)}\n{second}{own}{last}"


def check(plan: Iterable[Run], settings: Settings) -> dict[Kind, Configured]:
    """Build the configuration of every kind of runs once.

    Raises:
        InputError: an unknown name, a bad setting, a setting that no run reads, a data root that is not there, a pair
            that is refused.
    """
    import train

    if len(settings.opts) % 2 == 0:
        for key in settings.opts[::2]:
            if key in OWN_WORDS:
                raise InputError(f"{key} is the same for all runs of a sweep; use {OWN_WORDS[key]}")
    configured: dict[Kind, Configured] = {}
    unread = set(settings.opts[::2])
    for run in plan:
        if run.kind in configured:
            continue
        cfg, _ = train.configuration(train.parse_args(settings.command(run)))
        root = Path(cfg.DATASET.ROOT).expanduser()
        if run.dataset != "phantom" and not root.is_dir():  # phantoms are made where they are missing
            raise InputError(f"data root '{root}' does not exist; name the folder that holds the data with --root")
        unread = train.unread(unread, cfg)
        configured[run.kind] = Configured(tuple(_OWN_LINES.split(dump_cfg(cfg))), cfg.OPTIM.MAX_EPOCH)
    if unread:
        raise InputError(f"command line: no run of this sweep reads {', '.join(sorted(unread))}")
    return configured


def refuse_drift(complete: Iterable[Run], settings: Settings, configured: dict[Kind, Configured]) -> None:
    """Refuse a sweep over complete runs that were made with other settings, showing the difference of the first."""
    for run in complete:
        folder = run.path(settings.output)
        asked = configured[run.kind].of(run, folder)
        try:
            with open(f"{folder}/config.yaml", "rb", buffering=0) as file:
                stored = file.read()
        except OSError:
            stored = b""  # refused below, with the reason
        if stored != asked.encode() and not _alike(stored.decode(errors="replace"), asked):
            refuse_other_settings(configured[run.kind].of(run), Path(folder))


def _alike(stored: str, asked: str) -> bool:
    """Whether two texts of settings differ only in lines without effect; what may be more has to be parsed."""
    ours, theirs = stored.splitlines(), asked.splitlines()
    return len(ours) == len(theirs) and all(
        line == other or line.lstrip().startswith(_NAMES_WITHOUT_EFFECT)
        for line, other in zip(ours, theirs, strict=True)
    )
