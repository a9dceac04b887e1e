"""The settings of a run that lies in a folder already: which differences matter, and how they are shown."""

import json
import shutil
from pathlib import Path

import pytest

from configs import Choice, build_cfg
from dassl.errors import InputError
from datasets import phantom
from datasets.splits import split_file
from runs.contents import Contents
from runs.folder import CONFIG_FILE, MARKER, RESULTS_FILE
from runs.results import read_results
from runs.settings import Settings, refuse_other_settings

EARLIER = Path(__file__).parent / "data" / "earlier_run"  # made before results.json had a digest of the settings


def configuration(root, *opts):
    return build_cfg(Choice("BiomedDPT", shots=1, root=str(root), opts=["OPTIM.MAX_EPOCH", "2", *opts]))


def check(cfg, folder):
    refuse_other_settings(Settings.of(cfg), Contents(cfg), folder)


@pytest.fixture
def earlier(tmp_path):
    folder = tmp_path / "seed1"
    shutil.copytree(EARLIER, folder)
    return folder


@pytest.fixture
def change(earlier):
    """Sets keys of the results: change(settings_digest="…")."""

    def _change(**values):
        path = earlier / RESULTS_FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return _change


def test_the_digest_changes_with_settings_that_have_an_effect(tmp_path):
    plain = Settings.of(configuration(tmp_path))
    for opts in (["DATALOADER.NUM_WORKERS", "3"], ["OUTPUT_DIR", "elsewhere"], ["TRAIN.PRINT_FREQ", "1"]):
        assert Settings.of(configuration(tmp_path, *opts)).digest == plain.digest
    other = Settings.of(configuration(tmp_path, "TRAINER.BIOMEDDPT.KL_LAMBDA", "3.5"))
    assert other.digest != plain.digest
    assert (
        other.of_cell(4, 2).digest
        == Settings.of(
            configuration(tmp_path, "TRAINER.BIOMEDDPT.KL_LAMBDA", "3.5", "DATASET.NUM_SHOTS", "4", "SEED", "2")
        ).digest
    )


def test_a_key_that_is_added_later_at_its_default_changes_nothing(tmp_path):
    before = Settings.of(configuration(tmp_path))
    defaults = {**before.defaults, "NEW.KEY": "1"}
    after = Settings(before.changed, defaults)
    assert after.digest == before.digest
    assert after.difference(before.changed) == ""
    after = Settings({**before.changed, "NEW.KEY": "2"}, defaults)
    assert after.digest != before.digest
    assert after.difference(before.changed) == "-NEW.KEY: 1\n+NEW.KEY: 2"


def test_earlier_results_without_a_digest_are_valid(earlier, tmp_path):
    check(configuration(tmp_path), earlier)
    with pytest.raises(InputError, match=r"with other settings.*\n--- stored\n\+\+\+ asked for\n-OPTIM.LR: 0.01\n\+"):
        check(configuration(tmp_path, "OPTIM.LR", "0.5"), earlier)
    (earlier / CONFIG_FILE).write_text("OPTIM: [")
    with pytest.raises(InputError, match=r"'.*config.yaml' cannot be read"):
        check(configuration(tmp_path), earlier)
    (earlier / CONFIG_FILE).unlink()
    with pytest.raises(InputError, match="holds a result without its settings"):
        check(configuration(tmp_path), earlier)


def test_where_the_digest_differs_the_settings_are_compared_key_by_key(earlier, change, tmp_path):
    change(settings_digest="0123")
    check(configuration(tmp_path), earlier)
    change(settings_digest=Settings.of(configuration(tmp_path)).digest)
    (earlier / CONFIG_FILE).unlink()
    check(configuration(tmp_path), earlier)


def test_a_run_that_was_only_started_is_compared_too(earlier, tmp_path):
    (earlier / MARKER).unlink()
    check(configuration(tmp_path, "OPTIM.LR", "0.5"), earlier)  # nothing to resume
    (earlier / "checkpoint.pth").touch()
    with pytest.raises(InputError, match=r"-OPTIM.LR: 0.01"):
        check(configuration(tmp_path, "OPTIM.LR", "0.5"), earlier)


def test_another_split_is_refused_by_its_file(earlier, change, tmp_path, phantom_root):
    check(configuration(tmp_path), earlier)  # no images there, nothing to compare
    cfg = configuration(phantom_root)
    phantom.Phantom(cfg)
    path = split_file(phantom_root / "Phantom")
    with pytest.raises(InputError, match=f"another content of '{path}'"):
        check(cfg, earlier)
    change(split={"origin": "generated", "digest": Contents(cfg).split[1]})
    check(cfg, earlier)


def test_other_prompts_are_refused_by_their_file(earlier, change, tmp_path, write_prompts):
    path = write_prompts("a scan of {}", {"cyst": ["round"]})
    folder = ["DATASET.NAME", "Folder", "DATASET.FOLDER", "Scans", "DATASET.CLASSES", "['cyst']"]
    cfg = configuration(tmp_path, *folder, "DATASET.PROMPTS", path)
    change(
        settings_digest=Settings.of(cfg).digest, prompts={"file": "prompts.json", "digest": Contents(cfg).prompts[1]}
    )
    check(cfg, earlier)
    write_prompts("a scan of {}", {"cyst": ["oval"]})
    with pytest.raises(InputError, match=f"another content of '{path}'"):
        check(cfg, earlier)
    change(prompts=None)  # a method that reads no prompts
    check(cfg, earlier)


def test_keys_of_earlier_results_have_todays_names(earlier):
    results = read_results(earlier)
    assert results["trainable_parameters"] > 0
    assert results["seconds"]["runs_in_stack"] == 1
    assert not {"learned_parameters", "runs_side_by_side"} & {*results, *results["seconds"]}


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_damaged_results_are_named(earlier, content):
    (earlier / RESULTS_FILE).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"results.json' cannot be read .*; delete the folder to run again"):
        read_results(earlier)


def test_shots_and_seed_do_not_count_for_a_method_that_learns_nothing(tmp_path):
    asked, stored = (
        Settings.of(build_cfg(Choice("ZeroShot", shots=shots, seed=seed, root=str(tmp_path))))
        for shots, seed in ((16, 3), (1, 1))
    )
    assert asked.difference(stored.changed) == ""
    other = Settings.of(build_cfg(Choice("ZeroShot", root=str(tmp_path), opts=["TRAINER.ZEROSHOT.TEMPLATE", "a {}"])))
    assert "TRAINER.ZEROSHOT.TEMPLATE" in other.difference(stored.changed)
