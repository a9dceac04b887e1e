"""What is measured: the images with their masks, the frozen backbone, the conditions and the texts."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from clip import VisualPrompt
from dassl.data import DatasetWrapper
from dassl.data.datasets import Datum
from evidence.conditions import Prompts
from evidence.faithfulness import curve_areas
from evidence.maps import encode, map_names
from evidence.results import MapName
from evidence.texts import Texts
from trainers.features import Encoder
from trainers.store import Tensors

KIND = "attention"  # the folder of the cache with features and maps
Lesions = Mapping[str, Tensor]  # path of the image -> share of each pixel of the tower's input that is lesion (S, S)


@dataclass
class Subject:
    """The images and what they are measured with.

    Attributes:
        encoder: the frozen backbone with its cache.
        items: the images.
        pixels: gives the normalised pixels (3, S, S) of an image by its index.
        lesions: of the images that have one; the others are classified only.
        prompts: the conditions with their visual prompts.
        texts: normalised text features (C, D) by name.
    """

    encoder: Encoder
    items: Sequence[Datum]
    pixels: Callable[[int], Tensor]
    lesions: Lesions
    prompts: Prompts
    texts: Texts
    passes: int = field(default=0, init=False)  # of single images through the image tower, in this process

    @classmethod
    def of(
        cls, encoder: Encoder, items: Sequence[Datum], lesions: Lesions, prompts: Prompts, texts: Texts
    ) -> "Subject":
        """With the test transform of the encoder's configuration."""
        from dassl.data.transforms import build_transform  # torchvision takes seconds to load

        images = DatasetWrapper(encoder.cfg, items, build_transform(encoder.cfg, is_train=False))
        return cls(encoder, items, lambda index: images[index]["img"], lesions, prompts, texts)

    @property
    def maps(self) -> list[MapName]:
        """The maps of each image."""
        return map_names(self.texts)

    def encoded(self, places: Sequence[int], prompt: VisualPrompt | None) -> list[Tensors]:
        """Features and maps of some images under a prompt, as `evidence.maps.encode` gives them, from the cache."""
        device = self.encoder.backbone.device
        items = [self.items[place] for place in places]

        def compute(missing: list[int]) -> list[Tensors]:
            pixels = torch.stack([self.pixels(places[k]) for k in missing]).to(device)
            labels = torch.tensor([items[k].label for k in missing], device=device)
            found = encode(self.encoder.backbone, pixels, prompt, self.texts, labels)
            self.passes += len(missing)
            seen = found.pop("seen")
            return [{"seen": seen, **{name: of_all[k] for name, of_all in found.items()}} for k in range(len(missing))]

        keys = [{"texts": self.digest_of_texts(), "label": item.label} for item in items]
        return self.encoder.kept(KIND, keys, [[item] for item in items], prompt, compute)

    def curves(
        self, place: int, prompt: VisualPrompt | None, name: MapName, values: Tensor, seen: Tensor, steps: int
    ) -> tuple[float, float]:
        """Area under the insertion and the deletion curve of a map, from the cache.

        They follow the probability of the true class for the first text.
        """
        backbone, item = self.encoder.backbone, self.items[place]
        text = next(iter(self.texts.values())).to(backbone.device)

        def probability(pixels: Tensor) -> Tensor:
            self.passes += len(pixels)
            with torch.no_grad():
                encoded = [backbone.encode_image(part, prompt) for part in pixels.split(self.encoder.batch_size)]
            features = F.normalize(torch.cat(encoded).float(), dim=-1)
            return F.softmax(backbone.logit_scale * features @ text.T, dim=-1)[:, item.label]

        def compute(_: list[int]) -> list[Tensors]:
            pixels = self.pixels(place).to(backbone.device)
            return [{"areas": torch.tensor([*curve_areas(pixels, values, probability, seen, steps).values()])}]

        key = {"texts": self.digest_of_texts()[:1], "label": item.label, "map": str(name), "steps": steps}
        (kept,) = self.encoder.kept("curves", [key], [[item]], prompt, compute)
        insertion, deletion = kept["areas"].tolist()
        return insertion, deletion

    def digest_of_texts(self) -> list[str]:
        """Identifies the text features, which gradients depend on."""
        return [
            hashlib.sha256(text.cpu().contiguous().numpy().tobytes()).hexdigest()[:16] for text in self.texts.values()
        ]
