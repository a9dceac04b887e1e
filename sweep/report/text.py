"""The report as text: for the terminal, and as Markdown."""

from collections.abc import Callable, Sequence
from textwrap import fill

from tabulate import tabulate

from sweep.report.escape import markdown as escaped
from sweep.report.escape import one_line
from sweep.report.tables import Cell, Report, Section, Table


def terminal(report: Report) -> str:
    """The report without its detail tables; a marked cell has a star."""
    parts = [_underlined(one_line(report.title), "="), _facts(report.facts)]
    parts += [f"damaged: {one_line(reason)}" for reason in report.damaged]
    for section in report.sections:
        parts += [_underlined(one_line(section.title), "="), _facts(section.facts[:1])]
        parts += [_missing_line(section)] if section.missing else []
        for table in section.tables:
            if table.detail or not table.rows:
                continue
            text = table_text(table, "simple", lambda cell: cell.plain + (" *" if cell.marked else ""), one_line)
            notes = [fill(one_line(note), 110) for note in table.notes]
            parts.append("\n\n".join([one_line(table.title), text, *notes]))
    return "\n\n".join(parts) + "\n"


def markdown(report: Report) -> str:
    """The whole report; marked cells are bold."""
    parts = [f"# {escaped(report.title)}", *(f"- {name}: {escaped(text)}" for name, text in report.facts)]
    parts = [parts[0], "\n".join(parts[1:]), *report.notes]
    if report.damaged:
        parts.append("Damaged:\n\n" + "\n".join(f"- {escaped(reason)}" for reason in report.damaged))
    for section in report.sections:
        parts.append(f"## {escaped(section.title)}")
        parts.append("\n".join(f"- {name}: {escaped(text)}" for name, text in section.facts))
        if section.missing:
            parts.append("Missing:\n\n" + "\n".join(f"- {escaped(line)}" for line in section.missing))
        parts += [markdown_table(table) for table in section.tables if table.rows]
        parts += [f"![{escaped(curve.title)}](curves/{section.key}/{curve.name}.png)" for curve in section.curves]
        parts += [f"![{escaped(m.alt)}](confusion/{section.key}/{m.path}.png)" for m in section.matrices]
    return "\n\n".join(parts) + "\n"


def table_text(table: Table, style: str, show: Callable[[Cell], str], name: Callable[[str], str] = str) -> str:
    """A table in one of tabulate's styles.

    Args:
        table: the table.
        style: of tabulate.
        show: the text of a cell.
        name: the text of a method's or a column's name.
    """
    rows = [[name(method), *map(show, cells)] for method, cells in table.rows]
    return tabulate(rows, [table.rows_of, *map(name, table.columns)], tablefmt=style, disable_numparse=True)


def markdown_table(table: Table) -> str:
    """A table with its title and notes; marked cells are bold."""
    text = table_text(table, "github", lambda cell: f"**{cell.plain}**" if cell.marked else cell.plain, escaped)
    return "\n\n".join([f"### {escaped(table.title)}", text, *map(escaped, table.notes)])


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name}: {one_line(text)}" for name, text in facts)


def _missing_line(section: Section) -> str:
    more = f" … and {len(section.missing) - 5} more" if len(section.missing) > 5 else ""
    return one_line(f"missing: {'; '.join(section.missing[:5])}{more}")


def _underlined(text: str, under: str) -> str:
    return f"{text}\n{under * len(text)}"
