"""What is inside a box of a ladder, as a ladder of its own: one part of a repeat, every unit a box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cnnscope.analysis.cost import Cost
from cnnscope.analysis.structure import Block, Input, Part, Repeat, Structure
from cnnscope.render.diagram.canvas import Mark
from cnnscope.render.diagram.ladder.boxes import box
from cnnscope.render.diagram.ladder.cells import Cell, Wire
from cnnscope.render.diagram.ladder.marks import Look, box_marks, wire_marks
from cnnscope.render.diagram.ladder.places import chained, flow, stairs
from cnnscope.render.diagram.ladder.routes import routes
from cnnscope.render.style import THEMES

Frame = tuple[float, float, float, float]
WIDEST = 560.0
"""Points above which a chain goes on in another line."""
EDGE = 6.0


def opened(cell: Cell) -> tuple[Part, ...]:
    """The parts that a reader sees who opens a box; fewer than two where there is nothing to open."""
    if len(cell.stack) > 1:
        return tuple(cell.stack)
    (part,) = cell.stack
    return tuple(_units(part.parts)) if isinstance(part, (Block, Repeat)) else ()


def _units(parts: Sequence[Part]) -> Iterator[Part]:
    """The parts with the blocks among them opened; repeats stay as they are."""
    for part in parts:
        if isinstance(part, Block):
            yield from _units(part.parts)
        else:
            yield part


@dataclass(frozen=True, slots=True)
class Inside:
    """The figure in a look: arrows, and the marks of each part by its id; what the box reads is a part without layers.
    ``frame`` is its left, top, width and height."""

    wires: tuple[Mark, ...]
    boxes: tuple[tuple[str, tuple[Mark, ...]], ...]
    frame: Frame


def drawn(found: Structure, parts: Sequence[Part], looks: Sequence[Look]) -> tuple[Inside, ...]:
    """The figure of some parts in several looks. Fills show shares of the whole network ``found``."""
    boxes = [box(cell) for cell in _cells(found, parts)]
    of = {one.id: one for one in boxes}
    wires = [(of[wire.source], one, False) for one in boxes for wire in dict.fromkeys(one.cell.wires)]
    placed = stairs(boxes, wires, 0.0)
    if placed.right > WIDEST and chained(boxes, wires):
        placed = flow(boxes, wires, 0.0, WIDEST)
    routed = routes(placed, [(source, target) for source, target, _ in wires])
    ends = [point for way in routed.ways.values() for point in way]
    top = min([placed.rows[0].top, *(y - EDGE for _, y in ends)])
    bottom = max([placed.rows[-1].bottom, *(y + EDGE for _, y in ends)])
    right = max([placed.right, *(x for x, _ in ends)])
    frame = -EDGE, top, right + 2 * EDGE, bottom - top
    return tuple(
        Inside(tuple(wire_marks(placed, routed.ways, THEMES[look.theme])),
               tuple((one.id, tuple(box_marks(one, found, look))) for one in boxes), frame)
        for look in looks
    )  # fmt: skip


def _cells(found: Structure, parts: Sequence[Part]) -> list[Cell]:
    """A cell for each part, and before them one for each value that they read from outside."""
    inside = {part.id for part in parts}
    outside = dict.fromkeys(name for part in parts for name in part.inputs if name not in inside)
    entries = [Cell([_entry(found, name, parts[0])], []) for name in outside]
    return [*entries, *(Cell([part], [Wire(name) for name in dict.fromkeys(part.inputs)]) for part in parts)]


def _entry(found: Structure, name: str, first: Part) -> Input:
    """What a box reads, on the level of what reads it, so that it stands at the left of that."""
    shape = found.graph.value(name).features
    return Input(id=name, nodes=(), inputs=(), shape=shape, size=(), channels=0, level=first.level, cost=Cost())
