"""Where the solids of the volumes stand: columns in execution order, a lane for each branch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.canvas import Point
from cnnscope.render.diagram.ladder.cells import Cell

SLANT = (0.42, -0.30)
"""The shift on the page for one step into the depth."""
BETWEEN = 10.0
"""Points between two towers."""
PLATE = 2.0
"""Points between two plates of a map with frames."""
RING = 8.5
LINE = 8.6
GAP = 20.0
"""Points between two columns."""


@dataclass(slots=True, eq=False)
class Solid:
    """A map in place. One box is ``wide`` (channels), ``tall`` and ``deep``; a join is a ring without any. ``towers``
    stand one above the other, ``plates`` side by side. (x, y) is the middle of all; ``slot`` is the column's width."""

    cell: Cell
    lines: tuple[str, ...]
    text: float
    wide: float
    tall: float
    deep: float
    towers: int = 1
    plates: int = 1
    slices: int = 1
    column: int = 0
    lane: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def ring(self) -> bool:
        return self.cell.join

    @property
    def across(self) -> float:
        """The width of all that is drawn."""
        boxes = self.plates * self.wide + (self.plates - 1) * PLATE + SLANT[0] * self.deep
        return 2 * RING if self.ring else boxes

    @property
    def slot(self) -> float:
        return max(self.across, self.text)

    @property
    def height(self) -> float:
        """The height of all that is drawn, without the text below."""
        one = self.tall - SLANT[1] * self.deep
        return 2 * RING if self.ring else self.towers * one + (self.towers - 1) * BETWEEN

    @property
    def left(self) -> float:
        return self.x - self.across / 2

    @property
    def top(self) -> float:
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        return self.y + self.height / 2

    @property
    def foot(self) -> float:
        """The lower edge of the text."""
        return self.bottom + 4 + LINE * len(self.lines)

    def corners(self) -> Iterator[Point]:
        """The lower left corner of each tower's front, from above."""
        one = self.tall - SLANT[1] * self.deep
        for k in range(self.towers):
            yield self.left, self.top + k * (one + BETWEEN) + one

    def out(self, tower: int = 0) -> Point:
        """Where arrows leave: the right side of a tower."""
        if self.ring:
            return self.x + RING, self.y
        x, y = list(self.corners())[min(tower, self.towers - 1)]
        wide = self.plates * self.wide + (self.plates - 1) * PLATE
        return x + wide + SLANT[0] * self.deep + 2, y - self.tall / 2 + SLANT[1] * self.deep / 2

    def into(self, tower: int = 0) -> Point:
        """Where arrows arrive: the left side of a tower."""
        if self.ring:
            return self.x - RING, self.y
        x, y = list(self.corners())[min(tower, self.towers - 1)]
        return x - 1.5, y - self.tall / 2 + SLANT[1] * self.deep / 2

    def side(self, up: float, back: float, tower: int = 0) -> Point:
        """A point of the right side of a tower: ``up`` and ``back`` from 0 to 1."""
        x, y = list(self.corners())[min(tower, self.towers - 1)]
        wide = self.plates * self.wide + (self.plates - 1) * PLATE
        return x + wide + back * SLANT[0] * self.deep, y - up * self.tall + back * SLANT[1] * self.deep


@dataclass(slots=True, eq=False)
class Arrow:
    """``level`` nests an arc over its lane, or is the track of an arrow between lanes; 0 is straight. ``roof`` is the
    height of an arc, ``floor`` that of the track between two lanes."""

    source: Solid
    target: Solid
    label: str
    kind: Literal["straight", "arc", "begin", "end", "between"]
    level: int = 0
    roof: float = 0.0
    floor: float = 0.0


def place(solids: Mapping[str, Solid], pairs: Sequence[tuple[str, str, str]]) -> tuple[Arrow, ...]:
    """Sets column, lane and place of every solid; ``pairs`` are arrows with their labels in execution order."""
    _columns(solids, pairs)
    _lanes(solids, pairs)
    arrows = tuple(_arrows(solids, pairs))
    _spread(solids, arrows)
    return arrows


def _columns(solids: Mapping[str, Solid], pairs: Sequence[tuple[str, str, str]]) -> None:
    for one in solids.values():
        one.column = max((solids[a].column + 1 for a, b, _ in pairs if b == one.id), default=0)


