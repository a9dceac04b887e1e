"""The framework's keys, with upstream Dassl's names and defaults, without those for domain adaptation.

`FRAMEWORK` maps each node, such as "OPTIM", to the settings that it holds; "" is the root.
"""

from collections.abc import Collection

from dassl.config.schema import Settings, setting

TRANSFORMS = (
    "random_resized_crop",
    "random_flip",
    "center_crop",
    "random_crop",
    "random_translation",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
    "randomerasing",
    "normalize",
    "instance_norm",
)
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
RATE = {"at_least": 0, "at_most": 1000}  # learning rates and what is added to their gradients
SHARE = {"at_least": 0, "at_most": 1}


def _optimizers() -> Collection[str]:
    from dassl.optim.optimizer import NAMES

    return NAMES


def _schedules() -> Collection[str]:
    from dassl.optim.lr_scheduler import SCHEDULES

    return SCHEDULES


def _warmups() -> Collection[str]:
    from dassl.optim.lr_scheduler import WARMUPS

    return WARMUPS


def _samplers() -> Collection[str]:
    from dassl.data.samplers import SAMPLERS

    return SAMPLERS


def _evaluators() -> Collection[str]:
    from dassl.evaluation.evaluator import EVALUATOR_REGISTRY

    return EVALUATOR_REGISTRY.registered_names()


class Root(Settings):
    VERSION: int = setting(1, "version of the configuration; upstream's, not read here")
    OUTPUT_DIR: str = setting("./output", "folder of the run", is_path=True)
    RESUME: str = setting("", "folder of an interrupted training to go on with; '' for OUTPUT_DIR", is_path=True)
    SEED: int = setting(-1, "seed of images, order and starting values; -1 for any", at_least=-1, at_most=2**32 - 1)
    USE_CUDA: bool = setting(True, "compute on a GPU where there is one")
    VERBOSE: bool = setting(True, "print a summary of the data set")


class Input(Settings):
    SIZE: tuple[int, ...] = setting((224, 224), "height and width", at_least=1, at_most=4096, length=2)
    INTERPOLATION: str = setting("bilinear", "how images are resized", choices=INTERPOLATIONS)
    TRANSFORMS: tuple[str, ...] = setting((), "what is done to training images", choices=TRANSFORMS)
    NO_TRANSFORM: bool = setting(False, "leave images as they are, without a tensor")
    PIXEL_MEAN: list[float] = setting([0.485, 0.456, 0.406], "mean of each channel, for normalize", length=3)
    PIXEL_STD: list[float] = setting([0.229, 0.224, 0.225], "standard deviation of each channel", above=0, length=3)
    CROP_PADDING: int = setting(4, "pixels added on each side, for random_crop", at_least=0, at_most=4096)
    RRCROP_SCALE: tuple[float, ...] = setting(
        (0.08, 1.0), "smallest and largest share of the area, for random_resized_crop", above=0, at_most=1, length=2
    )
    CUTOUT_N: int = setting(1, "holes, for cutout; not read here", at_least=1)
    CUTOUT_LEN: int = setting(16, "side of a hole in pixels, for cutout; not read here", at_least=1)
    COLORJITTER_B: float = setting(0.4, "change of brightness, for colorjitter", at_least=0, at_most=100)
    COLORJITTER_C: float = setting(0.4, "change of contrast, for colorjitter", at_least=0, at_most=100)
    COLORJITTER_S: float = setting(0.4, "change of saturation, for colorjitter", at_least=0, at_most=100)
    COLORJITTER_H: float = setting(0.1, "change of hue, for colorjitter", at_least=0, at_most=0.5)
    RGS_P: float = setting(0.2, "probability of grey, for randomgrayscale", **SHARE)
    GB_P: float = setting(0.5, "probability of a blur, for gaussian_blur", **SHARE)
    GB_K: int = setting(21, "size of the kernel, an odd number, for gaussian_blur", at_least=1, at_most=999)
    # Not in upstream: images that are not plain 8-bit pictures.
    DEPTH: str = setting(
        "rescale",
        "images with more than 8 bits per channel: rescaled, rescaled between percentiles only, or refused",
        choices=("rescale", "percentiles", "refuse"),
    )
    FRAMES: str = setting(
        "first", "files with several images: the first is used, or they are refused", choices=("first", "refuse")
    )
    ORIENTATION: str = setting(
        "auto",
        "EXIF orientation: applied, ignored, or applied for a user's own folders only",
        choices=("auto", "apply", "ignore"),
    )
    MAX_PIXELS: int = setting(100_000_000, "an image with more pixels is refused", at_least=1)

    def problem(self) -> str:
        if self.RRCROP_SCALE[0] > self.RRCROP_SCALE[1]:
            return f"RRCROP_SCALE is {self.RRCROP_SCALE}; the first value must not be above the second"
        return "" if self.GB_K % 2 else f"GB_K is {self.GB_K}; it must be odd"


