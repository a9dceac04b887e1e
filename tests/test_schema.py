"""Which values settings accept, by a list that was written by hand and not from the schema; and the schema itself."""

import math
from pathlib import Path

import pytest

import train
from configs import Choice, build_cfg
from configs.default import default_cfg
from configs.listing import settings_page
from configs.names import method_names
from dassl.config import check_settings, declared_keys, get_cfg_default
from dassl.config.schema import Declaration, Rules
from dassl.engine import build_trainer
from dassl.errors import InputError, unknown_name
from tests import coop_style  # noqa: F401 - registers a trainer

# Refused with every method, also under --accept-unread: key, and values in the words of a command line.
REFUSED = {
    "OPTIM.LR": ["0", "-0.1", "1e308", "1e999", "nan", "None", "True", "high", "[0.1]", "{}", "9" * 400],
    "OPTIM.WEIGHT_DECAY": ["-1", "inf", "1e308"],
    "OPTIM.MOMENTUM": ["-1", "1.0", "2"],
    "OPTIM.ADAM_BETA1": ["1.0", "-0.1"],
    "OPTIM.ADAM_BETA2": ["1", "1.5"],
    "OPTIM.RMSPROP_ALPHA": ["1.0"],
    "OPTIM.MAX_EPOCH": ["0", "-1", "1.5", "None", "'5'", str(2**31)],
    "OPTIM.WARMUP_EPOCH": ["-2", "1.0"],
    "OPTIM.WARMUP_CONS_LR": ["-1.0"],
    "OPTIM.WARMUP_MIN_LR": ["-1.0"],
    "OPTIM.WARMUP_TYPE": ["none"],
    "OPTIM.LR_SCHEDULER": ["cosin"],
    "OPTIM.NAME": ["sdg", "None", ""],
    "OPTIM.STEPSIZE": ["5", "()", "(0,)", "(-2,)", "(1.5,)"],
    "OPTIM.GAMMA": ["0", "-0.1", "2"],
    "DATALOADER.TRAIN_X.BATCH_SIZE": ["0", "-4", "None"],
    "DATALOADER.TEST.BATCH_SIZE": ["0"],
    "DATALOADER.TRAIN_X.SAMPLER": ["RandomSample", "RandomDomainSampler"],
    "DATALOADER.NUM_WORKERS": ["-1", "0.5"],
    "DATALOADER.REUSED_VIEWS": ["-1"],
    "DATALOADER.K_TRANSFORMS": ["0"],
    "TRAIN.PRINT_FREQ": ["0", "-1"],
    "TRAIN.CHECKPOINT_FREQ": ["-1"],
    "DATASET.NUM_SHOTS": ["0", "-2", "1.0", "None"],
    "DATASET.SUBSAMPLE_CLASSES": ["nope"],
    "DATASET.DUPLICATES": ["nope", "True"],
    "DATASET.FOLDS": ["1", "-1"],
    "DATASET.FOLD": ["0", "-1"],
    "DATASET.CLASSES": ["('a', '')", "('a', ' ')", "('a', 'a')", "('a', 1)", "ab", "('a', '\\ud800')"],
    "INPUT.RRCROP_SCALE": ["()", "(0.5,)", "(0.0, 1.0)", "(0.8, 0.2)", "(0.5, 1.5)", "(0.1, 0.2, 0.3)", "('a',)"],
    "INPUT.TRANSFORMS": ["(1, 2)", "normalise", "('normalise',)", "(None,)", "3"],
    "INPUT.INTERPOLATION": ["cubic"],
    "INPUT.SIZE": ["(224,)", "(0, 0)", "224", "(2.5, 2.5)"],
    "INPUT.PIXEL_MEAN": ["[0.5]", "0.5", "[0.1, 0.2, nan]"],
    "INPUT.PIXEL_STD": ["[0.0, 1.0, 1.0]", "[-1.0, 1.0, 1.0]"],
    "INPUT.GB_K": ["4", "0", "-3"],
    "INPUT.COLORJITTER_H": ["0.6", "-0.1"],
    "INPUT.RGS_P": ["1.1", "-0.1"],
    "INPUT.CROP_PADDING": ["-1"],
    "INPUT.DEPTH": ["nope"],
    "INPUT.FRAMES": ["nope"],
    "INPUT.ORIENTATION": ["nope"],
    "INPUT.MAX_PIXELS": ["0"],
    "SEED": ["-2", str(2**32), "1.5", "None", "one"],
    "USE_CUDA": ["1", "yes", "None"],
    "PROTOCOL": ["nope", "None", ""],
    "FEATURES": ["nope"],
    "FEATURE_PREC": ["nope", "fp8"],
    "TEXT_PADDING": ["nope"],
    "TEST.FINAL_MODEL": ["nope"],
    "TEST.SPLIT": ["nope", "train"],
    "TEST.EVALUATOR": ["nope"],
    "TEST.NO_TEST": ["1", "maybe"],
    "DATASET.NAME": ["nope"],
    "DATASET.ROOT": ["~nouser/x", "None"],
    "MODEL.BACKBONE.NAME": ["nope", "{}", "None"],
    "MODEL.BACKBONE": ["Tiny", "{}"],
    "OPTIM": ["{}", "3"],
    "TRAINER.COOP.N_CTX": ["-1", "2.0", "1001", "None"],
    "TRAINER.COOP.CSC": ["yes", "1"],
    "TRAINER.COOP.PREC": ["fp8"],
    "TRAINER.COOP.CLASS_TOKEN_POSITION": ["ende"],
    "TRAINER.COOP.CTX_INIT": ["None", "'\\ud800'"],
}  # fmt: skip
REFUSED_TOGETHER = [
    ("DATASET.FOLDS 3 DATASET.FOLD 4", "DATASET.FOLD is 4; it must be at most DATASET.FOLDS, 3"),
    ("OPTIM.SGD_NESTEROV True OPTIM.MOMENTUM 0.0", "OPTIM.SGD_NESTEROV is True; it needs MOMENTUM above 0"),
    ("TRAINER.COOP.CTX_INIT '' TRAINER.COOP.N_CTX 0", "TRAINER.COOP.N_CTX is 0; a context of random values"),
]
ACCEPTED = {
    "OPTIM.LR": ["1e-8", "0.1", "1", "1000"],
    "OPTIM.WEIGHT_DECAY": ["0", "0.0", "1e-4"],
    "OPTIM.MOMENTUM": ["0", "0.99"],
    "OPTIM.MAX_EPOCH": ["1", "200"],
    "OPTIM.WARMUP_EPOCH": ["-1", "0", "5"],
    "OPTIM.WARMUP_CONS_LR": ["0", "1e-5"],
    "OPTIM.STEPSIZE": ["(-1,)", "(10, 20)", "[10]"],
    "DATALOADER.NUM_WORKERS": ["0", "8"],
    "DATALOADER.REUSED_VIEWS": ["0", "4"],
    "DATASET.NUM_SHOTS": ["-1", "1", "16"],
    "DATASET.FOLDS": ["0", "2", "10"],
    "INPUT.RRCROP_SCALE": ["(0.5, 1)", "(0.3, 0.3)", "[0.08, 1.0]"],
    "INPUT.TRANSFORMS": ["()", "('normalize',)", "['random_flip', 'normalize']"],
    "INPUT.GB_K": ["1", "21"],
    "SEED": ["-1", "0", str(2**32 - 1)],
    "TEST.SPLIT": ["val", "all"],
    "TEST.FINAL_MODEL": ["best_val"],
    "TEST.NO_TEST": ["True"],
    "TRAINER.COOP.N_CTX": ["0", "16"],
    "TRAINER.COOP.CTX_INIT": ["a scan of", "template", "2024", "(a)"],
    "OUTPUT_DIR": ["2024", "/tmp/\udcff", "None of these"],
    "DATASET.PROMPTS": ["1e5"],
}  # fmt: skip
METHODS_REFUSE = [
    ("BiomedDPT", "N_PROMPTS", "0"),
    ("BiomedDPT", "N_PROMPTS", "-1"),
    ("BiomedDPT", "L1_LAMBDA", "-1.0"),
    ("BiomedDPT", "KL_LAMBDA", "inf"),
    ("BiomedDPT", "VISUAL_TOKENS", "-1"),
    ("BiomedDPT", "VISUAL_PLACEMENT", "add"),
    ("BiomedCoOp", "N_PROMPTS", "1"),
    ("BiomedCoOp", "TAU", "0"),
    ("KgCoOp", "TEMPLATE", "a {x}"),
    ("KgCoOp", "TEMPLATE", "a photo"),
    ("ProGrad", "TEMPLATE", "{} {}"),
    ("ZeroShot", "TEMPLATE", "a {} {"),
    ("CLIPLoRA", "TEMPLATE", "a {}}"),
    ("CLIPLoRA", "PARAMS", ""),
    ("CLIPLoRA", "PARAMS", "qqk"),
    ("CLIPLoRA", "PARAMS", "xyz"),
    ("CLIPLoRA", "DROPOUT", "1.0"),
    ("CLIPLoRA", "RANK", "0"),
    ("MaPLe", "CSC", "True"),
    ("TipAdapterF", "ALPHAS", "[]"),
    ("TipAdapterF", "ALPHAS", "[-1.0]"),
    ("VPT", "VISUAL_TOKENS", "0"),
]


