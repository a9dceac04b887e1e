"""Zero-shot classification: frozen text features of what is written about each class."""

from torch import Tensor, nn

from dassl.engine import TRAINER_REGISTRY
from trainers.teacher import mean_feature
from trainers.tuner import PromptTuner


@TRAINER_REGISTRY.register()
class ZeroShot(PromptTuner):
    """CLIP's zero-shot classifier (arXiv 2103.00020, section 3.1.2): frozen text features, nothing learned.

    Settings: TEXT template, the feature of one sentence per class, or ensemble, the mean of N_PROMPTS sentences of the
    prompt file; TEMPLATE, the sentence, with {} for the class name.
    """

    learns = "nothing"
    source = "arXiv 2103.00020"
    checked = "official code: logits"
    choices = {"TEXT": ("template", "ensemble")}
    defaults = {"TEXT": "template", "TEMPLATE": "a photo of a {}.", "N_PROMPTS": 50, "PREC": "fp32"}

    def build_prompts(self) -> nn.Module:
        return nn.Module()

    def set_classes(self, classnames: list[str]) -> None:
        self._text = self.frozen_text(classnames)

    def frozen_text(self, classnames: list[str]) -> Tensor:
        """Normalised text features (C, D) of the classes, by TEXT."""
        if self.settings.TEXT == "ensemble":
            return mean_feature(self.sentence_features(classnames))
        return self.encoder.sentences(self.template_texts(classnames))

    def text_features(self) -> Tensor:
        return self._text


@TRAINER_REGISTRY.register()
class ZeroShotEnsemble(ZeroShot):
    """Zero-shot classification with the mean feature of the sentences written about each class."""

    source = "arXiv 2103.00020, section 3.1.4"
    defaults = {**ZeroShot.defaults, "TEXT": "ensemble"}
