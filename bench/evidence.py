"""Times the maps of the evidence against plain encoding: python -m bench.evidence

plain:   the image tower alone, as the conditions need it.
maps:    the same pass with attention, rollout and the maps of classes for no, one and two texts.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from tabulate import tabulate
from torch.nn import functional as F

from bench.__main__ import _in_own_process, _machine
from bench.parts import random_model
from clip import VisualPrompt, build_backbone
from dassl.errors import exit_code
from evidence.maps import encode
from trainers.features import ENCODE_BATCH

CLASSES = 4


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.evidence", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--path", default="", help="folder of BiomedCLIP's weights (default: random ones are made)")
    parser.add_argument("--repeats", type=int, default=3, help="batches of each way; medians are printed")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = build_backbone("BiomedCLIP", args.path or str(_in_own_process(random_model))).to(device)
    seconds = throughput(backbone, args.repeats)
    size = ENCODE_BATCH[device.type]
    print(f"\n{_machine(device)}\n")
    rows = [[way, f"{size / took:.2f}", f"{took / seconds['plain']:.2f}"] for way, took in seconds.items()]
    print(tabulate(rows, ["way", "images/s", "time / plain"], tablefmt="github", disable_numparse=True))


def throughput(backbone: torch.nn.Module, repeats: int) -> dict[str, float]:
    """Median seconds of a batch by way, the ways in turn; each way makes one forward pass per image."""
    size, side = ENCODE_BATCH[backbone.device.type], backbone.image_size
    prompt, draw = VisualPrompt(), torch.Generator().manual_seed(0)
    pixels = torch.randn(size, 3, side, side, generator=draw).to(backbone.device)
    labels = torch.arange(size, device=backbone.device) % CLASSES
    texts = {
        name: F.normalize(torch.randn(CLASSES, backbone.embed_dim, generator=draw), dim=-1) for name in ("one", "two")
    }

    def plain() -> None:
        with torch.no_grad():
            backbone.encode_image(pixels, prompt)

    def maps(count: int) -> Callable[[], object]:
        chosen = dict([*texts.items()][:count])
        return lambda: encode(backbone, pixels, prompt, chosen, labels)

    ways = {"plain": plain, "maps without texts": maps(0), "maps, one text": maps(1), "maps, two texts": maps(2)}
    found: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, work in ways.items():
            if backbone.device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            work()
            if backbone.device.type == "cuda":
                torch.cuda.synchronize()
            found[way].append(time.perf_counter() - started)
    return {way: statistics.median(took) for way, took in found.items()}


if __name__ == "__main__":
    sys.exit(main())
