"""The network during the walk over a spec: which names are visible, and layers put in place with their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnnscope.errors import CnnscopeError, Diagnostic, Note, ShapeError, Span
from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.ir.builder import Bound, Builder, bind
from cnnscope.ops.base import Op


def join(path: str, name: str) -> str:
    """Returns ``path.name``; the path of the network itself is empty."""
    return f"{path}.{name}" if path else name


@dataclass(slots=True)
class Names:
    """All names of a network: where each was written (None for an input), and the node of each finished layer."""

    taken: dict[str, Span | None] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    omitted: dict[str, Span | None] = field(default_factory=dict)

    def take(self, path: str, span: Span | None) -> None:
        """Reserves a path; raises E207 if another layer has it."""
        if path in self.taken:
            first = self.taken[path]
            if first is None:
                raise CnnscopeError.of("E207", f"`{path}` is the name of an input", span=span)
            message = f"two layers are called `{path}` (first on line {first.line})"
            raise CnnscopeError(Diagnostic("E207", message, span, (Note("first here", first),)))
        self.taken[path] = span


@dataclass(slots=True)
class Scope:
    """A level of names. ``weights`` is the path of its weights, which differs from ``path`` where layers are reused.

    ``parent`` is the scope around it whose names are visible; None in the outermost scope of a block.
    """

    names: Names
    path: str = ""
    weights: str = ""
    parent: Scope | None = None
    reserved: frozenset[str] = frozenset()
    counts: dict[str, int] = field(default_factory=dict)

    def fresh(self, base: str) -> str:
        """Returns the first of ``base1``, ``base2``, ... that no other layer has, now or later."""
        while True:
            self.counts[base] = self.counts.get(base, 0) + 1
            name = f"{base}{self.counts[base]}"
            if self._free(name):
                return name

    def alone(self, base: str) -> str:
        """Returns ``base``, or ``base2``, ... (``base_2`` if it ends with a digit) if it is taken."""
        if self._free(base):
            return base
        stem = f"{base}_" if base[-1].isdigit() else base
        self.counts.setdefault(stem, 1)
        return self.fresh(stem)

    def _free(self, name: str) -> bool:
        return name not in self.reserved and join(self.path, name) not in self.names.taken

    def find(self, name: str) -> str | None:
        """Returns the graph node that ``name`` means here, in this scope or in those around it."""
        for scope in self.outward():
            node = self.names.nodes.get(join(scope.path, name))
            if node is not None:
                return node
        return None

    def outward(self) -> Iterator[Scope]:
        """This scope and those around it, up to the edge."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


MAX_NODES = 100_000


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a layer or a group goes: its path, and the path of its weights.

    ``again`` says that those weights exist already, because the layer is reused.
    """

    path: str
    weights: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Flags:
    """What a layer inherits from the layers around it."""

    frozen: bool = False
    training_only: bool = False


NO_FLAGS = Flags()


@dataclass(slots=True)
class Network(Builder):
    """A builder with what the walk over a spec needs besides.

    ``names`` are those that the author may use, ``strides`` the product of the strides on the way to each node,
    ``steps`` the number of layers visited. ``known`` has the ops that were bound before, since repeated blocks have
    many equal ones.
    """

    names: Names = field(default_factory=Names)
    strides: dict[str, tuple[int, ...]] = field(default_factory=dict)
    training_only: set[str] = field(default_factory=set)
    known: dict[tuple[type[Op], str, tuple[Value, ...]], Bound] = field(default_factory=dict)
    steps: int = 0

    def __post_init__(self) -> None:
        Builder.__post_init__(self)
        for name in self.inputs:
            self.names.take(name, None)

    def step(self, span: Span | None) -> None:
        """Counts one layer visited; raises E105 when there are too many."""
        self.steps += 1
        if self.steps > MAX_NODES:
            raise too_many(span)

    def place(
        self, op: type[Op], args: Mapping[str, Any], inputs: Sequence[str], row: Spot, *, part: str | None = None,
        span: Span | None = None, flags: Flags = NO_FLAGS, like: str | None = None,
    ) -> str:  # fmt: skip
        """Adds a node and returns its name: that of the row, or ``row.part`` in a row of several ops (an empty part is
        the tag).

        ``like`` is the node whose size is among ``args``. Raises `ArgumentError` or `ShapeError`, both without a place,
        if arguments or inputs do not fit.
        """
        if len(self.nodes) >= MAX_NODES:
            raise too_many(span)
        for name in inputs:
            if name in self.training_only and not flags.training_only:
                hint = "say `training_only: true` here too"
                raise ShapeError(f"`{name}` runs in training only", hint=hint, code="E205")
        bound = self._bound(op, args, tuple(self.values[name] for name in inputs))
        suffix = "" if part is None else f".{part or bound.op.tag}"
        weights = {role: Param(shape, trainable=not flags.frozen) for role, shape in bound.weights.items()}
        buffers = {role: Param(shape, trainable=False, buffer=True) for role, shape in bound.buffers.items()}
        params = {f"{row.weights}{suffix}.{role}": param for role, param in {**weights, **buffers}.items()}
        keys = dict(zip((*weights, *buffers), params, strict=True))
        name = self.add(
            Node(
                row.path + suffix, bound.op, tuple(inputs), bound.output, keys, layer=row.path, span=span,
                training_only=flags.training_only,
                intent=replace(bound.intent, like=like) if like else bound.intent,
            )
        )  # fmt: skip
        for key, param in params.items():
            self.param(key, param, again=row.again)
        if flags.training_only:
            self.training_only.add(name)
        self.strides[name] = self._stride(bound, inputs)
        return name

    def _bound(self, op: type[Op], args: Mapping[str, Any], x: tuple[Value, ...]) -> Bound:
        key = (op, repr(args), x)
        if key not in self.known:
            op.check(x)  # before the arguments are read: a wrong kind of input explains more
            ndim = len(x[0].spatial) if x and x[0].kind == "map" else None
            made = op.read(args, ndim)
            bound = bind(made, x)
            if reason := made.refused(x):
                raise ShapeError(reason, hint="put `- pad` before it")
            self.known[key] = bound
        return self.known[key]

    def _stride(self, bound: Bound, inputs: Sequence[str]) -> tuple[int, ...]:
        """Returns the product of the strides on the way here, per spatial axis, along the first input of each op."""
        ones = (1,) * len(bound.output.spatial)
        before = self.strides.get(inputs[0], ones) if inputs else ones
        own = getattr(bound.op, "stride", ones)
        if len(before) != len(ones) or not isinstance(own, tuple) or len(own) != len(ones):
            return ones
        return tuple(a * b for a, b in zip(before, own, strict=True))

    def partial(self) -> Graph | None:
        """Returns the graph up to the last finished layer, which is its output; None if there is none."""
        nodes = list(self.nodes.values())
        while nodes and nodes[-1].name != nodes[-1].layer and nodes[-1].layer not in self.names.nodes:
            nodes.pop()
        if not nodes:
            return None
        used = {key for node in nodes for key in node.params.values()}
        params = {key: param for key, param in self.params.items() if key in used}
        return replace(self.graph((nodes[-1].name,)), nodes=tuple(nodes), params=params)


def too_many(span: Span | None) -> CnnscopeError:
    """Returns E105: the spec expands to too many layers."""
    return CnnscopeError.of("E105", f"the spec expands to more than {MAX_NODES:,} layers and ops", span=span)
