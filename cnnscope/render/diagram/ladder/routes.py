"""Arrows with right angles that pass no box: of a few candidate routes for each the best one.

Candidates are tried from the shortest with the fewest bends. One that would lie on another arrow, or cross one, is
taken only if no other is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cnnscope.render.diagram.canvas import Point
from cnnscope.render.diagram.ladder.boxes import RING, Box
from cnnscope.render.diagram.ladder.places import TRACK, Placed

Route = tuple[Point, ...]
BEND, CROSSING, OVERLAP, BLOCKED = 14.0, 60.0, 400.0, 5000.0
"""What a route costs beside its length: each bend, each arrow it crosses, each it lies on, each box it passes."""
TRIES = 12_000
"""Candidates that are looked at in a figure; of one with more arrows fewer each."""
NEAR = 3.0
"""Parallel arrows that are nearer are taken for one."""
AWAY = 7.0
"""Points from a box to a line that passes it."""


class Board:
    """What lies on the figure already: boxes, and level and upright pieces of routes with the id of their source."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self._boxes = [(box.x - 1, box.y - 1, box.right + box.tail + 1, box.bottom + 1, box.id) for box in boxes]
        self._level: list[tuple[float, float, float, str]] = []
        self._upright: list[tuple[float, float, float, str]] = []
        self._met: dict[tuple[Point, Point], list[str]] = {}

    def cost(self, route: Route, source: str, target: str, limit: float) -> float:
        """What a route costs; no more is counted above ``limit``."""
        total = plain_cost(route)
        last = len(route) - 2
        for i, piece in enumerate(pairwise(route)):
            free = (source if i == 0 else "", target if i == last else "")
            total += BLOCKED * sum(name not in free for name in self._boxes_on(*piece))
            if total > limit:
                return total
        for a, b in pairwise(route):
            total += self._conflicts(a, b, source)
            if total > limit:
                return total
        return total

    def _boxes_on(self, a: Point, b: Point) -> list[str]:
        """The boxes that a piece passes."""
        if (a, b) not in self._met:
            x0, x1 = (a[0], b[0]) if a[0] < b[0] else (b[0], a[0])
            y0, y1 = (a[1], b[1]) if a[1] < b[1] else (b[1], a[1])
            self._met[a, b] = [
                name for left, top, right, low, name in self._boxes
                if y0 < low and y1 > top and x0 < right and x1 > left
            ]  # fmt: skip
        return self._met[a, b]

    def _conflicts(self, a: Point, b: Point, source: str) -> float:
        """What it costs that a piece lies on pieces of other sources, or crosses them."""
        level = a[1] == b[1]
        along, at = (0, a[1]) if level else (1, a[0])
        low, high = (a[along], b[along]) if a[along] < b[along] else (b[along], a[along])
        same, across = (self._level, self._upright) if level else (self._upright, self._level)
        lies = sum(
            -NEAR < at - other < NEAR and begin < high + NEAR and end > low - NEAR and owner != source
            for other, begin, end, owner in same
        )
        crosses = sum(
            low < other < high and begin < at < end and owner != source for other, begin, end, owner in across
        )
        return OVERLAP * lies + CROSSING * crosses

    def add(self, route: Route, source: str) -> None:
        for (ax, ay), (bx, by) in pairwise(route):
            if ay == by:
                self._level.append((ay, min(ax, bx), max(ax, bx), source))
            else:
                self._upright.append((ax, min(ay, by), max(ay, by), source))


def plain_cost(route: Route) -> float:
    """Length and bends."""
    length = sum(abs(b[0] - a[0]) + abs(b[1] - a[1]) for a, b in pairwise(route))
    return 0.3 * length + BEND * (len(route) - 2)


@dataclass(frozen=True, slots=True)
class Routed:
    """The route of every wire by the ids of its ends, and what all of them cost."""

    ways: Mapping[tuple[str, str], Route]
    cost: float


def routes(placed: Placed, wires: Sequence[tuple[Box, Box]]) -> Routed:
    """The routes of all wires."""
    board = Board(placed.boxes)
    most = TRIES // len(wires) if wires else 0
    found: dict[tuple[str, str], Route] = {}
    total = 0.0
    for source, target in sorted(wires, key=lambda wire: _eagerness(*wire)):
        best: Route = ()
        least = float("inf")
        tried = sorted((plain_cost(route), i, route) for i, route in enumerate(candidates(source, target, placed)))
        for plain, _, route in tried[:most]:
            if plain >= least:
                break
            cost = board.cost(route, source.id, target.id, least)
            if cost < least:
                best, least = route, cost
        board.add(best, source.id)
        total += least
        found[source.id, target.id] = best
    return Routed(found, total)


