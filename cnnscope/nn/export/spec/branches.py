"""Reading the wiring of a group as a list of layers in which branches part and join: series and parallel, nested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cnnscope.analysis.fuse import Unit
from cnnscope.analysis.structure import Group, Part, units_of
from cnnscope.ir import Graph


@dataclass(frozen=True)
class Fork:
    """A join, and for each of its inputs the steps there from where they all part."""

    join: Unit
    paths: tuple[Plan, ...]


Plan = tuple[Part | Fork, ...]
"""Steps one behind the other."""


@dataclass
class Wiring:
    """Who reads what; `plan` answers for a group, once."""

    graph: Graph
    order: dict[str, int] = field(init=False)
    readers: dict[str, set[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.order = {name: i for i, name in enumerate((*self.graph.inputs, *(n.name for n in self.graph.nodes)))}
        self.readers = {}
        for node in self.graph.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, set()).add(node.name)

    def reads(self, part: Part) -> list[str]:
        """Values a part reads from outside, in the order it names them."""
        inside = {node.name for unit in units_of(part) for node in unit.nodes}
        return [i for unit in units_of(part) for node in unit.nodes for i in node.inputs if i not in inside]

    def yields(self, part: Part) -> list[str]:
        """Values of a part that are read outside of it, or are the network's output."""
        inside = {node.name for unit in units_of(part) for node in unit.nodes}
        return [n for n in inside if self.readers.get(n, set()) - inside or n in self.graph.outputs]

    def parts(self, group: Group) -> list[Part]:
        """The group's parts, with groups that are no list of layers themselves taken apart."""
        result: list[Part] = []
        for part in group.children:
            result += self.parts(part) if isinstance(part, Group) and self.plan(part) is None else [part]
        return result

    def plan(self, group: Group) -> Plan | None:
        """The steps from the one value the group reads to the one it yields; None if it is no list of layers."""
        reads, yields = set(self.reads(group)), self.yields(group)
        if len(reads) != 1 or len(yields) != 1:
            return None
        return self.steps(self.parts(group), reads.pop(), yields[0])

    def steps(self, parts: Sequence[Part], start: str, end: str) -> Plan | None:
        """The steps from one value to another, each part once; None if some part is left or is needed twice."""
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
        """For every value the values that each way to it from ``start`` passes, itself included."""
        result = {start: frozenset({start})}
        for part in sorted(parts, key=lambda part: max(self.order[n] for n in self.yields(part) or [start])):
            ways = [result.get(name, frozenset()) for name in self.reads(part)]
            for name in self.yields(part):
                result[name] = frozenset.intersection(*ways) | {name} if ways else frozenset({name})
        return result
