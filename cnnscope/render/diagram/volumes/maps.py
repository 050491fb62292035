"""What the volumes show: a map for each layer or block, how wide, tall and deep it is, and in how many towers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log2, sqrt

from cnnscope.analysis.structure import Input, Part, Repeat, Structure, Unit, structure
from cnnscope.ir import Graph
from cnnscope.render.diagram import words
from cnnscope.render.diagram.ladder.cells import Cell, Wire, readers, singles
from cnnscope.render.diagram.sheet.rows import Row, blocks, folded, row

FEW = 14
"""Maps up to which pools and upsamplings have a map of their own; of more they are written at arrows."""
MOST_TOWERS, LONGEST = 4, 17
"""Groups that are drawn as towers, and characters in a line under a map."""
LINEAR = 40
"""Extents differ by at most this much where a linear scale still shows the smallest."""


@dataclass(frozen=True)
class Maps:
    """``cells`` by id in execution order; ``towers`` says in how many groups the maps of a network with
    grouped convolutions are drawn; 1 otherwise."""

    found: Structure
    cells: Mapping[str, Cell]
    towers: int

    def row(self, cell: Cell) -> Row:
        """What a sheet says of the same parts."""
        return row(cell.stack, self.found, set())

    def split(self, cell: Cell) -> int:
        """The towers of one map: neither the image nor the output is split."""
        inside = not isinstance(cell.part, Input) and any(one.wires[0].source == cell.id for one in self.cells.values()
                                                          if one.wires)  # fmt: skip
        return self.towers if inside and cell.part.channels % self.towers == 0 else 1


def maps(graph: Graph) -> Maps:
    """The maps of a network."""
    found = structure(graph)
    towers = _towers(found)
    if towers > 1:
        found = _unfolded(found)
        return Maps(found, singles(found, _is_bare), towers)
    made = _folded(singles(found, lambda part: False), found)
    return Maps(found, made if len(made) <= FEW else _folded(singles(found, _is_bare), found), 1)


def _is_bare(part: Unit) -> bool:
    """Whether a resampling has no weights, so that its figures need no place of their own."""
    return not part.cost.params


def _towers(found: Structure) -> int:
    """2 to 4 if a network without branches has convolutions in so many groups."""
    if any(len(part.inputs) > 1 for part in found.parts):
        return 1
    units = [unit for part in found.parts for unit in (part.parts if isinstance(part, Repeat) else (part,))]
    groups = [getattr(unit.main.op, "groups", 1) or 1 for unit in units if isinstance(unit, Unit)
              and unit.category == "conv" and getattr(unit.main.op, "groups", 1) != unit.channels]  # fmt: skip
    return max((n for n in groups if n <= MOST_TOWERS), default=1)


def _unfolded(found: Structure) -> Structure:
    """The same structure with every time of a repeat as parts of their own."""
    parts = tuple(one for part in found.parts for one in (part.members if isinstance(part, Repeat) else (part,)))
    return replace(found, parts=parts)


def _folded(made: dict[str, Cell], found: Structure) -> dict[str, Cell]:
    """Blocks in series that give maps of one shape and are one row of a sheet are one map."""
    read = readers(made.values())
    runs: list[list[Cell]] = []
    for cell in made.values():
        last = runs[-1][-1] if runs else None
        if last is not None and _goes_on(last, cell, read):
            runs[-1].append(cell)
        else:
            runs.append([cell])
    for run in runs:
        at = 0
        for group in folded([cell.part for cell in run], found) if len(run) > 1 else ():
            first, last, cells = run[at], run[at + len(group) - 1], run[at : at + len(group)]
            at += len(group)
            last.wires, last.stack = first.wires, list(group)
            last.extra = [part for cell in cells for part in cell.extra]
            for cell in cells[:-1]:
                del made[cell.id]
    return made


def _goes_on(before: Cell, cell: Cell, read: Mapping[str, Sequence[Cell]]) -> bool:
    """Whether a block follows one that gives a map of the same shape, and nothing else reads that."""
    plain = not before.output and before.training_only == cell.training_only and read[before.id] == [cell]
    same = before.part.shape == cell.part.shape and all(blocks(one.part) for one in (before, cell))
    return plain and same and cell.wires == [Wire(before.id)]


def label(cell: Cell, content: Maps) -> tuple[str, ...]:
    """A map's layers on lines of at most `LONGEST` characters, if none of its layers is longer."""
    part, told = cell.part, content.row(cell)
    growth = f", +{cell.growth} each" if cell.growth else ""
    times = f" ×{told.count}{growth}" if told.count > 1 else ""
    if told.block is not None and told.block.kind == "branches":
        return (f"{len(told.block.branches)} branches{times}",)
    lines = told.lines if blocks(cell.stack[0]) else words.lines(part)
    texts = [line.partition(",")[0] if len(lines) > 1 and blocks(part) else line for line in lines]
    packed = [""]
    for text in texts:
        for i, piece in enumerate(text.strip().split(" → ")):
            joint = " → " if i else " · "
            if packed[-1] and len(packed[-1]) + len(joint) + len(piece) <= LONGEST:
                packed[-1] += joint + piece
            elif packed[-1]:
                packed[-1] += " →" * bool(i)
                packed.append(piece)
            else:
                packed[-1] = piece
    if len(packed[-1]) + len(times) > LONGEST + 4:
        return (*packed, times.strip())
    return (*packed[:-1], packed[-1] + times)


