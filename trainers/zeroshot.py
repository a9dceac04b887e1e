"""Zero-shot classification with a hand-written prompt."""

from torch import Tensor, nn

from dassl.engine import TRAINER_REGISTRY
from trainers.tuner import PromptTuner


@TRAINER_REGISTRY.register()
class ZeroShot(PromptTuner):
    """CLIP's zero-shot classifier (arXiv 2103.00020, section 3.1.2): the text feature of one sentence per class."""

    defaults = {"TEMPLATE": "a photo of a {}.", "PREC": "fp32"}

    def build_prompts(self) -> nn.Module:
        return nn.Module()

    def set_classes(self, classnames: list[str]) -> None:
        self._text = self.encoder.sentences([self.settings.TEMPLATE.format(name) for name in classnames])

    def text_features(self) -> Tensor:
        return self._text
