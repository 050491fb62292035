"""Where boxes stand: a row for each level of resolution, columns in execution order, lanes for branches.

A ladder whose levels form one chain may *flow* instead: every level begins at the left and goes on in a new lane where
it is too wide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cnnscope.analysis.structure import Input
from cnnscope.render.diagram.ladder.boxes import Box

GAP = 13.0
"""Points between columns."""
LANE, HEADROOM = 8.0, 8.0
"""Points between lanes, and above a lane whose boxes have skips over them."""
TRACK = 6.0
"""Points between arcs."""
CLEAR, LABELLED = 12.0, 19.0
"""Points between rows, and where an arrow's label stands between them."""
SHELF = 17.0
"""Points between the lanes of a level that flows, with room for the arrow from one to the next."""
MARGIN = 6.0
"""Points inside a row above and below its boxes."""

Wires = Sequence[tuple[Box, Box, bool]]
"""Source, target, and whether the wire has a label."""


@dataclass(frozen=True, slots=True)
class Row:
    """A level: ``top`` and ``bottom`` are the edges of its band."""

    level: int | None
    top: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Placed:
    """All boxes in place."""

    boxes: tuple[Box, ...]
    rows: tuple[Row, ...]
    right: float


def stairs(boxes: Sequence[Box], wires: Wires, left: float) -> Placed:
    """One column after the other: a box stands right of what it reads on its level, and under or over it elsewhere.

    ``left`` is where the first column begins, right of the sizes of the rows.
    """
    levels = _levels(boxes)
    grid = _Grid()
    into: dict[str, list[Box]] = {box.id: [] for box in boxes}
    for source, target, _ in wires:
        into[target.id].append(source)
    for box in boxes:
        box.row = levels.index(box.cell.level)
        grid.put(box, into[box.id])
    wide: dict[int, float] = {}
    for box in boxes:
        wide[box.column] = max(wide.get(box.column, 0.0), box.width + box.tail)
    x, starts = left, {}
    for column in range(max(wide, default=0) + 1):
        starts[column] = x
        x += wide.get(column, 0.0) + GAP
    for box in boxes:
        box.x = starts[box.column]
    return _stacked(boxes, levels, wires, x - GAP, LANE)


def flow(boxes: Sequence[Box], wires: Wires, left: float, width: float) -> Placed:
    """Every level from the left, in lanes of at most ``width`` points where a box is no wider than that. Heads of
    training stay below what they read."""
    levels = _levels(boxes)
    heads = {target.id: source for source, target, _ in wires if target.cell.training_only}
    ends: dict[int, float] = {}
    lanes: dict[int, int] = {}
    for box in boxes:
        box.row = levels.index(box.cell.level)
        x = ends.get(box.row, left)
        above = heads.get(box.id)
        if above is not None and above.row < box.row and above.x + box.width + box.tail <= width:
            x = max(x, above.x)
        if x > left and x + box.width + box.tail > width:
            lanes[box.row] = lanes.get(box.row, 0) + 1
            x = left
        box.x, box.lane = x, lanes.get(box.row, 0)
        box.column = round(x)
        ends[box.row] = x + box.width + box.tail + GAP
    right = max((box.right + box.tail for box in boxes), default=left)
    return _stacked(boxes, levels, wires, right, SHELF)


def chained(boxes: Sequence[Box], wires: Wires) -> bool:
    """Whether the ladder is one chain, so that it may flow."""
    sources, targets = [source.id for source, _, _ in wires], [target.id for _, target, _ in wires]
    return len(set(sources)) == len(sources) and len(set(targets)) == len(targets)


def _levels(boxes: Iterable[Box]) -> list[int | None]:
    found = {box.cell.level for box in boxes}
    return [*sorted(level for level in found if level is not None), *([None] if None in found else [])]


