"""CoOp that stays near the hand-written prompt."""

from torch import Tensor
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp


@TRAINER_REGISTRY.register()
class KgCoOp(CoOp):
    """Knowledge-guided context optimisation (Yao et al., arXiv 2303.13283, eq. 5).

    Loss: CE + W · (1 − mean cos(T, T₀)), T₀ the text features of TEMPLATE. Settings beside CoOp's: W, TEMPLATE.
    """

    source = "arXiv 2303.13283"
    defaults = {**CoOp.defaults, "W": 8.0, "TEMPLATE": "a photo of a {}."}

    def set_classes(self, classnames: list[str]) -> None:
        super().set_classes(classnames)
        self.anchor = self.encoder.sentences(self.template_texts(classnames))

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        text = self.text_features()
        logits = self.backbone.logit_scale * self.image_features(batch) @ text.T
        distance = 1 - (text * self.anchor).sum(1).mean()
        return logits, {"ce": F.cross_entropy(logits, batch["label"]), "kg": self.settings.W * distance}
