"""What each op costs: parameters, MACs, FLOPs and activation bytes, per image; and the peak memory of a network.

Conventions (stated in every output): a MAC is one multiply-accumulate of convolution, linear or matmul, bias excluded;
FLOPs = 2 * MACs + elementwise arithmetic. A weight used by several ops is counted at the first. A cost that an op
cannot know is None, and a sum that met one is a lower bound.

Peak memory is the greatest sum of live tensors over the execution order, at inference. A tensor lives from the op that
makes it to the last op that reads it or a view of it; network inputs live until their last reader, outputs to the end.
An op that a traced model runs in place writes over its input. No other reuse is assumed, so a framework may need less
memory for these tensors but never more (its workspace aside).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate

from cnnscope.ir import Graph, Node, Param, Stored, Value
from cnnscope.ir.graph import size_of

_FLOATING = ("float", "bfloat")
"""How the names of floating-point types begin."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs that can be added. ``macs`` and ``flops`` are None if unknown; if ``partial`` they are lower bounds, being
    sums of several ops of which one is unknown. Bytes are at the requested precision.

    ``transient`` is the part of ``buffers`` that is not persistent.
    """

    trainable: int = 0
    frozen: int = 0
    buffers: int = 0
    transient: int = 0
    param_bytes: int = 0
    buffer_bytes: int = 0
    macs: int | None = 0
    flops: int | None = 0
    activation_bytes: int = 0
    partial: bool = False

    @property
    def unknown(self) -> bool:
        """Whether MACs or FLOPs are unknown, if only in part."""
        return self.partial or self.macs is None or self.flops is None

    @property
    def params(self) -> int:
        return self.trainable + self.frozen

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.trainable + other.trainable,
            self.frozen + other.frozen,
            self.buffers + other.buffers,
            self.transient + other.transient,
            self.param_bytes + other.param_bytes,
            self.buffer_bytes + other.buffer_bytes,
            None if self.macs is None or other.macs is None else self.macs + other.macs,
            None if self.flops is None or other.flops is None else self.flops + other.flops,
            self.activation_bytes + other.activation_bytes,
            self.partial or other.partial,
        )


def total(costs: Iterable[Cost]) -> Cost:
    """The sum of costs; unknown if one of them is."""
    return reduce(Cost.__add__, costs, Cost())


def known(costs: Iterable[Cost]) -> Cost:
    """The sum of the known parts: ``partial`` if some are unknown."""
    parts = list(costs)
    least = total(replace(cost, macs=cost.macs or 0, flops=cost.flops or 0) for cost in parts)
    return replace(least, partial=any(cost.unknown for cost in parts))


def bounded(costs: Iterable[Cost]) -> Cost:
    """The sum of the known parts, ``partial`` if some are unknown; unknown if nothing is known."""
    parts = list(costs)
    whole, least = total(parts), known(parts)
    macs = least.macs if whole.macs is not None else least.macs or None
    flops = least.flops if whole.flops is not None else least.flops or None
    return replace(least, macs=macs, flops=flops, partial=whole.unknown and bool(macs or flops))


def nbytes(tensor: Value | Param | Stored, dtype: str | None = None) -> int:
    """Bytes of a tensor; ``dtype`` replaces the precision of floating-point ones."""
    floating = tensor.dtype.startswith(_FLOATING)
    return size_of(tensor.numel, dtype if dtype and floating else tensor.dtype)


def precision(*graphs: Graph) -> str:
    """The floating-point types that the tensors of networks have: ``float32``, or ``float16 and float32``. If none is
    floating point, all their types.
    """
    dtypes: set[str] = set()
    for graph in graphs:
        dtypes.update(value.dtype for value in (*graph.inputs.values(), *(node.output for node in graph.nodes)))
        dtypes.update(param.dtype for param in graph.params.values())
    floating = {dtype for dtype in dtypes if dtype.startswith(_FLOATING)}
    return " and ".join(sorted(floating or dtypes)) or "float32"


def param_cost(params: Mapping[str, Param], dtype: str | None = None, counted: set[str] | None = None) -> Cost:
    """The cost of parameters and buffers by key, each counted once: as the file stores them, if they are computed.

    What is in ``counted`` is left out; what is counted here is added to it.
    """
    result, seen = Cost(), set() if counted is None else counted
    for key, param in params.items():
        for tensor in param.tensors(key):
            if tensor.name not in seen:
                seen.add(tensor.name)
                result += _stored_cost(tensor, param, nbytes(tensor, dtype))
    return result


def stored_types(params: Mapping[str, Param]) -> dict[str, int]:
    """The number of parameters of each type as they are stored, the most frequent first. Buffers do not count."""
    tensors = {t.name: t for key, param in params.items() if not param.buffer for t in param.tensors(key)}
    counts: dict[str, int] = {}
    for tensor in tensors.values():
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.numel
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _stored_cost(tensor: Stored, param: Param, size: int) -> Cost:
    if param.buffer:
        return Cost(buffers=tensor.numel, transient=0 if param.persistent else tensor.numel, buffer_bytes=size)
    if param.trainable:
        return Cost(trainable=tensor.numel, param_bytes=size)
    return Cost(frozen=tensor.numel, param_bytes=size)


def node_costs(graph: Graph, *, batch: int = 1, dtype: str | None = None) -> dict[str, Cost]:
    """The cost of every node by name. ``batch`` scales activation bytes only, and only of what each image has.

    A ``training_only`` node has its parameters but computes nothing at inference.
    """
    seen: set[str] = set()
    copies = _copies(graph, _storage(graph, graph.nodes, [_shares_memory(node) for node in graph.nodes]), batch)
    return {node.name: _node_cost(graph, node, seen, copies.get(node.name, 1), dtype) for node in graph.nodes}


def _node_cost(graph: Graph, node: Node, seen: set[str], copies: int, dtype: str | None) -> Cost:
    params = param_cost({key: graph.params[key] for key in node.params.values()}, dtype, seen)
    if node.training_only:
        return params
    x = graph.values(node)
    macs, elementwise = node.op.macs(x), node.op.elementwise(x)
    flops = None if macs is None or elementwise is None else 2 * macs + elementwise
    size = 0 if node.is_view else copies * nbytes(node.output, dtype)
    return params + Cost(macs=macs, flops=flops, activation_bytes=size)


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Tensors while nodes run one after another: bytes, the first and the last step at which each is alive.

    ``storage`` has, for each value, the name of the tensor that holds it: a view shares its input's memory.
    """

    storage: dict[str, str]
    size: dict[str, int]
    born: dict[str, int]
    dies: dict[str, int]

    def alive(self, steps: int) -> list[int]:
        """Bytes alive at each of ``steps`` steps, the step's inputs and output included."""
        change = [0] * (steps + 1)
        for name, last in self.dies.items():
            change[self.born[name]] += self.size[name]
            change[last + 1] -= self.size[name]
        return list(accumulate(change[:-1]))


