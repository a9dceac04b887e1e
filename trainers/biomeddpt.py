"""Biomed-DPT, the method this project exists for."""

from torch import Tensor, nn
from torch.nn import functional as F

from clip import PLACEMENTS, VisualPrompt
from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp
from trainers.losses import kl_to_teacher
from trainers.teacher import mean_feature


@TRAINER_REGISTRY.register()
class BiomedDPT(CoOp):
    """Dual-modality prompt tuning for biomedical vision-language models (arXiv 2505.05189).

    Student: the clinical template with its first words learned. Teacher: the mean text feature of N_PROMPTS
    sentences per class, frozen. Image tower: VISUAL_TOKENS zero vectors before every block, nothing learned. Loss:
    CE + L1_LAMBDA · mean|T − T*| + KL_LAMBDA · KL(p* || p); the teacher is not used at test time.

    Settings beside CoOp's: CTX_INIT "" stands for the template up to the class name; VISUAL_PLACEMENT replace (the
    official code) or insert (the paper's figure); VISUAL_TOKENS 0 leaves the image tower as it is.
    """

    numbers = 3_840
    source = "arXiv 2505.05189"
    choices = {**CoOp.choices, "VISUAL_PLACEMENT": PLACEMENTS}
    defaults = {
        **CoOp.defaults,
        "CTX_INIT": "",
        "N_CTX": 0,
        "N_PROMPTS": 50,
        "L1_LAMBDA": 12.5,
        "KL_LAMBDA": 0.25,
        "VISUAL_TOKENS": 4,
        "VISUAL_PLACEMENT": "replace",
    }

    def build_prompts(self) -> nn.Module:
        if self.settings.VISUAL_TOKENS:
            self.visual_prompt = VisualPrompt(self.settings.VISUAL_TOKENS, placement=self.settings.VISUAL_PLACEMENT)
        self.teacher = mean_feature(self.sentence_features(self.classnames))
        return super().build_prompts()

    def prompt_parts(self) -> tuple[str, str]:
        prefix, suffix = self.prompts.template.split("{}")
        return self.settings.CTX_INIT or prefix.strip(), suffix

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        images, text = self.image_features(batch), self.text_features()
        logits = self.backbone.logit_scale * images @ text.T
        teacher_logits = self.backbone.logit_scale * images @ self.teacher.T
        return logits, {
            "ce": F.cross_entropy(logits, batch["label"]),
            "l1": self.settings.L1_LAMBDA * (text - self.teacher).abs().mean(),
            "kl": self.settings.KL_LAMBDA * kl_to_teacher(logits, teacher_logits),
        }
