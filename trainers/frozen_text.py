"""What methods with frozen text features share."""

from torch import Tensor

from trainers.method import Method
from trainers.settings import TemplateConfig, setting
from trainers.teacher import mean_feature


class FrozenText(Method):
    """A method whose text features are those of a template or the mean of the sentences of each class."""

    class Config(TemplateConfig, Method.Config):
        TEXT: str = setting(
            "template",
            "text feature of a class: of the sentence TEMPLATE, or the mean of N_PROMPTS sentences of the prompt file",
            choices=("template", "ensemble"),
        )
        N_PROMPTS: int = setting(50, "sentences per class, for TEXT ensemble", at_least=1)

    def set_classes(self, classnames: list[str]) -> None:
        super().set_classes(classnames)
        if self.setup.for_training:
            self.keep_text(self.encode_classes())

    def encode_classes(self) -> Tensor:
        if self.config.TEXT == "ensemble":
            return mean_feature(self.sentence_features(self.classnames, self.config.N_PROMPTS))
        return self.template_features(self.config.TEMPLATE, self.classnames)
