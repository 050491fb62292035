"""A table before it is drawn, and the ways to draw one: plain text, HTML, Markdown.

Plain text is aligned at full width and has no lines, so that it can be read, diffed and cut in columns; nothing is ever
truncated. What a terminal gets is in `cnnscope.render.terminal`.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cnnscope.render.folding import cells as wide
from cnnscope.render.folding import padded


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and whether the cells under it are figures, which line up on the right.

    ``rank`` says which columns a narrow terminal leaves out: those of the highest rank first, those of rank 0 never.
    ``fold`` says whether cells may take several lines there; by default those of figures may not.
    """

    heading: str
    right: bool = False
    rank: int = 0
    fold: bool | None = None

    @property
    def folds(self) -> bool:
        return not self.right if self.fold is None else self.fold


def left(*headings: str, rank: int = 0, fold: bool | None = None) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(heading, rank=rank, fold=fold) for heading in headings)


def right(*headings: str, rank: int = 0, fold: bool | None = None) -> tuple[Column, ...]:
    """Columns of figures."""
    return tuple(Column(heading, right=True, rank=rank, fold=fold) for heading in headings)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: a cell a column, styles (rich's language) for the first cell and for all others."""

    cells: tuple[str, ...]
    indent: int = 0
    style: str = ""
    name_style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What is to be drawn: a title, text under it, columns, lines, a last line of totals, and remarks at the end.

    The first ``keys`` columns say what a line is about: where a table is shown in parts, each part has them.
    """

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    total: Line | None = None
    notes: tuple[str, ...] = ()
    intro: str = ""
    keys: int = 1

    @property
    def all_lines(self) -> tuple[Line, ...]:
        return self.lines if self.total is None else (*self.lines, self.total)


def plain(table: Table) -> str:
    """Aligned text without a newline at the end."""
    headings = tuple(column.heading for column in table.columns)
    body = [indented(line) for line in table.lines]
    total = [indented(table.total)] if table.total else []
    widths = _widths(table)
    parts = [
        table.title,
        table.intro,
        "\n".join(_aligned(cells, widths, table.columns) for cells in (headings, *body)),
        "\n".join(_aligned(cells, widths, table.columns) for cells in total),
        "\n".join(table.notes),
    ]
    return "\n\n".join(part for part in parts if part)


def _widths(table: Table) -> list[int]:
    headings = tuple(column.heading for column in table.columns)
    return [max(map(wide, cells)) for cells in zip(headings, *map(indented, table.all_lines), strict=True)]


def indented(line: Line) -> tuple[str, ...]:
    """The cells of a line, the first behind its indentation."""
    first, *rest = line.cells
    return ("  " * line.indent + first, *rest)


def _aligned(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    texts = (
        padded(cell, width, right=column.right) for cell, width, column in zip(cells, widths, columns, strict=True)
    )
    return "  ".join(texts).rstrip()


def markdown(table: Table) -> str:
    """A GitHub-flavoured Markdown table, title above and remarks below."""
    rule = (("---:" if column.right else "---") for column in table.columns)
    rows = [tuple(column.heading for column in table.columns), tuple(rule)]
    rows += [("&nbsp;" * 4 * line.indent + line.cells[0], *line.cells[1:]) for line in table.all_lines]
    body = "\n".join("| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows)
    heading = f"**{_escaped(table.title)}**" if table.title else ""
    notes = "  \n".join(map(_escaped, table.notes)).replace("\n  \n", "\n\n")
    return "\n\n".join(part for part in (heading, _escaped(table.intro), body, notes) if part)


def _escaped(text: str) -> str:
    for character in "\\|*_`<":
        text = text.replace(character, "\\" + character)
    return text


def html_table(table: Table) -> str:
    """A self-contained HTML table for notebooks."""
    return "".join(_html(table))


def _html(table: Table) -> Iterator[str]:
    if table.title:
        yield f"<p><b>{html.escape(table.title)}</b></p>"
    if table.intro:
        yield f"<p>{html.escape(table.intro)}</p>"
    yield "<table><thead><tr>"
    for column in table.columns:
        yield f"<th{_right(column)}>{html.escape(column.heading)}</th>"
    yield "</tr></thead><tbody>"
    for line in table.all_lines:
        bold = line is table.total
        yield "<tr>"
        for i, (cell, column) in enumerate(zip(line.cells, table.columns, strict=True)):
            text = "&emsp;" * (line.indent if i == 0 else 0) + html.escape(cell)
            yield f"<td{_right(column)}>{f'<b>{text}</b>' if bold else text}</td>"
        yield "</tr>"
    yield "</tbody></table>"
    for note in table.notes:
        yield f"<p><small>{html.escape(note)}</small></p>"


def _right(column: Column) -> str:
    return f' style="text-align: {"right" if column.right else "left"}"'


def mimebundle(table: Table) -> dict[str, Any]:
    """For notebooks: the same table as HTML and as text."""
    return {"text/plain": plain(table), "text/html": html_table(table)}
