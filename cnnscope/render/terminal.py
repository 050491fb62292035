"""A table on a terminal: no line is wider than the terminal, no figure is cut, and what is left out is named.

Where a table is too wide its text folds. Where that is not enough its least important columns are left out, and a line
below says which, with their totals. What is left after that, or was asked for, is shown in several parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnscope.render import style
from cnnscope.render.folding import cells, folded, longest, padded, paragraphs
from cnnscope.render.table import Line, Table, indented

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.text import Text

TEXT, NAME = 16, 32
"""Characters of a text, and of a word or a name in the first column, that stay in a line where there is room at all."""
_GAP = 2
"""Spaces between columns."""


@dataclass(frozen=True, slots=True)
class Part:
    """Columns side by side, by their places in the table, and their widths."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]


def parts(table: Table, width: int, *, whole: bool = False) -> tuple[Part, ...]:
    """How the table is laid out in ``width`` cells; with ``whole`` no column is left out."""
    natural, least = _widths(table, width)
    kept = tuple(range(len(natural)))
    while not whole and _wide(least, kept) > width:
        ranks = [table.columns[i].rank for i in kept]
        if max(ranks, default=0) == 0:
            break
        last = len(ranks) - 1 - ranks[::-1].index(max(ranks))
        kept = kept[:last] + kept[last + 1 :]
    found = _split(least, kept, table.keys, width)
    return tuple(Part(some, _spread(natural, least, some, width)) for some in found)


def _widths(table: Table, width: int) -> tuple[list[int], list[int]]:
    """The width of each column, and the least it can have: figures are never folded."""
    natural, least = [], []
    rows = [tuple(column.heading for column in table.columns), *map(indented, table.all_lines)]
    for i, (column, texts) in enumerate(zip(table.columns, zip(*rows, strict=True), strict=True)):
        widest = max(map(cells, texts))
        natural.append(min(widest, width))
        unbroken = max(longest(text, NAME) for text in texts)
        least.append(min(natural[-1], max(unbroken, TEXT if i else NAME)) if column.folds else natural[-1])
    return natural, least


def _wide(widths: Sequence[int] | Mapping[int, int], columns: Sequence[int]) -> int:
    return sum(widths[i] for i in columns) + _GAP * (len(columns) - 1)


def _split(least: Sequence[int], columns: Sequence[int], keys: int, width: int) -> Iterator[tuple[int, ...]]:
    """The columns in as many parts as they need, each of which begins with the first ``keys`` columns."""
    part = columns[:keys]
    for i in columns[keys:]:
        if len(part) > keys and _wide(least, (*part, i)) > width:
            yield tuple(part)
            part = columns[:keys]
        part = (*part, i)
    yield tuple(part)


def _spread(natural: Sequence[int], least: Sequence[int], columns: Sequence[int], width: int) -> tuple[int, ...]:
    """The width of each column: what is left over goes to those that fold, in equal shares."""
    found = {i: least[i] for i in columns}
    while _wide(found, columns) > width and max(found.values()) > 1:  # one column beside those that say what it is of
        found[max(columns, key=lambda i: found[i])] -= 1
    while (over := width - _wide(found, columns)) > 0:
        tight = [i for i in columns if found[i] < natural[i]]
        if not tight:
            break
        for i in tight[:over]:
            found[i] += min(max(over // len(tight), 1), natural[i] - found[i])
    return tuple(found[i] for i in columns)


@dataclass(frozen=True, slots=True)
class RichTable:
    """The table for a terminal; with ``whole`` no column is left out."""

    table: Table
    whole: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        width, table = options.max_width, self.table
        found = parts(table, width, whole=self.whole)
        yield from _texts(table.title, width, style.TITLE)
        yield from _texts(f"\n{table.intro}" if table.intro else "", width)
        for part in found if table.columns else ():
            if table.title or table.intro or part is not found[0]:
                yield ""
            yield from _grid(table, part)
        notes = "\n".join((*_hidden(table, found), *table.notes))
        yield from _texts(f"\n{notes}" if notes and table.columns else notes, width, style.DIM)


def _texts(text: str, width: int, look: str = "") -> Iterator[Text]:
    for line in paragraphs(text, width) if text else ():
        yield _text(line, look)


def _text(line: str, look: str = "") -> Text:
    from rich.text import Text

    return Text(line, style=look, no_wrap=True, overflow="ignore")


def _hidden(table: Table, shown: Sequence[Part]) -> Iterator[str]:
    """One line on the columns that are left out, with their totals."""
    there = {i for part in shown for i in part.columns}
    left_out = [i for i in range(len(table.columns)) if i not in there]
    totals = table.total.cells if table.total else ("",) * len(table.columns)
    said = [f"{table.columns[i].heading} {f'(total {totals[i]})' if totals[i] else ''}".strip() for i in left_out]
    if said:
        yield f"hidden here, shown with -v or on a wider terminal: {', '.join(said)}"


def _grid(table: Table, part: Part) -> Iterator[Text]:
    headings = Line(tuple(column.heading for column in table.columns), style=style.HEADER, name_style=style.HEADER)
    rule = _text("─" * (sum(part.widths) + _GAP * (len(part.widths) - 1)), style.DIM)
    yield from _rows(table, headings, part)
    yield rule
    for line in table.lines:
        yield from _rows(table, line, part)
    if table.total:
        yield rule
        yield from _rows(table, Line(table.total.cells, 0, style.TOTAL, style.TOTAL), part)


def _rows(table: Table, line: Line, part: Part) -> Iterator[Text]:
    """The line of a table in as many lines as its cells need; a name that is folded keeps its indentation."""
    texts = indented(line)
    columns = [
        _cell(texts[i], width, "  " * line.indent if i == 0 else "")
        for i, width in zip(part.columns, part.widths, strict=True)
    ]
    for row in range(max(map(len, columns))):
        found = _text("")
        for place, (i, width, lines) in enumerate(zip(part.columns, part.widths, columns, strict=True)):
            cell = lines[row] if row < len(lines) else ""
            found.append(" " * _GAP if place else "")
            found.append(padded(cell, width, right=table.columns[i].right), style=line.style if i else line.name_style)
        found.rstrip()
        yield found


def _cell(text: str, width: int, indent: str) -> list[str]:
    if not indent or cells(text) <= width:
        return folded(text, width)
    return [indent + line for line in folded(text[len(indent) :], max(width - len(indent), 1))]
