"""Biomed-DPT, the method this project exists for."""

from torch import Tensor
from torch.nn import functional as F

from clip import PLACEMENTS, VisualPrompt
from trainers.coop import TEMPLATE, CoOp
from trainers.losses import kl_to_teacher
from trainers.registry import register_method
from trainers.settings import inherited, setting
from trainers.teacher import mean_feature


@register_method
class BiomedDPT(CoOp):
    """Dual-modality prompt tuning for biomedical vision-language models (arXiv 2505.05189).

    Student: the clinical template, whose first words are learned. Teacher: the mean text feature of N_PROMPTS sentences
    per class, frozen. Image tower: VISUAL_TOKENS zero vectors before every block, nothing learned. Loss:
    CE + L1_LAMBDA · mean|T − T*| + KL_LAMBDA · KL(p* || p). The teacher is not used at test time.
    """

    trainable_parameters = 3_840
    source = "arXiv 2505.05189"

    class Config(CoOp.Config):
        CTX_INIT: str = inherited(CoOp.Config, "CTX_INIT", TEMPLATE)
        N_CTX: int = inherited(CoOp.Config, "N_CTX", 0)
        N_PROMPTS: int = setting(50, "sentences per class that the teacher is the mean of", at_least=1)
        L1_LAMBDA: float = setting(12.5, "weight of the L1 distance of the text features to the teacher", at_least=0)
        KL_LAMBDA: float = setting(0.25, "weight of the KL divergence to the teacher's predictions", at_least=0)
        VISUAL_TOKENS: int = setting(4, "zero tokens in the image tower; 0 for none", at_least=0, at_most=1000)
        VISUAL_PLACEMENT: str = setting(
            "replace", "replace patches (official code) or insert tokens (the paper's figure)", choices=PLACEMENTS
        )

        def problem(self) -> str:
            return ""  # N_CTX 0 stands for as many tokens as the template has words, for random values too

    def prepare_training(self) -> None:
        self.teacher = mean_feature(self.sentence_features(self.classnames, self.config.N_PROMPTS))

    def prompt_parts(self) -> tuple[str, str]:
        return self.words_before(otherwise=self.prompts.before), self.prompts.after

    def visual_prompt(self) -> VisualPrompt | None:
        tokens = self.config.VISUAL_TOKENS
        return VisualPrompt(tokens, placement=self.config.VISUAL_PLACEMENT) if tokens else None

    def losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        text = self.text_features()
        logits = self.similarities(images, text)
        return logits, {
            "ce": F.cross_entropy(logits, labels),
            "l1": self.config.L1_LAMBDA * (text - self.teacher).abs().mean(),
            "kl": self.config.KL_LAMBDA * kl_to_teacher(logits, self.similarities(images, self.teacher)),
        }
