"""Logistic regression on image features."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from trainers.fewshot import FewShotConfig, FewShotFeatures
from trainers.frozen_text import FrozenText
from trainers.registry import register_method
from trainers.settings import setting

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

COARSE = (1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6)


class Fit(NamedTuple):
    """A fitted regression: its strength C and its accuracy on the validation shots."""

    c: float
    accuracy: float
    model: "LogisticRegression"


@register_method
class LinearProbe(FrozenText):
    """Linear probe (arXiv 2103.00020, appendix A.3): logistic regression with L2, its strength C chosen on validation.

    The best value of a coarse list is followed by SEARCH_STEPS steps of a binary search over the decades around it.
    """

    learns = "weights and biases of a linear layer"
    trainable_parameters = 2_052
    source = "arXiv 2103.00020"
    verified_against = "official code: every fit"
    class_specific = True
    closed_form = True

    class Config(FewShotConfig, FrozenText.Config):
        SEARCH_STEPS: int = setting(8, "steps of the binary search for C", at_least=0)
        MAX_ITER: int = setting(1000, "iterations of L-BFGS", at_least=1)
        CHOICE: str = setting(
            "best",
            "the best of all fits, or the better one of the last step (the official Biomed-DPT code)",
            choices=("best", "last"),
        )

    def build(self) -> None:
        self.linear = nn.Linear(self.backbone.embed_dim, len(self.classnames)).requires_grad_(False)

    def logits(self, images: Tensor) -> Tensor:
        return self.linear(images)

    def fit(self, data: FewShotFeatures) -> Iterable[float]:
        train, validation = data.training(self.config.AUGMENT_EPOCHS), data.validation()
        (x, y), (x_val, y_val) = ([part.cpu().numpy() for part in pair] for pair in (train, validation))
        self.fits: list[Fit] = []

        def score(c: float) -> float:
            model = self._regression(c).fit(x, y)
            self.fits.append(Fit(c, model.score(x_val, y_val), model))
            return self.fits[-1].accuracy

        left, right = bracket(COARSE, [score(c) for c in COARSE])
        for _ in range(self.config.SEARCH_STEPS):
            left, right = narrow(left, right, score(left), score(right))
        candidates = self.fits if self.config.CHOICE == "best" else self.fits[-2:]
        c, correct, model = max(candidates, key=lambda fit: fit.accuracy)
        self._take(model)
        print(f"C {c:.4g}: {100 * correct:.2f} % of the validation shots")
        return ()

    def _regression(self, c: float) -> "LogisticRegression":
        from sklearn.linear_model import LogisticRegression  # takes a second to load

        return LogisticRegression(C=c, solver="lbfgs", max_iter=self.config.MAX_ITER)

    @torch.no_grad()
    def _take(self, model: "LogisticRegression") -> None:
        """Copy the fitted weights; for two classes scikit-learn stores only their difference."""
        weight, bias = model.coef_, model.intercept_
        if len(weight) == 1:
            weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        self.linear.weight.copy_(torch.from_numpy(weight))
        self.linear.bias.copy_(torch.from_numpy(bias))


def bracket(grid: tuple[float, ...], scores: list[float]) -> tuple[float, float]:
    """A decade on either side of the best value; of equally good values the first."""
    peak = grid[int(np.argmax(scores))]
    return 1e-1 * peak, 1e1 * peak


def narrow(left: float, right: float, score_left: float, score_right: float) -> tuple[float, float]:
    """The half of the logarithmic range at the better end; the left half where both are equal."""
    middle = float(10 ** (0.5 * (np.log10(left) + np.log10(right))))
    return (left, middle) if score_left >= score_right else (middle, right)
