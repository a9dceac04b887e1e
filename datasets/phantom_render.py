"""Draw phantom images: scan-like images of one finding in one kind of tissue.

Phantoms replace a medical data set where none is available. They do not imitate anatomy; they pose the same task: to
distinguish a few visual attributes, which have plain names, after a few training images.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import ConvexHull

TISSUES = ("fatty", "fibrous")
FINDINGS = ("cyst", "solid nodule", "stellate mass", "calcified cluster")


@dataclass(frozen=True)
class Style:
    """The appearance of a phantom: ranges (low, high), from which each image draws uniformly.

    Attributes:
        background: grey level in [0, 1].
        tissue_contrast, lesion_contrast: differences of grey levels.
        blur: in pixels.
        speckle: relative strength of multiplicative noise.
        grain: strength of additive noise.
        gamma: exponent of the grey levels; values above 1 darken the image.
        shading: strength of a linear brightness ramp.
        radius: radius of the lesion as a fraction of the image side.
    """

    background: tuple[float, float]
    tissue_contrast: tuple[float, float]
    lesion_contrast: tuple[float, float]
    blur: tuple[float, float]
    speckle: tuple[float, float]
    grain: tuple[float, float]
    gamma: tuple[float, float]
    shading: tuple[float, float]
    radius: tuple[float, float]


# The style of the built-in data set: ultrasound-like images, dark and blurred, with much speckle.
SONOGRAM = Style(
    background=(0.34, 0.46),
    tissue_contrast=(0.07, 0.12),
    lesion_contrast=(0.26, 0.42),
    blur=(0.9, 1.5),
    speckle=(0.16, 0.28),
    grain=(0.0, 0.02),
    gamma=(1.0, 1.5),
    shading=(0.1, 0.4),
    radius=(0.15, 0.26),
)

# The style of the images that the Tiny backbone was trained on: radiograph-like, sharp, with little noise.
RADIOGRAPH = Style(
    background=(0.25, 0.6),
    tissue_contrast=(0.08, 0.2),
    lesion_contrast=(0.25, 0.55),
    blur=(0.0, 0.7),
    speckle=(0.0, 0.06),
    grain=(0.0, 0.04),
    gamma=(0.7, 1.3),
    shading=(0.0, 0.2),
    radius=(0.12, 0.3),
)


def render(tissue: str, finding: str, style: Style, rng: np.random.Generator, size: int = 160) -> np.ndarray:
    """Draw one phantom.

    Args:
        tissue: one of TISSUES.
        finding: one of FINDINGS.
        style: the rendering style.
        rng: random generator; the image depends on nothing else that is random.
        size: side of the square image in pixels.

    Returns:
        Grey-scale image (size, size), uint8.
    """
    image, _ = _draw(tissue, finding, style, rng, size)
    return _expose(image, style, rng)


def lesion(tissue: str, finding: str, style: Style, rng: np.random.Generator, size: int = 160) -> np.ndarray:
    """Return the mask (size, size), bool, of the finding that `render` draws with the same input.

    A pixel belongs to a cyst, a nodule or a stellate mass if the finding has at least half of its full strength there:
    the ellipse without the rim; the core with the inner part of each spike. A calcified cluster is the convex hull of
    such pixels of its dots, as clusters are outlined in mammograms.
    """
    _, strength = _draw(tissue, finding, style, rng, size)
    inside = strength >= 0.5
    return _hull(inside) if finding == "calcified cluster" else inside


def _draw(
    tissue: str, finding: str, style: Style, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels of tissue and finding, and the strength of the finding from 0 to 1, both (size, size)."""
    image = rng.uniform(*style.background) + rng.uniform(*style.tissue_contrast) * _draw_tissue(tissue, size, rng)
    return _add_finding(image, finding, style, rng)


def _hull(inside: np.ndarray) -> np.ndarray:
    """Which pixels have their centre in the convex hull of the centres of those inside."""
    hull = ConvexHull(np.argwhere(inside))
    centres = np.stack(np.indices(inside.shape), axis=-1)
    distances = centres @ hull.equations[:, :2].T + hull.equations[:, 2]  # to each side; negative inside
    return (distances <= 1e-6).all(axis=-1)


