"""The table of a sheet as a figure: a line for each row, in brackets where it has several layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.analysis.cost import Cost
from cnnscope.analysis.structure import Structure
from cnnscope.render import numbers
from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.canvas import Mark, Path, Text, rectangle
from cnnscope.render.diagram.ladder.margin import extents
from cnnscope.render.diagram.sheet.anatomies import Anatomy, key
from cnnscope.render.diagram.sheet.drawing import SIZE, SMALL, Figure
from cnnscope.render.diagram.sheet.rows import Row
from cnnscope.render.fields import reach
from cnnscope.render.style import Heat, Theme, heat_colour, share_of, text_on

LINE, PAD = 8.8, 5.0
"""Points from one line of text to the next, and of a row above and below its lines."""
TIMES = 8.2
"""Points of the text that says how often a row follows itself."""
APART = 11.0
SLOT = 13.0
"""Points that letters with widths stand apart at least."""
LETTERS = 7
"""Letters with widths in a line."""


@dataclass(frozen=True, slots=True)
class Cells:
    """What a row says in each column. ``letters`` are lines of letters with widths, which stand in for ``lines``;
    ``letter`` is that of the structure. ``share`` is that of what the heat shows, 0 to 1."""

    row: Row
    output: str
    lines: tuple[str, ...]
    letters: tuple[tuple[tuple[str, str], ...], ...]
    letter: str
    params: str
    macs: str
    share: float
    field: str

    @property
    def tall(self) -> float:
        return len(self.letters or self.lines) * LINE + PAD

    @property
    def bracketed(self) -> bool:
        return len(self.lines) > 1 and not self.letters


def cells(rows: Sequence[Row], found: Structure, structures: Mapping[object, Anatomy], heat: Heat) -> tuple[Cells, ...]:
    """What the rows say. Blocks with branches have letters for their layers, which the anatomy has too."""
    return tuple(_cells(row, found, structures, heat) for row in rows)


def _cells(row: Row, found: Structure, structures: Mapping[object, Anatomy], heat: Heat) -> Cells:
    cost, block = row.cost, row.block
    structure = structures.get(key(block)) if block is not None else None
    marks = tuple(structure.marks.values()) if structure is not None else ()
    pairs = tuple(zip(marks, map(str, row.widths), strict=False)) if len(marks) == len(row.widths) else ()
    half = len(pairs) if len(pairs) <= LETTERS else (len(pairs) + 1) // 2
    letters = tuple(pairs[i : i + half] for i in range(0, len(pairs), half)) if half else ()
    return Cells(
        row, output(row, found), row.lines, letters, structure.letter if structure is not None and letters else "",
        amount(cost.params), amount(cost.macs, partial=cost.partial), share_of(cost, found.totals, heat),
        field(row, found),
    )  # fmt: skip


def output(row: Row, found: Structure) -> str:
    """The extents of what a row gives: ``56×56``, ``197 tokens``, ``vector``."""
    if row.last.level is None or not row.last.size:
        return "vector"
    image = max((len(found.graph.value(name).features) - 1 for name in found.graph.inputs), default=0)
    return extents([row.last.size]) + (" tokens" if image > 1 and len(row.last.size) == 1 else "")


def field(row: Row, found: Structure) -> str:
    """The receptive field of what a row gives, as `cnnscope rf` tells it."""
    known = [found.fields[part.id] for part in row.parts if part.id in found.fields]
    some = [one for one in known if one.maps or one.via]
    return reach(some[-1]) if some else "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Columns:
    """The places of the columns: the left edge of text, the right edge of figures."""

    channels: float
    layers: float
    times: float
    params: float
    macs: float
    share: float
    field: float

    @property
    def right(self) -> float:
        return self.field


def columns(rows: Sequence[Cells], heat: Heat, *, rf: bool) -> Columns:
    """The columns as wide as what stands in them."""
    channels = APART + _widest("output", (cell.output for cell in rows), bold=True)
    layers = channels + APART + _widest("channels", (cell.row.channels for cell in rows))
    times = layers + APART + max(_inside(cell) for cell in rows) + 6
    part = APART + _widest("share", ("100.0 %",))
    params = times + max(map(_behind, rows)) + APART + _widest("params", (cell.params for cell in rows))
    macs = params + part * (heat == "params") + APART + _widest("MACs", (cell.macs for cell in rows))
    share = {"params": params + part, "macs": macs + part}.get(heat, 0.0)
    end = max(macs, share) + (APART + _widest("RF", (cell.field for cell in rows)) if rf else 0.0)
    return Columns(channels, layers, times, params, macs, share, end)


def _widest(heading: str, texts: Iterator[str] | Sequence[str], *, bold: bool = False) -> float:
    return max(metrics.width(heading, SIZE, bold=True), *(metrics.width(text, SIZE, bold=bold) for text in texts))


def _inside(cell: Cells) -> float:
    """The width of the layers' cell."""
    if not cell.letters:
        return max(metrics.width(line, SIZE) for line in cell.lines) + 6
    return _name_room(cell) + max(len(line) for line in cell.letters) * _slot(cell) + 3


def _name_room(cell: Cells) -> float:
    return 12.0 if cell.letter else 3.0


def _slot(cell: Cells) -> float:
    longest = max(metrics.width(width, SIZE) for line in cell.letters for _, width in line)
    return SLOT + longest


def _behind(cell: Cells) -> float:
    times = metrics.width(f"× {cell.row.count}", TIMES, bold=True) + 5 if cell.row.count > 1 else 0.0
    return times + metrics.width(cell.row.note, SMALL) + 3


