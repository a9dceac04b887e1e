"""The image tower and the head of a tuned model as one module."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.predictor import Predictor


class ImageClassifier(nn.Module):
    """Maps normalised pixels (N, 3, H, W) to logits (N, C) and probabilities (N, C), all float32.

    Text features and visual prompts are constants. The module registers no weights: the exporters then store those
    that the computation reads, and not the text tower.

    Args:
        predictor: gives backbone, method and temperature.
    """

    def __init__(self, predictor: Predictor):
        super().__init__()
        self._parts = (predictor.backbone, predictor.method)  # in a tuple, so that they are no sub-modules
        self.temperature = predictor.temperature
        with torch.no_grad(), predictor.method.adapted():
            self._prompt = predictor.method.visual_prompt()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        backbone, method = self._parts
        with method.adapted():
            features = F.normalize(backbone.encode_image(pixels, self._prompt).float(), dim=-1)
            logits = method.logits(features).float()
        # A small temperature would make the logits so large that float32 rounds their differences.
        differences = logits - logits.amax(dim=1, keepdim=True)
        return logits, F.softmax(differences / self.temperature, dim=-1)