def _draw_tissue(tissue: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Texture with zero mean and unit spread: rounded lobules without direction, or parallel wavy strands."""
    if tissue == "fatty":
        field = gaussian_filter(rng.normal(size=(size, size)), rng.uniform(0.03, 0.06) * size, mode="wrap")
        return np.tanh(1.5 * field / field.std())
    if tissue == "fibrous":
        y, x = np.mgrid[0:size, 0:size] / size
        angle = rng.uniform(0, np.pi)
        across = x * np.cos(angle) + y * np.sin(angle)
        bend = gaussian_filter(rng.normal(size=(size, size)), 0.1 * size, mode="wrap")
        phase = 2 * np.pi * rng.uniform(9, 15) * across + 1.2 * bend / bend.std()
        return np.sin(phase) + 0.4 * np.sin(1.7 * phase + rng.uniform(0, 2 * np.pi))
    raise ValueError(f"unknown tissue '{tissue}', expected one of {TISSUES}")


def _add_finding(
    image: np.ndarray, finding: str, style: Style, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    size = image.shape[0]
    radius = rng.uniform(*style.radius) * size
    centre = rng.uniform(0.35, 0.65, size=2) * size
    contrast = rng.uniform(*style.lesion_contrast)
    draw = {
        "cyst": _cyst,
        "solid nodule": _nodule,
        "stellate mass": _stellate,
        "calcified cluster": _calcifications,
    }
    if finding not in draw:
        raise ValueError(f"unknown finding '{finding}', expected one of {FINDINGS}")
    return draw[finding](image, centre, radius, contrast, rng)


def _ellipse_distance(
    shape: tuple[int, ...], centre: np.ndarray, radius: float, rng: np.random.Generator
) -> np.ndarray:
    """Return each pixel's distance from the centre of a random ellipse, scaled to 1 on its edge."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    angle, flat = rng.uniform(0, np.pi), rng.uniform(0.75, 1.0)
    u = (x - centre[1]) * np.cos(angle) + (y - centre[0]) * np.sin(angle)
    v = -(x - centre[1]) * np.sin(angle) + (y - centre[0]) * np.cos(angle)
    return np.hypot(u, v / flat) / radius


def _cyst(
    image: np.ndarray, centre: np.ndarray, radius: float, contrast: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    distance = _ellipse_distance(image.shape, centre, radius, rng)
    inside = 1 / (1 + np.exp((distance - 1) * radius / 0.8))
    rim = np.exp(-(((distance - 1) * radius / 1.8) ** 2))
    hollow = image.mean() - 0.75 * contrast
    return image * (1 - inside) + hollow * inside + 0.7 * contrast * rim, inside


def _nodule(
    image: np.ndarray, centre: np.ndarray, radius: float, contrast: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    distance = _ellipse_distance(image.shape, centre, radius, rng)
    inside = 1 / (1 + np.exp((distance - 1) * radius / 0.8))
    return image * (1 - inside) + (image.mean() + contrast) * inside, inside


def _stellate(
    image: np.ndarray, centre: np.ndarray, radius: float, contrast: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    dy, dx = y - centre[0], x - centre[1]
    core = np.exp(-((np.hypot(dx, dy) / (0.3 * radius)) ** 4))
    spikes = np.zeros_like(image)
    count = rng.integers(9, 15)
    for k in range(count):
        angle = 2 * np.pi * (k + rng.uniform(-0.3, 0.3)) / count
        along = dx * np.cos(angle) + dy * np.sin(angle)
        aside = -dx * np.sin(angle) + dy * np.cos(angle)
        length = radius * rng.uniform(1.0, 1.6)
        fade = np.clip(1 - along / length, 0, 1) * (along > 0)
        spikes = np.maximum(spikes, fade**0.5 * np.exp(-((aside / 1.4) ** 2)))
    strength = np.maximum(core, spikes)
    return image + 1.1 * contrast * strength, strength


def _calcifications(
    image: np.ndarray, centre: np.ndarray, radius: float, contrast: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    dots = np.zeros_like(image)
    for _ in range(rng.integers(8, 21)):
        offset = rng.normal(scale=0.55 * radius, size=2)
        spread = rng.uniform(1.3, 2.3)
        dots = np.maximum(
            dots, np.exp(-((y - centre[0] - offset[0]) ** 2 + (x - centre[1] - offset[1]) ** 2) / (2 * spread**2))
        )
    return image + 1.6 * contrast * dots, dots


def _expose(image: np.ndarray, style: Style, rng: np.random.Generator) -> np.ndarray:
    """Apply the effects of an imaging device (shading, speckle, blur, grain, gamma) and convert to 8 bits."""
    size = image.shape[0]
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    image = image * (1 + rng.uniform(*style.shading) * (x * np.cos(angle) + y * np.sin(angle)))
    speckle = gaussian_filter(rng.normal(size=image.shape), 0.8)
    image = image * (1 + rng.uniform(*style.speckle) * speckle / speckle.std())
    blur = rng.uniform(*style.blur)
    image = gaussian_filter(image, blur) if blur > 0.05 else image
    image = image + rng.uniform(*style.grain) * rng.normal(size=image.shape)
    image = np.clip(image, 0, 1) ** rng.uniform(*style.gamma)
    return (255 * image).round().astype(np.uint8)