def _lanes(solids: Mapping[str, Solid], pairs: Sequence[tuple[str, str, str]]) -> None:
    """A chain goes on with the reader that has the longest way to the end. Each chain has a lane that is free from
    where it begins to where it ends, arrows included."""
    reads: dict[str, list[str]] = {name: [] for name in solids}
    read: dict[str, list[str]] = {name: [] for name in solids}
    for a, b, _ in pairs:
        reads[b].append(a)
        read[a].append(b)
    far: dict[str, int] = {}
    for name in reversed(list(solids)):
        far[name] = 1 + max((far[after] for after in read[name]), default=0)
    after = {name: max(later, key=lambda one: far[one]) for name, later in read.items() if later}
    before: dict[str, str] = {}
    for name, sources in reads.items():
        willing = [one for one in sources if after[one] == name]
        if willing:
            before[name] = max(willing, key=lambda one: solids[one].column)
    heirs = {source: name for name, source in before.items()}
    taken: list[list[tuple[int, int]]] = []
    for name, first in solids.items():
        if name in before:
            continue
        chain = [name]
        while chain[-1] in heirs:
            chain.append(heirs[chain[-1]])
        # columns are even places, the gaps behind them odd ones
        start = min((2 * solids[one].column + 1 for one in reads[name]), default=2 * first.column)
        end = max([2 * solids[chain[-1]].column, *(2 * solids[one].column - 1 for one in read[chain[-1]])])
        lane = next((i for i, spans in enumerate(taken) if all(end < a or start > b for a, b in spans)), len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((start, end))
        for one in chain:
            solids[one].lane = lane


def _arrows(solids: Mapping[str, Solid], pairs: Sequence[tuple[str, str, str]]) -> Iterator[Arrow]:
    """The arrows with the way that each takes."""
    arcs: list[tuple[int, int, int, int]] = []
    tracks: dict[tuple[int, int], int] = {}
    for a, b, label in sorted(pairs, key=lambda pair: solids[pair[1]].column - solids[pair[0]].column):
        source, target = solids[a], solids[b]
        between = [
            one for one in solids.values()
            if one.lane == source.lane and source.column < one.column < target.column
        ]  # fmt: skip
        if source.lane == target.lane and not between:
            yield Arrow(source, target, label, "straight")
        elif source.lane == target.lane:
            low, high, lane = source.column, target.column, source.lane
            inside = [level for i, j, level, at in arcs if at == lane and i < high and j > low]
            level = next(n for n in range(1, len(arcs) + 2) if n not in inside)
            arcs.append((low, high, level, lane))
            yield Arrow(source, target, label, "arc", level)
        else:
            begins = not any(p[1] == b and solids[p[0]].lane == target.lane for p in pairs)
            ends = not any(p[0] == a and solids[p[1]].lane == source.lane for p in pairs)
            kind: Literal["begin", "end", "between"] = "begin" if begins else "end" if ends else "between"
            key = (-1, source.lane) if kind == "between" else (target.column - (kind == "end"), 0)
            tracks[key] = tracks.get(key, 0) + 1
            yield Arrow(source, target, label, kind, tracks[key])


def _spread(solids: Mapping[str, Solid], arrows: Sequence[Arrow]) -> None:
    """Sets the places: columns as wide as what stands in them, lanes as high, with room for arrows."""
    n = max(one.column for one in solids.values()) + 1
    widths = [max(one.slot for one in solids.values() if one.column == i) for i in range(n)]
    gaps = [GAP] * n
    for arrow in arrows:
        after = arrow.target.column - 1
        extra = 5.0 * arrow.level if arrow.kind in ("begin", "end", "between") else 0.0
        gaps[after] = max(gaps[after], metrics.width(arrow.label, 7.0) + 11 + extra, GAP + extra)
        gaps[arrow.source.column] = max(gaps[arrow.source.column], GAP + extra)
    left = 0.0
    for i in range(n):
        for one in solids.values():
            if one.column == i:
                one.x = left + widths[i] / 2
        left += widths[i] + gaps[i]
    y = 0.0
    for lane in range(max(one.lane for one in solids.values()) + 1):
        mine = [one for one in solids.values() if one.lane == lane]
        tall = max(one.height for one in mine)
        levels = max((a.level for a in arrows if a.kind == "arc" and a.source.lane == lane), default=0)
        tracks = max((a.level for a in arrows if a.kind == "between" and a.source.lane == lane), default=0)
        y += 9.0 * levels + (8 if levels else 0)
        for one in mine:
            one.y = y + tall / 2
        foot = max(one.foot for one in mine)
        for arrow in arrows:
            if arrow.source.lane == lane:
                arrow.roof, arrow.floor = y - 9.0 * arrow.level - 2, foot + 2 + 6.0 * arrow.level
        y += tall + 14 + LINE * max(len(one.lines) for one in mine) + 6.0 * tracks + 10
