"""What the settings of a run must be, written by hand: values that are right, and values that are wrong.

The project's own schema is not read here. A value that is neither clearly right nor clearly wrong is in no list.
"""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Texts = SearchStrategy[str]
NO_VALUE = (
    "",
    "None",
    "null",
    "many",
    "[1, 2",
    "{}",
    "nan",
    "0,1",
    "1 2",
    "é",
    "\x00",
    "\ud800",
    "9" * 400,
    "{'a': 1}",
)
NO_NUMBER = (*NO_VALUE, "[]", "()", "(1,)", "True", "inf", "-inf", "'1'x")


@dataclass(frozen=True)
class Key:
    """Texts of values that a setting must accept alone, and texts that it must always refuse.

    `free` settings can be combined with any others.
    """

    right: Texts
    wrong: Texts
    free: bool = True


def _junk(*wrong: str) -> Texts:
    return st.sampled_from(wrong)


def real(low: float, high: float, wrong_to: float, wrong_from: float | None = None) -> Key:
    """A number: right in [low, high]; wrong at `wrong_to` or below, and at `wrong_from` or above."""
    wrong = st.floats(max_value=wrong_to) | _junk(*NO_NUMBER).map(str)
    wrong = wrong if wrong_from is None else wrong | st.floats(min_value=wrong_from)
    return Key(st.floats(low, high).map(repr), wrong.map(_text))


def count(low: int, high: int, wrong_to: int) -> Key:
    """An integer: right in [low, high]; wrong at `wrong_to` or below."""
    wrong = st.integers(max_value=wrong_to).map(str) | _junk(*NO_NUMBER, "1.5", "1e999")
    return Key(st.integers(low, high).map(str), wrong)


def word(*choices: str, free: bool = True) -> Key:
    """One of some words."""
    wrong = st.text(min_size=1).filter(lambda text: text.strip().lower() not in choices and text[0] != "-")
    return Key(st.sampled_from(choices), wrong | _junk("nope", "0", "True", *NO_VALUE), free)


def flag(free: bool = True) -> Key:
    """True or False."""
    return Key(_junk("True", "False"), _junk("maybe", "2", "-1", "0.5", "[]", "[True]", *NO_VALUE), free)


def listed(right: Texts, *wrong: str) -> Key:
    return Key(right, _junk(*wrong, *NO_VALUE))


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else repr(value)


TRANSFORMS = ("random_resized_crop", "random_flip", "center_crop", "colorjitter", "randomgrayscale", "gaussian_blur")
TRANSFORMS += ("random_translation", "randomerasing", "normalize", "instance_norm")
PRECISION = word("fp32", "tf32", "bf16", "amp")
COUNT, SHARE, WEIGHT = count(1, 50, 0), real(0, 1, -1e-9, 1.001), real(0, 100, -1e-9)
BELOW_ONE = real(0, 0.999, -1e-9, 1.0)
CROPS = st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1)).map(repr)

