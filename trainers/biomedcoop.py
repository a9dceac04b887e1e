"""CoOp with two terms that hold it to what was written about each class."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp
from trainers.losses import kl_to_teacher
from trainers.teacher import mean_feature


@TRAINER_REGISTRY.register()
class BiomedCoOp(CoOp):
    """BiomedCoOp (Koleilat et al., arXiv 2411.15232): CE + SCCM + KDSP.

    SCCM: SCCM_LAMBDA · mean (T − T*)². KDSP: KDSP_LAMBDA · KL(p* || p), where the teacher's text features are the mean
    of those sentences whose score does not stand out by more than TAU in the batch. Settings beside CoOp's: these, and
    N_PROMPTS sentences per class.
    """

    source = "arXiv 2411.15232"
    defaults = {**CoOp.defaults, "N_PROMPTS": 50, "SCCM_LAMBDA": 0.5, "KDSP_LAMBDA": 0.25, "TAU": 1.5}

    def build_prompts(self) -> nn.Module:
        self.sentences = self.sentence_features(self.classnames)
        self.teacher = mean_feature(self.sentences)
        return super().build_prompts()

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        images, text, scale = self.image_features(batch), self.text_features(), self.backbone.logit_scale
        logits = scale * images @ text.T
        # scores: the mean over the batch of each sentence's highest logit over the classes
        scores = scale * torch.einsum("bd,cnd->bnc", images, self.sentences).amax(2).mean(0)
        chosen = select(scores, self.settings.TAU).to(self.sentences.dtype)
        selected = F.normalize(torch.einsum("n,cnd->cd", chosen, self.sentences), dim=-1)
        return logits, {
            "ce": F.cross_entropy(logits, batch["label"]),
            "sccm": self.settings.SCCM_LAMBDA * F.mse_loss(text, self.teacher),
            "kdsp": self.settings.KDSP_LAMBDA * kl_to_teacher(logits, scale * images @ selected.T),
        }


def select(scores: Tensor, tau: float) -> Tensor:
    """Which of N sentences to keep, (N,) bool, by their scores (N,): outliers of a robust z-score are left out.

    z = (score − median) / MAD; kept where |(z − mean z) / std z| ≤ tau (arXiv 2411.15232, section 3.3).
    """
    median = scores.median()
    z = (scores - median) / (scores - median).abs().median()
    return ((z - z.mean()) / z.std()).abs() <= tau
