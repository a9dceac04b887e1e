"""Draws curves in other processes while the rest of the report is made."""

import hashlib
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

from dassl.utils import atomic_path
from runs.scratch import use_own_folder
from sweep.processes import context
from sweep.report.curves import Curve

PAGE, DRAWN = "curves.pdf", ".drawn"
MOST_PROCESSES = 4
PRELOAD = ["sweep.report.figures", "matplotlib.figure"]
PRELOAD += ["matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf"]


class Drawing:
    """Draws pictures (PNG) and a page of them all (PDF) per section, in a pool of processes.

    Args:
        formats: "pdf", "png", both or none; where there are none, nothing is drawn.
    """

    def __init__(self, formats: Sequence[str]):
        self._formats = formats
        self._under_way: list[tuple[list[Future], Path, str]] = []
        self._submitted: list[Future] = []
        if formats:
            use_own_folder()
        chosen = context(PRELOAD)
        self._pool = ProcessPoolExecutor(
            min(MOST_PROCESSES, os.cpu_count() or 1), chosen, initializer=_leave_ctrl_c_to_the_report
        )
        if formats and chosen.get_start_method() == "forkserver":
            forkserver.ensure_running()  # loads matplotlib while the results are being read

    def __enter__(self) -> "Drawing":
        return self

    def __exit__(self, kind, *_) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)

    def start(self, curves: Sequence[Curve], to: Path) -> int:
        """Begin to draw the curves of a section into a folder: <name>.png of each, and curves.pdf.

        Returns the number of curves that are drawn: 0 where none has changed since they were drawn last.
        """
        if not curves or not self._formats or _is_drawn(curves, to, self._formats):
            return 0
        from sweep.report.figures import draw_page, draw_pictures

        to.mkdir(parents=True, exist_ok=True)
        (to / DRAWN).unlink(missing_ok=True)
        jobs = [self._pool.submit(draw_page, curves, to / PAGE)] if "pdf" in self._formats else []
        jobs += [self._pool.submit(draw_pictures, curves, to)] if "png" in self._formats else []
        self._under_way.append((jobs, to, " ".join([_digest(curves), *self._formats])))
        return len(curves)

    def submit(self, draw: Callable, *args: object) -> None:
        """Begin to draw something else, whether or not it has changed."""
        self._submitted.append(self._pool.submit(draw, *args))

    def finish(self) -> None:
        """Wait until everything is drawn, and note for the next report what was drawn."""
        for jobs, to, note in self._under_way:
            for job in jobs:
                job.result()
            with atomic_path(to / DRAWN) as temporary:
                temporary.write_text(note)
        self._under_way.clear()
        for job in self._submitted:
            job.result()
        self._submitted.clear()


def _leave_ctrl_c_to_the_report() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the whole process group gets it; the report ends its processes


def _digest(curves: Sequence[Curve]) -> str:
    """Identifies the content of the curves and the code that draws them."""
    how = Path(__file__).with_name("figures.py").read_bytes()
    return hashlib.sha256(repr(curves).encode() + how).hexdigest()


def _is_drawn(curves: Sequence[Curve], to: Path, formats: Sequence[str]) -> bool:
    files = [to / f"{curve.name}.png" for curve in curves] if "png" in formats else []
    files += [to / PAGE] if "pdf" in formats else []
    try:
        stored = (to / DRAWN).read_text().split()
    except OSError:
        return False
    return stored[:1] == [_digest(curves)] and {*formats} <= {*stored[1:]} and all(file.is_file() for file in files)
