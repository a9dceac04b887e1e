"""Context optimisation, the baseline of all prompt learners."""

from typing import Any

from torch import Tensor

from clip import Backbone
from dassl.errors import InputError, shown
from trainers.context import POSITIONS, TextContext
from trainers.method import Method
from trainers.registry import register_method
from trainers.settings import setting

TEMPLATE = "template"  # the value of CTX_INIT for the words of the data set's template
PLACEHOLDER = "X"


@register_method
class CoOp(Method):
    """CoOp (Zhou et al., arXiv 2109.01134): the first words of the prompt are learned, everything else is frozen."""

    learns = "text context"
    trainable_parameters = 3_072
    source = "arXiv 2109.01134"
    verified_against = "official code: 20 steps"
    context: TextContext

    class Config(Method.Config):
        CTX_INIT: str = setting(
            "a photo of a",
            f'words that the context starts from; "{TEMPLATE}" for those of the data set\'s template before the class '
            'name, "" for random values N(0, 0.02²)',
        )
        N_CTX: int = setting(4, "learned tokens; 0 for as many as CTX_INIT has words", at_least=0, at_most=1000)
        CSC: bool = setting(False, "learn one context per class instead of one for all classes")
        CLASS_TOKEN_POSITION: str = setting("end", "where the class name stands in the context", choices=POSITIONS)
        TEXT_DROPOUT: bool = setting(False, "keep the dropout of the text tower on while training")

        def problem(self) -> str:
            if self.N_CTX or self.words:
                return ""
            return "N_CTX is 0; a context of random values (CTX_INIT '') needs at least 1"

        @property
        def words(self) -> str:
            """CTX_INIT as words; official command lines write them as a_photo_of_a."""
            return self.CTX_INIT.replace("_", " ").strip()

    @classmethod
    def why_unsupported(cls, backbone: type[Backbone], config: Any, protocol: str) -> str:
        if config.CSC and protocol == "base2new":
            return "a context per class (CSC True) cannot be used for the new classes of base2new"
        return super().why_unsupported(backbone, config, protocol)

    def build(self) -> None:
        prefix, suffix = self.prompt_parts()
        self.context = TextContext(
            self.backbone,
            self.classnames,
            prefix,
            suffix,
            n_ctx=self.config.N_CTX,
            random_init=not self.config.words,
            class_specific=self.config.CSC,
            position=self.config.CLASS_TOKEN_POSITION,
            depth=self.text_depth(),
        )

    def prompt_parts(self) -> tuple[str, str]:
        """What stands before and after the class name; placeholders where the context starts from random values."""
        return self.words_before(), "."

    def words_before(self, otherwise: str = "") -> str:
        """The words before the class name, of which the first N_CTX tokens are learned.

        For random starting values these are the words `otherwise` where there are enough of them, or placeholders.
        """
        if self.config.words == TEMPLATE:
            if not self.prompts.before:
                raise InputError(
                    f"the template of '{self.prompts.source}' has no words before the class name, which CTX_INIT "
                    f"'{TEMPLATE}' learns: {shown(self.prompts.template)}; put words there, or set CTX_INIT to words"
                )
            return self.prompts.before
        if self.config.words:
            return self.config.words
        enough = len(otherwise.split()) >= self.config.N_CTX
        return otherwise if enough else " ".join([PLACEHOLDER] * self.config.N_CTX)

    def text_depth(self) -> int:
        """In how many layers of the text tower the context is learned."""
        return 1

    def set_classes(self, classnames: list[str]) -> None:
        super().set_classes(classnames)
        self.context.set_classes(classnames)

    def encode_classes(self) -> Tensor:
        return self.context.features()

    @property
    def classes_matter(self) -> bool:
        return self.class_specific or self.config.CSC

    @property
    def stackable(self) -> bool:
        return self.context.deep is None and not self.config.TEXT_DROPOUT
