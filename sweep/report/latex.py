"""The tables of a report in LaTeX."""

from sweep.report.escape import file_name, one_line
from sweep.report.escape import latex as escaped
from sweep.report.tables import Cell, Report, Table


def latex(report: Report) -> str:
    r"""One table environment per table, for \input; needs \usepackage{booktabs}."""
    about = "needs \\usepackage{booktabs}; bold: the best mean of a column, or p < 0.05"
    parts = [f"% {one_line(report.title)}\n% {about}"]
    for section in report.sections:
        parts.append(f"% {one_line(section.title)}")
        parts += [
            latex_table(table, f"{section.key}_{table.key}", section.title) for table in section.tables if table.rows
        ]
    return "\n\n".join(parts) + "\n"


def latex_table(table: Table, label: str, about: str) -> str:
    """A table environment; its caption is the title, and what the table is about."""
    lines = [" & ".join([escaped(name), *map(_cell, cells)]) + r" \\" for name, cells in table.rows]
    label = file_name(label.replace(" ", "-"))
    notes = "".join(f"% {one_line(note)}\n" for note in table.notes)
    return (
        f"{notes}\\begin{{table}}\n\\centering\n\\caption{{{escaped(f'{table.title}. {about}.')}}}\n"
        f"\\label{{tab:{label}}}\n\\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n\\toprule\n"
        + " & ".join(map(escaped, [table.rows_of, *table.columns]))
        + " \\\\\n\\midrule\n"
        + "\n".join(lines)
        + "\n\\bottomrule\n\\end{tabular}\n\\end{table}"
    )


def _cell(cell: Cell) -> str:
    return rf"\textbf{{{escaped(cell.plain)}}}" if cell.marked else escaped(cell.plain)
