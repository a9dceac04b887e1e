"""Grad-CAM (Selvaraju et al., arXiv 1610.02391) on the last feature map of a convolutional tower, through grad-cam."""

import torch
from torch import Tensor, nn

from biomed_dpt.explain.evidence import Evidence, explained_label
from dassl.errors import InputError
from trainers.predictor import Predictor

REQUIREMENTS = "requirements-explain.txt"


def evidence(predictor: Predictor, pixels: Tensor, label: int | None) -> Evidence:
    """How much the score of the class rests on each place: ReLU(Σ_c w_c F_c), w: mean of ∂score/∂F_c over the places.

    F (channels, rows, columns) is the output of `Backbone.last_feature_map`.

    Raises:
        InputError: the library is missing, or the image tower is a vision transformer.
    """
    backbone = predictor.backbone
    if backbone.image_tokens:
        raise InputError(
            f"the image tower of {backbone.name} is a vision transformer; use explainer 'gradient-attention', "
            "'grad-eclip' or 'rollout'"
        )
    try:
        from pytorch_grad_cam import GradCAM
    except ImportError as error:
        raise InputError(f"explainer 'grad-cam' needs grad-cam: pip install -r {REQUIREMENTS}") from error
    layer = backbone.last_feature_map()
    pixels = pixels.clone().requires_grad_()  # the weights are frozen: the graph starts here
    with GradCAM(_Logits(predictor), [layer]) as cam:
        cam(pixels, [lambda logits: logits[explained_label(logits, label)]])
        kept = cam.activations_and_grads
        channels, gradients = kept.activations[0].numpy(), kept.gradients[0].numpy()
        values = cam.get_cam_image(pixels, layer, None, channels, gradients)
        (logits,) = cam.outputs.detach()
    grid = torch.from_numpy(values[0]).float().clamp(min=0)
    return Evidence(grid, torch.ones_like(grid, dtype=torch.bool), logits, explained_label(logits, label))


class _Logits(nn.Module):
    """From pixels to logits, as the library needs it."""

    def __init__(self, predictor: Predictor):
        super().__init__()
        self.backbone = predictor.backbone
        self.method = (predictor.method,)  # in a tuple, so that its gradients are left alone

    def forward(self, pixels: Tensor) -> Tensor:
        (method,) = self.method
        with method.adapted():
            return method.logits(method.encode_images(pixels)).float()
