"""Linear probe that blends text knowledge, with step sizes from the data."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from dassl.engine import TRAINER_REGISTRY
from trainers.feature_space import FittedMethod, accuracy

START_SCALE = 250  # of the text blending, as in the published code


@TRAINER_REGISTRY.register()
class LPpp(FittedMethod):
    """LP++ (Huang et al., arXiv 2404.02285, eq. 2): logits = F Wᵀ + α_c · (F T₀ᵀ)_c, CE, full-batch gradient descent.

    W starts from the class sums of F, α from the mean similarity to the own class's text; step sizes are the bounds of
    the paper's section 4, 4N / λ_max(FᵀF) for W (momentum 0.9) and N / (4 max_c Σ_i (F T₀ᵀ)²_ic) for α, which moves in
    every ALPHA_EVERY-th step. The step with the best accuracy on the validation shots is kept, of equals the last.

    Settings beside FeatureMethod's: ALPHA_EVERY. As in the officially published code: ACCUMULATE, α moves along the sum
    of the gradients of all steps so far; BIAS, a bias that starts at random, and W from sums in half precision.
    """

    learns = "class weights and text blending"
    numbers = 2_052
    source = "arXiv 2404.02285"
    checked = "official code: 20 steps"
    defaults = {**FittedMethod.defaults, "ALPHA_EVERY": 10, "ACCUMULATE": False, "BIAS": False}

    def build_prompts(self) -> nn.Module:
        classes, width = len(self.classnames), self.backbone.embed_dim
        learner = nn.Linear(width, classes, bias=self.settings.BIAS)
        learner.alpha = nn.Parameter(torch.ones(classes))
        return learner.requires_grad_(False)

    def logits(self, features: Tensor) -> Tensor:
        return self.learner(features) + self.learner.alpha * (features @ self.text_features().T)

    def start(self, features: Tensor, labels: Tensor) -> tuple[float, float]:
        """Put W and α at their start; returns the step sizes of W and α."""
        similarity = features @ self.text_features().T
        one_hot = F.one_hot(labels, len(self.classnames)).float()
        sums = one_hot.T @ features
        self.learner.weight.copy_(sums.half().float() if self.settings.BIAS else sums)
        to_own_class = (one_hot * similarity).sum(0) / one_hot.sum(0)
        self.learner.alpha.fill_(START_SCALE * to_own_class.double().mean().item())
        largest = torch.linalg.eigvalsh((features.T @ features).double())[-1].item()
        return 4 * len(features) / largest, len(features) / (4 * similarity.square().sum(0).max().item())

    @torch.no_grad()
    def fit(self) -> None:
        (features, labels), (val_features, val_labels) = self.training_features(), self.validation_features()
        rate, alpha_rate = self.start(features, labels)
        alpha, weights = self.learner.alpha, [p for name, p in self.learner.named_parameters() if name != "alpha"]
        velocity = [torch.zeros_like(weight) for weight in weights]
        summed, best, kept = torch.zeros_like(alpha), -1.0, {}
        for step in tqdm(range(self.max_epoch), desc="LP++", delay=2):
            with torch.enable_grad():
                leaves = [p.requires_grad_() for p in (alpha, *weights)]
                loss = F.cross_entropy(self.logits(features), labels)
                along_alpha, *along = torch.autograd.grad(loss, leaves)
            self.learner.requires_grad_(False)
            self.write_scalar("train/loss", loss.item(), step)
            for weight, moving, gradient in zip(weights, velocity, along, strict=True):
                weight -= rate * moving.mul_(0.9).add_(gradient)
            summed = summed + along_alpha if self.settings.ACCUMULATE else along_alpha
            if (step + 1) % self.settings.ALPHA_EVERY == 0:
                alpha -= alpha_rate * summed
            correct = accuracy(self.logits(val_features), val_labels).item()
            if correct >= best:
                best, kept = correct, {name: value.clone() for name, value in self.learner.state_dict().items()}
        self.learner.load_state_dict(kept)
