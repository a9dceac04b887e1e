"""The commands `python -m sweep report` and `python -m sweep import`."""

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from dassl.errors import InputError, unknown_name
from dassl.utils import atomic_path
from runs.results import NOT_TESTED
from sweep.arguments import folder, names, numbers, shots
from sweep.plan import PROTOCOLS
from sweep.report.build import build_report
from sweep.report.collect import Selection, collect
from sweep.report.csvfiles import runs_csv, wide_csv
from sweep.report.curves import Curve, accuracy_curves
from sweep.report.drawing import Drawing
from sweep.report.grid import REFERENCES, Grid, grids
from sweep.report.latex import latex
from sweep.report.sentences import set_apart
from sweep.report.tables import Report, Section
from sweep.report.text import markdown, terminal

LISTED = 10  # problems in an error message
MATRICES_IN_A_JOB = 20  # pictures that a process draws at a time
FORMATS = ("md", "csv", "tex", "html", "png", "pdf")


def add_parsers(subparsers) -> None:
    """Add the two commands; each sets the default `work` to a function of the parsed arguments."""
    about = "print and write tables and curves of the complete runs of an output folder"
    add = _parser(subparsers, "report", about, report)
    add("output", type=folder, help="root of the run folders")
    add("--to", type=folder, help="folder of the files (default: OUTPUT/report)")
    add("--formats", type=names, default=FORMATS, help=f"some of {','.join(FORMATS)} (default: all)")
    add(
        "--protocol",
        type=names,
        help="few_shot, base2new (default of this and of the following options: everything found)",
    )
    for name in ("--datasets", "--methods", "--backbone"):
        add(name, type=names)
    add("--shots", type=shots)
    add("--seeds", type=numbers)
    about = f"compare every method with this one (default: with {' and with '.join(REFERENCES)})"
    add("--against", metavar="METHOD", help=about)
    add("--confusion", action="store_true", help="draw confusion matrices, summed over seeds, as pictures")
    about = "turn log.txt files of CoOp-style code into result folders, marked as imported"
    add = _parser(subparsers, "import", about, import_logs)
    add("logs", type=folder, help="output folder of that code: …/<DATASET>/shots_K/<TRAINER>/<config>/seedS/log.txt")
    add("--output", type=folder, default=Path("output_imported"), help="root of the result folders")
    add("--backbone", default="", help="the backbone of trainers whose names do not end with _<backbone>")
    add("--config", default="", help="import only folders of this configuration")


def _parser(subparsers, name: str, about: str, work):
    parser = subparsers.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    parser.set_defaults(work=work)
    return parser.add_argument


def report(args: argparse.Namespace) -> None:
    """Print the report of an output folder and write its files."""
    for kind, given, known in (("format", args.formats, FORMATS), ("protocol", args.protocol or (), PROTOCOLS)):
        for name in given:
            if name not in known:
                raise unknown_name(kind, name, known)
    if not os.path.isdir(args.output):
        raise InputError(f"output folder '{args.output}' does not exist; python -m sweep run --output makes one")
    if args.confusion and not {"png", "html"} & {*args.formats}:
        raise InputError("--confusion draws pictures, of which --formats names none; add png or html")
    chosen = (args.protocol, args.backbone, args.datasets, args.methods, args.shots, args.seeds)
    selection = Selection(*chosen)
    to = args.to or args.output / "report"
    # The HTML page embeds the pictures.
    pictures = {*args.formats, *(["png"] if "html" in args.formats else [])} & {"png", "pdf"}
    with _writing(to), Drawing(sorted(pictures)) as drawing:
        found = collect(args.output, selection, args.confusion)
        apart = set_apart(found)
        if not found.records:
            what = "of what was asked for " if any(chosen) else ""
            untested = f", {len(found.untested)} {NOT_TESTED}" if found.untested else ""
            problems = found.problems[:LISTED]
            more = [f"… and {len(found.problems) - LISTED} more"] if len(found.problems) > LISTED else []
            raise InputError(
                f"'{args.output}' has no complete run {what}({len(found.started)} started, not complete{untested})"
                + "".join(f"\n{line}" for line in (*problems, *more))
            )
        curves = [(grid, accuracy_curves(grid)) for grid in grids(found, selection)]
        for grid, drawn in curves:
            drawing.start(drawn, to / "curves" / grid.key)
        made = build_report(found, curves, f"Report of {args.output.resolve().name}", _references(args, curves))
        made.notes += apart
        for line in apart:
            print(f"note: {line}")
        for section in made.sections if args.confusion else ():
            _draw_matrices(drawing, section, to / "confusion" / section.key)
        print(terminal(made))
        write_tables(made, list(found.records.values()), to, args.formats)
        drawing.finish()
        if "html" in args.formats:
            from sweep.report.html import html

            _write(to / "index.html", html(made, to))
    print(f"{', '.join(args.formats)} written to '{to}'" if args.formats else "no files written")


def _references(args: argparse.Namespace, curves: Sequence[tuple[Grid, list[Curve]]]) -> tuple[str, ...]:
    """The methods that all others are compared with."""
    if args.against is None:
        return REFERENCES
    known = {method for grid, _ in curves for method in grid.methods}
    if args.against not in known:
        raise unknown_name("method of --against", args.against, known)
    return (args.against,)


def _draw_matrices(drawing: Drawing, section: Section, to: Path) -> None:
    from sweep.report.confusion_figures import draw_matrices

    for start in range(0, len(section.matrices), MATRICES_IN_A_JOB):
        drawing.submit(draw_matrices, section.matrices[start : start + MATRICES_IN_A_JOB], to)


def write_tables(made: Report, records: Sequence, to: Path, formats: Sequence[str]) -> None:
    """Write the tables of a report in those of the formats that are text."""
    if "md" in formats:
        _write(to / "report.md", markdown(made))
    if "csv" in formats:
        _write(to / "runs.csv", runs_csv(records))
        _write(to / "wide.csv", wide_csv(made))
    if "tex" in formats:
        _write(to / "tables.tex", latex(made))


@contextlib.contextmanager
def _writing(to: Path) -> Iterator[None]:
    """An error of the disk, also of one of the processes that draw, is an InputError."""
    try:
        yield
    except OSError as error:
        where = error.filename or to
        raise InputError(
            f"the report cannot be written to '{where}' ({error.strerror or error}); name another folder with --to"
        ) from error


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def import_logs(args: argparse.Namespace) -> int:
    """Import logs; where some were refused, an InputError lists them after the others were imported."""
    from sweep.report.imported import import_folder

    if not os.path.isdir(args.logs):
        raise InputError(f"log folder '{args.logs}' does not exist")
    try:
        done, refused = import_folder(args.logs, args.output, args.backbone, args.config)
    except OSError as error:
        where = error.filename or args.output
        raise InputError(f"the results cannot be written to '{where}' ({error.strerror or error})") from error
    print(f"{done} runs imported into '{args.output}'; python -m sweep report {args.output} shows them")
    if refused:
        raise InputError(f"{len(refused)} refused:\n" + "\n".join(refused))
    return 0
