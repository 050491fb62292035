"""A structure as a small figure: a box for each layer, an arrow for everything that is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cnnscope.analysis.structure import Part
from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.canvas import Circle, Mark, Path, Point, Text, rectangle
from cnnscope.render.diagram.ladder.legend import kind_of
from cnnscope.render.diagram.sheet.anatomies import Anatomy, label, sign
from cnnscope.render.diagram.sheet.lanes import Lanes, Wire, lanes
from cnnscope.render.style import Theme, kind_colour, text_on

SIZE, SMALL, TITLE = 7.2, 6.5, 7.8
TALL, GAP = 17.5, 7.5
"""Points of a box's height, and between two boxes."""
APART = 12.0
"""Points between lanes."""
RING = 6.0
TOP, ENTRY = 20.0, 16.0
"""Points from the upper edge to the entry, and from there to the first box."""
SIDE = 5.0
"""Points from a box to an arrow that passes it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Marks from the upper left corner (0, 0), and the size of what they cover."""

    marks: tuple[Mark, ...]
    width: float
    height: float


def drawn(found: Anatomy, name: str, theme: Theme) -> Figure:
    """The figure of a structure; ``name`` is in the data of every mark, as the layers of two structures may meet."""
    return _Drawing(found, name, theme).figure()


class _Drawing:
    """One figure on the way: where lanes, boxes and passing arrows are."""

    def __init__(self, found: Anatomy, name: str, theme: Theme) -> None:
        self.found, self.theme = found, theme
        self.tag = ("structure", name)
        self.lanes: Lanes = lanes(found.block)
        self.marks: list[Mark] = []
        self.widths = [max(map(self._wide, chain)) for chain in self.lanes.chains]
        self.passing = [self._passing(i) for i in range(self.lanes.count)]
        self.left = [
            sum(self.widths[:i]) + sum(self.passing[:i]) + APART * i for i in range(self.lanes.count)
        ]  # fmt: skip
        self.right = self.left[-1] + self.widths[-1] + self.passing[-1]
        self.middle = (self.left[0] + self.left[-1] + self.widths[-1]) / 2 if self._even else self._centre(0)
        self.low = TOP + ENTRY + self.lanes.ranks * (TALL + GAP)
        self.ring = self.low + RING + 3
        self.used = [0] * self.lanes.count

    @property
    def _even(self) -> bool:
        """Whether the branches are alike, so that entry and end stand in their middle."""
        return self.found.block.kind in ("branches", "product") and self.lanes.count > 1

    def _wide(self, part: Part) -> float:
        mark = self.found.marks.get(part.id, "")
        text = metrics.width(label(part, mark=mark), SIZE, bold=True)
        return max(text, metrics.width(self._followers(part), SMALL)) + 12

    def _followers(self, part: Part) -> str:
        return self.found.followers.get(part.id, "")

    def _passing(self, lane: int) -> float:
        """The room right of a lane for arrows that pass its boxes."""
        return SIDE * sum(self._side(wire) == lane for wire in self.lanes.wires)

    def _side(self, wire: Wire) -> int | None:
        """The lane at whose right an arrow goes down; None if it needs no way of its own."""
        if self.lanes.neighbours(wire) or self._direct(wire):
            return None
        join = self.lanes.join
        if join is not None and wire.target == join.id:
            return self.lanes.count - 1 if wire.source == self.lanes.entry else self.lanes.lane[wire.source]
        return self.lanes.lane[wire.target]

    def _direct(self, wire: Wire) -> bool:
        """Whether an arrow may go through the lane's own free space: from the entry to the first part of a lane, from
        the last one to the join, from any part to the first of another lane."""
        join = self.lanes.join
        if join is not None and wire.target == join.id:
            return self.lanes.last(wire.source)
        return self.lanes.first(wire.target) and (
            wire.source == self.lanes.entry or self.lanes.lane[wire.source] != self.lanes.lane[wire.target]
        )

    # -- places ------------------------------------------------------------------------------------------------------

    def _centre(self, lane: int) -> float:
        return self.left[lane] + self.widths[lane] / 2

    def _top(self, part: Part) -> float:
        return TOP + ENTRY + (self.lanes.rank[part.id] + self._slack(self.lanes.lane[part.id]) / 2) * (TALL + GAP)

    def _slack(self, lane: int) -> int:
        """The ranks that a branch leaves free, where all branches are chains from the entry to the join: each stands
        in the middle."""
        ends = {self.lanes.entry, self.lanes.join.id if self.lanes.join else ""}
        wires = self.lanes.wires
        plain = all(self.lanes.neighbours(wire) or wire.source in ends or wire.target in ends for wire in wires)
        return self.lanes.ranks - len(self.lanes.chains[lane]) if plain and self.lanes.count > 1 else 0

    def _place(self, name: str) -> Part:
        return next(part for part in self.lanes.parts if part.id == name)

    # -- marks -------------------------------------------------------------------------------------------------------

    def figure(self) -> Figure:
        block, theme = self.found.block, self.theme
        title = f"{self.found.letter}: {self.found.title}" if self.found.letter else self.found.title
        end = self.ring + RING + 8 if self.lanes.join else self.low + 2
        stub = (("entry", block.entry), self.tag)
        self.marks.append(Text(0, 8, title, TITLE, theme.text, bold=True, anchor="start"))
        self.marks.append(Path(((self.middle, TOP - 7), (self.middle, TOP + 2)), theme.line, width=0.9, data=stub))
        for wire in self.lanes.wires:
            self.marks += self._wire(wire)
        for part in self.lanes.parts:
            self.marks += self._box(part)
        if self.lanes.join:
            self.marks += self._join(self.lanes.join)
        out = self.middle if self.lanes.join else self._centre(self.lanes.lane[self.lanes.parts[-1].id])
        self.marks.append(Path(((out, end - 8), (out, end)), theme.line, width=0.9))
        for i, note in enumerate(self.found.notes):
            self.marks.append(Text(0, end + 10 + 9 * i, note, SMALL, theme.muted, anchor="start"))
        texts = [metrics.width(title, TITLE, bold=True), *(metrics.width(note, SMALL) for note in self.found.notes)]
        return Figure(tuple(self.marks), max(self.right, *texts), end + (4 + 9 * len(self.found.notes)))

    def _box(self, part: Part) -> Iterator[Mark]:
        lane = self.lanes.lane[part.id]
        left, wide, top = self.left[lane], self.widths[lane], self._top(part)
        theme, more = self.theme, self._followers(part)
        data = (("layer", part.id), self.tag)
        yield rectangle(left, top, wide, TALL, theme.fill, theme.frame, width=0.5, data=data)
        yield rectangle(left, top, 3, TALL, kind_colour(kind_of(part)))
        text, mark = label(part), self.found.marks.get(part.id, "")
        ink = text_on(theme.fill, theme)
        base = top + (7.8 if more else 11.6)
        yield Text(left + 7, base, text, SIZE, ink, bold=True, anchor="start")
        if mark:
            yield Text(left + wide - 4, base, mark, SIZE, theme.muted, bold=True, anchor="end")
        if more:
            yield Text(left + 7, top + 15, more, SMALL, theme.muted, anchor="start")

    def _join(self, part: Part) -> Iterator[Mark]:
        colour = kind_colour("merge")
        data = (("layer", part.id), self.tag)
        yield Circle(self.middle, self.ring, RING, self.theme.background, colour, width=1.2, data=data)
        yield Text(self.middle, self.ring + 3.1, sign(self.found.block), 8.5, colour, bold=True)
        if more := self._followers(part):
            yield Text(self.middle + RING + 3, self.ring + 2 * RING + 2, more, SMALL, self.theme.muted, anchor="start")

    def _wire(self, wire: Wire) -> Iterator[Mark]:
        skip = wire.source == self.lanes.entry and self.lanes.join is not None and wire.target == self.lanes.join.id
        colour = kind_colour("merge") if skip else self.theme.line
        data = (("from", wire.source), ("to", wire.target), self.tag)
        yield Path(self._route(wire), colour, width=0.9, radius=4, head=True, data=data)

    def _route(self, wire: Wire) -> tuple[Point, ...]:
        start, below = self._start(wire.source)
        end, above = self._end(wire.target)
        if (side := self._side(wire)) is not None:
            return self._round(wire, side)
        if start[0] == end[0]:
            return start, end
        bus = above if wire.source != self.lanes.entry and self.lanes.last(wire.source) else below
        return start, (start[0], bus), (end[0], bus), end

    def _start(self, name: str) -> tuple[Point, float]:
        """Where arrows leave, and the height at which they turn."""
        if name == self.lanes.entry:
            return (self.middle, TOP), TOP + 4
        part = self._place(name)
        low = self._top(part) + TALL
        return (self._centre(self.lanes.lane[name]), low), low + GAP / 2

    def _end(self, name: str) -> tuple[Point, float]:
        """Where arrows arrive, and the height at which they turn before."""
        if self.lanes.join is not None and name == self.lanes.join.id:
            return (self.middle, self.ring - RING), self.low - GAP / 2
        top = self._top(self._place(name))
        return (self._centre(self.lanes.lane[name]), top), top - GAP / 2

    def _round(self, wire: Wire, lane: int) -> tuple[Point, ...]:
        """Down beside a lane; into the side of what reads it."""
        self.used[lane] += 1
        x = self.left[lane] + self.widths[lane] + SIDE * self.used[lane]
        joins = self.lanes.join is not None and wire.target == self.lanes.join.id
        end = (self.middle + RING if x > self.middle else self.middle - RING, self.ring)
        if not joins:
            target = self.lanes.lane[wire.target]
            end = self.left[target] + self.widths[target], self._top(self._place(wire.target)) + TALL / 2
        if wire.source == self.lanes.entry:
            return (self.middle, TOP - 3), (x, TOP - 3), (x, end[1]), end
        source = self.lanes.lane[wire.source]
        side = self.left[source] + self.widths[source]
        y = self._top(self._place(wire.source)) + TALL / 2
        if lane == source:
            return (side, y), (x, y), (x, end[1]), end
        low = self._top(self._place(wire.source)) + TALL + GAP / 2
        return (self._centre(source), low - GAP / 2), (self._centre(source), low), (x, low), (x, end[1]), end
