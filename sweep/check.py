"""What is checked before anything starts: names, settings, data root, refused pairs, and what lies there already."""

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


@dataclass(frozen=True)
class Configured:
    """The settings that runs of a kind have in common: the yaml text of one, and the epochs."""

    text: str
    folder: str
    shots: int
    seed: int
    epochs: int

    def of(self, run: Run, folder: str) -> str:
        """The settings of a run: those of the one that was built, but for folder, seed and shots."""
        # A folder that yaml would quote makes no valid yaml, and equality is then found line by line.
        text = self.text.replace(f"\nOUTPUT_DIR: {self.folder}\n", f"\nOUTPUT_DIR: {folder}\n", 1)
        text = text.replace(f"\nSEED: {self.seed}\n", f"\nSEED: {run.seed}\n", 1)
        return text.replace(f"\n  NUM_SHOTS: {self.shots}\n", f"\n  NUM_SHOTS: {max(run.shots, 1)}\n", 1)


def check(plan: Iterable[Run], settings: Settings) -> dict[Kind, Configured]:
    """Build the configuration of every kind of runs once.

    Raises:
        InputError: an unknown name, a bad setting, a data root that is not there, a pair that is refused.
    """
    import train

    if len(settings.opts) % 2 == 0:
        for key in settings.opts[::2]:
            if key in OWN_WORDS:
                raise InputError(f"{key} is the same for all runs of a sweep; use {OWN_WORDS[key]}")
    configured: dict[Kind, Configured] = {}
    for run in plan:
        if run.kind in configured:
            continue
        cfg, _ = train.configuration(train.parse_args(settings.command(run)))
        root = Path(cfg.DATASET.ROOT).expanduser()
        if run.dataset != "phantom" and not root.is_dir():  # phantoms are made where they are missing
            raise InputError(f"data root '{root}' does not exist; name the folder that holds the data with --root")
        text, epochs = dump_cfg(cfg), cfg.OPTIM.MAX_EPOCH
        configured[run.kind] = Configured(text, cfg.OUTPUT_DIR, cfg.DATASET.NUM_SHOTS, cfg.SEED, epochs)
    return configured


def refuse_drift(complete: Iterable[Run], settings: Settings, configured: dict[Kind, Configured]) -> None:
    """Refuse a sweep over complete runs that were made with other settings, showing the difference of the first."""
    for run in complete:
        folder = run.path(settings.output)
        asked = configured[run.kind].of(run, folder)
        try:
            with open(f"{folder}/config.yaml", encoding="utf-8") as file:
                stored = file.read()
        except OSError:
            stored = ""  # refused below, with the reason
        if not _alike(stored, asked):
            refuse_other_settings(configured[run.kind].of(run, configured[run.kind].folder), Path(folder))


def _alike(stored: str, asked: str) -> bool:
    """Whether two texts of settings differ only in lines without effect; what may be more has to be parsed."""
    if stored == asked:
        return True
    ours, theirs = stored.splitlines(), asked.splitlines()
    return len(ours) == len(theirs) and all(
        line == other or line.lstrip().startswith(_NAMES_WITHOUT_EFFECT)
        for line, other in zip(ours, theirs, strict=True)
    )