class Dataset(Settings):
    NAME: str = setting("", "registered name of the data set")
    ROOT: str = setting("", "folder that holds the folders of the data sets", is_path=True)
    SOURCE_DOMAINS: tuple[str, ...] = setting((), "domains of the training images, for data sets that have some")
    TARGET_DOMAINS: tuple[str, ...] = setting((), "domains of the test images, for data sets that have some")
    NUM_LABELED: int = setting(-1, "labelled images, for data sets that read it; -1 for all", at_least=1, also=(-1,))
    NUM_SHOTS: int = setting(-1, "training images per class; -1 for all", at_least=1, also=(-1,))
    VAL_PERCENT: float = setting(0.1, "share of validation images, for data sets that read it", above=0, below=1)


class Loading(Settings):
    NUM_WORKERS: int = setting(4, "processes that load images, at most one per core; 0 for none", at_least=0)
    K_TRANSFORMS: int = setting(1, "views of an image in a batch", at_least=1, at_most=100)
    RETURN_IMG0: bool = setting(False, "put the image without augmentation into the batch too")
    # Not in upstream.
    REUSED_VIEWS: int = setting(0, "0 for new views in every epoch; n to cycle through n views per image", at_least=0)


class Loader(Settings):
    SAMPLER: str = setting("RandomSampler", "order of the images", choices=_samplers)
    BATCH_SIZE: int = setting(32, "images in a batch", at_least=1)
    N_DOMAIN: int = setting(0, "domains in a batch; upstream's, not read here", at_least=0)
    N_INS: int = setting(16, "images per domain or class in a batch; upstream's, not read here", at_least=1)


class Unlabelled(Loader):
    SAME_AS_X: bool = setting(True, "the settings of TRAIN_X hold; upstream's, not read here")


class TestLoader(Settings):
    SAMPLER: str = setting("SequentialSampler", "order of the test images", choices=_samplers)
    BATCH_SIZE: int = setting(32, "test images in a batch", at_least=1)


class Model(Settings):
    INIT_WEIGHTS: str = setting("", "checkpoint that the training starts from; '' for none", is_path=True)


class Backbone(Settings):
    NAME: str = setting("", "the backbone")
    PRETRAINED: bool = setting(True, "start from trained weights; upstream's, not read here")


class Head(Settings):
    NAME: str = setting("", "upstream's, not read here")
    HIDDEN_LAYERS: tuple[int, ...] = setting((), "upstream's, not read here", at_least=1)
    ACTIVATION: str = setting("relu", "upstream's, not read here")
    BN: bool = setting(True, "upstream's, not read here")
    DROPOUT: float = setting(0.0, "upstream's, not read here", **SHARE)


