"""Reads the connections of a group as nested series and parallel branches: a list of layers with forks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cnnscope.analysis.fuse import Unit, consumers
from cnnscope.analysis.hierarchy import Group, Part, units_of
from cnnscope.ir import Graph


@dataclass(frozen=True)
class Fork:
    """A join, and for each of its inputs the steps from the value at which all branches start."""

    join: Unit
    paths: tuple[Plan, ...]


Plan = tuple[Part | Fork, ...]
"""Steps one after the other."""


@dataclass
class Wiring:
    """The connections of a graph. `plan` turns a group into steps."""

    graph: Graph
    order: dict[str, int] = field(init=False)
    readers: dict[str, set[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.order = {name: i for i, name in enumerate((*self.graph.inputs, *(n.name for n in self.graph.nodes)))}
        self.readers = {name: {node.name for node in nodes} for name, nodes in consumers(self.graph).items()}

    def reads(self, part: Part) -> list[str]:
        """Values that a part reads from outside, in the order of its inputs."""
        inside = {node.name for unit in units_of(part) for node in unit.nodes}
        return [i for unit in units_of(part) for node in unit.nodes for i in node.inputs if i not in inside]

    def yields(self, part: Part) -> list[str]:
        """Values of a part that other parts read, or that are outputs of the network."""
        inside = {node.name for unit in units_of(part) for node in unit.nodes}
        return [n for n in inside if self.readers[n] - inside or n in self.graph.outputs]

    def parts(self, group: Group) -> list[Part]:
        """The group's parts. An inner group that is no list of layers is replaced by its own parts."""
        result: list[Part] = []
        for part in group.children:
            result += self.parts(part) if isinstance(part, Group) and self.plan(part) is None else [part]
        return result

    def plan(self, group: Group) -> Plan | None:
        """The steps from the only value that the group reads to its only output; None if there are several."""
        reads, yields = set(self.reads(group)), self.yields(group)
        if len(reads) != 1 or len(yields) != 1:
            return None
        return self.steps(self.parts(group), reads.pop(), yields[0])

    def steps(self, parts: Sequence[Part], start: str, end: str) -> Plan | None:
        """The steps from one value to another, with each part once; None if a part is left over or needed twice."""
        made = {name: part for part in parts for name in self.yields(part)}
        used: list[Part] = []
        plan = self._walk(end, start, made, self._dominators(parts, start), used)
        return plan if len(used) == len(parts) else None

    def _walk(
        self, end: str, start: str, made: Mapping[str, Part], dominators: Mapping[str, frozenset[str]], used: list[Part]
    ) -> Plan | None:
        steps: list[Part | Fork] = []
        while end != start:
            part = made.get(end)
            if part is None or any(part is other for other in used):
                return None
            used.append(part)
            reads = self.reads(part)
            if len(set(reads)) == 1 and not (isinstance(part, Unit) and len(part.main.inputs) > 1):
                steps.append(part)
                end = reads[0]
                continue
            if not isinstance(part, Unit) or part.main.op.category != "merge" or reads != list(part.main.inputs):
                return None
            common = frozenset.intersection(*(dominators.get(name, frozenset()) for name in reads))
            if not common:
                return None
            fork = max(common, key=self.order.__getitem__)
            paths = [self._walk(name, fork, made, dominators, used) for name in reads]
            if any(path is None for path in paths):
                return None
            steps.append(Fork(part, tuple(path for path in paths if path is not None)))
            end = fork
        return tuple(reversed(steps))

    def _dominators(self, parts: Sequence[Part], start: str) -> dict[str, frozenset[str]]:
        """For every value the values that lie on all ways to it from ``start``, itself included."""
        result = {start: frozenset({start})}
        for part in sorted(parts, key=lambda part: max(self.order[n] for n in self.yields(part) or [start])):
            ways = [result.get(name, frozenset()) for name in self.reads(part)]
            for name in self.yields(part):
                result[name] = frozenset.intersection(*ways) | {name} if ways else frozenset({name})
        return result
