"""The ladder as a figure: a row for each level of resolution, execution from left to right.

A U-Net is a U, a feature pyramid a pyramid, a residual network a staircase. `cells` decides what is drawn, `places`
where, `routes` how arrows go; this file draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.analysis.structure import Structure, Unit, structure
from cnnscope.ir import Graph
from cnnscope.render import numbers, style
from cnnscope.render.diagram.canvas import Canvas, Mark, Text
from cnnscope.render.diagram.ladder.boxes import SIZE, Box, box
from cnnscope.render.diagram.ladder.cells import Cell, cells, readers
from cnnscope.render.diagram.ladder.labels import Label, labels
from cnnscope.render.diagram.ladder.legend import entries, legend
from cnnscope.render.diagram.ladder.margin import left_of, margin
from cnnscope.render.diagram.ladder.marks import PLAIN, Look, box_marks, label_mark, wire_marks
from cnnscope.render.diagram.ladder.places import Placed, chained, flow, stairs
from cnnscope.render.diagram.ladder.routes import Route, routes
from cnnscope.render.diagram.small import READABLE
from cnnscope.render.style import Page, Theme

CHAIN = 760.0
"""Points of boxes side by side above which a ladder that is one chain flows."""
WIDTHS = (700.0, 800.0, 900.0)
"""Points of boxes side by side, at most, in a ladder that flows."""
MANY = 45
"""Boxes above which only the last of the widths is tried."""
OFTEN = 3
"""Tails that are equal at least so often become letters."""
BORDER = 12.0


@dataclass(frozen=True, slots=True)
class Ladder:
    """The content of a ladder before it is placed: boxes, wires with the resampling at them, and what letters mean."""

    found: Structure
    cells: Mapping[str, Cell]
    boxes: tuple[Box, ...]
    letters: Mapping[str, str]

    @property
    def wires(self) -> tuple[tuple[Box, Box, tuple[Unit, ...]], ...]:
        """Each pair of boxes once."""
        of = {one.id: one for one in self.boxes}
        pairs = {(wire.source, one.id): wire.via for one in self.boxes for wire in reversed(one.cell.wires)}
        return tuple((of[a], of[b], via) for (a, b), via in pairs.items())


def ladder(graph: Graph) -> Ladder:
    """What a ladder of a network shows."""
    found = structure(graph)
    made = cells(found)
    tails = _tails(made, found)
    same = shared([cell for cell in made.values() if cell.id not in tails], found)
    boxes = tuple(box(cell, tails.get(cell.id, ("", ""))[0], same.get(cell.id, "")) for cell in made.values())
    return Ladder(found, made, boxes, dict(sorted(set(tails.values()))))


def _tails(made: Mapping[str, Cell], found: Structure) -> dict[str, tuple[str, str]]:
    """The letter and its meaning for each of the tails that occur often: the heads of a detector."""
    read = readers(made.values())
    ends = [cell for cell in made.values() if cell.id not in read and len(cell.stack) > 1]
    often = [lines for lines, n in Counter(cell.lines for cell in ends).items() if n >= OFTEN]
    letters = dict(zip(often, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", strict=False))
    weights: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for cell in ends:
        weights.setdefault(cell.lines, set()).add(weights_of(cell, found))
    meaning = {
        lines: " → ".join(lines) + (" (one set of weights)" if len(weights[lines]) == 1 else "") for lines in letters
    }
    return {cell.id: (letters[cell.lines], meaning[cell.lines]) for cell in ends if cell.lines in letters}


def weights_of(cell: Cell, found: Structure) -> tuple[str, ...]:
    """The keys of all weights that a cell reads."""
    nodes = (found.graph.node(name) for part in cell.parts for name in part.nodes)
    return tuple(sorted({key for node in nodes for key in node.params.values()}))


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure in its layers, from back to front. ``boxes`` are the marks of each box by its id; ``labels`` the text at
    arrows, each by the ids of the parts that it names. ``left``, ``top``, ``width`` and ``height`` frame it all.
    """

    title: str
    left: float
    top: float
    width: float
    height: float
    background: str
    heading: tuple[Mark, ...]
    back: tuple[Mark, ...]
    wires: tuple[Mark, ...]
    boxes: tuple[tuple[str, tuple[Mark, ...]], ...]
    labels: tuple[tuple[tuple[str, ...], Text], ...]
    legend: tuple[Mark, ...]

    @property
    def canvas(self) -> Canvas:
        marks = (*self.heading, *self.back, *self.wires, *(mark for _, own in self.boxes for mark in own),
                 *(text for _, text in self.labels), *self.legend)  # fmt: skip
        return Canvas(self.title, self.left, self.top, self.width, self.height, self.background, marks)


