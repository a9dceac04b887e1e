"""Zero-shot classification with frozen text features."""

from trainers.frozen_text import FrozenText
from trainers.registry import register_method
from trainers.settings import inherited


@register_method
class ZeroShot(FrozenText):
    """CLIP's zero-shot classifier (arXiv 2103.00020, section 3.1.2): frozen text features, nothing is learned."""

    learns = "nothing"
    source = "arXiv 2103.00020"
    verified_against = "official code: logits"


@register_method
class ZeroShotEnsemble(ZeroShot):
    """Zero-shot classification with the mean text feature of the sentences written about each class."""

    source = "arXiv 2103.00020, section 3.1.4"

    class Config(ZeroShot.Config):
        TEXT: str = inherited(ZeroShot.Config, "TEXT", "ensemble")
