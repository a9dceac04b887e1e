"""CoOp with two terms that keep the text features near the sentences written about each class."""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.coop import CoOp
from trainers.losses import kl_to_teacher
from trainers.registry import register_method
from trainers.settings import setting
from trainers.teacher import mean_feature


@register_method
class BiomedCoOp(CoOp):
    """BiomedCoOp (Koleilat et al., arXiv 2411.15232): CE + SCCM + KDSP.

    SCCM: SCCM_LAMBDA · mean (T − T*)². KDSP: KDSP_LAMBDA · KL(p* || p), where the teacher's text features are the mean
    of those sentences whose score in the batch is not an outlier.
    """

    source = "arXiv 2411.15232"

    class Config(CoOp.Config):
        N_PROMPTS: int = setting(50, "sentences per class of the teacher", at_least=2)
        SCCM_LAMBDA: float = setting(0.5, "weight of the squared distance to the mean sentence feature", at_least=0)
        KDSP_LAMBDA: float = setting(0.25, "weight of the KL divergence to the selected sentences", at_least=0)
        TAU: float = setting(1.5, "largest absolute z-score of a selected sentence", above=0)

    def prepare_training(self) -> None:
        self.sentences = self.sentence_features(self.classnames, self.config.N_PROMPTS)
        self.teacher = mean_feature(self.sentences)

    def losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        text = self.text_features()
        logits = self.similarities(images, text)
        # Score of a sentence: the mean over the batch of its highest logit over the classes.
        by_sentence = torch.einsum("bd,cnd->bnc", images, self.sentences)
        scores = self.backbone.logit_scale * by_sentence.amax(2).mean(0)
        chosen = select(scores, self.config.TAU).to(self.sentences.dtype)
        selected = F.normalize(torch.einsum("n,cnd->cd", chosen, self.sentences), dim=-1)
        return logits, {
            "ce": F.cross_entropy(logits, labels),
            "sccm": self.config.SCCM_LAMBDA * F.mse_loss(text, self.teacher),
            "kdsp": self.config.KDSP_LAMBDA * kl_to_teacher(logits, self.similarities(images, selected)),
        }


def select(scores: Tensor, tau: float) -> Tensor:
    """Which of N sentences to use, (N,) bool, by their scores (N,): outliers of a robust z-score are left out.

    z = (score − median) / MAD; used where |(z − mean z) / std z| ≤ tau (arXiv 2411.15232, section 3.3).
    """
    median = scores.median()
    z = (scores - median) / (scores - median).abs().median()
    return ((z - z.mean()) / z.std()).abs() <= tau