def extents(part: Part) -> tuple[int, ...]:
    """The extents of a map: (height, width), (length,), or () of a vector; the frames of a video are `frames`."""
    return part.size[-2:] if part.level is not None else ()


def frames(part: Part) -> int:
    """Plates that stand for the frames of a map over three axes: one, and one more for each doubling."""
    return 1 + round(log2(part.size[0])) if len(part.size) == 3 and part.level is not None else 1


@dataclass(frozen=True, slots=True)
class Scale:
    """How extents, channels and the units of vectors become points: linear, or by the square root."""

    largest: int
    channels: int
    units: int
    root: bool
    tall: float
    wide: float

    def extent(self, n: int) -> float:
        share = n / self.largest
        return max(self.tall * (sqrt(share) if self.root else share), 2.5)

    def width(self, channels: float) -> float:
        return max(self.wide * sqrt(channels / self.channels), 2.5)

    def vector(self, units: float) -> float:
        return max(70 * sqrt(units / self.units), 4.0)


def scale(content: Maps, tall: float, wide: float) -> Scale:
    """The scale of a figure; extents are linear where the smallest map can be seen then."""
    parts = [cell.part for cell in content.cells.values() if not cell.join]
    sizes = [n for part in parts for n in extents(part) if n > 1] or [1]
    channels = max((part.channels for part in parts if extents(part)), default=1)
    units = max((part.channels for part in parts if not extents(part)), default=1)
    return Scale(max(sizes), channels, units, max(sizes) > LINEAR * min(sizes), tall, wide)


def window(source: Cell, target: Cell, wire: Wire) -> tuple[float, float] | None:
    """What one unit of the target reads of the source, in pixels along the last two axes of its map; None where it has
    no window, and where it is one pixel.

    A transposed convolution reads ceil(kernel / stride) pixels for each of the positions that it gives.
    """
    unit = wire.via[0] if wire.via else target.stack[0]
    unit = unit.first if isinstance(unit, Repeat) else unit
    if not isinstance(unit, Unit) or unit.category not in ("conv", "pool") or len(extents(source.part)) != 2:
        return None
    op = unit.main.op
    kernel = _pair(getattr(op, "kernel", None) or getattr(op, "window", None))
    if kernel is None:
        return None
    stride, dilation = _pair(getattr(op, "stride", 1)) or kernel, _pair(getattr(op, "dilation", 1)) or (1, 1)
    if op.tag == "upconv":
        read = tuple(-(-k // s) for k, s in zip(kernel, stride, strict=True))
    else:
        read = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    return (read[0], read[1]) if max(read) > 1 else None


def _pair(value: object) -> tuple[int, ...] | None:
    """The last two numbers of an argument that has one for each axis, or one for all."""
    if isinstance(value, int):
        return value, value
    return tuple(value[-2:]) if isinstance(value, (tuple, list)) and len(value) >= 2 else None


def wires(content: Maps) -> Iterator[tuple[Cell, Cell, Wire]]:
    """Each pair of maps that an arrow joins, once."""
    for cell in content.cells.values():
        seen = set()
        for wire in cell.wires:
            if wire.source not in seen:
                seen.add(wire.source)
                yield content.cells[wire.source], cell, wire
