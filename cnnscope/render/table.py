"""A table before it is drawn, and the ways to draw one: plain text, a terminal's colours, HTML, Markdown.

Plain text is aligned at full width and has no lines, so that it can be read, diffed and cut in columns; nothing is ever
truncated. A terminal gets the same columns with colours; where it is too narrow, cells fold.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnnscope.render import style

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType


FOLDED = 16
"""Characters that text keeps in a line when it has to fold."""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and whether the cells under it are figures, which line up on the right."""

    heading: str
    right: bool = False


def left(*headings: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(map(Column, headings))


def right(*headings: str) -> tuple[Column, ...]:
    """Columns of figures."""
    return tuple(Column(heading, right=True) for heading in headings)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table: a cell a column, styles (rich's language) for the first cell and for all others."""

    cells: tuple[str, ...]
    indent: int = 0
    style: str = ""
    name_style: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """What is to be drawn: a title, text under it, columns, lines, a last line of totals, and remarks at the end."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    total: Line | None = None
    notes: tuple[str, ...] = ()
    intro: str = ""

    @property
    def all_lines(self) -> tuple[Line, ...]:
        return self.lines if self.total is None else (*self.lines, self.total)

    @property
    def narrowest(self) -> int:
        """Characters a terminal needs: names and figures stay whole, other text folds."""
        widths = _widths(self)
        whole = (column.right or i == 0 for i, column in enumerate(self.columns))
        kept = (width if firm else min(width, FOLDED) for width, firm in zip(widths, whole, strict=True))
        return sum(kept) + 3 * len(widths)


def plain(table: Table) -> str:
    """Aligned text without a newline at the end."""
    headings = tuple(column.heading for column in table.columns)
    body = [_indented(line) for line in table.lines]
    total = [_indented(table.total)] if table.total else []
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
    return [max(map(len, cells)) for cells in zip(headings, *map(_indented, table.all_lines), strict=True)]


def _indented(line: Line) -> tuple[str, ...]:
    first, *rest = line.cells
    return ("  " * line.indent + first, *rest)


def _aligned(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    padded = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    )
    return "  ".join(padded).rstrip()


@dataclass(frozen=True, slots=True)
class RichTable:
    """The table for a terminal. Text folds where it is narrow, names and figures too where it is very narrow."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.text import Text

        if self.table.title:
            yield Text(self.table.title, style=style.TITLE)
        if self.table.intro:
            yield Text(f"\n{self.table.intro}")
        yield self._grid(whole=options.max_width >= self.table.narrowest)
        for note in self.table.notes:
            yield Text(note, style=style.DIM)

    def _grid(self, *, whole: bool) -> RenderableType:
        from rich import box
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(
            box=box.SIMPLE_HEAD, show_footer=self.table.total is not None, header_style=style.HEADER,
            footer_style=style.TOTAL, pad_edge=False, padding=(0, 1),
        )  # fmt: skip
        footer = _indented(self.table.total) if self.table.total else ("",) * len(self.table.columns)
        for i, (column, foot) in enumerate(zip(self.table.columns, footer, strict=True)):
            firm = whole and (column.right or i == 0)
            side: Literal["left", "right"] = "right" if column.right else "left"
            grid.add_column(Text(column.heading), Text(foot), justify=side, overflow="fold", no_wrap=firm)
        for line in self.table.lines:
            first, *rest = _indented(line)
            grid.add_row(Text(first, style=line.name_style), *(Text(cell, style=line.style) for cell in rest))
        return grid


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
