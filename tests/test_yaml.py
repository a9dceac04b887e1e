"""yaml texts that are made to exhaust a reader, to run code, or that are simply wrong: each is refused at once."""

from itertools import pairwise

import pytest
import yaml

import train
from configs import Choice, build_cfg
from dassl.config import dump_cfg, get_cfg_default, parse_yaml

LETTERS = "abcdefghijkl"
NINE = ",".join(["*{0}"] * 9)
BOMB = "a: &a [x]\n" + "".join(f"{b}: &{b} [{NINE.format(a)}]\n" for a, b in pairwise(LETTERS))
MERGES = BOMB.replace("[x]", "{x: 1}").replace("[*", "{<<: [*").replace("]\n", "]}\n")
REFUSED = {
    "an alias bomb": (BOMB, "more than 100,000 values"),
    "a bomb of merged mappings": (MERGES, "more than 100,000 values"),
    "a list in itself": ("OPTIM.STEPSIZE: &a [*a]", "nested more than 20 deep"),
    "a mapping in itself": ("&a {OPTIM: *a}", "nested more than 20 deep"),
    "deep lists": ("OPTIM.LR: " + "[" * 500 + "]" * 500, "nested more than 20 deep"),
    "deeper lists": ("OPTIM.LR: " + "[" * 100_000, "maximum nesting depth"),
    "deep mappings": ("{a: " * 500 + "1" + "}" * 500, "nested more than 20 deep"),
    "code": ("OPTIM.LR: !!python/object/apply:os.system [exit]", "could not determine a constructor"),
    "a tag": ("OPTIM.LR: !mine 1", "could not determine a constructor"),
    "a repeated key": ("OPTIM: {LR: 0.1, MAX_EPOCH: 2, LR: 0.2}", "the key 'LR' stands here again"),
    "a date": ("OPTIM.LR: 2024-13-45", "a value cannot be read"),
    "no integer": ("OPTIM.MAX_EPOCH: !!int many", "a value cannot be read"),
    "a long integer": ("OPTIM.MAX_EPOCH: " + "9" * 5000, "a value cannot be read"),
    "no boolean": ("USE_CUDA: !!bool maybe", "a value cannot be read"),
    "a tab": ("OPTIM:\n\tLR: 0.1", "cannot start any token"),
    "a control character": ("OPTIM.LR: \x01", "control characters are not allowed"),
    "an unknown alias": ("OPTIM.LR: *a", "undefined alias"),
    "a key that is a list": ("{[1]: 2}", "unhashable key"),
    "two documents": ("OPTIM.LR: 0.1\n---\nOPTIM.LR: 0.2", "expected a single document"),
    "a list": ("- OPTIM.LR", "must hold KEY: VALUE lines"),
    "a set": ("OPTIM.STEPSIZE: !!set {a}", "OPTIM.STEPSIZE is {'a'}; it must be of type list of int"),
    "a valid date": ("OPTIM.LR: 2024-01-01", "OPTIM.LR is datetime.date(2024, 1, 1); it must be of type float"),
    "a setting as a node": ("OPTIM: {LR: {A: 1}}", "OPTIM.LR is a setting; it must have a value, not keys"),
    "an empty node as a value": ("OPTIM: {LR: {}}", "OPTIM.LR is {}; it must be of type float"),
    "a node as a setting": ("OPTIM: 3", "OPTIM is not a setting; its settings are OPTIM.NAME"),
    "no value": ("OPTIM: {LR: }", "OPTIM.LR has no value"),
    "a number as a key": ("1: 2", "unknown configuration key '1'"),
    "a long key": ("K" * 1000 + ": 1", "unknown configuration key 'KKK"),
    "other characters": (b"OPTIM.LR: \xff", "cannot be read"),
    "another encoding": ("OPTIM.LR: 0.1".encode("utf-16"), "cannot be read"),
    "a large file": ("#" * 2**21, "no file of at most 1,048,576 bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("option", ["--config-file", "--dataset-config-file"])
def test_files_that_are_refused(tmp_path, capsys, name, option):
    content, message = REFUSED[name]
    path = tmp_path / "bad.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert train.main(["--trainer", "CoOp", "--no-train", option, str(path)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert str(path) in printed
    assert printed.count("\n") < 15
    assert len(printed) < 3000


@pytest.mark.parametrize("path", ["/dev/null/x", "/dev/zero", "/dev", "none.yaml", "a\0.yaml", "x" * 5000 + ".yaml"])
def test_paths_that_are_no_files(capsys, path):
    assert train.main(["--trainer", "CoOp", "--no-train", "--config-file", path]) == 2
    assert "configuration file '" in capsys.readouterr().err


def test_files_that_are_accepted(tmp_path):
    path = tmp_path / "good.yaml"
    anchors = "x: &x {LR: 0.1}\nOPTIM: {<<: *x, MAX_EPOCH: 3}\n"
    assert parse_yaml(anchors)["OPTIM"] == {"LR": 0.1, "MAX_EPOCH": 3}
    assert parse_yaml("") is parse_yaml("# nothing") is None
    path.write_text("\ufeffOPTIM: {LR: 1e-5, STEPSIZE: '(3, 4)'}\nINPUT:\n  SIZE: (224, 224)\n", encoding="utf-8")
    cfg = build_cfg(Choice("CoOp", config_file=str(path)))
    assert (cfg.OPTIM.LR, cfg.OPTIM.STEPSIZE) == (1e-5, (3, 4))


def test_a_configuration_is_written_and_read_back():
    cfg = get_cfg_default()
    cfg.OUTPUT_DIR = "/tmp/no \udcff UTF-8, \u00e9"
    assert parse_yaml(dump_cfg(cfg))["OUTPUT_DIR"] == cfg.OUTPUT_DIR
    with pytest.raises(yaml.YAMLError):
        parse_yaml("a: \udcff")
