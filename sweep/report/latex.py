"""The tables of a report in LaTeX."""

from sweep.report.tables import Cell, Report, Table

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "–": "--", "λ": r"$\lambda$", "·": r"$\cdot$", "…": r"\dots{}", "'": "'",
}  # fmt: skip


def escaped(text: str) -> str:
    """Text with all special characters escaped."""
    return "".join(SPECIAL.get(character, character) for character in text)


def latex(report: Report) -> str:
    r"""One table environment per table, for \input; needs \usepackage{booktabs}."""
    parts = [f"% {report.title}\n% needs \\usepackage{{booktabs}}; bold: the best mean of a column, or p < 0.05"]
    for section in report.sections:
        parts.append(f"% {section.title}")
        parts += [_table(table, f"{section.key}_{table.key}", section.title) for table in section.tables if table.rows]
    return "\n\n".join(parts) + "\n"


def _table(table: Table, label: str, about: str) -> str:
    lines = [" & ".join([escaped(name), *map(_cell, cells)]) + r" \\" for name, cells in table.rows]
    notes = "".join(f"% {note}\n" for note in table.notes)
    return (
        f"{notes}\\begin{{table}}\n\\centering\n\\caption{{{escaped(f'{table.title}. {about}.')}}}\n"
        f"\\label{{tab:{label.replace(' ', '-')}}}\n\\begin{{tabular}}{{l{'r' * len(table.columns)}}}\n\\toprule\n"
        + " & ".join(map(escaped, ["method", *table.columns]))
        + " \\\\\n\\midrule\n"
        + "\n".join(lines)
        + "\n\\bottomrule\n\\end{tabular}\n\\end{table}"
    )


def _cell(cell: Cell) -> str:
    return rf"\textbf{{{escaped(cell.plain)}}}" if cell.marked else escaped(cell.plain)
