"""Where the parts of a structure stand: each branch in a lane of its own, from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from cnnscope.analysis.structure import Block, Part
from cnnscope.render.diagram.sheet.anatomies import inner, sign


@dataclass(frozen=True, slots=True)
class Wire:
    """An arrow from the entry or a part to a part."""

    source: str
    target: str


@dataclass(frozen=True)
class Lanes:
    """``parts`` are all but the ``join`` at the end, which is None where the last part is a layer. Each has a ``lane``
    and a ``rank``, from 0: no part reads one of its rank or below. The parts of a lane read one another in a row."""

    entry: str
    parts: tuple[Part, ...]
    join: Part | None
    lane: Mapping[str, int]
    rank: Mapping[str, int]

    @property
    def count(self) -> int:
        return max(self.lane.values(), default=-1) + 1

    @property
    def ranks(self) -> int:
        return max((self.rank[part.id] for part in self.parts), default=-1) + 1

    @cached_property
    def wires(self) -> tuple[Wire, ...]:
        every = (*self.parts, *([self.join] if self.join else []))
        return tuple(Wire(name, part.id) for part in every for name in dict.fromkeys(part.inputs))

    @cached_property
    def chains(self) -> tuple[tuple[Part, ...], ...]:
        """The parts of each lane."""
        found: list[list[Part]] = [[] for _ in range(self.count)]
        for part in self.parts:
            found[self.lane[part.id]].append(part)
        return tuple(map(tuple, found))

    def neighbours(self, wire: Wire) -> bool:
        """Whether an arrow leads straight to the next part of its lane."""
        lane = self.lane.get(wire.source)
        if lane is None or lane != self.lane.get(wire.target):
            return False
        chain = [part.id for part in self.chains[lane]]
        return chain.index(wire.target) == chain.index(wire.source) + 1

    def first(self, name: str) -> bool:
        """Whether nothing stands above a part in its lane."""
        return name in self.lane and self.chains[self.lane[name]][0].id == name

    def last(self, name: str) -> bool:
        """Whether nothing stands below a part in its lane."""
        return name in self.lane and self.chains[self.lane[name]][-1].id == name


def lanes(block: Block) -> Lanes:
    """The lanes of a block: a lane goes on with the reader that has the longest way to the end."""
    every = inner(block)
    join = every[-1] if sign(block) else None
    parts = every[:-1] if join is not None else every
    far = _far(every)
    rank: dict[str, int] = {}
    for part in parts:
        rank[part.id] = 1 + max((rank[name] for name in part.inputs if name in rank), default=-1)
    heir: dict[str, str] = {}
    for part in parts:
        source = max(part.inputs, key=lambda name: rank.get(name, -1))
        if source in rank and far[part.id] > far.get(heir.get(source, ""), -1):
            heir[source] = part.id
    lane: dict[str, int] = {}
    for part in parts:
        source = next((name for name in part.inputs if heir.get(name) == part.id), "")
        lane[part.id] = lane[source] if source else len(set(lane.values()))
    return Lanes(block.entry, parts, join, lane, rank)


def _far(parts: Sequence[Part]) -> dict[str, int]:
    """How many parts lie between each and the end."""
    far: dict[str, int] = {}
    for part in reversed(parts):
        for name in part.inputs:
            far[name] = max(far.get(name, 0), far.get(part.id, 0) + 1)
    return {part.id: far.get(part.id, 0) for part in parts}
