"""The ladder as a figure: a row for each level of resolution, execution from left to right.

A U-Net is a U, a feature pyramid a pyramid, a residual network a staircase. `cells` decides what is drawn, `places`
where, `routes` how arrows go; this file draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.analysis.structure import Structure, Unit, structure
from cnnscope.ir import Graph
from cnnscope.render import numbers, style
from cnnscope.render.diagram.canvas import Canvas, Circle, Mark, Path, Text, rectangle
from cnnscope.render.diagram.ladder.boxes import BADGE, LINE, OUT, PAD, RING, SIZE, Box, box
from cnnscope.render.diagram.ladder.cells import Cell, cells, readers
from cnnscope.render.diagram.ladder.labels import Label, labels
from cnnscope.render.diagram.ladder.legend import arch, category, entries, legend
from cnnscope.render.diagram.ladder.margin import left_of, margin
from cnnscope.render.diagram.ladder.places import Placed, chained, flow, skip_of, stairs
from cnnscope.render.diagram.ladder.routes import Route, routes
from cnnscope.render.style import Heat, Page, Theme, heat_colour, ink_on, kind_colour, text_on

CHAIN = 760.0
"""Points of boxes side by side above which a ladder that is one chain flows."""
WIDTHS = (700.0, 800.0, 900.0)
"""Points of boxes side by side, at most, in a ladder that flows."""
MANY = 45
"""Boxes above which only the last of the widths is tried."""
READABLE = 6.0
"""Points of the smallest text on paper."""
OFTEN = 3
"""Tails that are equal at least so often become letters."""
STRIPE = 3.5
BORDER = 12.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the reader may choose."""

    heat: Heat = "macs"
    theme: style.ThemeName = "light"
    rf: bool = True


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


def draw(graph: Graph, look: Look = Look(), page: Page = style.A4) -> Canvas:
    """The figure, ready to be written in any format. It is laid out so that it can be read on ``page``: of stairs and
    of several widths to flow in, the first with arrows that go straightest and text of 6 points.
    """
    content = ladder(graph)
    theme = style.THEMES[look.theme]
    wires = [(source, target, bool(via)) for source, target, via in content.wires]
    chain = chained(content.boxes, wires)
    left = left_of(content.found)
    placed = stairs(content.boxes, wires, left)
    best: Canvas | None = None
    if placed.right <= CHAIN or not chain:
        best, _ = _routed(content, placed, look, theme)
        if best.fitted(page).smallest >= READABLE:
            return best
    found = []
    for width in WIDTHS if len(content.boxes) <= MANY else WIDTHS[-1:]:
        canvas, cost = _routed(content, flow(content.boxes, wires, left, width), look, theme)
        size = canvas.fitted(page).smallest
        found.append((min(size, READABLE), -cost, size, canvas))
    flowing = max(found, key=lambda one: one[:3])
    if best is not None and best.fitted(page).smallest >= flowing[2]:
        return best
    return flowing[3]


def _routed(content: Ladder, placed: Placed, look: Look, theme: Theme) -> tuple[Canvas, float]:
    """The figure of boxes in place, and what its arrows cost."""
    routed = routes(placed, [(source, target) for source, target, _ in content.wires])
    written = labels(placed, content.wires, routed.ways)
    return _canvas(content, placed, routed.ways, written, look, theme), routed.cost


def _canvas(
    content: Ladder, placed: Placed, ways: Mapping[tuple[str, str], Route], written: Sequence[Label], look: Look,
    theme: Theme,
) -> Canvas:  # fmt: skip
    found = content.found
    sides = margin(placed, list(content.cells.values()), found, look.heat, theme, rf=look.rf)
    marks: list[Mark] = list(sides.marks)
    marks += _wires(placed, ways, theme)
    for one in placed.boxes:
        marks += _box(one, found, look, theme)
    for label in written:
        colour = theme.up if label.up else theme.down
        marks.append(Text(label.x, label.y, label.text, SIZE, colour, anchor="start", halo=theme.background))
    right = sides.right
    notes = entries(placed.boxes, [label.text for label in written], content.letters, look.heat, rf=look.rf)
    below, bottom = legend(list(notes), placed.rows[-1].bottom + 3, right, theme)
    heading, top = _heading(found, right, theme)
    return Canvas(found.graph.name, -BORDER, top - BORDER, right + 2 * BORDER, bottom - top + 2 * BORDER,
                  theme.background, (*heading, *marks, *below))  # fmt: skip


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


