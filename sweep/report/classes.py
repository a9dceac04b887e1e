"""Tables of sensitivity and specificity: the classes of each data set by method."""

from runs.results_check import PER_CLASS
from sweep.report.collect import Record
from sweep.report.grid import Grid, Metric, key_of
from sweep.report.tables import Table, mark_best, mean_cell, shots_label

NOTE = "A class without test images has no sensitivity: a dash without missing runs."


def class_tables(grid: Grid) -> list[Table]:
    """For each data set its sensitivities and its specificities, at the largest number of shots of the section."""
    shots = grid.shots[-1]
    tables = []
    for dataset in grid.datasets:
        records = grid.found(dataset, shots)
        for name in PER_CLASS:
            columns = {_label(part, of_class): _of_class(part, name, of_class) for part, of_class in _classes(records)}
            if not any(pick(record) is not None for record in records for pick in columns.values()):
                continue
            rows = [
                (method, [mean_cell(grid.cell(method, dataset, shots, pick)) for pick in columns.values()])
                for method in grid.methods
            ]
            mark_best(rows)
            title = f"{name.capitalize()} of each class in %, {dataset}, {shots_label(shots)}"
            tables.append(Table(f"{name}_{key_of(dataset)}", title, list(columns), rows, [NOTE], detail=True))
    return tables


def _classes(records: list[Record]) -> list[tuple[str, str]]:
    """The parts and classes of a data set, in label order."""
    found = {
        (part, name): None
        for record in records
        for part, metrics in record.per_class.items()
        for of_classes in metrics.values()
        for name in of_classes
    }
    return list(found)


def _label(part: str, of_class: str) -> str:
    return of_class if part == "all" else f"{of_class} ({part})"


def _of_class(part: str, name: str, of_class: str) -> Metric:
    return lambda record: record.per_class[part][name].get(of_class)
