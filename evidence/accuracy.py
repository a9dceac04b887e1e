"""Few-shot accuracy under a condition: nearest class means, which have no settings of their own."""

from torch import Tensor
from torch.nn import functional as F


def nearest_class_means(features: Tensor, labels: Tensor, tested: Tensor, truth: Tensor) -> float:
    """Accuracy, in percent, of the class whose mean training feature is most similar (cosine).

    Args:
        features: (N, D), normalised, of the training images.
        labels: (N,), in which every class from 0 to C - 1 occurs.
        tested: (T, D), normalised, of the test images.
        truth: (T,), their labels.
    """
    chosen = F.one_hot(labels).to(features)
    means = F.normalize(chosen.T @ features, dim=-1)
    return 100 * float(((tested @ means.T).argmax(1) == truth).double().mean())
