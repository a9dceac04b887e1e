"""Zero-shot classification with a hand-written prompt."""

from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.tuner import PromptTuner


@TRAINER_REGISTRY.register()
class ZeroShot(PromptTuner):
    """CLIP's zero-shot classifier (arXiv 2103.00020, section 3.1.2): the text feature of one sentence per class."""

    defaults = {"TEMPLATE": "a photo of a {}.", "PREC": "fp32"}

    def build_prompts(self) -> nn.Module:
        return nn.Module()

    def set_classes(self, classnames: list[str]) -> None:
        sentences = [self.settings.TEMPLATE.format(name) for name in classnames]
        self._text = F.normalize(self.backbone.encode_sentences(sentences), dim=-1)

    def text_features(self) -> Tensor:
        return self._text
