"""A graph under construction: the one builder behind specs, torch modules, Keras and ONNX files.

It knows ops by the `Operation` protocol alone. Each source decides what to place and what to call it; the builder gives
out unique names, binds an op to its inputs, checks weights that are used twice, and makes the finished graph or, where
the source breaks off, the graph up to there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cnnscope.errors import CnnscopeError, PartialError, ShapeError
from cnnscope.ir.graph import NO_INTENT, Graph, Intent, Kind, Layout, Node, Operation, Param, Value
from cnnscope.ir.steps import Shape, shape_text
from cnnscope.registry import checked_result
from cnnscope.user_code import strangers

MAPS = frozenset({"conv", "pool", "resize"})
"""Categories of ops whose output is certainly a map, whatever is known of their input."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An op bound to its inputs: its output, and the shapes of its weights and buffers by role.

    ``intent`` keeps the word for padding that binding replaced by numbers.
    """

    op: Operation
    output: Value
    weights: Mapping[str, Shape]
    buffers: Mapping[str, Shape]
    intent: Intent = NO_INTENT


def bind(op: Operation, x: Sequence[Value]) -> Bound:
    """Returns ``op`` with its arguments resolved against the inputs ``x``, and its output; raises `ShapeError` if the
    inputs do not fit.
    """
    bound: Operation = op.bind(x)
    pad: Any = getattr(op, "pad", None)
    intent = NO_INTENT if pad is None or isinstance(pad, tuple) else Intent(pad=pad)
    weights, buffers = (
        checked_result(found, Mapping, f"{layer_type(op)}: its `{method}`", "it returns shapes by role")
        for method, found in (("weights", bound.weights(x)), ("buffers", bound.buffers(x)))
    )
    return Bound(bound, bound.infer(x), weights, buffers, intent)


def layer_type(op: Operation) -> str:
    """Returns what an op is in messages about its code: its type, and who wrote it if that is not cnnscope."""
    author = strangers.get(type(op).__module__.partition(".")[0])
    return f"the layer type `{op.tag}`" + (f" of {author}" if author else "")


def settled(op: Operation, value: Value) -> Value:
    """Returns the output value of an op that was traced or read from a file.

    There the kind of a value is inferred rather than stated. The output of a convolution, pool or resize is a map even
    if the input was a plain ``tensor``. An axis with more than one element is not the batch.
    """
    kind: Kind = "map" if op.category in MAPS and len(value.shape) > 2 and value.kind == "tensor" else value.kind
    batch = value.batch_axis
    if batch is not None and value.shape[batch] != 1:
        batch = None
    if kind == value.kind and batch == value.batch_axis:
        return value
    return replace(value, kind=kind, batch_axis=batch)


class Names:
    """Gives out unique names: the second request for ``conv`` gets ``conv#2``. A ``reserved`` name goes to whoever
    claims it first.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._times = dict.fromkeys(reserved, 1)
        self._unclaimed = set(self._times)

    def unique(self, name: str) -> str:
        """Returns ``name``, or ``name#2``, ``name#3`` ... if it is taken. The result is taken from now on."""
        self._unclaimed.discard(name)
        free = name
        while free in self._times:
            self._times[name] += 1
            free = f"{name}#{self._times[name]}"
        self._times[free] = 1
        return free

    def claim(self, name: str) -> str:
        """Returns a reserved ``name`` to the first who claims it, unless `unique` was asked for it before; then as
        `unique`.
        """
        if name in self._unclaimed:
            self._unclaimed.remove(name)
            return name
        return self.unique(name)


@dataclass(slots=True)
class Builder:
    """The inputs, nodes and weights so far. ``values`` has the output of each input and node, by name."""

    name: str
    layout: Layout = "CHW"
    inputs: dict[str, Value] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    taken: Names = field(default_factory=Names)
    uncounted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.values.update(self.inputs)

    def unique(self, name: str) -> str:
        """Returns ``name``, or ``name#2`` and so on if it is taken. The result is taken from now on."""
        return self.taken.unique(name)

    def input(self, name: str, value: Value) -> str:
        """Adds a network input and returns its name."""
        self.inputs[name] = self.values[name] = value
        return name

    def add(self, node: Node) -> str:
        """Adds a node whose inputs are all there and returns its name; raises E207 if another one has it."""
        if node.name in self.values:
            raise ShapeError(f"two layers are called `{node.name}`", code="E207")
        self.nodes[node.name] = node
        self.values[node.name] = node.output
        return node.name

    def param(self, key: str, param: Param, *, again: bool = False) -> None:
        """Adds a weight or buffer. If the key exists already, the shape must be the same (E304).

        With ``again`` the weight must exist, because a layer with these weights is used once more.
        """
        known = self.params.get(key) if again else self.params.setdefault(key, param)
        if known is None or known.shape != param.shape:
            there = "missing" if known is None else shape_text(known.shape)
            message = f"the reused weights do not fit: `{key}` is {there} but {shape_text(param.shape)} is needed"
            raise ShapeError(message, code="E304")

    def graph(self, outputs: Iterable[str]) -> Graph:
        """Returns the finished graph."""
        return Graph(
            name=self.name, inputs=dict(self.inputs), nodes=tuple(self.nodes.values()),
            outputs=tuple(outputs), params=dict(self.params), scopes=dict(self.scopes),
            layout=self.layout, uncounted=tuple(self.uncounted),
        )  # fmt: skip

    @contextmanager
    def unfinished(self) -> Iterator[None]:
        """Turns an error inside the block into a `PartialError` with the graph so far."""
        try:
            yield
        except CnnscopeError as error:
            raise PartialError(*error.diagnostics, graph=self.graph(())) from None
