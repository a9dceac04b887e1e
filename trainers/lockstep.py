"""Training runs side by side: a step of several is one forward and one backward pass through the text tower."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from trainers.context import encode_together


def train_together(runs: Sequence[Any], finished: Callable[[Any], None] = lambda run: None) -> None:
    """Train runs to their ends, each as if it were alone but for rounding; a single run is the case of one.

    The runs share a backbone and a precision, and may differ in seed, shots and length. What they learn is apart, so
    the gradients of the sum of their losses are those of each. Runs that are not `stackable` are trained one after
    the other.
    `finished` is called with each run as soon as it was trained and tested.
    """
    together = [run for run in runs if run.stackable]
    alone = [run for run in runs if not run.stackable]
    for group in ([together] if together else []) + [[run] for run in alone]:
        walks = {run: run.walk() for run in group}
        while walks:
            batches = {}
            for run, walk in list(walks.items()):
                with run.logged():
                    batch = next(walk, None)
                if batch is None:
                    del walks[run]
                    finished(run)
                else:
                    batches[run] = batch
            if batches:
                step(batches)


def step(batches: dict[Any, dict]) -> None:
    """One training step of each run on its own batch."""
    runs = list(batches)
    precision = runs[0].precision
    with contextlib.ExitStack() as given:
        if len(runs) > 1:
            with precision.autocast():
                encoded = encode_together([run.context for run in runs])
            for run, features in zip(runs, encoded, strict=True):
                given.enter_context(run.context.given(features))
        losses = [run.forward(batch) for run, batch in batches.items()]
    for run in runs:
        run.optim.zero_grad()
    with precision.products():
        sum(run.precision.scaled(loss) for run, loss in zip(runs, losses, strict=True)).backward()
    for run in runs:
        run.update()