class Optimization(Settings):
    NAME: str = setting("adam", "the optimiser", choices=_optimizers)
    LR: float = setting(0.0003, "learning rate", above=0, at_most=1000)
    WEIGHT_DECAY: float = setting(5e-4, "weight decay", **RATE)
    MOMENTUM: float = setting(0.9, "momentum of sgd and rmsprop", at_least=0, below=1)
    SGD_DAMPNING: int = setting(0, "dampening of sgd's momentum", **SHARE)
    SGD_NESTEROV: bool = setting(False, "Nesterov's momentum for sgd")
    RMSPROP_ALPHA: float = setting(0.99, "decay of rmsprop's mean of squares", at_least=0, below=1)
    ADAM_BETA1: float = setting(0.9, "decay of Adam's mean of gradients", at_least=0, below=1)
    ADAM_BETA2: float = setting(0.999, "decay of Adam's mean of squares", at_least=0, below=1)
    STAGED_LR: bool = setting(False, "other rates for some layers; upstream's, not read here")
    NEW_LAYERS: tuple[str, ...] = setting((), "layers with the full rate; upstream's, not read here")
    BASE_LR_MULT: float = setting(0.1, "factor of the other layers' rate; upstream's, not read here", **RATE)
    LR_SCHEDULER: str = setting("single_step", "schedule of the learning rate", choices=_schedules)
    STEPSIZE: tuple[int, ...] = setting(
        (-1,), "epochs at which the rate falls; -1 for MAX_EPOCH", at_least=1, also=(-1,), not_empty=True
    )
    GAMMA: float = setting(0.1, "factor of the rate at each of them", above=0, at_most=1)
    MAX_EPOCH: int = setting(10, "epochs of the training", at_least=1)
    WARMUP_EPOCH: int = setting(-1, "epochs of the warm-up; -1 or 0 for none", at_least=-1)
    WARMUP_TYPE: str = setting("linear", "rate in the warm-up", choices=_warmups)
    WARMUP_CONS_LR: float = setting(1e-5, "rate of a constant warm-up", **RATE)
    WARMUP_MIN_LR: float = setting(1e-5, "rate in the first epoch of a linear warm-up", **RATE)
    WARMUP_RECOUNT: bool = setting(True, "the schedule starts after the warm-up, not with it")

    def problem(self) -> str:
        if self.NAME == "sgd" and self.SGD_NESTEROV and (self.MOMENTUM == 0 or self.SGD_DAMPNING):
            return "SGD_NESTEROV is True; it needs MOMENTUM above 0 and SGD_DAMPNING 0"
        return ""


class Training(Settings):
    CHECKPOINT_FREQ: int = setting(0, "save a checkpoint every n epochs; 0 for after the last only", at_least=0)
    PRINT_FREQ: int = setting(10, "print the progress every n batches", at_least=1)
    COUNT_ITER: str = setting("train_x", "the loader whose length is that of an epoch; upstream's, not read here")


class Testing(Settings):
    EVALUATOR: str = setting("Classification", "registered name of the evaluator", choices=_evaluators)
    PER_CLASS_RESULT: bool = setting(False, "print the accuracy of each class")
    COMPUTE_CMAT: bool = setting(False, "print the confusion matrix, which the results hold in any case")
    NO_TEST: bool = setting(False, "train without a test at the end")
    SPLIT: str = setting(
        "test", "images that are tested; all: every labelled image (--eval-only)", choices=("test", "val", "all")
    )
    FINAL_MODEL: str = setting(
        "last_step", "the model that is tested: the last, or the best on validation", choices=("last_step", "best_val")
    )


class Trainer(Settings):
    NAME: str = setting("", "registered name of the trainer; a node TRAINER.<NAME> holds its own settings")


FRAMEWORK: dict[str, type[Settings]] = {
    "": Root,
    "INPUT": Input,
    "DATASET": Dataset,
    "DATALOADER": Loading,
    "DATALOADER.TRAIN_X": Loader,
    "DATALOADER.TRAIN_U": Unlabelled,
    "DATALOADER.TEST": TestLoader,
    "MODEL": Model,
    "MODEL.BACKBONE": Backbone,
    "MODEL.HEAD": Head,
    "OPTIM": Optimization,
    "TRAIN": Training,
    "TEST": Testing,
    "TRAINER": Trainer,
}
