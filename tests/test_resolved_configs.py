"""Every resolved configuration against the recorded ones.

tests/data/resolved_configs.json holds the defaults ("framework", "settings" by method) and, under "runs", the values
that differ from them, by method/protocol/data set/variant, with * for all; a name with fewer * overrides. "refused"
names the runs that are refused, with the backbone at the end. For a deliberate change of a configuration, edit its line
in that file. Keys, methods, data sets and backbones that were added later are not compared.
"""

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from yacs.config import CfgNode

from configs import Choice, build_cfg
from configs.build import RefusedError

RECORDED = json.loads((Path(__file__).parent / "data" / "resolved_configs.json").read_text())
DATASETS = sorted(name.split("/")[2] for name in RECORDED["runs"] if name.startswith("*/*/") and name != "*/*/*/*")


def flat(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def recorded(method, protocol, dataset, variant):
    """The recorded values of a run, by full key."""
    name = f"{method}/{protocol}/{dataset}/{variant}"
    values = dict(RECORDED["framework"])
    values |= {f"TRAINER.{method.upper()}.{key}": value for key, value in RECORDED["settings"][method].items()}
    matching = [pattern for pattern in RECORDED["runs"] if fnmatchcase(name, pattern)]
    for pattern in sorted(matching, key=lambda pattern: -pattern.count("*")):
        values |= RECORDED["runs"][pattern]
    return values


def differences(choice):
    """Key, recorded and present value, of all keys in which a run's configuration differs from the recorded one."""
    variant = "published" if choice.published else "clean"
    expected = recorded(choice.trainer, choice.protocol, choice.dataset, variant) | {
        "TRAINER.NAME": choice.trainer,
        "MODEL.BACKBONE.NAME": choice.backbone,
        "DATASET.ROOT": choice.root,
        "DATASET.NUM_SHOTS": choice.shots,
        "SEED": choice.seed,
        "PROTOCOL": choice.protocol,
        "PUBLISHED": choice.published,
    }
    present = json.loads(json.dumps(dict(flat(build_cfg(choice)))))
    missing = object()
    return [
        (key, value, present.get(key, "no such key"))
        for key, value in expected.items()
        if present.get(key, missing) != value or type(present[key]) is not type(value)
    ]


@pytest.mark.parametrize("method", sorted(RECORDED["settings"]))
def test_every_configuration_is_the_recorded_one(method):
    found = {}
    for protocol in ("few_shot", "base2new"):
        for dataset in DATASETS:
            for variant in ("clean", "published"):
                for backbone in RECORDED["backbones"]:
                    name = f"{method}/{protocol}/{dataset}/{variant}/{backbone}"
                    published = variant == "published"
                    choice = Choice(method, backbone, dataset, protocol, root="ROOT", published=published)
                    if any(fnmatchcase(name, pattern) for pattern in RECORDED["refused"]):
                        with pytest.raises(RefusedError):
                            build_cfg(choice)
                    else:
                        found[name] = differences(choice)
    changed = {name: differs for name, differs in found.items() if differs}
    assert not changed, f"key, recorded value, present value: {changed}"


@pytest.mark.parametrize("shots", [1, 2, 4, 8])
def test_recorded_configurations_hold_for_all_shots(shots):
    for dataset in DATASETS:
        assert differences(Choice("BiomedDPT", "BiomedCLIP", dataset, shots=shots, root="ROOT")) == []


def test_a_changed_value_is_found(monkeypatch):
    monkeypatch.setitem(RECORDED["runs"]["BiomedDPT/few_shot/covid/*"], "TRAINER.BIOMEDDPT.L1_LAMBDA", 66.0)
    found = differences(Choice("BiomedDPT", "Tiny", "covid", root="ROOT"))
    assert found == [("TRAINER.BIOMEDDPT.L1_LAMBDA", 66.0, 65.0)]
    monkeypatch.setitem(RECORDED["framework"], "OPTIM.FORGOTTEN", 1)
    assert ("OPTIM.FORGOTTEN", 1, "no such key") in differences(Choice("BiomedDPT", "Tiny", "covid", root="ROOT"))
