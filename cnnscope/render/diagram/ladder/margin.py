"""What stands beside the rows of a ladder: sizes at the left; parameters, MACs and receptive field at the right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.analysis.cost import Cost, known
from cnnscope.analysis.receptive_field import Field
from cnnscope.analysis.structure import Input, Part, Structure
from cnnscope.render import numbers
from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.canvas import Mark, Text, rectangle
from cnnscope.render.diagram.ladder.cells import Cell
from cnnscope.render.diagram.ladder.places import Placed, Row
from cnnscope.render.fields import reach
from cnnscope.render.style import Heat, Theme, heat_colour, share_of

SIZE, LARGE = 7.5, 9.0
BAR = 34.0
"""Points of the longest bar."""
BETWEEN = 14.0
"""Points between two columns of figures."""


@dataclass(frozen=True, slots=True)
class Level:
    """What a row sums: its cells and the resamplings that lead into it."""

    parts: tuple[Part, ...]

    @property
    def cost(self) -> Cost:
        return known(part.cost for part in self.parts)


def levels(placed: Placed, cells: Sequence[Cell]) -> tuple[Level, ...]:
    """The parts that count in each row, each part once."""
    through = {part.id: part for cell in cells for wire in cell.wires for part in wire.via}
    rows: list[list[Part]] = [[] for _ in placed.rows]
    at = {row.level: i for i, row in enumerate(placed.rows)}
    for box in placed.boxes:
        rows[box.row] += box.cell.parts
    for part in through.values():
        rows[at[part.level]].append(part)
    return tuple(Level(tuple(parts)) for parts in rows)


@dataclass(frozen=True, slots=True)
class Margin:
    """The bands of the rows with the text at both ends, and the right edge of all."""

    marks: tuple[Mark, ...]
    right: float


def margin(placed: Placed, cells: Sequence[Cell], found: Structure, heat: Heat, theme: Theme, *, rf: bool) -> Margin:
    """What stands beside the boxes. What the heat shows is written as a share, with a bar."""
    sums = levels(placed, cells)
    columns = [
        ("params", [_amount(level.cost.params, found.totals.params, heat == "params") for level in sums]),
        ("MACs", [_amount(level.cost.macs, found.totals.macs, heat == "macs", level.cost.partial) for level in sums]),
    ]
    if rf:
        columns.append(("RF", [_field(level, found.fields) for level in sums]))
    middles = [(row.top + row.bottom) / 2 for row in placed.rows]
    marks: list[Mark] = []
    x = placed.right
    for name, texts in columns:
        x += BETWEEN + max(BAR, *(metrics.width(text, SIZE) for text in (name, *texts)))
        marks.append(Text(x, placed.rows[0].top - 6, name, SIZE, theme.muted, bold=True, anchor="end"))
        marks += [Text(x, y + 3, text, SIZE, theme.text, anchor="end") for text, y in zip(texts, middles, strict=True)]
        if name.lower() == heat:
            marks += _bars(sums, found.totals, heat, x, middles, theme)
    image = axes(found)
    for row, level, y in zip(placed.rows, sums, middles, strict=True):
        marks += _size(row, level, y, image, theme)
    bands = [rectangle(0, row.top, x + 6, row.bottom - row.top, theme.fill) for row in placed.rows[::2]]
    return Margin((*bands, *marks), x + 6)


def _amount(amount: int | None, whole: int | None, heated: bool, partial: bool = False) -> str:
    if not amount:
        return numbers.UNKNOWN if partial else numbers.ABSENT
    text = numbers.share(amount, whole) if heated and whole else numbers.short(amount)
    return f"≥ {text}" if partial else text


def _bars(
    sums: Sequence[Level], whole: Cost, heat: Heat, x: float, middles: Sequence[float], theme: Theme
) -> Iterator[Mark]:
    for level, y in zip(sums, middles, strict=True):
        if share := share_of(level.cost, whole, heat):
            yield rectangle(x - BAR, y + 6, max(BAR * share, 0.6), 2.5, heat_colour(share, theme))


def _size(row: Row, level: Level, y: float, image: int, theme: Theme) -> Iterator[Mark]:
    """The extents of the maps in a row, and what part of the image's resolution that is."""
    if row.level is None:
        yield Text(6, y + 3, "vector", LARGE, theme.text, bold=True, anchor="start")
        return
    text = size_text_of(level.parts, image)
    yield Text(6, y, text, LARGE, theme.text, bold=True, anchor="start")
    yield Text(6, y + 10.5, _fraction(row.level), SIZE, theme.muted, anchor="start")


def axes(found: Structure) -> int:
    """The number of axes of the network's images."""
    return max((len(value.features) - 1 for value in found.graph.inputs.values()), default=0)


def size_text_of(parts: Sequence[Part], image: int) -> str:
    """The extents of the maps of a level: ``56×56``, or ``197 tokens`` of an image of two axes."""
    sizes = list(dict.fromkeys(part.size for part in parts if part.size))
    tokens = " tokens" if image > 1 and sizes and all(len(size) == 1 for size in sizes) else ""
    return extents(sizes) + tokens


def left_of(found: Structure) -> float:
    """Points that the sizes at the left take, with a space behind them."""
    rows: dict[int | None, list[Part]] = {}
    for part in found.parts:
        rows.setdefault(part.level, []).append(part)
    texts = ("full size", *(size_text_of(parts, axes(found)) for level, parts in rows.items() if level is not None))
    return 6 + max(metrics.width(text, LARGE, bold=True) for text in texts) + 9


def extents(sizes: Sequence[tuple[int, ...]]) -> str:
    """``56×56``; ``572 … 388`` where convolutions without padding shrink the maps of one level; ``197``."""
    if not sizes:
        return numbers.ABSENT
    if len(sizes) == 1:
        (size,) = sizes
        return "×".join(map(str, size))
    largest = [max(size) for size in sizes]
    return f"{max(largest)} … {min(min(size) for size in sizes)}"


def _fraction(level: int) -> str:
    if level == 0:
        return "full size"
    return f"1/{2**level}" if level > 0 else f"×{2**-level}"


def _field(level: Level, fields: Mapping[str, Field]) -> str:
    """The largest receptive field of the row's outputs, as the tables write it: one number where axes agree."""
    known_fields = [fields[part.id] for part in level.parts if part.id in fields and not isinstance(part, Input)]
    some = [field for field in known_fields if field.maps or field.via]
    if not some:
        return numbers.ABSENT
    return reach(max(some, key=_reach))


def _reach(field: Field) -> tuple[bool, bool, tuple[int, ...], bool]:
    """Orders fields by how much of the image they may see."""
    return not field.maps, field.position_dependent, field.size or (), bool(field.via)