def draw(graph: Graph, look: Look = PLAIN, page: Page = style.A4) -> Canvas:
    """The figure, ready to be written in any format."""
    (found,) = drawn(ladder(graph), (look,), page)
    return found.canvas


def drawn(content: Ladder, looks: Sequence[Look], page: Page = style.A4) -> tuple[Drawn, ...]:
    """The figure in several looks, which differ in nothing but colours if the looks do. It is laid out so that it can
    be read on ``page``: of stairs and of several widths to flow in, the first with arrows that go straightest and text
    of 6 points.
    """
    wires = [(source, target, bool(via)) for source, target, via in content.wires]
    chain = chained(content.boxes, wires)
    left = left_of(content.found)
    placed = stairs(content.boxes, wires, left)
    best: tuple[Drawn, ...] = ()
    if placed.right <= CHAIN or not chain:
        best, _ = _routed(content, placed, looks)
        if _smallest(best, page) >= READABLE:
            return best
    found = []
    for width in WIDTHS if len(content.boxes) <= MANY else WIDTHS[-1:]:
        figures, cost = _routed(content, flow(content.boxes, wires, left, width), looks)
        size = _smallest(figures, page)
        found.append((min(size, READABLE), -cost, size, figures))
    flowing = max(found, key=lambda one: one[:3])
    if best and _smallest(best, page) >= flowing[2]:
        return best
    return flowing[3]


def _smallest(figures: Sequence[Drawn], page: Page) -> float:
    """Points of the smallest text on a page."""
    return figures[0].canvas.fitted(page).smallest


def _routed(content: Ladder, placed: Placed, looks: Sequence[Look]) -> tuple[tuple[Drawn, ...], float]:
    """The figure of boxes in place, and what its arrows cost."""
    routed = routes(placed, [(source, target) for source, target, _ in content.wires])
    written = labels(placed, content.wires, routed.ways)
    return tuple(_drawn(content, placed, routed.ways, written, look) for look in looks), routed.cost


def _drawn(
    content: Ladder, placed: Placed, ways: Mapping[tuple[str, str], Route], written: Sequence[Label], look: Look
) -> Drawn:
    found, theme = content.found, style.THEMES[look.theme]
    sides = margin(placed, list(content.cells.values()), found, look.heat, theme, rf=look.rf)
    right = sides.right
    notes = entries(placed.boxes, [one.text for one in written], content.letters, look.heat, rf=look.rf)
    below, bottom = legend(list(notes), placed.rows[-1].bottom + 3, right, theme)
    heading, top = _heading(found, right, theme)
    return Drawn(
        found.graph.name, -BORDER, top - BORDER, right + 2 * BORDER, bottom - top + 2 * BORDER, theme.background,
        heading=tuple(heading), back=sides.marks, wires=tuple(wire_marks(placed, ways, theme)),
        boxes=tuple((one.id, tuple(box_marks(one, found, look))) for one in placed.boxes),
        labels=tuple((one.parts, label_mark(one, theme)) for one in written), legend=tuple(below),
    )  # fmt: skip


def _heading(found: Structure, right: float, theme: Theme) -> tuple[list[Mark], float]:
    """Name and totals above the rows, and their upper edge. What only training needs is named apart."""
    totals = found.totals
    least = "at least " if totals.partial else ""
    facts = f"{numbers.short(totals.params)} parameters · {least}{numbers.short(totals.macs)} MACs"
    training = sum(part.cost.params for part in found.parts if part.training_only)
    if training:
        facts += f" · of these {numbers.short(training)} parameters in heads that only training uses"
    if found.rest.params:
        facts += f" · {numbers.short(found.rest.params)} parameters that no layer reads"
    size = 13.0
    name = style.shortened(found.graph.name, max(int(right / (size * 0.65)), 8))
    return [
        Text(0, -36, name, size, theme.text, bold=True, anchor="start"),
        Text(0, -22, facts, SIZE, theme.muted, anchor="start"),
    ], -48.0


def shared(made: Iterable[Cell], found: Structure) -> dict[str, str]:
    """``w1``, ``w2`` for cells that read the same weights as another."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for cell in made:
        if keys := weights_of(cell, found):
            groups.setdefault(keys, []).append(cell.id)
    several = [ids for ids in groups.values() if len(ids) > 1]
    return {name: f"w{i}" for i, ids in enumerate(several, start=1) for name in ids}
