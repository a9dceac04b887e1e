"""Trains several runs in one step: one forward and one backward pass of the text tower for all of them."""

import contextlib
from collections.abc import Callable, Mapping, Sequence

from dassl.errors import DivergedError
from trainers.context import encode_stack
from trainers.tuner import Tuner, descend

LISTED = 5  # errors in one message


def train_stack(runs: Sequence[Tuner], finished: Callable[[Tuner], None] = lambda run: None) -> None:
    """Train runs to their ends; each gives the numbers of a separate run, up to rounding.

    The runs share a backbone and a precision, and may differ in seed, shots and length. Their parameters are separate,
    so the gradient of the sum of their losses is the gradient of each. Runs that are not `stackable` are trained one
    after the other. `finished` is called with each run as soon as it was trained and tested.

    Raises:
        DivergedError: runs diverged; the others were finished before.
    """
    diverged = []
    stackable = [run for run in runs if run.stackable]
    groups = ([stackable] if stackable else []) + [[run] for run in runs if not run.stackable]
    for group in groups:
        streams = {run: run.batches() for run in group}
        while streams:
            batches = {}
            for run, stream in list(streams.items()):
                try:
                    with run.logged():
                        batch = next(stream, None)
                except DivergedError as error:
                    diverged.append(error)
                    del streams[run]
                    continue
                if batch is None:
                    del streams[run]
                    finished(run)
                else:
                    batches[run] = batch
            if batches:
                step(batches)
    refuse_diverged(diverged)


def refuse_diverged(errors: Sequence[DivergedError]) -> None:
    """Raise the errors of runs that diverged, if there are any, as one."""
    if errors:
        more = f"\nand {len(errors) - LISTED} runs more" if len(errors) > LISTED else ""
        raise DivergedError("\n".join(map(str, errors[:LISTED])) + more) from errors[0]


def step(batches: Mapping[Tuner, dict]) -> None:
    """One training step of each run on its own batch."""
    runs = list(batches)
    with contextlib.ExitStack() as encoded:
        if len(runs) > 1:
            contexts = [run.method.context for run in runs if run.method.context is not None]
            with runs[0].precision.autocast():
                features = encode_stack(contexts)
            for context, of_run in zip(contexts, features, strict=True):
                encoded.enter_context(context.encoded_as(of_run))
        losses = [run.forward(batch) for run, batch in batches.items()]
    descend(runs, losses)
