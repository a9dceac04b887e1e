"""Makes a report of collected runs: sections with facts, missing runs, tables and curves."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime

from runs.results import NOT_TESTED
from runs.run import ALL_SHOTS, Run, shots_in_words
from sweep.report.accuracy import metric_tables
from sweep.report.classes import class_tables
from sweep.report.collect import Collected, Record
from sweep.report.comparisons import published_tables, significance_tables
from sweep.report.confusion import matrices
from sweep.report.cost import cost_table
from sweep.report.curves import Curve
from sweep.report.grid import REFERENCES, Grid
from sweep.report.tables import Report, Section

PACKAGES = ("python", "torch", "torchvision", "open_clip_torch", "timm", "transformers", "numpy")
NOTES = (
    "Metrics are of the test images, in percent but for the Brier score: mean ± half of the 95 % interval over seeds "
    "(Student's t); docs/METRICS.md has their formulas. Methods that learn nothing give the same numbers for all "
    "seeds and shots: one run fills all columns and has no interval. The best mean of each column is marked.",
    "A dash (–) is a missing value, followed by the number of missing runs. A mean is shown only if all of its runs "
    "are complete. An average over data sets is taken per seed; its mean and interval are over these averages.",
)


def build_report(
    found: Collected,
    curves: Iterable[tuple[Grid, list[Curve]]],
    title: str,
    against: Sequence[str] = REFERENCES,
) -> Report:
    """The report of the collected runs, with a section for each grid; all methods are compared with some."""
    sections = [_section(grid, found, drawn, against) for grid, drawn in curves]
    records = list(found.records.values())
    missing = sum(section.missing_runs for section in sections)
    counts = f"{len(records)} complete"
    if found.started:
        counts += f", {len(set(found.started))} started"
    if found.untested:
        counts += f", {len(found.untested)} not tested"
    if found.damaged:
        counts += f", {len(found.damaged)} damaged"
    about = _facts(records)
    for section in sections:
        # A fact that holds for the whole report is stated once.
        section.facts = [fact for fact in section.facts if fact not in about]
    facts = [("runs", f"{counts}; {missing} runs of the tables missing"), *about]
    return Report(title, facts, list(NOTES), found.problems, sections)


def _section(grid: Grid, found: Collected, curves: list[Curve], against: Sequence[str]) -> Section:
    expected = grid.expected()
    missing = [run for run in expected if run not in grid.records]
    compared, why_not = published_tables(grid)
    metrics = metric_tables(grid)
    tables = [table for table in metrics if not table.detail]
    # The averages come first, then their comparison with the published ones.
    averages = sum(table.key.startswith("accuracy_average") for table in tables)
    tables[averages:averages] = compared
    details = [*(table for table in metrics if table.detail), *class_tables(grid)]
    tables += [*significance_tables(grid, against), *details, cost_table(grid)]
    tables[0].notes += [*why_not, *_about_folds(grid)]
    facts = [
        ("runs", f"{len(expected) - len(missing)} of {len(expected)} complete"),
        ("data sets", ", ".join(grid.datasets)),
        ("methods", ", ".join(grid.methods)),
        ("shots", ", ".join("all" if k == ALL_SHOTS else str(k) for k in grid.shots) if any(grid.shots) else "any"),
        ("seeds", ", ".join(map(str, grid.seeds))),
        *_facts(list(grid.records.values())),
    ]
    lines = _summary(missing, set(found.untested))
    return Section(grid.key, grid.title, facts, lines, len(missing), tables, curves, matrices(grid), grid)


def _about_folds(grid: Grid) -> list[str]:
    """What the values of a cross-validation are."""
    if not grid.folds:
        return []
    notes = [f"A value of a seed is the mean over its {grid.folds} folds, in which each image is tested once."]
    if len(grid.seeds) == 1:
        notes.append(
            "SD is the standard deviation over the folds of the one seed. Folds share training images and are not "
            "independent: it is no interval of the mean."
        )
    return notes


def _summary(missing: Iterable[Run], untested: Collection[Run]) -> list[str]:
    """Missing runs, a line per (data set, method, shots)."""
    lines: dict[tuple, list[Run]] = {}
    for run in missing:
        lines.setdefault((run.dataset, run.method, run.shots, run in untested), []).append(run)
    return [
        f"{dataset}, {method}{_members(shots, runs)}{f': {NOT_TESTED}' if not_tested else ''}"
        for (dataset, method, shots, not_tested), runs in lines.items()
    ]


def _members(shots: int, runs: Sequence[Run]) -> str:
    folds = ", ".join(str(run.fold) for run in runs)
    if not shots:
        return f": fold{'s' * (len(runs) > 1)} {folds}" if runs[0].fold else ""
    seeds = [f"{run.seed} (fold {run.fold})" if run.fold else str(run.seed) for run in runs]
    return f", {shots_in_words(shots)}: seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"


def _facts(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Dates, versions, code and devices of the results, as stated in their files."""
    if not records:
        return []
    first, last = (datetime.fromtimestamp(f(r.finished for r in records), UTC) for f in (min, max))
    facts = [("finished", f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC (when the runs were completed)")]
    environments = Counter(record.environment for record in records)
    known = [(dict(environment), n) for environment, n in environments.items() if environment]
    versions = [f"{name} {shown}" for name in PACKAGES if (shown := _distinct(e.get(name) for e, _ in known))]
    if versions:
        facts.append(("versions", ", ".join(versions)))
    commits = _distinct(_commit(environment) for environment, _ in known)
    if commits:
        facts.append(("code", commits))
    devices = Counter()
    for environment, n in known:
        devices[environment.get("device")] += n
    if devices:
        facts.append(("devices", ", ".join(f"{device} ({n} runs)" for device, n in devices.most_common() if device)))
    imported = sum(bool(record.imported) for record in records)
    if imported:
        facts.append(("imported", f"{imported} runs, read from logs of other code"))
    return facts


def _commit(environment: dict) -> str | None:
    commit = environment.get("git_commit")
    return commit and commit[:10] + (" with changes" if environment.get("git_changed_files") else "")


def _distinct(values: Iterable) -> str:
    return " / ".join(sorted({str(value) for value in values if value}))