@dataclass(slots=True)
class _Grid:
    """Which cells of (row, lane, column) are taken, and which are kept free for an arrow through them."""

    taken: set[tuple[int, int, int]] = field(default_factory=set)
    kept: set[tuple[int, int, int]] = field(default_factory=set)
    lanes: dict[int, int] = field(default_factory=dict)

    def put(self, box: Box, sources: Sequence[Box]) -> None:
        """Places a box in the first column after its sources on its level, and not before its sources elsewhere."""
        here = [source for source in sources if source.row == box.row]
        column = max((source.column + (source.row == box.row) for source in sources), default=0)
        lane = min((source.lane for source in here), default=0)
        if len(sources) == 1 and not here:
            column = self._shaft(box, sources[0], column)
        column = self._start(box.row, column) if sources and not here else column
        while not self._free(box.row, lane, column, here, joins=len(sources) > 1):
            lane += 1
        box.column, box.lane = column, lane
        self.taken.add((box.row, lane, column))
        self.lanes[box.row] = max(self.lanes.get(box.row, 0), lane + 1)

    def _start(self, row: int, column: int) -> int:
        """The first column from here, where nothing stands further right on the first lane."""
        later = any(r == row and lane == 0 and c > column for r, lane, c in self.taken)
        while not later and ((row, 0, column) in self.taken or (row, 0, column) in self.kept):
            column += 1
        return column

    def _shaft(self, box: Box, source: Box, column: int) -> int:
        """A column in which the arrow from another level passes no box, which is then kept free."""
        low, high = sorted((source.row, box.row))
        down = box.row > source.row
        beside = range(source.lane + 1, self.lanes.get(source.row, 1)) if down else range(source.lane)
        between = [(row, lane) for row in range(low + 1, high) for lane in range(self.lanes.get(row, 1))]
        between += [(source.row, lane) for lane in beside]
        while any((row, lane, column) in self.taken for row, lane in between):
            column += 1
        self.kept |= {(row, lane, column) for row, lane in between}
        return column

    def _free(self, row: int, lane: int, column: int, here: Sequence[Box], *, joins: bool) -> bool:
        if (row, lane, column) in self.taken or (row, lane, column) in self.kept:
            return False
        before = [source.column for source in here if source.lane == lane]
        passed = range(max(before, default=column) + 1, column)
        return joins or not any((row, lane, c) in self.taken for c in passed)


def _stacked(boxes: Sequence[Box], levels: Sequence[int | None], wires: Wires, right: float, gap: float) -> Placed:
    """Rows under one another, each as high as its lanes, arcs and skips need."""
    arcs = _arcs(boxes, wires)
    labelled = {max(a.row, b.row) - (b.row < a.row and a.row - b.row > 1) for a, b, label in wires if label}
    labelled |= {b.row + (b.row < a.row) for a, b, label in wires if label}
    y, rows = 0.0, []
    for row, level in enumerate(levels):
        y += (LABELLED if row in labelled else CLEAR) if row else 0.0
        top, y = y, y + MARGIN
        own = [box for box in boxes if box.row == row]
        for lane in range(max(box.lane for box in own) + 1):
            y += TRACK * arcs.get((row, lane), 0)
            _lane([box for box in own if box.lane == lane], [box for box in own if box.lane < lane], y, gap)
            y = max(box.bottom for box in own if box.lane <= lane)
        y = max(box.bottom for box in own) + MARGIN
        rows.append(Row(level, top, y))
    if not rows:  # a network without inputs
        rows.append(Row(None, 0.0, 2 * MARGIN + LABELLED))
    return Placed(tuple(boxes), tuple(rows), right)


def _lane(inside: Sequence[Box], above: Sequence[Box], y: float, gap: float) -> None:
    """Places the boxes of a lane. The first has them on one axis; below it, each stands as high as the boxes above it
    and the arrows between those allow."""
    if not above:
        y += HEADROOM if any(map(skips, inside)) else 0.0
        tall = max((box.height for box in inside), default=0.0)
        for box in inside:
            box.y = y + (tall - box.height) / 2
        return
    axis = max(box.middle for box in above)
    for box in inside:
        over = [other.bottom for other in above if other.x < box.right + GAP and other.right > box.x - GAP]
        box.y = max((*over, axis)) + gap + (HEADROOM if skips(box) else 0.0)


def skips(box: Box) -> bool:
    """Whether a residual block's skip is drawn over the box."""
    return skip_of(box) != ""


def skip_of(box: Box) -> str:
    """``identity`` or ``projection`` for the box of a residual block with such a shortcut; else empty."""
    part = box.cell.part
    if len(box.cell.stack) > 1 or isinstance(part, Input):
        return ""
    inner = getattr(part, "parts", ()) if hasattr(part, "members") else (part,)
    kinds = {getattr(one, "shortcut", "none") for one in inner if getattr(one, "kind", "") == "residual"}
    return next(iter(kinds)) if len(kinds) == 1 and kinds != {"none"} else ""


def _arcs(boxes: Sequence[Box], wires: Wires) -> Mapping[tuple[int, int], int]:
    """How many wires of a lane must go round boxes of their own lane."""
    found: dict[tuple[int, int], int] = {}
    columns: dict[tuple[int, int], list[float]] = {}
    for box in boxes:
        columns.setdefault((box.row, box.lane), []).append(box.x)
    for source, target, _ in wires:
        place = source.row, source.lane
        if place == (target.row, target.lane) and any(source.x < x < target.x for x in columns[place]):
            found[place] = found.get(place, 0) + 1
    return found
