"""A few-shot classifier of images for Python programs, with the interface of scikit-learn."""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from biomed_dpt import fitting, inputs
from biomed_dpt.division import divide
from biomed_dpt.encoding import BackboneFeatures, encode_in_batches
from biomed_dpt.hub import open_bundle
from biomed_dpt.pictures import picture_of, stored
from dassl.errors import InputError, shown
from datasets.given import Given
from datasets.images import image_reader
from trainers.bundle import Bundle, write_bundle
from trainers.card import card
from trainers.predictor import Predictor

if TYPE_CHECKING:
    from torch import Tensor

    from clip import Backbone

IMAGES = "images"  # the folder of a fit with the images that were in memory


class FewShotClassifier(ClassifierMixin, BaseEstimator):
    """Classifies images with a method of this project that is trained on a few images.

    The training is that of `train.py`: the same images, settings and seed give the same model. docs/PYTHON.md shows it.

    Args:
        method: registered name of the method.
        backbone: registered name of the backbone.
        classes: names of the classes in the texts, in label order, or label -> name; None where labels are the names.
        prompts: prompt file with a template and sentences per class, for methods that use one; "" for none.
        shots: training images per class, drawn from those that are given; None for all.
        validation: images of each class that are kept for the temperature and for methods that choose on validation
            images: a number, or a share below 1. None for none: the probabilities are then not calibrated, unless by
            `cross_fit`.
        cross_fit: fit the temperature on the training images instead, each predicted by a model that was trained
            without it: this takes up to 5 more trainings.
        settings: settings of method and training by their key, as on the command line: {"OPTIM.MAX_EPOCH": 50}.
        seed: of all random choices.
        backbone_path: folder with the backbone's weights; "" for the source that its class names.
        workdir: folder in which every fit makes a folder of its own, fit1, fit2 …, with log.txt, config.yaml, bundle/
            and the images that were in memory. None: a temporary one, which is removed.
        verbose: 0 for no output on stdout and stderr; 1 for what a run prints, and progress bars.
        callbacks: functions of a dictionary, or objects with `on_epoch_end(metrics)`, that are called after each epoch
            with "epoch" (from 1), "epochs", "loss", "lr" and, where there are validation images and the image tower is
            frozen, "validation_accuracy" in percent. The training ends after an epoch in which one returns True.

    Attributes:
        classes_: the labels (C,), sorted: the columns of `predict_proba`.
        predictor_: the `trainers.predictor.Predictor`; its `classnames` are in the order of `classes`.
        bundle_: the tuned model, with everything that prediction needs.
        evaluation_: metrics on the validation images, as a run computes them; empty without these.
        workdir_: the folder of the fit in `workdir`; None without one.
    """

    classes_: np.ndarray
    bundle_: Bundle
    evaluation_: dict[str, Any]

    def __init__(
        self,
        method: str = "BiomedDPT",
        backbone: str = "Tiny",
        classes: Sequence[str] | Mapping[Any, str] | None = None,
        prompts: str | os.PathLike = "",
        *,
        shots: int | None = None,
        validation: float | int | None = None,
        cross_fit: bool = False,
        settings: Mapping[str, Any] | None = None,
        seed: int = 1,
        backbone_path: str | os.PathLike = "",
        workdir: str | os.PathLike | None = None,
        verbose: int = 1,
        callbacks: Sequence[Any] | None = None,
    ):
        self.method = method
        self.backbone = backbone  # type: ignore[assignment, method-assign] # the property's setter takes the name
        self.classes = classes
        self.prompts = prompts
        self.shots = shots
        self.validation = validation
        self.cross_fit = cross_fit
        self.settings = settings
        self.seed = seed
        self.backbone_path = backbone_path
        self.workdir = workdir
        self.verbose = verbose
        self.callbacks = callbacks

    def fit(self, X: Any, y: Any = None, groups: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Train on images and their labels.

        Args:
            X: paths, PIL images, arrays (H, W[, C]), an array (N, H, W[, C]), tensors with channels first, or a torch
                data set of images or of pairs (image, label).
            y: labels (N,): class names, integers from 0 in the order of `classes`, or C other labels, which in sorted
                order stand for these; None for the labels of a torch data set.
            groups: patients (N,): images of one patient are either trained on or kept for validation.
            X_val, y_val: validation images, instead of those that `validation` keeps.

        Raises:
            InputError: images, labels or settings that cannot be used.
            DivergedError: the training left the finite numbers.
        """
        images, labels = inputs.labelled_images(X, y)
        own, names = inputs.read_classes(self.classes, labels)
        cfg = self._configuration()
        targets = [own.index(label) for label in labels.tolist()]
        validation = None if X_val is not None else self.validation
        if X_val is not None and self.validation:
            raise InputError("`validation` keeps images for validation, and X_val gives some; use one of them")
        patients = inputs.groups_of(groups, len(images))
        callbacks = fitting.as_functions(self.callbacks or ())
        places, held = divide(targets, patients, self.shots, validation, self.seed)
        with fitting.fit_folder(self.workdir) as folder, fitting.output(self.verbose, folder if self.workdir else None):
            reader = image_reader(Given, cfg)
            paths = stored(images, folder / IMAGES, reader, "X")
            kept = [(paths[place], targets[place]) for place in held]
            if X_val is not None:
                kept = self._validation_images(X_val, y_val, own, folder, reader)
            of_patients = patients and [str(patients[place]) for place in places]
            trained_on = [(paths[place], targets[place]) for place in places]
            given = fitting.Images(trained_on, kept, names, os.fspath(self.prompts), of_patients)
            trainer, bundle = fitting.train(
                cfg, folder, given, callbacks, self._about(own), bool(self.cross_fit), keep=self.workdir is not None
            )
            self._use(bundle, own)
            self.predictor_ = Predictor(bundle, trainer.backbone, device=trainer.device)
        self.workdir_ = folder if self.workdir else None
        return self

    def predict(self, X: Any) -> np.ndarray:
        """The label (N,) of each image with the largest probability; `X` as in `fit`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, C), float64, of the classes in the order of `classes_`; `X` as in `fit`.

        Raises:
            NotFittedError: there was no fit.
            InputError: an image cannot be read.
        """
        logits = self.logits(X)
        return self.predictor_.probabilities(logits).cpu().numpy()[:, self._columns]

    def logits(self, X: Any) -> "Tensor":
        """Logits (N, C) before the temperature, of the classes in the order of `predictor_.classnames`."""
        check_is_fitted(self, "bundle_")
        predictor = self.predictor_
        features = encode_in_batches(
            inputs.images_of(X),
            predictor.reader,
            predictor.transform,
            predictor.features,
            predictor.batch_size,
            self.verbose,
        )
        return predictor.logits(features)

    def explain(self, image: Any, explainer: str = "auto", classname: str | None = None) -> Any:
        """A map over one image of what the score of a class rests on; see `biomed_dpt.explain`.

        Args:
            image: one image, of any kind that `fit` takes.
            explainer: how it is computed.
            classname: the name of the class in the texts; None for the predicted one.
        """
        from biomed_dpt.explain import explain

        check_is_fitted(self, "bundle_")
        return explain(self.predictor_, picture_of(image, self.predictor_.reader), explainer, classname)

    def save(self, folder: str | os.PathLike) -> None:
        """Write the tuned model as a bundle, for `load`, predict.py and the commands of `python -m biomed_dpt`.

        Raises:
            InputError: the folder holds other files.
            OutputError: it cannot be written.
        """
        check_is_fitted(self, "bundle_")
        write_bundle(Path(folder), self.bundle_, card(self.bundle_.about))

    @classmethod
    def load(cls, folder: str | os.PathLike, backbone_path: str | os.PathLike = "", verbose: int = 1) -> Self:
        """A fitted classifier from the bundle of `save`, of a run, or on the hub (hf://user/name).

        The prompt file is not in a bundle.

        Raises:
            InputError: there is no such bundle, or it cannot be used.
        """
        bundle = open_bundle(folder)
        labels, arguments = fitting.read_fit(bundle)
        classes = (
            bundle.classnames if labels == bundle.classnames else dict(zip(labels, bundle.classnames, strict=True))
        )
        model = cls(bundle.method, bundle.backbone, classes, backbone_path=backbone_path, verbose=verbose, **arguments)
        model._use(bundle, labels)
        model.workdir_ = None
        _ = model.predictor_  # refuses other weights
        return model

    @cached_property
    def predictor_(self) -> Predictor:
        check_is_fitted(self, "bundle_")
        return Predictor(self.bundle_, backbone_path=os.fspath(self.backbone_path))

    @property
    def backbone(self) -> BackboneFeatures:
        """The frozen backbone, which encodes images and texts; it needs no fit. The parameter is its `name`."""
        return BackboneFeatures(self._backbone, self._frozen, self.verbose)

    @backbone.setter
    def backbone(self, name: str) -> None:
        self._backbone = name

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments of the constructor by name, as scikit-learn asks for them."""
        return {**super().get_params(deep), "backbone": self._backbone}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "predictor_"}

    def _configuration(self) -> Any:
        settings, path = dict(self.settings or {}), os.fspath(self.backbone_path)
        return fitting.configuration(self.method, self._backbone, path, settings, self.shots, self.seed)

    def _about(self, labels: list[Any]) -> dict[str, Any]:
        """What `load` restores, for bundle.json."""
        own = {name: getattr(self, name) for name in fitting.RESTORED}
        return {"labels": labels, **own, "settings": dict(self.settings or {})}

    def _use(self, bundle: Bundle, labels: list[Any]) -> None:
        """Take a bundle as the result of a fit, with the label of each of its classes."""
        self.bundle_ = bundle
        self.classes_ = inputs.distinct(np.asarray(labels))
        self._columns = [labels.index(label) for label in self.classes_.tolist()]
        self.evaluation_ = dict(bundle.about.get("metrics") or {}).get("all", {})
        self.__dict__.pop("predictor_", None)

    def _validation_images(
        self, X_val: Any, y_val: Any, labels: list[Any], folder: Path, reader: Any
    ) -> list[tuple[str, int]]:
        images, found = inputs.labelled_images(X_val, y_val, "X_val", "y_val")
        if unknown := sorted({*found.tolist()} - {*labels}, key=repr):
            raise InputError(f"y_val has the labels {shown(unknown)}, which y has not")
        paths = stored(images, folder / IMAGES, reader, "X_val")
        return [(path, labels.index(label)) for path, label in zip(paths, found.tolist(), strict=True)]

    def _frozen(self) -> tuple["Backbone", Any, Any]:
        """Backbone, reader and transform: those of the fit, or those that a fit would use."""
        if "bundle_" in vars(self) and self.bundle_.backbone == self._backbone:
            return self.predictor_.backbone, self.predictor_.reader, self.predictor_.transform
        return fitting.frozen(self._configuration())
