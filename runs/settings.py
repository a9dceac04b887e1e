"""The settings of a run, and their comparison with those of the run that a folder holds already."""

import contextlib
import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from yacs.config import CfgNode

from dassl.config.compare import difference, flat_settings, read_config, refuse_difference
from dassl.errors import InputError
from runs.contents import Contents
from runs.folder import CHECKPOINT_FILE, CONFIG_FILE, is_complete, is_started
from runs.results import DamagedError, read_results

SINCE_VERSION_2 = "DEPTH"  # a key of INPUT that every configuration holds since its settings mean what they mean today


@dataclass(frozen=True)
class Settings:
    """The settings of a run that can change its numbers, as JSON text by key, such as "OPTIM.LR".

    Attributes:
        changed: the settings that differ from their defaults.
        defaults: the default of every key that today's code knows.
        decided: keys whose values the trainer decides, whatever was asked for, or does not use.
    """

    changed: Mapping[str, str]
    defaults: Mapping[str, str]
    decided: Collection[str] = ()

    @classmethod
    def of(cls, cfg: CfgNode) -> "Settings":
        """The settings of a configuration. Shots and seed do not count for a method that learns nothing."""
        from configs import untrained_methods
        from dassl.engine import TRAINER_REGISTRY

        defaults = _defaults(tuple(TRAINER_REGISTRY.registered_names()))
        changed = {key: value for key, value in flat_settings(cfg).items() if value != defaults.get(key)}
        trainer = cfg.TRAINER.NAME
        without_effect = ("DATASET.NUM_SHOTS", "SEED") if trainer in untrained_methods() else ()
        return cls(changed, defaults, (*TRAINER_REGISTRY.get(trainer).decides, *without_effect))

    def of_cell(self, shots: int, seed: int, fold: int = 0) -> "Settings":
        """The settings of a run that differs in shots, seed and fold only."""
        own = {"DATASET.NUM_SHOTS": str(shots), "SEED": str(seed)} | ({"DATASET.FOLD": str(fold)} if fold else {})
        changed = {key: value for key, value in self.changed.items() if key not in own}
        changed |= {key: value for key, value in own.items() if value != self.defaults.get(key)}
        return Settings(changed, self.defaults, self.decided)

    @cached_property
    def digest(self) -> str:
        """A short text that two runs share if, and only if, the same settings differ from their defaults.

        A key that is added to the code later, at its default, leaves the digest as it is. For the same reason the
        default of an existing key must not change; its new meaning needs a new key.
        """
        return hashlib.sha256(json.dumps(self.changed, sort_keys=True).encode()).hexdigest()[:16]

    def difference(self, stored: Mapping[str, str]) -> str:
        """The settings that differ from stored ones; "" for none. A missing key has its default."""
        return difference(self.changed, stored, self.defaults, self.decided)


def refuse_other_settings(asked: Settings, contents: Contents, folder: str | Path) -> None:
    """Refuse a folder that holds a run made with other settings, another split or other prompts.

    The digest in results.json is compared first. Where it differs or is missing, the stored config.yaml is compared
    key by key.

    Raises:
        InputError: with the settings that differ, or the file whose content differs.
    """
    if is_complete(folder):
        results = read_results(folder)
        if results.get("settings_digest") != asked.digest:
            _refuse_other_config(asked, Path(folder))
        contents.refuse_other(results, folder)
    elif is_started(Path(folder)):
        if Path(folder, CONFIG_FILE).is_file():
            _refuse_other_config(asked, Path(folder))
        else:  # started through Python
            refuse_difference(asked.difference(_in_checkpoint(Path(folder)) or asked.changed), folder)


def _in_checkpoint(folder: Path) -> dict[str, str]:
    """The settings in a checkpoint of an interrupted run; none where it is damaged or of an earlier version."""
    from dassl.utils import load_checkpoint
    from dassl.utils.torchtools import newest_checkpoint

    with contextlib.suppress(InputError):
        own = folder / CHECKPOINT_FILE
        path = str(own) if own.is_file() else newest_checkpoint(str(next(folder.glob("*/checkpoint")).parent))
        settings = load_checkpoint(path).get("settings")
        return settings if isinstance(settings, dict) else {}
    return {}


def _refuse_other_config(asked: Settings, folder: Path) -> None:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise InputError(
            f"'{folder}' holds a result without its settings, as imported ones are; choose another output folder"
        )
    try:
        flat = flat_settings(_in_todays_words(read_config(path)))
    except InputError as error:
        raise DamagedError(str(error)) from error
    except (RecursionError, ValueError) as error:
        raise DamagedError(f"'{path}' cannot be used ({error}); delete the folder to run again") from error
    refuse_difference(asked.difference(flat), folder)


def _in_todays_words(stored: dict) -> dict:
    """A stored configuration, in which the values of a method's settings mean what they mean today."""
    from dassl.engine import TRAINER_REGISTRY
    from trainers.settings import in_todays_words

    of_trainers, of_images = stored.get("TRAINER"), stored.get("INPUT")
    if not isinstance(of_trainers, dict) or (isinstance(of_images, dict) and SINCE_VERSION_2 in of_images):
        return stored
    defaults = {name.upper(): TRAINER_REGISTRY.get(name) for name in TRAINER_REGISTRY.registered_names()}
    translated = {
        node: in_todays_words(settings, getattr(defaults.get(node), "defaults", {}))
        if isinstance(settings, dict)
        else settings
        for node, settings in of_trainers.items()
    }
    return {**stored, "TRAINER": translated}


@lru_cache
def _defaults(trainers: tuple[str, ...]) -> dict[str, str]:
    from configs.build import default_cfg

    return flat_settings(default_cfg())
