"""The graph of a network: frozen, its nodes in topological order, one output a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from cnnscope.ir.steps import Shape, Step, sums_over

if TYPE_CHECKING:
    from cnnscope.errors import Span

Kind = Literal["map", "tokens", "flat", "tensor"]
"""What a tensor is: ``map`` (N, C, spatial...), ``tokens`` (N, T, C), ``flat`` (N, F), or any other ``tensor`` that a
traced network computes.
"""

Layout = Literal["CHW", "HWC"]
"""Whether the author of a network writes channels first or last."""

DTYPE_BYTES = {
    "float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "complex128": 16, "complex64": 8, "complex32": 4,
    "quint8": 1, "qint8": 1, "qint32": 4,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
}  # fmt: skip
PACKED = {"int4": 4, "uint4": 4, "int2": 2, "uint2": 2}
"""The bits of types of which a byte holds several elements."""


def size_of(numel: int, dtype: str) -> int:
    """Returns the bytes of a tensor."""
    return -(-numel * PACKED[dtype] // 8) if dtype in PACKED else numel * DTYPE_BYTES[dtype]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor in the graph: its full shape (batch of size 1 included), its dtype, and the axis of the batch.

    ``batch_axis`` is None once the batch was folded into another axis, as in window attention.
    """

    shape: Shape
    dtype: str = "float32"
    batch_axis: int | None = 0
    kind: Kind = "map"

    @property
    def features(self) -> Shape:
        """The shape without the batch axis; the whole shape if the batch was folded into another axis."""
        if self.batch_axis is None:
            return self.shape
        return self.shape[: self.batch_axis] + self.shape[self.batch_axis + 1 :]

    @property
    def spatial(self) -> Shape:
        """The spatial extents of a map; empty for every other kind."""
        return self.shape[2:] if self.kind == "map" else ()

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return size_of(self.numel, self.dtype)


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as a model file stores it: its name there, its number of elements, their type."""

    name: str
    numel: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Param:
    """A weight or a buffer. Nodes that share a weight have the same key.

    A buffer that is not ``persistent`` takes memory, but neither a state dict nor a weight file has it. ``data`` has
    its elements as the machine stores them, where they are known and few enough to keep.
    ``made_of`` has the tensors in a file that the weight is computed from, if it is not stored as it is used (8-bit
    integers and their scale, a direction and a length). These are what counts as parameters, each once.
    """

    shape: Shape
    dtype: str = "float32"
    trainable: bool = True
    buffer: bool = False
    persistent: bool = True
    made_of: tuple[Stored, ...] = ()
    data: bytes | None = field(default=None, compare=False, repr=False)

    def tensors(self, key: str) -> tuple[Stored, ...]:
        """Returns what counts: the tensors that it is made of, or the weight itself, whose key is ``key``."""
        return self.made_of or (Stored(key, self.numel, self.dtype),)

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        return size_of(self.numel, self.dtype)


class Operation(Protocol):
    """What the graph and the analyses ask of an op; `cnnscope.ops.base.Op` documents each method."""

    tag: ClassVar[str]
    category: ClassVar[str]
    is_view: ClassVar[bool]
    symmetric: ClassVar[bool]
    polyphase: ClassVar[bool]

    def bind(self, x: Sequence[Value]) -> Operation: ...
    def infer(self, x: Sequence[Value]) -> Value: ...
    def output(self, x: Sequence[Value]) -> Value: ...
    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]: ...
    def buffers(self, x: Sequence[Value]) -> Mapping[str, Shape]: ...
    def macs(self, x: Sequence[Value]) -> int | None: ...
    def elementwise(self, x: Sequence[Value]) -> int | None: ...
    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...] | None: ...
    def anchored(self, x: Sequence[Value]) -> tuple[int, ...]: ...
    def arguments(self) -> dict[str, Any]: ...
    def label(self) -> str: ...


PadWord = Literal["valid", "same", "same_lower", "half", "full", "causal"]


@dataclass(frozen=True, slots=True)
class Intent:
    """What the author stated about a node where the op, which has plain numbers, no longer shows it.

    Nothing here changes what the network computes; whoever changes a network keeps to it instead of the numbers.

    ``pad`` is the author's word for padding: ``valid`` (none), ``same`` (output ceil(n / stride), an odd pixel at the
    bottom and right), ``same_lower`` (the odd pixel at the top and left), ``half`` (dilation * (kernel - 1) // 2 on
    both sides), ``full`` (dilation * (kernel - 1) on both sides), ``causal`` (all of it before the first element).
    ``like`` names the node or network input whose spatial size the output takes, whatever that is.
    ``computed`` are axes of the output (batch included) whose extent was worked out from shapes of tensors, such as
    ``-1`` and ``x.size(0)``; ``fixed`` are those written as plain numbers where the op states a factor instead.
    """

    pad: PadWord | None = None
    like: str | None = None
    computed: tuple[int, ...] = ()
    fixed: tuple[int, ...] = ()


NO_INTENT = Intent()


@dataclass(frozen=True, slots=True)
class Node:
    """One op in its place in the network.

    ``name`` is unique among ops. ``layer`` is the row it belongs to (the layer the author wrote, or the leaf module of
    a traced network): ``c1.conv``, ``c1.norm`` and ``c1.act`` share the layer ``c1``. Dots separate scopes in both.

    ``params`` maps the op's role for a weight (``weight``) to its key in `Graph.params`. A role that is missing has no
    tensor and no effect (Keras' batch norm without scale, or without torch's counter of batches).

    ``in_place`` says that the op overwrites its first input, as torch's ``relu_`` does, so that the output needs no new
    memory. ``intent`` is what the author stated and the numbers do not show; it is ignored when nodes are compared.

    ``lost`` names operands of a traced call that the op does not have (the ``beta`` of a sum): shapes, costs and fields
    are right without them, but what the op computes is not, so such a network is neither built nor exported.
    """

    name: str
    op: Operation
    inputs: tuple[str, ...]
    output: Value
    params: Mapping[str, str] = field(default_factory=dict)
    layer: str = ""
    span: Span | None = None
    training_only: bool = False
    in_place: bool = False
    intent: Intent = field(default=NO_INTENT, compare=False)
    lost: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layer:
            object.__setattr__(self, "layer", self.name)

    @property
    def is_view(self) -> bool:
        """Whether the output needs no memory of its own."""
        return self.in_place or self.op.is_view

    @property
    def lacks(self) -> str | None:
        """What the op lacks, in words: ``"`act` is `softplus` without its operand `beta`"``; None if it is complete."""
        if not self.lost:
            return None
        function = getattr(self.op, "fn", None)
        kind = f"`{self.op.tag}`" + (f" ({function})" if function else "")
        names = " and ".join(f"`{name}`" for name in self.lost)
        return f"`{self.name}` is {kind} without its operand{'s' if len(self.lost) > 1 else ''} {names}"


@dataclass(frozen=True)
class Graph:
    """A whole network: its inputs by name, its nodes in execution order, the names of its outputs, its weights by key.

    ``scopes`` has the kind of each group of layers (``{"stage1.0": "bottleneck"}``): the block of a spec, the class of
    a module. ``params`` may have weights that no node uses; they count as parameters all the same. ``layout`` is how
    the author writes shapes; the graph itself always has channels first. ``uncounted`` names nodes that may have more
    weights than ``params`` has, since the source does not know their operator.
    """

    name: str
    inputs: Mapping[str, Value]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    params: Mapping[str, Param] = field(default_factory=dict)
    scopes: Mapping[str, str] = field(default_factory=dict)
    layout: Layout = "CHW"
    uncounted: tuple[str, ...] = ()

    @cached_property
    def _nodes_by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def node(self, name: str) -> Node:
        """Returns the node of that name; raises KeyError if there is none."""
        return self._nodes_by_name[name]

    def value(self, name: str) -> Value:
        """Returns the value of the graph input or node of that name."""
        return self.inputs[name] if name in self.inputs else self._nodes_by_name[name].output

    def values(self, node: Node) -> tuple[Value, ...]:
        """Returns the input values of a node."""
        return tuple(self.value(name) for name in node.inputs)

    @cached_property
    def stored(self) -> Mapping[str, Param]:
        """The weights and buffers that a state dict or weight file has."""
        return {key: param for key, param in self.params.items() if param.persistent}

    @cached_property
    def unused(self) -> tuple[str, ...]:
        """The keys of weights and buffers that no node uses."""
        used = {key for node in self.nodes for key in node.params.values()}
        return tuple(key for key in self.params if key not in used)

    @cached_property
    def images(self) -> frozenset[str]:
        """The names of all values that depend on a network input, the inputs themselves included.

        All others (constants, weights, and what is computed from weights alone) are the same for every image: a batch
        needs them once.
        """
        reached = set(self.inputs)
        for node in self.nodes:
            if not reached.isdisjoint(node.inputs):
                reached.add(node.name)
        return frozenset(reached)

    @cached_property
    def per_image(self) -> frozenset[str]:
        """Names of `images` of which a batch has one for each image: what was summed over the batch is there once."""
        reached = set(self.inputs)
        for node in self.nodes:
            if reached.isdisjoint(node.inputs):
                continue
            x = self.values(node)
            steps = node.op.reads(x) or ((),) * len(x)
            parts = zip(node.inputs, x, steps, strict=False)
            if node.output.batch_axis is not None or not all(
                v.batch_axis is not None and sums_over(v.batch_axis, len(v.shape), read)
                for name, v, read in parts if name in reached
            ):  # fmt: skip
                reached.add(node.name)
        return frozenset(reached)

    def layers(self) -> Iterator[tuple[str, list[Node]]]:
        """Yields (layer name, its nodes) in the execution order of each layer's first node."""
        rows: dict[str, list[Node]] = {}
        for node in self.nodes:
            rows.setdefault(node.layer, []).append(node)
        yield from rows.items()
