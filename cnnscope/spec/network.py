"""The graph while it is being built: ops put in place one after the other, with their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnscope.errors import CnnscopeError, ShapeError, Span
from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.ops.base import Op, shape_text
from cnnscope.spec.scope import Names

MAX_NODES = 100_000


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a layer or a group goes: its path, and the path its weights are kept under.

    ``again`` says that those weights exist already, because the layer is reused.
    """

    path: str
    weights: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Flags:
    """What a layer inherits from around it."""

    frozen: bool = False
    training_only: bool = False


NO_FLAGS = Flags()


@dataclass(frozen=True, slots=True)
class _Made:
    """An op bound to its inputs, what it yields, and its weights and buffers by role."""

    op: Op
    output: Value
    params: Mapping[str, Param]


@dataclass(slots=True)
class Network:
    """Nodes in order, weights by key, the strides accumulated on the way to each value."""

    name: str
    layout: Literal["CHW", "HWC"]
    inputs: dict[str, Value]
    names: Names = field(default_factory=Names)
    nodes: list[Node] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)
    scopes: dict[str, str] = field(default_factory=dict)
    strides: dict[str, tuple[int, ...]] = field(default_factory=dict)
    training_only: set[str] = field(default_factory=set)
    made: dict[tuple[type[Op], str, tuple[Value, ...], bool], _Made] = field(default_factory=dict)
    steps: int = 0

    def __post_init__(self) -> None:
        self.values.update(self.inputs)
        for name in self.inputs:
            self.names.take(name, None)

    def step(self, span: Span | None) -> None:
        """Counts one layer visited; E105 when there are too many."""
        self.steps += 1
        if self.steps > MAX_NODES:
            raise too_many(span)

    def place(
        self, op: type[Op], args: Mapping[str, Any], inputs: Sequence[str], row: Spot, *, part: str | None = None,
        span: Span | None = None, flags: Flags = NO_FLAGS,
    ) -> str:  # fmt: skip
        """Adds a node and answers its name: the row's, or ``row.part`` in a row of several (an empty part: the tag).

        `ArgumentError` or `ShapeError`, both without a place, if arguments or inputs do not fit.
        """
        if len(self.nodes) >= MAX_NODES:
            raise too_many(span)
        for name in inputs:
            if name in self.training_only and not flags.training_only:
                hint = "say `training_only: true` here too"
                raise ShapeError(f"`{name}` runs in training only", hint=hint, code="E205")
        made = self._made(op, args, tuple(self.values[name] for name in inputs), flags.frozen)
        suffix = "" if part is None else f".{part or made.op.tag}"
        name = row.path + suffix
        if name in self.values:
            raise ShapeError(f"two layers are called `{name}`", code="E207")
        keys = self._weights(made, row.weights + suffix, row.again)
        self.nodes.append(Node(name, made.op, tuple(inputs), made.output, keys, row.path, span, flags.training_only))
        self.values[name] = made.output
        if flags.training_only:
            self.training_only.add(name)
        self.strides[name] = self._stride(made, inputs)
        return name

    def _made(self, op: type[Op], args: Mapping[str, Any], x: tuple[Value, ...], frozen: bool) -> _Made:
        """The op bound to its inputs; equal layers, as repeated blocks have them, are worked out once."""
        key = (op, repr(args), x, frozen)
        if key not in self.made:
            op.check(x)
            ndim = len(x[0].spatial) if x and x[0].kind == "map" else None
            bound = op.read(args, ndim).bind(x)
            output = bound.infer(x)
            weights = {role: Param(shape, trainable=not frozen) for role, shape in bound.weights(x).items()}
            buffers = {role: Param(shape, trainable=False, buffer=True) for role, shape in bound.buffers(x).items()}
            self.made[key] = _Made(bound, output, weights | buffers)
        return self.made[key]

    def _weights(self, made: _Made, path: str, again: bool) -> dict[str, str]:
        keys = {role: f"{path}.{role}" for role in made.params}
        for role, key in keys.items():
            param = made.params[role]
            if not again:
                self.params[key] = param
            elif key not in self.params or self.params[key].shape != param.shape:
                there = shape_text(self.params[key].shape) if key in self.params else "missing"
                message = f"the reused weights do not fit: `{key}` is {there} but {shape_text(param.shape)} is needed"
                raise ShapeError(message, code="E304")
        return keys

    def _stride(self, made: _Made, inputs: Sequence[str]) -> tuple[int, ...]:
        """The strides of the way here multiplied, one per spatial axis, along the first input of each op."""
        ones = (1,) * len(made.output.spatial)
        before = self.strides.get(inputs[0], ones) if inputs else ones
        own = getattr(made.op, "stride", ones)
        if len(before) != len(ones) or not isinstance(own, tuple) or len(own) != len(ones):
            return ones
        return tuple(a * b for a, b in zip(before, own, strict=True))

    def graph(self, outputs: Sequence[str]) -> Graph:
        """The finished graph."""
        return Graph(
            self.name,
            dict(self.inputs),
            tuple(self.nodes),
            tuple(outputs),
            dict(self.params),
            dict(self.scopes),
            self.layout,
        )

    def partial(self) -> Graph | None:
        """The graph up to the last finished layer, which is its output; None if there is none."""
        nodes = list(self.nodes)
        while nodes and nodes[-1].name != nodes[-1].layer and nodes[-1].layer not in self.names.nodes:
            nodes.pop()
        if not nodes:
            return None
        used = {key for node in nodes for key in node.params.values()}
        params = {key: param for key, param in self.params.items() if key in used}
        outputs = (nodes[-1].name,)
        return Graph(self.name, dict(self.inputs), tuple(nodes), outputs, params, dict(self.scopes), self.layout)


def too_many(span: Span | None) -> CnnscopeError:
    """E105: the expansion would not end well."""
    return CnnscopeError.of("E105", f"the spec expands to more than {MAX_NODES:,} layers and ops", span=span)
