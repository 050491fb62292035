"""Compares two architectures: aligns their fused units by what they compute, by their paths and by order.

The alignment is the best monotone one (Needleman and Wunsch 1970): equal units count most, then units of one type;
an equal path decides between equal candidates. Two paired units are equal if they compute the same from the same
shapes and read units that are paired with each other; units without a partner are looked through.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cnnscope.analysis.cost import Cost, node_costs, total
from cnnscope.analysis.fuse import Unit, fuse
from cnnscope.analysis.receptive_field import Field, theoretical
from cnnscope.analysis.summary import Summary, summarize
from cnnscope.ir import Graph, Node, Value

Mark = Literal["+", "-", "~", "="]
Aspect = Literal["op", "input_shape", "output_shape", "dtype", "inputs", "params", "output"]
"""What may differ between two paired layers."""

EQUAL, SAME_OP, SAME_SHAPE, SAME_TYPE, SAME_SORT, OTHER = 40, 9, 7, 5, 2, -2
"""The scores of a pair: equal units, same op on other shapes, same type and shape, same type, same category, else."""
SAME_PATH, SAME_SCOPE = 3, 1
_LOOSE = frozenset({"movement", "other", "constant"})
"""Categories whose types have nothing in common."""
_SYMMETRIC = frozenset({"add", "mul"})
"""Types for which the order of inputs does not matter."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part to compare: a fused unit, or an input of the network (``nodes`` is empty)."""

    name: str
    nodes: tuple[Node, ...]
    value: Value
    inputs: tuple[Value, ...]
    cost: Cost
    field: Field | None
    is_output: bool = False

    @property
    def tag(self) -> str:
        return self.nodes[0].op.tag if self.nodes else "input"

    @property
    def category(self) -> str:
        return self.nodes[0].op.category if self.nodes else "input"

    @property
    def operations(self) -> Hashable:
        """What the part computes, without shapes."""
        return tuple((node.op, node.training_only) for node in self.nodes)

    @property
    def signature(self) -> Hashable:
        """A key that is equal for parts that compute the same from the same shapes."""
        inputs = tuple((value.features, value.dtype) for value in self.inputs)
        return self.operations, inputs, self.value.features, self.value.dtype


@dataclass(frozen=True, slots=True)
class Change:
    """A row: ``+`` only in b, ``-`` only in a, ``=`` equal, ``~`` paired but not equal: ``changed`` says how.

    ``changed`` has names of what differs: ``op``, ``input_shape``, ``output_shape``, ``dtype``, ``inputs`` (what it
    reads), ``params`` (weights may be shared in one of them) and ``output`` (one of them is an output of the network).
    """

    a: Part | None
    b: Part | None
    changed: tuple[Aspect, ...] = ()

    @property
    def mark(self) -> Mark:
        if self.a is None:
            return "+"
        if self.b is None:
            return "-"
        return "~" if self.changed else "="


@dataclass(frozen=True)
class Difference:
    """Every row in the order of both networks, and the summary of each."""

    a: Graph
    b: Graph
    rows: tuple[Change, ...]
    summary_a: Summary
    summary_b: Summary

    @property
    def totals(self) -> tuple[Cost, Cost]:
        """The cost of each side."""
        return self.summary_a.totals, self.summary_b.totals

    @cached_property
    def equal(self) -> bool:
        """Whether the networks are the same apart from names; weights that no op reads count too, though they have
        no row."""
        weights = [(cost.trainable, cost.frozen, cost.buffers) for cost in self.totals]
        return all(row.mark == "=" for row in self.rows) and weights[0] == weights[1]


def diff(a: Graph, b: Graph) -> Difference:
    """Compares two architectures: the rows say how b differs from a."""
    parts_a, parts_b = parts(a), parts(b)
    pairs = align(parts_a, parts_b)
    partner_a = {id(x): i for i, (x, y) in enumerate(pairs) if x and y}
    partner_b = {id(y): i for i, (x, y) in enumerate(pairs) if x and y}
    reads_a, reads_b = _reads(parts_a, partner_a), _reads(parts_b, partner_b)
    rows = tuple(Change(x, y, tuple(_changes(x, y, reads_a, reads_b)) if x and y else ()) for x, y in pairs)
    return Difference(a, b, rows, summarize(a), summarize(b))


def parts(graph: Graph) -> tuple[Part, ...]:
    """The inputs and fused units of a network in execution order."""
    costs, fields = node_costs(graph), theoretical(graph)
    inputs = (
        Part(name=name, nodes=(), value=value, inputs=(), cost=Cost(), field=None)
        for name, value in graph.inputs.items()
    )
    return (*inputs, *(_part(unit, graph, costs, fields) for unit in fuse(graph)))


def _part(unit: Unit, graph: Graph, costs: Mapping[str, Cost], fields: Mapping[str, Field]) -> Part:
    last = unit.last
    return Part(
        name=unit.name, nodes=unit.nodes, value=last.output, inputs=graph.values(unit.main),
        cost=total(costs[node.name] for node in unit.nodes), field=fields.get(last.name),
        is_output=any(node.name in graph.outputs for node in unit.nodes),
    )  # fmt: skip


