"""The sheet as a figure: the table, and the structures beside it or below, on one page or on several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from cnnscope.analysis.structure import Structure, structure
from cnnscope.ir import Graph
from cnnscope.render import numbers, style
from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.canvas import Canvas, Circle, Mark, Path, Polygon, Text
from cnnscope.render.diagram.sheet.anatomies import Anatomy, anatomies
from cnnscope.render.diagram.sheet.drawing import Figure, drawn
from cnnscope.render.diagram.sheet.rows import Row, rows
from cnnscope.render.diagram.sheet.table import Cells, cells, columns, table
from cnnscope.render.diagram.small import READABLE
from cnnscope.render.style import Heat, Page, Theme, ThemeName

BORDER = 12.0
HEADING = 30.0
"""Points of the name and the totals above the table."""
SECTION = 20.0
"""Points of the line that says how many structures there are."""
BESIDE, BETWEEN = 24.0, 14.0
"""Points between the table and the structures, and between two structures."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a sheet shows beside the layers: shares of ``heat`` as fills, receptive fields."""

    heat: Heat = "macs"
    theme: ThemeName = "light"
    rf: bool = True


@dataclass(frozen=True)
class Sheet:
    """What a sheet says: the rows, and the structures by their key."""

    found: Structure
    rows: tuple[Row, ...]
    structures: Mapping[object, Anatomy]
    look: Look

    @property
    def theme(self) -> Theme:
        return style.THEMES[self.look.theme]

    @cached_property
    def cells(self) -> tuple[Cells, ...]:
        return cells(self.rows, self.found, self.structures, self.look.heat)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of the structures."""
        return tuple(drawn(one, f"s{i}", self.theme) for i, one in enumerate(self.structures.values(), start=1))

    def table(self, some: Sequence[Cells]) -> Figure:
        """The table of some of the rows; with the last of them the totals."""
        at = columns(self.cells, self.look.heat, rf=self.look.rf)
        total = self.found.totals if some[-1:] == self.cells[-1:] else None
        return table(some, at, total, self.look.heat, self.theme, rf=self.look.rf)


def sheet(graph: Graph, look: Look = Look()) -> Sheet:
    """The rows and structures of a network."""
    found = structure(graph)
    return Sheet(found, rows(found), anatomies(found), look)


def draw(content: Sheet, page: Page = style.A4) -> Canvas:
    """The figure on one page: the structures where it is shrunk least."""
    whole = content.table(content.cells)
    side = _beside(content, whole, page)
    below = _below(content, whole, page)
    fits = [canvas for canvas in (side, below) if canvas is not None]
    return max(fits, key=lambda one: (one.fitted(page).scale, -one.width * one.height))


def _beside(content: Sheet, whole: Figure, page: Page) -> Canvas | None:
    if not content.figures:
        return None
    left = whole.width + BESIDE
    room = max(page.width - left, *(figure.width for figure in content.figures))
    marks = [Text(left, 8, _count(content), 8.5, content.theme.muted, bold=True, anchor="start")]
    placed, right, bottom = _flow(content.figures, left, SECTION, left + room)
    right = max(right, left + metrics.width(_count(content), 8.5, bold=True))
    return _canvas(content, [*whole.marks, *marks, *placed], max(right, whole.width), max(bottom, whole.height))


def _below(content: Sheet, whole: Figure, page: Page) -> Canvas:
    marks, right, bottom = list(whole.marks), whole.width, whole.height
    if content.figures:
        top = whole.height + SECTION
        marks.append(Text(0, top, _count(content), 8.5, content.theme.muted, bold=True, anchor="start"))
        placed, wide, bottom = _flow(content.figures, 0, top + 12, max(whole.width, page.width - 2 * BORDER))
        marks, right = [*marks, *placed], max(right, wide)
    return _canvas(content, marks, right, bottom)


def _count(content: Sheet) -> str:
    n = len(content.figures)
    return f"{n} structure{'s' * (n > 1)}"


def _flow(figures: Sequence[Figure], left: float, top: float, right: float) -> tuple[list[Mark], float, float]:
    """Figures in lines between two edges, and the right and lower edge of all."""
    marks: list[Mark] = []
    x, y, tall, far = left, top, 0.0, left
    for figure in figures:
        if x > left and x + figure.width > right:
            x, y, tall = left, y + tall + BETWEEN, 0.0
        marks += moved(figure.marks, x, y)
        far = max(far, x + figure.width)
        x, tall = x + figure.width + BETWEEN, max(tall, figure.height)
    return marks, far, y + tall


def moved(marks: Sequence[Mark], x: float, y: float) -> Iterator[Mark]:
    """The same marks further to the right and down."""
    for mark in marks:
        match mark:
            case Polygon() | Path():
                yield replace(mark, points=tuple((a + x, b + y) for a, b in mark.points))
            case Circle() | Text():
                yield replace(mark, x=mark.x + x, y=mark.y + y)


def _canvas(content: Sheet, marks: Sequence[Mark], right: float, bottom: float) -> Canvas:
    name, sums = heading(content, right)
    right = max(right, metrics.width(sums.text, sums.size))
    return Canvas(
        content.found.graph.name, -BORDER, -HEADING - BORDER, right + 2 * BORDER, bottom + HEADING + 2 * BORDER,
        content.theme.background, (name, sums, *marks),
    )  # fmt: skip


def heading(content: Sheet, right: float) -> tuple[Text, Text]:
    """The name and the totals above the table."""
    theme = content.theme
    title = style.shortened(content.found.graph.name, max(int(right / (13 * 0.65)), 8))
    return (
        Text(0, -18, title, 13, theme.text, bold=True, anchor="start"),
        Text(0, -6, facts(content), 7.5, theme.muted, anchor="start"),
    )


def facts(content: Sheet) -> str:
    """The totals and the input; what only training needs and what no layer reads is named apart."""
    graph, totals = content.found.graph, content.found.totals
    inputs = " and ".join(dict.fromkeys(numbers.shape(value.features) for value in graph.inputs.values()))
    least = "at least " if totals.partial else ""
    text = f"{numbers.short(totals.params)} parameters · {least}{numbers.short(totals.macs)} MACs · input {inputs}"
    training = sum(part.cost.params for part in content.found.parts if part.training_only)
    if training:
        text += f" · of these {numbers.short(training)} parameters in heads that only training uses"
    if content.found.rest.params:
        text += f" · {numbers.short(content.found.rest.params)} parameters that no layer reads"
    return text


def pages(content: Sheet, page: Page = style.A4) -> tuple[Canvas, ...]:
    """The figure on as many pages as it takes to be read: one if text keeps 6 points there, else the table on as many
    as its rows need, and the structures on those that follow."""
    whole = draw(content, page)
    if whole.fitted(page).smallest >= READABLE:
        return (whole,)
    found = []
    for some in _chunks(content.cells, page.height - HEADING - 2 * BORDER - 30):
        figure = content.table(some)
        found.append(_canvas(content, figure.marks, figure.width, figure.height))
    rest: list[Figure] = list(content.figures)
    while rest:
        n = next((n for n in range(len(rest), 1, -1) if _height(rest[:n], page) <= page.height - 2 * BORDER - 60), 1)
        marks, right, bottom = _flow(rest[:n], 0, 0, page.width - 2 * BORDER)
        found.append(_canvas(content, marks, right, bottom))
        rest = rest[n:]
    return tuple(found)


def _height(figures: Sequence[Figure], page: Page) -> float:
    return _flow(figures, 0, 0, page.width - 2 * BORDER)[2]


def _chunks(every: Sequence[Cells], tall: float) -> Iterator[tuple[Cells, ...]]:
    """Rows that fit on a page each."""
    some: list[Cells] = []
    for cell in every:
        if some and sum(one.tall for one in (*some, cell)) > tall:
            yield tuple(some)
            some = []
        some.append(cell)
    yield tuple(some)
