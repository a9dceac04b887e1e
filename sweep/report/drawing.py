"""Has curves drawn while the rest of the report is made: pictures (PNG) and a page of them all (PDF)."""

import hashlib
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from dassl.utils import atomic_path
from sweep.processes import context
from sweep.report.curves import Curve

PAGE, DRAWN = "curves.pdf", ".drawn"
MOST_PROCESSES = 4
PRELOAD = ["sweep.report.figures", "matplotlib.figure"]
PRELOAD += ["matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf"]


class Drawing:
    """Draws curves in processes of its own, which load matplotlib while the results are being read.

    Args:
        formats: of "pdf" and "png"; where there are none, nothing is drawn.
    """

    def __init__(self, formats: Sequence[str]):
        self._formats = formats
        self._under_way: list[tuple[list[Future], Path, str]] = []
        count = min(MOST_PROCESSES, os.cpu_count() or 1)
        self._pool = ProcessPoolExecutor(count, context(PRELOAD), initializer=_leave_ctrl_c_to_the_report)
        # Processes start with work only, and the first waits for what all of them need to be loaded.
        self._warm_up = threading.Thread(target=self._start_processes, args=(count if formats else 0,))
        self._warm_up.start()

    def __enter__(self) -> "Drawing":
        return self

    def __exit__(self, kind, *_) -> None:
        self._warm_up.join()
        self._pool.shutdown(cancel_futures=kind is not None)

    def start(self, curves: Sequence[Curve], to: Path) -> int:
        """Begin to draw a section's curves into a folder: <name>.png of each, and curves.pdf.

        Returns how many curves are drawn: those of a section where none has changed are kept.
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

    def finish(self) -> None:
        """Wait for what was started, then note what was drawn."""
        for jobs, to, note in self._under_way:
            for job in jobs:
                job.result()
            with atomic_path(to / DRAWN) as temporary:
                temporary.write_text(note)
        self._under_way.clear()

    def _start_processes(self, count: int) -> None:
        for _ in range(count):
            self._pool.submit(os.getpid)


def _leave_ctrl_c_to_the_report() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the whole group, and the report ends its processes


def _digest(curves: Sequence[Curve]) -> str:
    """Of what is drawn and of how."""
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