def lifetimes(
    graph: Graph, nodes: Sequence[Node], aliased: Sequence[bool], *, batch: int, dtype: str | None = None
) -> Lifetimes:
    """The tensors of ``nodes``; where a node is ``aliased`` its output lies in the memory of its first input."""
    storage = _storage(graph, nodes, aliased)
    copies = _copies(graph, storage, batch)
    size = {name: copies[name] * nbytes(value, dtype) for name, value in graph.inputs.items()}
    born, dies = dict.fromkeys(graph.inputs, 0), dict.fromkeys(graph.inputs, 0)
    for step, (node, shared) in enumerate(zip(nodes, aliased, strict=True)):
        if not shared:
            of_parameter = node.is_view and not node.inputs
            size[node.name] = 0 if of_parameter else copies.get(node.name, 1) * nbytes(node.output, dtype)
            born[node.name] = step
        dies |= {storage[name]: step for name in (*node.inputs, node.name)}
    dies |= {storage[name]: len(nodes) - 1 for name in graph.outputs if name in storage}
    return Lifetimes(storage, size, born, dies)


def _storage(graph: Graph, nodes: Iterable[Node], aliased: Iterable[bool]) -> dict[str, str]:
    """The name of the tensor in whose memory each value lies."""
    storage = {name: name for name in graph.inputs}
    for node, shared in zip(nodes, aliased, strict=True):
        storage[node.name] = storage[node.inputs[0]] if shared else node.name
    return storage


def _copies(graph: Graph, storage: Mapping[str, str], batch: int) -> dict[str, int]:
    """How often a batch needs each tensor that holds something of each image; it needs all others once.

    Constants, computed weights and sums over the batch stay as they are, unless values of the images are written into
    their memory.
    """
    return {held: batch for name, held in storage.items() if name in graph.per_image}


def _shares_memory(node: Node) -> bool:
    return node.is_view and bool(node.inputs)


def live_bytes(graph: Graph, *, batch: int = 1, dtype: str | None = None) -> dict[str, int]:
    """Bytes alive while each node runs, its inputs and its output included, by node name."""
    nodes = [node for node in graph.nodes if not node.training_only]
    tensors = lifetimes(graph, nodes, [_shares_memory(node) for node in nodes], batch=batch, dtype=dtype)
    return dict(zip((node.name for node in nodes), tensors.alive(len(nodes)), strict=True))
