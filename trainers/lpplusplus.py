"""Linear probe that blends text knowledge, with step sizes from the data."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from trainers.fewshot import FewShotConfig, FewShotFeatures, accuracy
from trainers.frozen_text import FrozenText
from trainers.registry import register_method
from trainers.settings import setting

START_SCALE = 250  # of the text blending, as in the published code


@register_method
class LPpp(FrozenText):
    """LP++ (Huang et al., arXiv 2404.02285, eq. 2): logits = F Wᵀ + α_c · (F T₀ᵀ)_c, CE, full-batch gradient descent.

    W starts from the class sums of F, α from the mean similarity to the text of the own class. The step sizes are the
    bounds of the paper's section 4: 4N / λ_max(FᵀF) for W (momentum 0.9) and N / (4 max_c Σ_i (F T₀ᵀ)²_ic) for α. The
    step with the best accuracy on the validation shots is used, the last one of equally good steps.
    """

    learns = "class weights and text blending"
    trainable_parameters = 2_052
    source = "arXiv 2404.02285"
    verified_against = "official code: 20 steps"
    class_specific = True
    closed_form = True

    class Config(FewShotConfig, FrozenText.Config):
        ALPHA_EVERY: int = setting(10, "alpha is updated in every n-th step", at_least=1)
        ACCUMULATE: bool = setting(False, "update alpha by the sum of all gradients so far (official Biomed-DPT code)")
        BIAS: bool = setting(False, "a bias with a random start, and W from fp16 sums (official Biomed-DPT code)")

    def build(self) -> None:
        classes, width = len(self.classnames), self.backbone.embed_dim
        self.linear = nn.Linear(width, classes, bias=self.config.BIAS)
        self.alpha = nn.Parameter(torch.ones(classes))
        self.requires_grad_(False)

    def logits(self, images: Tensor) -> Tensor:
        return self.linear(images) + self.alpha * (images @ self.text_features().T)

    def start(self, features: Tensor, labels: Tensor) -> tuple[float, float]:
        """Set the starting values of W and α; returns the step sizes of W and α."""
        similarity = features @ self.text_features().T
        one_hot = F.one_hot(labels, len(self.classnames)).float()
        sums = one_hot.T @ features
        self.linear.weight.copy_(sums.half().float() if self.config.BIAS else sums)
        to_own_class = (one_hot * similarity).sum(0) / one_hot.sum(0)
        self.alpha.fill_(START_SCALE * to_own_class.double().mean().item())
        largest = torch.linalg.eigvalsh((features.T @ features).double())[-1].item()
        return 4 * len(features) / largest, len(features) / (4 * similarity.square().sum(0).max().item())

    @torch.no_grad()
    def fit(self, data: FewShotFeatures) -> Iterable[float]:
        (features, labels), (val_features, val_labels) = data.training(self.config.AUGMENT_EPOCHS), data.validation()
        rate, alpha_rate = self.start(features, labels)
        alpha, weights = self.alpha, [p for name, p in self.named_parameters() if name != "alpha"]
        velocity = [torch.zeros_like(weight) for weight in weights]
        summed, losses, best_accuracy, best = torch.zeros_like(alpha), [], -1.0, {}
        for step in tqdm(range(self.epochs), desc="LP++", delay=2):
            with torch.enable_grad():
                leaves = [p.requires_grad_() for p in (alpha, *weights)]
                loss = F.cross_entropy(self.logits(features), labels)
                along_alpha, *along = torch.autograd.grad(loss, leaves)
            self.requires_grad_(False)
            losses.append(loss.item())
            for weight, moving, gradient in zip(weights, velocity, along, strict=True):
                weight.sub_(rate * moving.mul_(0.9).add_(gradient))
            summed = summed + along_alpha if self.config.ACCUMULATE else along_alpha
            if (step + 1) % self.config.ALPHA_EVERY == 0:
                alpha.sub_(alpha_rate * summed)
            correct = accuracy(self.logits(val_features), val_labels).item()
            if correct >= best_accuracy:
                best_accuracy, best = correct, {name: value.clone() for name, value in self.state_dict().items()}
        self.load_state_dict(best)
        return losses
