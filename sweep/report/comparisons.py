"""Tables of paired differences between methods, and of differences to published numbers."""

from collections.abc import Callable, Sequence

from sweep.report.accuracy import averaged, h_of_run
from sweep.report.grid import REFERENCES, Grid, Metric, metric
from sweep.report.published import published
from sweep.report.significance import compare
from sweep.report.stats import Value
from sweep.report.tables import DASH, Cell, Table, mean_cell, p_text, shots_label

LEVEL = 0.05  # of significance


def significance_tables(grid: Grid, references: Sequence[str] = REFERENCES) -> list[Table]:
    """Each method against each reference: mean difference in points and Holm-corrected p, per column."""
    columns: list[tuple[str, int, Metric]] = []
    for shots in grid.shots:
        if grid.protocol == "few_shot":
            columns.append((shots_label(shots), shots, metric("all", "accuracy")))
            continue
        at = f", {shots_label(shots)}" if len(grid.shots) > 1 else ""
        columns += [(part + at, shots, metric(part, "accuracy")) for part in ("base", "new")]
        columns.append(("H" + at, shots, h_of_run))
    return [_against(grid, name, columns) for name in references if name in grid.methods and len(grid.methods) > 1]


def _against(grid: Grid, reference: str, columns: list[tuple[str, int, Metric]]) -> Table:
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
            text = f"{result.difference:+.2f} (p {p_text(result.p_holm)})"
            rows[method].append(Cell(text, result.difference, marked=result.p_holm < LEVEL))
    pairs = len(grid.datasets) * len(grid.seeds)
    counted = f"{pairs} pair{'s' * (pairs != 1)}"
    notes = [
        f"Mean difference in points over {counted} (data set x seed), and p of Wilcoxon's signed-rank test on "
        "them, two-sided, zero differences dropped, Holm-corrected over the methods of a column; marked: p < 0.05. "
        "Seeds of one data set are not independent data sets: p is about these data sets only."
    ]
    if 2 * 0.5**pairs >= LEVEL:
        notes.append(f"With {counted}, p < 0.05 cannot be reached, whatever the differences.")
    names = [name for name, _, _ in columns]
    return Table(f"against_{reference}", f"Accuracy against {reference}", names, list(rows.items()), notes)


def published_tables(grid: Grid) -> tuple[list[Table], list[str]]:
    """Tables that compare our averages with the published ones, or a sentence that says why there is none."""
    known = published()
    if grid.backbone != known["backbone"]:
        return [], [f"There is no comparison with published averages: they were made with {known['backbone']}."]
    if not set(grid.datasets) & set(known["datasets"]):
        return [], ["There is no comparison with published averages: none of their 11 data sets is in this report."]
    whole = set(grid.datasets) == set(known["datasets"])
    notes = [
        "The published averages are over 11 data sets and 3 seeds, made with the officially published code; "
        "docs/REPRODUCTION.md says how the variants clean and published differ."
    ]
    if not whole:
        notes.append(f"Differences are not shown: this report has {len(grid.datasets)} data sets, not those 11.")
    make = _published_few_shot if grid.protocol == "few_shot" else _published_base2new
    tables = make(grid, known, whole)
    for table in tables:
        table.notes = [*notes, *table.notes]
    return tables, []


def _published_few_shot(grid: Grid, known: dict, whole: bool) -> list[Table]:
    pick, shots = metric("all", "accuracy"), [k for k in grid.shots if str(k) in known["few_shot"][0]["accuracy"]]

    def cells(entry: dict) -> list[Cell]:
        ours = [grid.average(entry["method"], grid.datasets, k, pick) for k in shots]
        return [_beside(value, entry["accuracy"][str(k)], whole) for value, k in zip(ours, shots, strict=True)]

    columns = [shots_label(k) for k in shots]
    return [_published_table("", columns, grid, known["few_shot"], cells, known)] if shots else []


def _published_base2new(grid: Grid, known: dict, whole: bool) -> list[Table]:
    if 16 not in grid.shots:
        return []

    def beside(datasets: tuple[str, ...]) -> Callable[[dict], list[Cell]]:
        def cells(entry: dict) -> list[Cell]:
            parts = ("base", "new")
            ours = [grid.average(entry["method"], datasets, 16, metric(part, "accuracy")) for part in parts]
            alike = whole and entry.get("datasets") != 10
            found = [_beside(value, entry.get(part), alike) for value, part in zip(ours, parts, strict=True)]
            printed = entry.get("HM_as_printed")
            return [*found, Cell(DASH) if printed is None else Cell(f"{printed:.2f}", printed)]

        return cells

    columns = ["base", "new", "published HM as printed"]
    tables = [_published_table("", columns, grid, known["base2new"], beside(grid.datasets), known)]
    tables[0].notes += known["notes"].values()
    for which, datasets in averaged(grid).items():
        if which:
            entries = known["base2new_without_one_new_class"]
            tables.append(_published_table(which, columns, grid, entries, beside(datasets), known))
    return tables


def _beside(ours: Value, theirs: float | None, whole: bool) -> Cell:
    """ "ours vs published (difference)"; the column is sorted by the difference."""
    shown = mean_cell(ours).plain if ours.mean is None else f"{ours.mean:.2f}"
    if theirs is None:
        return Cell(f"{shown} vs {DASH}")
    if not whole or ours.mean is None:
        return Cell(f"{shown} vs {theirs:.2f}")
    return Cell(f"{shown} vs {theirs:.2f} ({ours.mean - theirs:+.2f})", ours.mean - theirs)


def _published_table(which: str, columns: list[str], grid: Grid, entries, cells, known: dict) -> Table:
    shown = [entry for entry in entries if entry["method"] in grid.methods]
    sources = {entry["source"]: entry["kind"] for entry in shown}
    notes = [
        f"{', '.join(e['method'] for e in shown if e['source'] == source)}: {kind}; {known['sources'][source]}."
        for source, kind in sources.items()
    ]
    title = f"Average accuracy in %{which}: ours vs published (difference)"
    rows = [(entry["method"], cells(entry)) for entry in shown]
    return Table(f"published{which.replace(' ', '_')}", title, columns, rows, notes)