def pairs_of(table):
    return [(key, value) for key, values in table.items() for value in values]


@pytest.fixture
def refused(capsys):
    """Runs a command line that must be refused; returns the message."""

    def _refused(*words, trainer="CoOp"):
        assert train.main(["--trainer", trainer, "--no-train", "--accept-unread", *words]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") < 15
        assert len(message) < 4000
        return message

    return _refused


@pytest.mark.parametrize("key", REFUSED)
def test_values_that_are_refused(refused, key):
    for value in REFUSED[key]:
        message = refused(key, value)
        assert key in message, value
        assert value[:40] in message or repr(value)[1:-1][:40] in message, value


@pytest.mark.parametrize(("pairs", "message"), REFUSED_TOGETHER)
def test_values_that_are_refused_together(refused, pairs, message):
    words = [word.replace("''", "") for word in pairs.split()]
    assert message in refused(*words)


@pytest.mark.parametrize(("method", "name", "value"), METHODS_REFUSE)
def test_values_that_methods_refuse(refused, method, name, value):
    key = f"TRAINER.{method.upper()}.{name}"
    assert key in refused(key, value, trainer=method)


def test_values_that_are_accepted():
    for key, value in pairs_of(ACCEPTED):
        build_cfg(Choice("CoOp", opts=[key, value], accept_unread=True))


def test_arguments_are_settings_too(refused):
    assert "SEED is 4294967296" in refused("--seed", str(2**32))
    assert "DATASET.ROOT is '~nouser/x'" in refused("--root", "~nouser/x")
    assert "unknown protocol 'nope'" in refused("--protocol", "nope")
    cfg = build_cfg(Choice("CoOp", seed=2**32 - 1, shots=-1))
    assert (cfg.SEED, cfg.DATASET.NUM_SHOTS) == (2**32 - 1, -1)
    with pytest.raises(InputError, match="NUM_SHOTS is 0; it must be -1 or >= 1"):
        build_cfg(Choice("CoOp", shots=0))


@pytest.mark.parametrize(
    "key", ["PROTOCOL", "FEATURES", "FEATURE_PREC", "TEST.FINAL_MODEL", "TEST.SPLIT", "OPTIM.NAME"]
)
def test_files_and_python_are_checked_as_the_command_line_is(refused, tmp_path, key):
    (tmp_path / "method.yaml").write_text(f"{key}: nope\n")
    message = refused("--config-file", str(tmp_path / "method.yaml"))
    assert f"method.yaml': unknown choice ({key}) 'nope'" in message
    cfg = build_cfg(Choice("CoOp"))
    cfg.defrost()
    cfg.merge_from_list([key, "nope"])
    with pytest.raises(InputError, match=f"unknown choice \\({key}\\) 'nope'"):
        build_trainer(cfg)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("OPTIM.MAX_EPOCH", 0, "OPTIM.MAX_EPOCH is 0; it must be >= 1"),
        ("OPTIM.MAX_EPOCH", None, "OPTIM.MAX_EPOCH has no value; it must be of type int"),
        ("OPTIM.LR", math.nan, "OPTIM.LR is nan; it must be a finite number"),
        ("INPUT.TRANSFORMS", (1,), "INPUT.TRANSFORMS is 1; it must be of type str"),
        ("OPTIM", 3, "OPTIM is 3; it must be a node of settings"),
        ("OPTIM.LR", {}, "OPTIM.LR is {}; it must be of type float"),
    ],
)
def test_plain_dassl_code_is_checked_before_anything_is_built(key, value, message):
    cfg = get_cfg_default()
    cfg.TRAINER.NAME = "MeanColour"
    node = cfg
    *parents, name = key.split(".")
    for part in parents:
        node = node[part]
    node[name] = value
    with pytest.raises(InputError) as caught:
        build_trainer(cfg)
    assert message in str(caught.value)