def _eagerness(source: Box, target: Box) -> tuple[bool, float, str]:
    """Neighbours first, then the nearest."""
    same = source.row == target.row and source.lane == target.lane
    return not same, abs(source.x - target.x) + 2 * abs(source.y - target.y), target.id


def candidates(source: Box, target: Box, placed: Placed) -> Iterator[Route]:
    """Routes that leave the source at its right, top or bottom, and end at the target's left, top or bottom."""
    out, into = (source.right, source.middle), (target.x, target.middle)
    if source.row == target.row and target.x > source.right:
        yield from _along(source, target, out, into)
    if source.row == target.row and source.lane == target.lane and target.x > source.right:
        yield from _arcs(source, target)
        return
    yield from _between(source, target, out, into, placed)


def _along(source: Box, target: Box, out: Point, into: Point) -> Iterator[Route]:
    if abs(out[1] - into[1]) < 0.1:
        yield out, into
        return
    for x in (target.x - AWAY - 2, target.x - AWAY + 1, source.right + AWAY - 1, source.right + AWAY + 2):
        if source.right < x < target.x:
            yield out, (x, out[1]), (x, into[1]), into


def _arcs(source: Box, target: Box) -> Iterator[Route]:
    """Over the boxes between, or under them."""
    start, end = source.right - 6, target.x + (RING if target.ringed else 8)
    upper, lower = target.entry
    for k in range(8):
        top, bottom = min(source.y, target.y) - 5 - TRACK * k, max(source.bottom, target.bottom) + 5 + TRACK * k
        yield (start, source.y), (start, top), (end, top), (end, upper)
        yield (start, source.bottom), (start, bottom), (end, bottom), (end, lower)


def _between(source: Box, target: Box, out: Point, into: Point, placed: Placed) -> Iterator[Route]:
    """From one level or lane to another."""
    down = target.middle > source.middle
    leave = source.bottom if down else source.y
    arrive = target.entry[0 if down else 1]
    ends = list(_across(target, ring=True))
    starts = list(_across(source, ring=False))
    for x in ends:
        if source.body + 3 <= x <= source.right - 3:
            yield (x, leave), (x, arrive)
        if x > source.right + 5:
            yield out, (x, out[1]), (x, arrive)
    for x in starts:
        if x < target.x - 8:
            yield (x, leave), (x, into[1]), into
    for y in _tracks(source, target, placed, down=down):
        for end in ends:
            for start in starts:
                if abs(start - end) > 2 * NEAR:
                    yield (start, leave), (start, y), (end, y), (end, arrive)
            for away in (AWAY, AWAY + 4):
                side = source.right + away
                if abs(side - end) > 2 * NEAR:
                    yield out, (side, out[1]), (side, y), (end, y), (end, arrive)
        for away in (AWAY, AWAY + 4):
            yield out, (source.right + away, out[1]), (source.right + away, y), (target.x - away, y), (
                target.x - away, into[1],
            ), into  # fmt: skip
    for away in (AWAY, AWAY + 4, AWAY - 3):
        if target.x - away > source.right + 2:
            yield out, (target.x - away, out[1]), (target.x - away, into[1]), into


def _across(box: Box, *, ring: bool) -> Iterator[float]:
    """Places along the upper and lower edge of a box where an arrow may meet it: at a ring its middle alone."""
    if (ring and box.ringed) or box.cell.join:
        yield box.x + RING
        return
    left, right = box.body, box.right
    for share in (0.5, 0.3, 0.7, 0.15, 0.85):
        yield left + share * (right - left)


def _tracks(source: Box, target: Box, placed: Placed, *, down: bool) -> Iterator[float]:
    """Heights for the level part of a route: in the gaps beside the two rows, and beside the boxes themselves."""
    rows = placed.rows
    edges: set[float] = set()
    for row in (source.row, target.row):
        for low, high in (
            (rows[row - 1].bottom if row else rows[row].top - 12, rows[row].top),
            (rows[row].bottom, rows[row + 1].top if row + 1 < len(rows) else rows[row].bottom + 12),
        ):
            edges |= {low + (high - low) * share for share in (0.5, 0.25, 0.75)}
    beside = target.y - AWAY if down else target.bottom + AWAY
    edges |= {beside, source.bottom + AWAY if down else source.y - AWAY}
    yield from sorted(edges, key=lambda y: (abs(y - source.middle), y))