def align(a: Sequence[Part], b: Sequence[Part]) -> list[tuple[Part | None, Part | None]]:
    """Both sequences in order with partners side by side: the alignment with the highest score."""
    start = 0
    while start < min(len(a), len(b)) and _identical(a[start], b[start]):
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and _identical(a[-1 - end], b[-1 - end]):
        end += 1
    head = list(zip(a[:start], b[:start], strict=True))
    tail = list(zip(a[len(a) - end :], b[len(b) - end :], strict=True))
    return [*head, *_best(a[start : len(a) - end], b[start : len(b) - end]), *tail]


def _identical(a: Part, b: Part) -> bool:
    return a.name == b.name and a.signature == b.signature


def _best(a: Sequence[Part], b: Sequence[Part]) -> list[tuple[Part | None, Part | None]]:
    count = _Counter(a, b)
    above = [0] * (len(b) + 1)
    steps = []
    for i in range(len(a)):
        row, step, left = [0], bytearray(len(b) + 1), 0
        for j in range(len(b)):
            best, how = (
                above[j] + count(i, j),
                0,
            )  # 0: the two are a pair; 1: a's part has no partner; 2: b's part has none
            if above[j + 1] >= best:
                best, how = above[j + 1], 1
            if left > best:
                best, how = left, 2
            left = best
            row.append(best)
            step[j + 1] = how
        above = row
        steps.append(step)
    return list(reversed(list(_trace(a, b, steps))))


def _trace(
    a: Sequence[Part], b: Sequence[Part], steps: Sequence[bytearray]
) -> Iterator[tuple[Part | None, Part | None]]:
    """The pairs of the best alignment, last first; parts of b alone come after parts of a alone."""
    i, j = len(a), len(b)
    while i or j:
        how = steps[i - 1][j] if i and j else (1 if i else 2)
        i, j = i - (how != 2), j - (how != 1)
        yield (None if how == 2 else a[i]), (None if how == 1 else b[j])


class _Counter:
    """The score of pairing a's i-th with b's j-th part. Equal parts have equal numbers, which is quick to compare."""

    def __init__(self, a: Sequence[Part], b: Sequence[Part]) -> None:
        numbers: dict[Hashable, int] = {}
        self._a, self._b = a, b
        self._kinds_a = [numbers.setdefault(part.signature, len(numbers)) for part in a]
        self._kinds_b = [numbers.setdefault(part.signature, len(numbers)) for part in b]
        self._scopes_a = [part.name.rpartition(".")[0] for part in a]
        self._scopes_b = [part.name.rpartition(".")[0] for part in b]
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, i: int, j: int) -> int:
        key = self._kinds_a[i], self._kinds_b[j]
        if key not in self._known:
            self._known[key] = _similarity(self._a[i], self._b[j])
        if self._a[i].name == self._b[j].name:
            return self._known[key] + SAME_PATH
        return self._known[key] + (SAME_SCOPE if self._scopes_a[i] == self._scopes_b[j] else 0)


def _similarity(a: Part, b: Part) -> int:
    if a.signature == b.signature:
        return EQUAL
    if a.tag == b.tag:
        if a.operations == b.operations:
            return SAME_OP
        return SAME_SHAPE if a.value.features == b.value.features else SAME_TYPE
    return SAME_SORT if a.category == b.category and a.category not in _LOOSE else OTHER


Reads = Mapping[int, tuple[frozenset[int], ...]]
"""For each part by id: the nearest pairs upstream of each of its inputs."""


def _reads(found: Sequence[Part], pair: Mapping[int, int]) -> Reads:
    owner = {node.name: part for part in found for node in part.nodes}
    owner |= {part.name: part for part in found if not part.nodes}
    reads: dict[int, tuple[frozenset[int], ...]] = {}
    for part in found:
        if part.nodes:
            sources = [owner[name] for name in part.nodes[0].inputs]
            reads[id(part)] = tuple(
                frozenset({pair[id(source)]}) if id(source) in pair
                else frozenset().union(*reads.get(id(source), ()))
                for source in sources
            )  # fmt: skip
    return reads


def _changes(a: Part, b: Part, reads_a: Reads, reads_b: Reads) -> Iterator[Aspect]:
    if a.operations != b.operations:
        yield "op"
    if [value.features for value in a.inputs] != [value.features for value in b.inputs]:
        yield "input_shape"
    if a.value.features != b.value.features:
        yield "output_shape"
    if [v.dtype for v in (*a.inputs, a.value)] != [v.dtype for v in (*b.inputs, b.value)]:
        yield "dtype"
    if _wires(a, reads_a) != _wires(b, reads_b):
        yield "inputs"
    if (a.cost.trainable, a.cost.frozen, a.cost.buffers) != (b.cost.trainable, b.cost.frozen, b.cost.buffers):
        yield "params"
    if a.is_output != b.is_output:
        yield "output"


def _wires(part: Part, reads: Reads) -> list[tuple[int, ...]]:
    wires = [tuple(sorted(read)) for read in reads.get(id(part), ())]
    return sorted(wires) if part.tag in _SYMMETRIC else wires
