"""Logistic regression on image features."""

import numpy as np
import torch
from torch import Tensor, nn

from dassl.engine import TRAINER_REGISTRY
from trainers.feature_space import FittedMethod

COARSE = (1e6, 1e4, 1e2, 1.0, 1e-2, 1e-4, 1e-6)


@TRAINER_REGISTRY.register()
class LinearProbe(FittedMethod):
    """Linear probe (arXiv 2103.00020, appendix A.3): logistic regression with L2, its strength C chosen on validation.

    The best of a coarse list, then SEARCH_STEPS steps of a binary search over the decades around it. Settings beside
    FeatureMethod's: SEARCH_STEPS; MAX_ITER of L-BFGS; CHOICE best, of all that were fitted, or last (the officially
    published Biomed-DPT code: the better one of the search's last step).
    """

    learns = "weights and biases of a linear layer"
    numbers = 2_052
    source = "arXiv 2103.00020"
    checked = "official code: every fit"
    choices = {**FittedMethod.choices, "CHOICE": ("best", "last")}
    defaults = {**FittedMethod.defaults, "SEARCH_STEPS": 8, "MAX_ITER": 1000, "CHOICE": "best"}

    def build_prompts(self) -> nn.Module:
        return nn.Linear(self.backbone.embed_dim, len(self.classnames)).requires_grad_(False)

    def logits(self, features: Tensor) -> Tensor:
        return self.learner(features)

    def fit(self) -> None:
        train, validation = self.training_features(), self.validation_features()
        (x, y), (x_val, y_val) = ([part.cpu().numpy() for part in pair] for pair in (train, validation))
        self.fits = []

        def score(c: float) -> float:
            model = self._regression(c).fit(x, y)
            self.fits.append((c, model.score(x_val, y_val), model))
            return self.fits[-1][1]

        left, right = bracket(COARSE, [score(c) for c in COARSE])
        for _ in range(self.settings.SEARCH_STEPS):
            left, right = narrow(left, right, score(left), score(right))
        candidates = self.fits if self.settings.CHOICE == "best" else self.fits[-2:]
        c, correct, model = max(candidates, key=lambda fit: fit[1])
        self._take(model)
        print(f"C {c:.4g}: {100 * correct:.2f} % of the validation shots")

    def _regression(self, c: float):
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=c, solver="lbfgs", max_iter=self.settings.MAX_ITER)

    @torch.no_grad()
    def _take(self, model) -> None:
        """The classifier's weights as a linear layer; of two classes scikit-learn keeps the difference alone."""
        weight, bias = model.coef_, model.intercept_
        if len(weight) == 1:
            weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.array([0.0, bias[0]])
        self.learner.weight.copy_(torch.from_numpy(weight))
        self.learner.bias.copy_(torch.from_numpy(bias))


def bracket(grid: tuple[float, ...], scores: list[float]) -> tuple[float, float]:
    """A decade on either side of the best value; of equally good ones the first."""
    peak = grid[int(np.argmax(scores))]
    return 1e-1 * peak, 1e1 * peak


def narrow(left: float, right: float, score_left: float, score_right: float) -> tuple[float, float]:
    """The half, in logarithms, at the better end; the left one where both are equal."""
    middle = float(10 ** (0.5 * (np.log10(left) + np.log10(right))))
    return (left, middle) if score_left >= score_right else (middle, right)
