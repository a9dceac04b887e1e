"""Measures every image under every condition."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from clip import VisualPrompt
from evidence.masks import on_grid
from evidence.measures import measure_maps
from evidence.results import CURVES, MEASURES, NO_PROMPT, SCOPES, Column, Image, MapName, Outcome, Results
from evidence.subject import Subject
from trainers.features import ENCODE_BATCH
from trainers.store import Tensors


class Recorder:
    """Collects the numbers of all images, batch by batch.

    Args:
        subject: what is measured.
        curves: the conditions for which insertion and deletion are computed.
        steps: into how many steps these are divided.

    Attributes:
        features: of each condition, the normalised features (1, D) of each image that was measured.
    """

    def __init__(self, subject: Subject, curves: Sequence[str], steps: int):
        self.subject, self.curves, self.steps = subject, curves, steps
        self.areas: list[float] = []
        self._grid = (0, 0)
        self.features: dict[str, list[Tensor]] = {name: [] for name in subject.prompts}
        self._numbers: dict[tuple[str, str, str, str], Column] = defaultdict(list)
        self._curves: dict[tuple[str, str, str], Column] = defaultdict(list)
        self._heads: dict[str, list[Tensor]] = {name: [] for name in subject.prompts}
        self._reference_heads: dict[str, list[Tensor]] = {name: [] for name in subject.prompts}
        self._outcomes = {
            name: Outcome({text: [] for text in subject.texts}, {text: [] for text in subject.texts})
            for name in subject.prompts
        }

    def run(self) -> None:
        """Measure all images, with a progress bar."""
        count, prompts = len(self.subject.items), self.subject.prompts
        size = ENCODE_BATCH.get(self.subject.encoder.backbone.device.type, 64)
        with tqdm(total=count * len(prompts), desc="measuring images", unit="pass", delay=2, mininterval=2) as bar:
            for first in range(0, count, size):
                places = range(first, min(first + size, count))
                inside = [self._lesion(place) for place in places]
                without: list[Tensors] = []
                for name, (_, prompt) in prompts.items():
                    entries = self.subject.encoded(places, prompt)
                    without = without or entries  # NO_PROMPT is the first
                    for place, mask, entry, reference in zip(places, inside, entries, without, strict=True):
                        self._classify(name, entry["features"], self.subject.items[place].label)
                        self._measure(name, entry, reference, mask)
                        if name in self.curves:
                            self._follow(name, prompt, place, entry, mask)
                    bar.update(len(places))

    def results(self, about: dict[str, Any], classnames: Sequence[str], paths: Sequence[str]) -> Results:
        """Everything that was measured.

        Args:
            about: facts for readers.
            classnames: in label order.
            paths: of the images, below the data root.
        """
        subject = self.subject
        measures: dict[str, dict[str, dict[str, dict[str, Column]]]] = {}
        curves: dict[str, dict[str, dict[str, Column]]] = {}
        for (condition, name, scope, measure), column in self._numbers.items():
            of_map = measures.setdefault(condition, {}).setdefault(name, {})
            of_map.setdefault(scope, {})[measure] = column
        for (condition, name, curve), column in self._curves.items():
            curves.setdefault(condition, {}).setdefault(name, {})[curve] = column
        return Results(
            about=about,
            classnames=list(classnames),
            grid=self._grid,
            conditions=[condition for condition, _ in subject.prompts.values()],
            maps=subject.maps,
            images=[
                Image(path, item.label, area) for path, item, area in zip(paths, subject.items, self.areas, strict=True)
            ],
            measures=measures,
            curves=curves,
            heads=_means(self._heads),
            reference_heads=_means(self._reference_heads),
            outcomes=self._outcomes,
        )

    def _lesion(self, place: int) -> Tensor | None:
        """The share of each pixel that is lesion (S, S); None for an image without a lesion."""
        mask = self.subject.lesions.get(self.subject.items[place].impath)
        area = 0.0 if mask is None else float(mask.mean())
        self.areas.append(area)
        return mask if area else None

    def _classify(self, condition: str, features: Tensor, label: int) -> None:
        self.features[condition].append(features[None])
        outcome, scale = self._outcomes[condition], self.subject.encoder.backbone.logit_scale
        for name, text in self.subject.texts.items():
            logits = scale * features @ text.to(features).T
            outcome.predicted[name].append(int(logits.argmax()))
            outcome.probability[name].append(float(F.softmax(logits.double(), dim=-1)[label]))

    def _measure(self, condition: str, entry: Tensors, reference: Tensors, mask: Tensor | None) -> None:
        seen = entry["seen"].cpu()
        self._grid = (seen.shape[0], seen.shape[1])
        scopes = {"all": (entry, torch.ones_like(seen))}
        if condition != NO_PROMPT:
            scopes |= {"kept": (entry, seen), "reference": (reference, seen)}
        inside = None if mask is None else on_grid(mask, *self._grid)
        for scope in SCOPES[: len(scopes)]:
            shown, counted = scopes[scope]
            found = (
                [{}] * len(self.subject.maps) if inside is None else measure_maps(shown["maps"].cpu(), inside, counted)
            )
            for name, values in zip(self.subject.maps, found, strict=True):
                for measure in MEASURES:
                    self._numbers[condition, str(name), scope, measure].append(values.get(measure))
        if inside is not None and inside[seen].sum() > 0:
            for kept, of in ((self._heads, entry), (self._reference_heads, reference)):
                kept[condition].append(_enrichment(of["heads"].cpu(), inside, seen))

    def _follow(
        self, condition: str, prompt: VisualPrompt | None, place: int, entry: Tensors, mask: Tensor | None
    ) -> None:
        """Insertion and deletion of some maps of an image; None for an image without a lesion."""
        subject = self.subject
        text = next(iter(subject.texts))
        for index, name in enumerate(subject.maps):
            if name not in (MapName("attention"), MapName("gradient-attention", "true", text)):
                continue
            found: tuple[float | None, float | None] = (None, None)
            if mask is not None:
                found = subject.curves(place, prompt, name, entry["maps"][index], entry["seen"], self.steps)
            for curve, value in zip(CURVES, found, strict=True):
                self._curves[condition, str(name), curve].append(value)


def _enrichment(heads: Tensor, inside: Tensor, seen: Tensor) -> Tensor:
    """Mass inside the lesion divided by its area, (layers, heads), over the seen patches."""
    counted = heads.double() * seen
    mass = (counted * inside).sum((-2, -1)) / counted.sum((-2, -1))
    return mass / inside[seen].double().mean()


def _means(found: dict[str, list[Tensor]]) -> dict[str, list[list[float]]]:
    """Means over the images; nothing where no image has a lesion."""
    return {name: torch.stack(of_images).mean(0).tolist() if of_images else [] for name, of_images in found.items()}
