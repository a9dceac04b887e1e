"""The table of methods: the declared number of trainable parameters is the number that a method has."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from clip import Backbone
from configs import Choice, build_cfg
from dassl.engine import TRAINER_REGISTRY
from tests.registered import METHOD_CLASSES
from trainers.method import Setup


class FullSize(Backbone):
    """BiomedCLIP's sizes without its weights."""

    name, image_size, embed_dim, logit_scale, context_length = "BiomedCLIP", 224, 512, 85.2, 256
    text_width = vision_width = 768
    text_depth = vision_depth = 12
    pixel_mean = pixel_std = (0.5, 0.5, 0.5)

    def __init__(self, tiny):
        super().__init__()
        self._tiny = (tiny,)
        fused = [nn.Linear(768, 2304, device="meta") for _ in range(12)]
        apart = [[nn.Linear(768, 768, device="meta") for _ in "qkv"] for _ in range(12)]
        self.blocks = {
            "image": [{n: (layer, slice(k * 768, (k + 1) * 768)) for k, n in enumerate("qkv")} for layer in fused],
            "text": [{n: (layer, slice(None)) for n, layer in zip("qkv", three, strict=True)} for three in apart],
        }
        self.anchor = nn.Parameter(torch.zeros(1))

    def tokenize(self, texts):
        return self._tiny[0].tokenize(texts)

    def embed_tokens(self, ids):
        return torch.zeros(*ids.shape, 768)

    def attention_projections(self, tower):
        return self.blocks[tower]


@pytest.mark.parametrize("cls", METHOD_CLASSES)
def test_trainable_parameters_are_those_of_the_table(cls, tiny):
    setup = Setup(
        backbone=FullSize(tiny),
        encoder=SimpleNamespace(sentences=lambda texts: torch.zeros(len(texts), 512)),
        classnames=["glioma tumor", "meningioma tumor", "pituitary tumor", "normal brain"],
        labels=torch.arange(64) % 4,
        prompts="btmri",
        shots=16,
    )
    settings = TRAINER_REGISTRY.get(cls.__name__).parse_settings(build_cfg(Choice(cls.__name__, dataset="btmri")))
    learned = cls(setup, settings).state_dict()
    assert sum(value.numel() for value in learned.values()) == cls.trainable_parameters