def table(rows: Sequence[Cells], at: Columns, total: Cost | None, heat: Heat, theme: Theme, *, rf: bool) -> Figure:
    """The rows between rules, at the end the totals where they are given."""
    marks: list[Mark] = []
    head = [("output", 0.0, "start"), ("channels", at.channels, "start"), ("layers", at.layers, "start"),
            ("params", at.params, "end"), ("MACs", at.macs, "end")]  # fmt: skip
    head += [("share", at.share, "end")] if heat != "none" else []
    head += [("RF", at.field, "end")] if rf else []
    marks.append(_rule(0, at, theme.text, 1.1))
    marks += [Text(x, 10, text, SIZE, theme.text, bold=True, anchor=a) for text, x, a in head]  # type: ignore[arg-type]
    marks.append(_rule(14, at, theme.text, 0.6))
    y, before = 14.0, ""
    for cell in rows:
        if before and cell.output != before:
            marks.append(_rule(y, at, theme.frame, 0.4))
        marks += _row(cell, y, at, heat, theme, rf=rf, repeated=cell.output == before)
        y, before = y + cell.tall, cell.output
    if total is not None:
        marks.append(_rule(y, at, theme.text, 0.6))
        marks += _total(total, y, at, heat, theme)
        y += LINE + PAD
    marks.append(_rule(y, at, theme.text, 1.1))
    return Figure(tuple(marks), at.right, y)


def _rule(y: float, at: Columns, colour: str, width: float) -> Mark:
    return Path(((0, y), (at.right, y)), colour, width=width)


def _row(cell: Cells, y: float, at: Columns, heat: Heat, theme: Theme, *, rf: bool, repeated: bool) -> Iterator[Mark]:
    row, middle = cell.row, y + cell.tall / 2 + 2.6
    fill = heat_colour(cell.share, theme) if cell.share else theme.background
    left, wide = at.layers - 3, at.times - at.layers - 2
    title = f"{numbers.count(row.cost.params)} parameters, {numbers.count(row.cost.macs)} MACs"
    yield rectangle(left, y + 1, wide, cell.tall - 2, fill, data=(("layer", row.last.id),), title=title)
    if not repeated:
        yield Text(0, middle, cell.output, SIZE, theme.text, bold=True, anchor="start")
    yield Text(at.channels, middle, row.channels, SIZE, theme.text, anchor="start")
    ink = text_on(fill, theme)
    yield from _letters(cell, y, at, theme, ink) if cell.letters else _lines(cell, y, at, ink)
    if cell.bracketed:
        top, bottom = y + 2.5, y + cell.tall - 2.5
        for x, way in ((left + 1.5, 3), (left + wide - 1.5, -3)):
            yield Path(((x + way, top), (x, top), (x, bottom), (x + way, bottom)), ink, width=0.8)
    x = at.times
    if row.count > 1:
        yield Text(x, middle + 0.3, f"× {row.count}", TIMES, theme.text, bold=True, anchor="start")
        x += metrics.width(f"× {row.count}", TIMES, bold=True) + 5
    if row.note:
        yield Text(x, middle, row.note, SMALL, theme.muted, anchor="start")
    yield Text(at.params, middle, cell.params, SIZE, theme.text, anchor="end")
    yield Text(at.macs, middle, cell.macs, SIZE, theme.text, anchor="end")
    if heat != "none":
        share = f"{100 * cell.share:.1f} %" if cell.share else "\N{EN DASH}"
        yield Text(at.share, middle, share, SIZE, theme.text, anchor="end")
    if rf:
        yield Text(at.field, middle, cell.field, SIZE, theme.text, anchor="end")


def _lines(cell: Cells, y: float, at: Columns, ink: str) -> Iterator[Mark]:
    for k, line in enumerate(cell.lines):
        yield Text(at.layers + 3, y + 9.6 + k * LINE, line, SIZE, ink, anchor="start")


def _letters(cell: Cells, y: float, at: Columns, theme: Theme, ink: str) -> Iterator[Mark]:
    if cell.letter:
        yield Text(at.layers + 1, y + 9.6, cell.letter, SIZE, ink, bold=True, anchor="start")
    slot = _slot(cell)
    for k, line in enumerate(cell.letters):
        for i, (letter, width) in enumerate(line):
            x = at.layers + _name_room(cell) + i * slot
            yield Text(x, y + 9.6 + k * LINE, letter, SMALL, ink, anchor="start")
            yield Text(x + 6.5, y + 9.6 + k * LINE, width, SIZE, ink, anchor="start")


def _total(total: Cost, y: float, at: Columns, heat: Heat, theme: Theme) -> Iterator[Mark]:
    base = y + LINE / 2 + PAD / 2 + 2.6
    yield Text(0, base, "total", SIZE, theme.text, bold=True, anchor="start")
    yield Text(at.params, base, amount(total.params), SIZE, theme.text, bold=True, anchor="end")
    yield Text(at.macs, base, amount(total.macs, partial=total.partial), SIZE, theme.text, bold=True, anchor="end")
    if heat != "none":
        yield Text(at.share, base, "100 %", SIZE, theme.text, bold=True, anchor="end")


def amount(n: int | None, *, partial: bool = False) -> str:
    """A figure of the table; a dash for none."""
    if not n:
        return numbers.UNKNOWN if partial else "\N{EN DASH}"
    return f"≥ {numbers.short(n)}" if partial else numbers.short(n)
