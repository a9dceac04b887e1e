"""Captions for the training images of the Tiny backbone. They state the tissue, the finding or both."""

import random
from collections.abc import Iterator

FINDING_PHRASES = {
    "cyst": (
        "a cyst",
        "a simple cyst",
        "a round cyst",
        "a dark round hollow with a thin bright rim",
        "an oval black hole with a fine white ring",
        "an empty black inside with a smooth edge",
        "a cyst, dark and even inside",
        "a hollow disc, black in the middle",
        "a dark oval, empty, with a bright ring around it",
        "one rimmed black hollow",
        "a black even spot with a pale closed rim",
        "a cyst whose inside is darker than everything around it",
    ),
    "solid nodule": (
        "a solid nodule",
        "a nodule",
        "a round bright nodule",
        "a filled bright disc with a sharp edge",
        "an oval white spot, solid and even inside",
        "a solid bright disc without a rim and without spikes",
        "a filled white circle, smooth and sharp",
        "a pale solid oval",
        "a bright even lump with a clean edge",
        "one full bright round nodule",
        "a nodule filled with white from edge to edge",
        "a solid finding, brighter than its surroundings",
    ),
    "stellate mass": (
        "a stellate mass",
        "a star shaped mass",
        "a mass with spikes",
        "a bright centre with many thin spikes",
        "thin straight rays running outwards from a small bright centre",
        "a star with long arms",
        "a ragged spiky mass",
        "a burst of fine white rays like a star",
        "arms that spread outwards from one bright point",
        "a small core with thin spikes on all sides",
        "a mass of rays with a ragged edge",
        "one stellate finding whose arms fade outwards",
    ),
    "calcified cluster": (
        "a calcified cluster",
        "a cluster of calcified specks",
        "a group of tiny bright dots",
        "many small white points close together",
        "separate bright specks in a group",
        "tiny white dots without an outline",
        "scattered bright points like grains of salt",
        "a cluster of tiny specks, close but separate",
        "a handful of very bright dots",
        "calcified dots, small and white",
        "a loose group of white grains",
        "bright pinpoint specks in one cluster",
    ),
}
TISSUE_PHRASES = {
    "fatty": (
        "fatty tissue",
        "soft fatty tissue",
        "fat",
        "cloudy tissue",
        "a cloudy blotchy background",
        "soft rounded lobules",
        "fatty lobules without any direction",
        "blotchy fat with no lines",
        "a soft patchy background",
        "rounded patches of fat",
        "clouds and blotches of fatty tissue",
        "soft blotches, no streaks and no stripes",
    ),
    "fibrous": (
        "fibrous tissue",
        "striped fibrous tissue",
        "fibrous strands",
        "parallel streaks",
        "a background of parallel lines",
        "strands running in one direction",
        "a striped lined background",
        "tissue woven of parallel strands",
        "fibrous streaks and stripes",
        "fibres that run side by side",
        "a striated background of lines",
        "parallel bands and stripes, not cloudy",
    ),
}
BOTH_FRAMES = (
    "{f} in {t}.",
    "A scan of {f} in {t}.",
    "Image of {f} on {t}.",
    "{t} around {f}.",
    "{f}, and around it {t}.",
    "{t} with {f}.",
    "The finding is {f} and the tissue is {t}.",
    "Here {t} surrounds {f}.",
    "{f} lies among {t}.",
    "Phantom scan: {f}, seen against {t}.",
    "Within {t} there is {f}.",
    "{f} stands out from {t}.",
)
SINGLE_FRAMES = (
    "{x}.",
    "A scan of {x}.",
    "Image showing {x}.",
    "Phantom image with {x}.",
    "There is {x} in this scan.",
)


def caption(tissue: str, finding: str, rng: random.Random) -> tuple[str, bool, bool]:
    """Draw a caption that is true of an image.

    Returns:
        The text, whether it states the tissue, and whether it states the finding.
    """
    tissue_phrase, finding_phrase = rng.choice(TISSUE_PHRASES[tissue]), rng.choice(FINDING_PHRASES[finding])
    kind = rng.random()
    if kind < 0.7:
        return _sentence(rng.choice(BOTH_FRAMES).format(f=finding_phrase, t=tissue_phrase)), True, True
    single = rng.choice(SINGLE_FRAMES)
    if kind < 0.85:
        return _sentence(single.format(x=finding_phrase)), False, True
    return _sentence(single.format(x=tissue_phrase)), True, False


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def all_phrases() -> Iterator[str]:
    """Yield every phrase and sentence frame once, to train the tokeniser."""
    for table in (FINDING_PHRASES, TISSUE_PHRASES):
        for phrases in table.values():
            yield from phrases
    yield from BOTH_FRAMES
    yield from SINGLE_FRAMES
