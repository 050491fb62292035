"""The summary layer by layer; every static command prints a part of it."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from cnnscope.analysis.cost import Cost, bounded, known, live_bytes, node_costs, param_cost, stored_types
from cnnscope.analysis.receptive_field import Field, theoretical
from cnnscope.errors import Span
from cnnscope.ir import Graph, Node, Operation, Value

Level = Literal["layer", "op"]


@dataclass(frozen=True, slots=True)
class Row:
    """One layer (or one op, at that level): what it computes, costs and sees.

    ``inputs`` are the rows or network inputs it reads, ``input_values`` what they yield; ``followers`` are the types of
    its other ops (the norm and activation of a convolution). ``shared`` marks a row whose weights were counted in an
    earlier row, ``unused`` weights that no op reads. ``peak_bytes`` are the bytes alive while it runs, None for a row
    that runs only in training. ``output`` is None for unused weights.
    """

    name: str
    op: str
    category: str
    label: str
    operation: Operation | None
    inputs: tuple[str, ...]
    input_values: tuple[Value, ...]
    output: Value | None
    cost: Cost
    peak_bytes: int | None
    receptive_field: Field | None
    followers: tuple[str, ...] = ()
    shared: bool = False
    unused: bool = False
    training_only: bool = False
    span: Span | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of its operation as plain JSON values."""
        return {} if self.operation is None else self.operation.arguments()


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows in execution order, and their totals.

    ``totals`` sums what is known; if ``unsupported`` names rows, MACs and FLOPs are lower bounds. ``per_pass`` is the
    part of it that depends on no image, such as weights computed from other weights: it is done once for a whole batch.
    ``stored`` has the number of parameters of each type. If ``uncounted`` names rows, they may have further parameters,
    and the counts of parameters are lower bounds.
    """

    rows: tuple[Row, ...]
    totals: Cost
    peak_activation_bytes: int
    unsupported: tuple[str, ...]
    per_pass: Cost
    stored: Mapping[str, int] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def receptive_field(self) -> Field | None:
        """The largest local field of any row that runs at inference; None if nothing sees the image.

        A field that grows with position has no single size and counts as larger than all others. If no row sees more
        than a pixel but some see the whole image, as in a multilayer perceptron, it is their field.
        """
        fields = [row.receptive_field for row in self.rows if row.receptive_field and not row.training_only]
        local = [field for field in fields if field.maps and (field.size is None or prod(field.size) > 1)]
        whole = [field for field in fields if field.via and not field.maps]
        return max(local, key=_extent, default=next(iter(whole or fields), None))


def _extent(field: Field) -> tuple[bool, int]:
    return field.position_dependent, prod(field.size or ())


def summarize(graph: Graph, *, level: Level = "layer", batch: int = 1, dtype: str | None = None) -> Summary:
    """Every row of ``graph`` and the totals. Totals are equal at every level."""
    with _without_collection():
        return _summarize(graph, level, batch, dtype)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Turns off Python's cycle collector: results have no cycles, and searching for them takes ever longer."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _summarize(graph: Graph, level: Level, batch: int, dtype: str | None) -> Summary:
    costs = node_costs(graph, batch=batch, dtype=dtype)
    live = live_bytes(graph, batch=batch, dtype=dtype)
    fields = theoretical(graph)
    groups = graph.layers() if level == "layer" else ((node.name, [node]) for node in graph.nodes)
    row_of = {node.name: node.layer if level == "layer" else node.name for node in graph.nodes}
    counted: set[str] = set()
    rows = [_row(graph, name, nodes, row_of, costs, live, fields, counted) for name, nodes in groups]
    rows += _unused_rows(graph, dtype, counted)
    return Summary(
        rows=tuple(rows),
        totals=known(row.cost for row in rows),
        peak_activation_bytes=max(live.values(), default=0),
        unsupported=tuple(row.name for row in rows if row.cost.unknown),
        per_pass=known(cost for name, cost in costs.items() if name not in graph.images),
        stored=stored_types(graph.params),
        uncounted=tuple(dict.fromkeys(row_of[name] for name in graph.uncounted if name in row_of)),
    )


def _row(
    graph: Graph, name: str, nodes: Sequence[Node], row_of: Mapping[str, str], costs: Mapping[str, Cost],
    live: Mapping[str, int], fields: Mapping[str, Field], counted: set[str],
) -> Row:  # fmt: skip
    last = nodes[-1]
    main = max(nodes, key=lambda node: _weight(node, costs[node.name]))
    if not any(_weight(main, costs[main.name])):  # all are views: the last one is the result
        main = last
    followers = (node.op.tag for node in nodes if node is not main and not node.op.is_view)
    keys = {tensor.name for node in nodes for key in node.params.values() for tensor in graph.params[key].tensors(key)}
    shared = bool(keys) and keys <= counted
    counted |= keys
    outside = list(dict.fromkeys(i for node in nodes for i in node.inputs if row_of.get(i) != name))
    peaks = [live[node.name] for node in nodes if node.name in live]
    return Row(
        name=name, op=main.op.tag, category=main.op.category, label=main.op.label(), operation=main.op,
        inputs=tuple(row_of.get(i, i) for i in outside),
        input_values=tuple(graph.value(i) for i in outside),
        output=last.output, cost=bounded(costs[node.name] for node in nodes), peak_bytes=max(peaks, default=None),
        receptive_field=fields.get(last.name), followers=tuple(followers), shared=shared,
        training_only=main.training_only, span=main.span,
    )  # fmt: skip


def _weight(node: Node, cost: Cost) -> tuple[int, int, int]:
    """A sort key for the op that names a row: by its products, then its weights, then its arithmetic."""
    return cost.macs or 0, len(node.params), cost.flops or 0


def _unused_rows(graph: Graph, dtype: str | None, counted: set[str]) -> Iterable[Row]:
    """A ``parameter`` row for each module whose weights no op reads: they still count as parameters.

    A graph without outputs is one of a run that stopped: nobody knows whether the rest would have read them.
    """
    label = "unused" if graph.outputs else "not reached"
    owners: dict[str, list[str]] = {}
    for key in graph.unused:
        owners.setdefault(key.rpartition(".")[0] or key, []).append(key)
    for owner, keys in owners.items():
        cost = param_cost({key: graph.params[key] for key in keys}, dtype, counted)
        yield Row(
            name=owner, op="parameter", category="constant", label=label, operation=None, inputs=(), input_values=(),
            output=None, cost=cost, peak_bytes=None, receptive_field=None, unused=bool(graph.outputs),
        )  # fmt: skip
