"""The data sets; importing this package registers them."""

from datasets import (
    btmri,
    busi,
    chmnist,
    covid,
    ctkidney,
    dermamnist,
    folder,
    kneexray,
    kvasir,
    lungcolon,
    octmnist,
    phantom,
    retina,
)

__all__ = [
    "btmri",
    "busi",
    "chmnist",
    "covid",
    "ctkidney",
    "dermamnist",
    "folder",
    "kneexray",
    "kvasir",
    "lungcolon",
    "octmnist",
    "phantom",
    "retina",
]