def test_plain_dassl_code_may_add_keys_of_its_own():
    cfg = get_cfg_default()
    cfg.TRAINER.MINE = type(cfg)({"N_CTX": -1, "PREC": None})
    cfg.DATASET.MINE = None
    check_settings(cfg)
    cfg.OPTIM.LR = 1  # an integer for a float, as yaml files of CoOp-style code have it
    check_settings(cfg)


def flat(node, prefix=""):
    for key, value in node.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]


def test_every_key_is_declared_once_with_help_and_a_default_that_it_accepts():
    of_methods = tuple(f"TRAINER.{name.upper()}." for name in method_names())
    keys = {key: value for key, value in flat(default_cfg()) if not key.startswith(of_methods)}
    keys = {key: value for key, value in keys.items() if not key.startswith("TRAINER.MEANCOLOUR")}
    assert set(keys) == set(declared_keys())
    for key, declaration in declared_keys().items():
        assert declaration.rules.help, key
        assert declaration.parse(declaration.default, key) == keys[key], key
        assert type(keys[key]) is type(declaration.default), key


def test_a_key_that_is_accepted_has_the_value_that_was_asked_for():
    assert Declaration(tuple[float, ...], (), Rules("")).parse([1, 2.5], "K") == (1.0, 2.5)
    assert Declaration(str, "", Rules("")).decoded("(a)") == "(a)"
    assert Declaration(str, "", Rules("")).decoded("2024") == "2024"
    assert Declaration(str, "", Rules("")).decoded("'2024'") == "2024"
    assert Declaration(int, 1, Rules("")).decoded("0x10") == 16
    deep = "(" * 5000
    assert Declaration(int, 1, Rules("")).decoded(deep) == deep


def test_the_page_of_settings_is_that_of_the_code():
    page = (Path(train.__file__).parent / "docs" / "SETTINGS.md").read_text(encoding="utf-8")
    assert page == f"# Settings\n\n{settings_page()}\n", "python train.py --list settings prints the page's new text"


def test_settings_are_listed(capsys):
    assert train.main(["--list", "settings"]) == 0
    assert "| OPTIM.LR  " in capsys.readouterr().out


def test_errors_about_unknown_names_are_short():
    message = str(unknown_name("animal", "x" * 10_000, [f"name{k:04}" for k in range(5000)]))
    assert len(message) < 1000
    assert message.endswith("name0059 and 4940 others")
    assert "\n" not in str(unknown_name("animal", "a\nb", ["c"]))
