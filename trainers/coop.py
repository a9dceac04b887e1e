"""Context optimisation, the baseline of all prompt learners."""

from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from clip import Backbone
from dassl.engine import TRAINER_REGISTRY
from trainers.context import POSITIONS, TextContext
from trainers.tuner import PromptTuner


@TRAINER_REGISTRY.register()
class CoOp(PromptTuner):
    """CoOp (Zhou et al., arXiv 2109.01134): the prompt's first words are learned, everything else is frozen.

    Settings: CTX_INIT, the words the context starts from ("" for N(0, 0.02²)); N_CTX, how many tokens are learned
    (0: as many as CTX_INIT has words); CSC, a context per class; CLASS_TOKEN_POSITION end, middle or front.
    """

    learns = "text context"
    numbers = 3_072
    source = "arXiv 2109.01134"
    checked = "official code: 20 steps"
    choices = {"CLASS_TOKEN_POSITION": POSITIONS}
    defaults = {
        "CTX_INIT": "a photo of a",
        "N_CTX": 4,
        "CSC": False,
        "CLASS_TOKEN_POSITION": "end",
        "TEXT_DROPOUT": False,
        "PREC": "fp32",
    }

    @classmethod
    def refusal(cls, backbone: type[Backbone], cfg: CfgNode) -> str:
        if cfg.TRAINER[cls.__name__.upper()].CSC and cfg.PROTOCOL == "base2new":
            return "a context for each class (CSC True) cannot serve the new classes of base2new"
        return super().refusal(backbone, cfg)

    def build_prompts(self) -> nn.Module:
        prefix, suffix = self.prompt_parts()
        self.context = TextContext(
            self.backbone,
            self.classnames,
            prefix,
            suffix,
            n_ctx=self.settings.N_CTX,
            random_init=not prefix.strip("X "),
            class_specific=self.settings.CSC,
            position=self.settings.CLASS_TOKEN_POSITION,
            depth=self.text_depth(),
        )
        return self.context

    def prompt_parts(self) -> tuple[str, str]:
        """What stands before and after the class name; placeholders where the context starts at random."""
        return self.settings.CTX_INIT or " ".join(["X"] * self.settings.N_CTX), "."

    def text_depth(self) -> int:
        """How many layers of the text tower the context reaches."""
        return 1

    def set_classes(self, classnames: list[str]) -> None:
        self.context.set_classes(classnames)

    def text_features(self) -> Tensor:
        return self.context.features()

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(self.image_features(batch))
        return logits, {"ce": F.cross_entropy(logits, batch["label"])}