def _wires(placed: Placed, ways: Mapping[tuple[str, str], Route], theme: Theme) -> Iterator[Mark]:
    of = {one.id: one for one in placed.boxes}
    for (source, target), points in ways.items():
        a, b = of[source].row, of[target].row
        colour = theme.line if a == b else theme.up if b < a else theme.down
        data = ("from", source), ("to", target)
        yield Path(points, colour, width=0.9 if a == b else 1.3, radius=5, head=True, data=data)


def _box(one: Box, found: Structure, look: Look, theme: Theme) -> Iterator[Mark]:
    if one.ringed:
        yield from _ring(one, theme)
    if one.cell.join:
        return
    cell, left, wide = one.cell, one.body, one.right - one.body
    share = style.share_of(cell.cost, found.totals, look.heat)
    fill = heat_colour(share, theme) if found.graph.inputs.get(cell.id) is None else theme.background
    stroke = theme.muted if cell.training_only else theme.frame
    width = 0.9 if cell.training_only else 0.5
    yield rectangle(left, one.y, wide, one.height, fill, stroke, width=width, title=_title(cell, found),
                    data=(("layer", cell.id),), dashed=cell.training_only)  # fmt: skip
    kind = kind_colour(category(one))
    yield rectangle(left, one.y, STRIPE, one.height, kind)
    ink = text_on(fill, theme)
    for k, line in enumerate(one.text):
        y = one.middle - len(one.text) * LINE / 2 + 7 + k * LINE
        yield Text(left + PAD[0], y, line, SIZE, ink, bold=bool(one.letter) or line == "input", anchor="start")
    if one.badge:
        yield rectangle(one.right - one.badge, one.y, one.badge, one.height, kind)
        yield Text(one.right - one.badge / 2, one.middle + 3.2, f"×{cell.count}", BADGE, ink_on(kind), bold=True)
    if one.weights:
        y = one.middle - len(one.text) * LINE / 2 + 7
        yield Text(one.right - one.badge - 5, y, one.weights, SIZE, ink, bold=True, anchor="end")
    if cell.output:
        yield from _output(one, theme)
    if skip := skip_of(one):
        points = arch(left + 2, one.right - one.badge - 2, one.y, 5.5)
        yield Path(points, kind_colour("merge"), dashed=skip == "projection", width=1.0, radius=5)


def _ring(one: Box, theme: Theme) -> Iterator[Mark]:
    colour = kind_colour("merge")
    x = one.x + RING
    if one.cell.port is not None:
        yield Path(((x + RING, one.middle), (one.body, one.middle)), theme.line, width=0.9)
    data = (("layer", one.id),) if one.cell.join else (("port", one.id),)
    yield Circle(x, one.middle, RING, theme.background, colour, data=data)
    yield Text(x, one.middle + 3.6, one.cell.sign, 10, colour, bold=True)


def _output(one: Box, theme: Theme) -> Iterator[Mark]:
    """A dot, and the shape of what the network returns."""
    x, y = one.right + OUT - 4, one.middle
    yield Path(((one.right, y), (x, y)), theme.text, width=1.2)
    yield Circle(x, y, 2.4, theme.text, theme.text, width=0)
    yield Text(x + 4, y + 2.6, numbers.shape(one.cell.part.shape), SIZE, theme.text, anchor="start",
               halo=theme.background)  # fmt: skip


def _title(cell: Cell, found: Structure) -> str:
    """What a reader sees who points at a box: its layers, output, costs."""
    nodes = [name for part in cell.stack for name in part.nodes]
    layers = list(dict.fromkeys(found.graph.node(name).layer for name in nodes))
    names = [cell.id] if not layers else layers[:1] if len(layers) == 1 else [layers[0], layers[-1]]
    cost = cell.cost
    return (
        f"{style.shortened(' … '.join(names), 80)}: {numbers.shape(cell.part.shape)}, {numbers.short(cost.params)} "
        f"params, {numbers.short(cost.macs)} MACs"
    )


def shared(made: Iterable[Cell], found: Structure) -> dict[str, str]:
    """``w1``, ``w2`` for cells that read the same weights as another."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for cell in made:
        if keys := weights_of(cell, found):
            groups.setdefault(keys, []).append(cell.id)
    several = [ids for ids in groups.values() if len(ids) > 1]
    return {name: f"w{i}" for i, ids in enumerate(several, start=1) for name in ids}
