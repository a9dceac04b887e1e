"""Tables of paired differences between methods, and of differences to published numbers."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from sweep.report.accuracy import ONE_CLASS, h_of_run, metric
from sweep.report.grid import Grid, Pick
from sweep.report.significance import compare
from sweep.report.tables import DASH, Cell, Table, mean_cell, shots_label

REFERENCES = ("CoOp", "BiomedDPT")
LEVEL = 0.05


@lru_cache
def published() -> dict:
    """The published averages, with where each was read."""
    return json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))


def significance_tables(grid: Grid) -> list[Table]:
    """Each method against CoOp and against BiomedDPT: mean difference in points and Holm-corrected p per column."""
    columns: list[tuple[str, int, Pick]] = []
    for shots in grid.shots:
        if grid.protocol == "few_shot":
            columns.append((shots_label(shots), shots, metric("all", "accuracy")))
            continue
        at = f", {shots_label(shots)}" if len(grid.shots) > 1 else ""
        columns += [(part + at, shots, metric(part, "accuracy")) for part in ("base", "new")]
        columns.append(("H" + at, shots, h_of_run))
    return [_against(grid, name, columns) for name in REFERENCES if name in grid.methods and len(grid.methods) > 1]


def _against(grid: Grid, reference: str, columns: list[tuple[str, int, Pick]]) -> Table:
    others = [method for method in grid.methods if method != reference]
    rows: dict[str, list[Cell]] = {method: [] for method in others}
    for _, shots, pick in columns:
        values = {method: grid.pairs(method, shots, pick) for method in others}
        found = compare(grid.pairs(reference, shots, pick), values)
        missing = grid.missing(reference, grid.datasets, shots)
        for method in others:
            if method not in found:
                rows[method].append(Cell(DASH, missing=missing + grid.missing(method, grid.datasets, shots)))
                continue
            result = found[method]
            text = f"{result.difference:+.2f} (p {_p(result.p_holm)})"
            rows[method].append(Cell(text, result.difference, marked=result.p_holm < LEVEL))
    pairs = len(grid.datasets) * len(grid.seeds)
    notes = [
        f"Mean difference in points over {pairs} pairs (data set x seed), and p of Wilcoxon's signed-rank test on "
        "them, two-sided, zero differences dropped, Holm-corrected over the methods of a column; marked: p < 0.05. "
        "The seeds of a data set are not independent data sets: p speaks of these data sets."
    ]
    if 2 * 0.5**pairs >= LEVEL:
        notes.append(f"With {pairs} pairs no difference can reach p < 0.05, however large.")
    names = [name for name, _, _ in columns]
    return Table(f"against_{reference}", f"Accuracy against {reference}", names, list(rows.items()), notes)


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def published_tables(grid: Grid) -> tuple[list[Table], list[str]]:
    """Tables that set our averages beside the published ones, or a sentence why there is none."""
    known = published()
    if grid.backbone != known["backbone"]:
        return [], [f"No published averages are compared: they were made with {known['backbone']}."]
    if not set(grid.datasets) & set(known["datasets"]):
        return [], ["No published averages are compared: none of their 11 data sets is here."]
    whole = set(grid.datasets) == set(known["datasets"])
    notes = [
        "The published averages are over 11 data sets and 3 seeds, made with the officially published code; "
        "see docs/REPRODUCTION.md for where the variants clean and published differ."
    ]
    if not whole:
        notes.append(f"Differences are not shown: {len(grid.datasets)} data sets are here, not those 11.")
    make = _published_few_shot if grid.protocol == "few_shot" else _published_base2new
    tables = make(grid, known, whole)
    for table in tables:
        table.notes = [*notes, *table.notes]
    return tables, []


def _published_few_shot(grid: Grid, known: dict, whole: bool) -> list[Table]:
    pick, shots = metric("all", "accuracy"), [k for k in grid.shots if str(k) in known["few_shot"][0]["accuracy"]]

    def cells(entry: dict) -> list[Cell]:
        ours = [grid.average(entry["method"], grid.datasets, k, pick) for k in shots]
        return _beside(zip(ours, [entry["accuracy"][str(k)] for k in shots], strict=True), whole)

    columns = [f"{shots_label(k)}{what}" for k in shots for what in ("", " published", " difference")]
    title = "Average accuracy in % beside the published one"
    return [_published_table("published", title, columns, grid, known["few_shot"], cells, known)] if shots else []


def _published_base2new(grid: Grid, known: dict, whole: bool) -> list[Table]:
    if 16 not in grid.shots:
        return []
    columns = [f"{part}{what}" for part in ("base", "new") for what in ("", " published", " difference")]

    def beside(datasets: tuple[str, ...]) -> Callable[[dict], list[Cell]]:
        def cells(entry: dict) -> list[Cell]:
            ours = [grid.average(entry["method"], datasets, 16, metric(part, "accuracy")) for part in ("base", "new")]
            theirs = [entry.get("base"), entry.get("new")]
            found = _beside(zip(ours, theirs, strict=True), whole and entry.get("datasets") != 10)
            return [*found, _number(entry.get("HM_as_printed"))]

        return cells

    columns.append("HM as printed")
    title = "Average base and new accuracy in % beside the published one"
    entries = known["base2new"]
    tables = [_published_table("published", title, columns, grid, entries, beside(grid.datasets), known)]
    tables[0].notes += known["notes"].values()
    rest = tuple(dataset for dataset in grid.datasets if dataset != ONE_CLASS)
    if rest != grid.datasets and rest:
        entries, key = known["base2new_without_busi"], "published_without_busi"
        tables.append(_published_table(key, f"{title}, without busi", columns, grid, entries, beside(rest), known))
    return tables


def _beside(pairs, whole: bool) -> list[Cell]:
    cells = []
    for ours, theirs in pairs:
        difference = ours.mean - theirs if whole and ours.mean is not None and theirs is not None else None
        shown = Cell(DASH) if difference is None else Cell(f"{difference:+.2f}", difference)
        cells += [mean_cell(ours), _number(theirs), shown]
    return cells


def _number(value: float | None) -> Cell:
    return Cell(DASH) if value is None else Cell(f"{value:.2f}", value)


def _published_table(key: str, title: str, columns, grid: Grid, entries, cells, known: dict) -> Table:
    shown = [entry for entry in entries if entry["method"] in grid.methods]
    sources = {entry["source"]: entry["kind"] for entry in shown}
    notes = [
        f"{', '.join(e['method'] for e in shown if e['source'] == source)}: {kind}; {known['sources'][source]}."
        for source, kind in sources.items()
    ]
    return Table(key, title, columns, [(entry["method"], cells(entry)) for entry in shown], notes)
