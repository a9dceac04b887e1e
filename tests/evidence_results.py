"""Makes the results of a measurement with planted numbers, and the pictures of its gallery."""

import numpy as np
from PIL import Image as Picture
from safetensors.numpy import save_file

from evidence.results import MEASURES, NO_PROMPT, Condition, Image, MapName, Outcome, Results

IMAGES, LESIONS = 20, 16  # the last four have none
GRID = (4, 4)
TEXTS = ("template", "ensemble")
MAPS = (MapName("attention"), MapName("grad-eclip", "true", "template"))
CONDITIONS = (
    Condition(NO_PROMPT, "no visual prompt"),
    Condition("replace", "4 zero tokens replace the first 4 patches before every block"),
    Condition("insert", "4 zero tokens are inserted before every block"),
    Condition("replace-1-block", "as replace, before the first 1 of 2 blocks"),
    Condition("random-1", "4 zero tokens replace random patches (3, 5, 7, 11) before every block", control=True),
    Condition("noise", "4 random tokens replace the first patches", control=True),
)
EXPLAINED = {"replace": 0.02, "replace-1-block": 0.02, "random-1": 0.03, "noise": 0.02, "insert": 0.0}
# Change among the other patches of image k: STEPS · (k + 1), besides a constant.
STEPS = {"replace": 0.001, "replace-1-block": 0.0005, "random-1": 0.0, "noise": -0.0001, "insert": -0.001}
MORE = {"replace": 0.0035, "insert": -0.0035}


def make_results(conditions=CONDITIONS, classnames=("benign", "malignant"), maps=MAPS, texts=TEXTS, about=None):
    """Twenty images: image k has label k % 2 and, below k = 16, a lesion and the mass 0.1 + 0.01 · k with no prompt."""
    names, results = [condition.name for condition in conditions], None
    results = Results(
        about={"dataset": "phantom", "backbone": "Tiny", "seed": 1} if about is None else about,
        classnames=[*classnames],
        grid=GRID,
        conditions=[*conditions],
        maps=[*maps],
        images=[Image(f"a/{k}.png", k % 2, 0.25 if k < LESIONS else 0.0) for k in range(IMAGES)],
        measures={name: {str(of): _scopes(name, first=of == maps[0]) for of in maps} for name in names},
        curves={name: {str(maps[0]): _curves(name)} for name in names[:2]},
        heads={
            name: [[1.0 + 0.1 * k + 0.2 * j * (name == names[1]) for j in range(2)] for k in range(3)] for name in names
        },
        reference_heads={name: [[1.0 + 0.1 * k] * 2 for k in range(3)] for name in names},
        outcomes={name: _outcome(name, texts) for name in names},
    )
    return results


def _column(value):
    return [round(value(k), 10) if k < LESIONS else None for k in range(IMAGES)]


def _scopes(condition, first):
    def without(k):
        return 0.1 + 0.01 * k

    def reference(k):
        return without(k) + EXPLAINED.get(condition, 0.02)

    def kept(k):
        return reference(k) + (MORE.get(condition, 0.0) + STEPS.get(condition, 0.0) * (k + 1)) * (1 if first else -1)

    if condition == NO_PROMPT:
        return {"all": _measures(without)}
    return {"all": _measures(kept), "kept": _measures(kept), "reference": _measures(reference)}


def _measures(mass):
    factors = dict.fromkeys(MEASURES, 1.0) | {"enrichment": 4.0, "auroc": 2.0}
    found = {measure: _column(lambda k, f=factor: f * mass(k)) for measure, factor in factors.items()}
    return found | {"pointing": _column(lambda k: float(mass(k) > 0.2))}


def _curves(condition):
    return {
        "insertion": [0.5 + (0.1 if condition != NO_PROMPT else 0.0)] * IMAGES,
        "deletion": [0.25] * IMAGES,
    }


def _outcome(condition, texts):
    """With no prompt 15 of 20 are right, under a condition 14; the probability falls with the change of mass."""
    wrong = 5 if condition == NO_PROMPT else 6
    step = 0.0 if condition == NO_PROMPT else STEPS.get(condition, 0.0)
    return Outcome(
        predicted={text: [1 - k % 2 if k < wrong else k % 2 for k in range(IMAGES)] for text in texts},
        probability={text: [round(0.5 - 2 * step * (k + 1), 6) for k in range(IMAGES)] for text in texts},
        few_shot=[60.0, 62.0, 64.0] if condition == NO_PROMPT else [61.0, 62.0, 66.0] if condition == "replace" else [],
    )


def add_pictures(results, folder, names=("a1", "b2")):
    """Write the pictures of the first images, a square lesion in each, and all their maps."""
    results.pictures = dict(enumerate(names))
    draw, maps = np.random.default_rng(0), {}
    (folder / "pictures").mkdir()
    for name in names:
        Picture.fromarray(draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / "pictures" / f"{name}.png")
        mask = np.zeros((32, 32), np.uint8)
        mask[8:20, 10:24] = 255
        Picture.fromarray(mask).save(folder / "pictures" / f"{name}-mask.png")
        for condition in results.conditions:
            for of_map in results.maps:
                maps[f"{name}/{condition.name}/{of_map}"] = draw.random(GRID, dtype=np.float32)
    save_file(maps, folder / "maps.safetensors")