GENERAL = {
    "SEED": Key(st.integers(0, 2**32 - 1).map(str), st.integers(min_value=2**32).map(str) | _junk("-2", *NO_NUMBER)),
    "USE_CUDA": flag(),
    "VERBOSE": flag(),
    "FEATURES": word("ahead", "online"),
    "FEATURE_PREC": PRECISION,
    "TEXT_PADDING": word("longest", "context"),
    "PROTOCOL": Key(_junk("few_shot"), _junk("nope", "0", *NO_VALUE)),
    "INPUT.INTERPOLATION": word("bilinear", "bicubic", "nearest"),
    "INPUT.TRANSFORMS": listed(
        st.lists(st.sampled_from(TRANSFORMS), unique=True, min_size=1).map(repr), "5", "[1, 2]", "['nope']", "[None]"
    ),
    "INPUT.RRCROP_SCALE": listed(CROPS, "()", "(0.5,)", "(0.9, 0.1)", "(-1, 1)", "(0, 0)", "('a', 1)", "(nan, 1)", "1"),
    "INPUT.CROP_PADDING": count(0, 50, -1),
    "INPUT.COLORJITTER_B": real(0, 5, -1e-9),
    "INPUT.COLORJITTER_H": real(0, 0.5, -1e-9, 0.51),
    "INPUT.RGS_P": SHARE,
    "INPUT.GB_P": SHARE,
    "INPUT.GB_K": Key(st.integers(0, 20).map(lambda k: str(2 * k + 1)), _junk("0", "-1", "2", "4", *NO_NUMBER)),
    "INPUT.DEPTH": word("rescale", "refuse"),
    "INPUT.FRAMES": word("first", "refuse"),
    "INPUT.ORIENTATION": word("auto", "apply", "ignore"),
    "INPUT.MAX_PIXELS": count(1000_000, 10**9, 0),
    "DATASET.NUM_SHOTS": Key(st.integers(1, 16).map(str), st.integers(max_value=-2).map(str) | _junk("0", *NO_NUMBER)),
    "DATASET.SUBSAMPLE_CLASSES": word("all", "base", "new"),
    "DATASET.DUPLICATES": word("warn", "error", "allow"),
    "DATALOADER.NUM_WORKERS": count(0, 16, -1),
    "DATALOADER.REUSED_VIEWS": count(0, 100, -1),
    "DATALOADER.TRAIN_X.BATCH_SIZE": count(1, 500, 0),
    "DATALOADER.TEST.BATCH_SIZE": count(1, 500, 0),
    "OPTIM.NAME": word("adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"),
    "OPTIM.LR": real(1e-8, 1.0, 0.0, 1e300),
    "OPTIM.WEIGHT_DECAY": real(0, 0.5, -1e-9),
    "OPTIM.MOMENTUM": real(0, 0.99, -1e-9),
    "OPTIM.RMSPROP_ALPHA": BELOW_ONE,
    "OPTIM.ADAM_BETA1": BELOW_ONE,
    "OPTIM.ADAM_BETA2": BELOW_ONE,
    "OPTIM.SGD_NESTEROV": flag(free=False),
    "OPTIM.LR_SCHEDULER": word("single_step", "multi_step", "cosine", free=False),
    "OPTIM.STEPSIZE": listed(st.integers(1, 50).map(lambda k: f"({k},)"), "(0,)", "('a',)", "[1.5]", "(nan,)"),
    "OPTIM.GAMMA": real(0.01, 1, -1e-9),
    "OPTIM.MAX_EPOCH": count(1, 500, 0),
    "OPTIM.WARMUP_EPOCH": count(0, 5, -2),
    "OPTIM.WARMUP_TYPE": word("constant", "linear"),
    "OPTIM.WARMUP_CONS_LR": real(1e-8, 0.1, -1e-12),
    "OPTIM.WARMUP_MIN_LR": real(1e-8, 0.1, -1e-12),
    "OPTIM.WARMUP_RECOUNT": flag(),
    "TRAIN.PRINT_FREQ": count(1, 100, -1),
    "TRAIN.CHECKPOINT_FREQ": count(0, 100, -1),
    "TEST.EVALUATOR": word("Classification"),
    "TEST.PER_CLASS_RESULT": flag(),
    "TEST.COMPUTE_CMAT": flag(),
    "TEST.NO_TEST": flag(),
    "TEST.SPLIT": Key(_junk("test", "val"), _junk("nope", "train", *NO_VALUE)),
    "TEST.FINAL_MODEL": word("last_step", "best_val", free=False),
}
CONTEXT = {"N_CTX": count(1, 8, -1), "CSC": flag(free=False), "CLASS_TOKEN_POSITION": word("end", "middle", "front")}
N_PROMPTS = count(2, 40, 0)
VISUAL = {"VISUAL_TOKENS": count(1, 8, -1), "VISUAL_PLACEMENT": word("insert", "replace")}
# Methods that train in a moment, and some of their own settings.
METHODS: dict[str, dict[str, Key]] = {
    "CoOp": {**CONTEXT, "PREC": PRECISION, "TEXT_DROPOUT": flag()},
    "KgCoOp": {"W": WEIGHT, "N_CTX": count(1, 8, -1)},
    "ProGrad": {"T": real(0.1, 10, 0.0), "LAMBDA": WEIGHT, "TEACHER": word("zeroshot", "self", free=False)},
    "BiomedCoOp": {"N_PROMPTS": N_PROMPTS, "SCCM_LAMBDA": WEIGHT, "KDSP_LAMBDA": WEIGHT, "TAU": real(0.5, 5, 0.0)},
    "BiomedDPT": {"N_PROMPTS": N_PROMPTS, "L1_LAMBDA": WEIGHT, "KL_LAMBDA": WEIGHT, **VISUAL},
    "CLIPAdapter": {"RATIO": SHARE, "REDUCTION": count(1, 8, 0)},
    "TipAdapter": {"AUGMENT_EPOCHS": count(1, 3, 0), "SEARCH_STEPS": count(1, 50, 0)},
    "LPpp": {"ALPHA_EVERY": COUNT, "ACCUMULATE": flag(), "BIAS": flag()},
    "LinearProbe": {"MAX_ITER": COUNT, "SEARCH_STEPS": count(0, 4, -1)},
    "ZeroShot": {"TEXT": word("template", free=False)},
}
