"""Calibration of probabilities: a temperature that divides the logits."""

import numpy as np
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

LARGEST = 1e3  # temperatures between its inverse and itself are tried


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 with the smallest mean cross-entropy of logits / T (Guo et al., arXiv 1706.04599, section 4.2).

    Args:
        logits: (N, C).
        labels: (N,).

    Returns:
        T between 0.001 and 1,000; perfectly separated images end at the lower bound.
    """
    logits, labels = logits.double().cpu(), labels.cpu()

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits / np.exp(log_temperature), labels).item()

    limit = np.log(LARGEST)
    return float(np.exp(minimize_scalar(loss, bounds=(-limit, limit), method="bounded").x))


def prediction_sets(probabilities: Tensor, threshold: float, kind: str) -> Tensor:
    """Which classes are in the prediction set of each image: (N, C) bool of probabilities (N, C), kind "lac"."""
    return 1 - probabilities <= threshold
