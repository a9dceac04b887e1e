"""CoOp with a penalty on the distance to the hand-written prompt."""

from torch import Tensor
from torch.nn import functional as F

from trainers.coop import CoOp
from trainers.registry import register_method
from trainers.settings import TemplateConfig, setting


@register_method
class KgCoOp(CoOp):
    """Knowledge-guided context optimisation (Yao et al., arXiv 2303.13283, eq. 5).

    Loss: CE + W · (1 − mean cos(T, T₀)), where T₀ are the text features of TEMPLATE.
    """

    source = "arXiv 2303.13283"

    class Config(TemplateConfig, CoOp.Config):
        W: float = setting(8.0, "weight of the distance to the text features of TEMPLATE", at_least=0)

    def prepare_training(self) -> None:
        self.anchor = self.template_features(self.config.TEMPLATE, self.classnames)

    def losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        text = self.text_features()
        logits = self.similarities(images, text)
        distance = 1 - (text * self.anchor).sum(1).mean()
        return logits, {"ce": F.cross_entropy(logits, labels), "kg": self.config.W * distance}
