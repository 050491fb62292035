"""Re-inference: binds the ops of a changed graph to their new inputs.

A layer keeps what its author stated (``out``, ``kernel``, ``stride``) and adapts what follows from its input: the
input channels of its weights, the channels of a norm, the groups of a depthwise convolution. Padding and sizes follow
what their author meant (`cnnscope.edits.intents`). Ops that occur only in traces contain shapes of the traced run; they
are adapted if the new shape follows from the change alone, and refused (E492) otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnnscope.edits.carry import as_traced, carried
from cnnscope.edits.intents import padded_for_window, repadded, sized, source_of_size, takes_size
from cnnscope.errors import CnnscopeError, Diagnostic, ShapeError
from cnnscope.ir import Graph, Node, Param, Shape, Value
from cnnscope.ir.builder import bind
from cnnscope.ir.graph import NO_INTENT, Intent
from cnnscope.ops.base import Op, shape_text
from cnnscope.ops.call import Literal
from cnnscope.ops.conv import Conv
from cnnscope.ops.generic import Elementwise, Gather, Join, Movement, Overwrite, Parameter, Select
from cnnscope.ops.generic import Unsupported as Unruled
from cnnscope.ops.merge import different_sizes
from cnnscope.ops.movement import Flatten
from cnnscope.ops.product import ComputedConv, ComputedLinear, ComputedTransposedConv, MatMul
from cnnscope.ops.rearrange import Pad
from cnnscope.ops.traced import Traced, broadcast


@dataclass(slots=True)
class _Refit:
    """The graph before, its readers, and the nodes, values and weights so far."""

    graph: Graph
    values: dict[str, Value]
    readers: dict[str, list[Node]]
    tables: bool
    kept: dict[str, Node] = field(default_factory=dict)
    params: dict[str, Param] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Binds one node to what it reads now."""
        x = [self.values[name] for name in node.inputs]
        before = self.old.get(node.name)
        if before is None:
            self._keep(*self._fresh(node, x))
            return
        same = node.op == before.op and x == list(self.graph.values(before)) and not takes_size(node.op)
        if same:
            self._keep(node, {key: self.graph.params[key] for key in node.params.values()})
            return
        try:
            renewed = self._renewed(node, before, x)
        except ShapeError as error:
            if not (self.tables and self._table_grown(node, x)):
                raise misfit(self.graph, node, x, error, self.kept) from None
            self.add(node)
            return
        self._keep(*renewed)

    @property
    def old(self) -> Mapping[str, Node]:
        return self.graph._nodes_by_name

    def _keep(self, node: Node, params: Mapping[str, Param]) -> None:
        for key, param in params.items():
            if self.params.setdefault(key, param) != param:
                raise shared(key, self.params[key], param)
        self.values[node.name] = node.output
        self.kept[node.name] = node

    def _fresh(self, node: Node, x: Sequence[Value]) -> tuple[Node, dict[str, Param]]:
        """A node that the graph did not have, with weights of its own."""
        try:
            bound = bind(node.op, x)
        except ShapeError as error:
            raise misfit(self.graph, node, x, error, self.kept) from None
        keys, params = _new_weights(node.name, bound.weights, bound.buffers)
        return replace(node, op=bound.op, output=bound.output, params=keys, intent=bound.intent), params

    def _renewed(self, node: Node, before: Node, x: Sequence[Value]) -> tuple[Node, dict[str, Param]]:
        """The node bound to ``x``, and its weights in the shapes that the op needs now."""
        old = self.graph.values(before)
        op: Any = self._meant(node, before, old, x)
        if type(op) is not type(before.op) or not isinstance(op, Op):
            intent = Intent(pad=op.pad) if isinstance(getattr(op, "pad", None), str) else NO_INTENT
            node, op = replace(node, intent=intent), op.bind(x)
        else:
            op = rebound(op, old, x, before.intent)
        value = op.infer(x)
        if type(op) is type(before.op) and before.op.output(old) != before.output:  # a trace knows more than its op
            rank = len(value.shape) == len(before.output.shape)
            value = replace(
                value, dtype=before.output.dtype,
                kind=before.output.kind if rank else value.kind,
                batch_axis=before.output.batch_axis if rank else value.batch_axis,
            )  # fmt: skip
        keys, params = self._weights(node, op, before, x)
        return replace(node, op=op, output=value, params=keys), params

    def _meant(self, node: Node, before: Node, old: Sequence[Value], x: Sequence[Value]) -> Op:
        """The op with the padding and the size that its author means here."""
        assert isinstance(node.op, Op)
        readers = self.readers.get(node.name, [])
        if takes_size(node.op) and node.op == before.op:
            known = {**self.graph.inputs, **{name: n.output for name, n in self.old.items()}}
            source = source_of_size(before, known, [self.old[r.name] for r in readers if r.name in self.old])
            return node.op if source not in self.values else sized(node.op, self.values[source].shape[2:])
        if isinstance(node.op, Pad) and node.op == before.op:
            return padded_for_window(node.op, old[0], x[0], [self.old[r.name] for r in readers if r.name in self.old])
        return repadded(node, before, old, x)

    def _weights(self, node: Node, op: Op, before: Node, x: Sequence[Value]) -> tuple[dict[str, str], dict[str, Param]]:
        """Keys and weights: those it had, in the shape that the op needs now; one that is no weight of the op (a
        constant's origin) stays; one that it did not need before is new."""
        old = self.graph.values(before)
        was = {**before.op.weights(old), **before.op.buffers(old)}
        weights, buffers = op.weights(x), op.buffers(x)
        now = {**weights, **buffers}
        keys, params = dict[str, str](), dict[str, Param]()
        for role, key in node.params.items():
            if role in now or role not in was:
                param = self.graph.params[key]
                same = role not in now or was.get(role) == now[role]
                keys[role], params[key] = key, param if same else replace(param, shape=now[role], data=None, made_of=())
        stem = next(iter(node.params.values()), f"{node.name}.weight").rpartition(".")[0]
        more, fresh = _new_weights(
            stem,
            {role: shape for role, shape in weights.items() if role not in was},
            {role: shape for role, shape in buffers.items() if role not in was},
        )
        return keys | more, params | fresh

    def _table_grown(self, node: Node, x: Sequence[Value]) -> bool:
        """Whether a learned table that ``node`` adds to something of another size took that size."""
        tables = [name for name in node.inputs if name in self.kept and isinstance(self.kept[name].op, Parameter)]
        others = [value for name, value in zip(node.inputs, x, strict=True) if name not in tables]
        if len(tables) != 1 or len(others) != 1 or len(self.readers.get(tables[0], [])) != 1:
            return False
        table, other = self.kept[tables[0]], others[0]
        assert isinstance(table.op, Parameter)
        if len(other.shape) != len(table.op.shape):
            return False
        shape = tuple(n if was != 1 else 1 for was, n in zip(table.op.shape, other.shape, strict=True))
        if shape == table.op.shape:
            return False
        op = replace(table.op, shape=shape)
        self.kept[table.name] = replace(table, op=op, output=replace(table.output, shape=shape))
        self.values[table.name] = self.kept[table.name].output
        for key in table.params.values():
            self.params[key] = replace(self.params[key], shape=shape, data=None, made_of=())
        return True


def refit(
    graph: Graph, nodes: Sequence[Node], outputs: Sequence[str], *, inputs: Mapping[str, Value] | None = None,
    tables: bool = False,
) -> Graph:  # fmt: skip
    """The graph of ``nodes`` with shapes and weights inferred again.

    The nodes are those of ``graph``, with other inputs or ops, and new ones, whose outputs are yet unknown; ``inputs``
    replaces the inputs of the network. A node whose inputs did not change stays the same. Weights that were unused
    before stay; those that become unused are removed. With ``tables`` position embeddings take another size.

    `CnnscopeError`: E491 where a node does not fit what it reads, E492 where a traced op cannot be carried over, E304
    where layers that share a weight would need it in two shapes.
    """
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            readers.setdefault(name, []).append(node)
    inputs = inputs or graph.inputs
    state = _Refit(graph, dict(inputs), readers, tables)
    for node in nodes:
        state.add(node)
    params = state.params
    order = {key: params.get(key, param) for key, param in graph.params.items() if key in params or key in graph.unused}
    alive = {node.layer for node in state.kept.values()}
    scopes = {path: kind for path, kind in graph.scopes.items() if any(_under(layer, path) for layer in alive)}
    return replace(
        graph, inputs=inputs, nodes=tuple(state.kept.values()), outputs=tuple(dict.fromkeys(outputs)),
        params=order | params, scopes=scopes,
    )  # fmt: skip


def _under(layer: str, path: str) -> bool:
    return layer == path or layer.startswith(f"{path}.")


def _new_weights(
    stem: str, weights: Mapping[str, Shape], buffers: Mapping[str, Shape]
) -> tuple[dict[str, str], dict[str, Param]]:
    keys = {role: f"{stem}.{role}" for role in (*weights, *buffers)}
    params = {keys[role]: Param(shape) for role, shape in weights.items()}
    counter = {role: "int64" if shape == () else "float32" for role, shape in buffers.items()}
    return keys, params | {
        keys[role]: Param(shape, dtype=counter[role], trainable=False, buffer=True) for role, shape in buffers.items()
    }


class MisfitError(CnnscopeError):
    """The error for a node that does not fit its new input.

    ``layer`` is its row, ``node`` its name, ``inputs`` the shapes that it reads, without batch.
    """

    layer: str = ""
    node: str = ""
    op: str = ""
    inputs: tuple[Shape, ...] = ()


def misfit(
    graph: Graph, node: Node, x: Sequence[Value], error: ShapeError, kept: Mapping[str, Node] | None = None
) -> MisfitError:
    """The error for a node that cannot read ``x``; ``kept`` has new nodes that it may read."""
    (found,) = error.diagnostics
    rows = {each.name: each.layer for each in (*graph.nodes, *(kept or {}).values()) if each.layer != node.layer}
    inputs = " and ".join(
        f"`{rows.get(name, name)}` ({shape_text(v.features)})" for name, v in zip(node.inputs, x, strict=True)
    )
    joins = found.code in ("E302", "E303")
    text = f"`{node.layer}` cannot join {inputs}" if joins else f"`{node.layer}` cannot read {inputs}: {found.message}"
    result = MisfitError(Diagnostic("E492" if found.code == "E492" else "E491", text, node.span))
    result.layer, result.node, result.op = node.layer, node.name, node.op.tag
    result.inputs = tuple(value.features for value in x)
    return result


def shared(key: str, one: Param, other: Param) -> CnnscopeError:
    """The error for a weight that would need two shapes."""
    shapes = f"{shape_text(one.shape)} and {shape_text(other.shape)}"
    return CnnscopeError.of("E304", f"layers share `{key}`, which would have to be {shapes}")


# -- ops ---------------------------------------------------------------------------------------------------------------


def rebound(op: Op, old: Sequence[Value], new: Sequence[Value], intent: Intent = NO_INTENT) -> Op:
    """``op`` adapted from ``old`` to ``new`` inputs, as its author's ``intent`` says; `ShapeError` if it cannot be."""
    ranks = any(len(a.shape) != len(b.shape) for a, b in zip(old, new, strict=True))
    if ranks and not isinstance(op, Flatten) and (isinstance(op, Traced) or any(v.kind == "tensor" for v in new)):
        raise as_traced("it was traced with another number of axes")
    match op:
        case ComputedConv() | ComputedTransposedConv() | ComputedLinear():
            axis = -1 if isinstance(op, ComputedLinear) else 1
            if old[0].shape[axis] != new[0].shape[axis] or list(old[1:]) != list(new[1:]):
                raise as_traced("other layers compute its weights, for the channels it had")
        case Conv(groups=groups) if (
            groups == old[0].shape[1] > 1 and op.out % groups == 0
        ):  # a depthwise convolution stays depthwise
            channels = new[0].shape[1]
            return replace(op, groups=channels, out=op.out // groups * channels).bind(new)
        case Movement(steps=steps):
            return replace(op, steps=carried(steps, old[0].shape, new[0].shape, intent))
        case Elementwise():
            _check_broadcast(new)
            if op.shape:
                op = replace(op, shape=_stretched(op.shape, old, new))
            return op if _constants_fit(op, op.output(new).shape) else replace(op, call=None)
        case Join(axis=axis):
            if len({_without(value.shape, axis) for value in new}) > 1:
                raise different_sizes(new)
        case MatMul() if new[0].shape[-1] != new[1].shape[-2]:
            raise ShapeError(f"a product of {shape_text(new[0].shape)} and {shape_text(new[1].shape)} does not exist")
        case Overwrite() | Gather() | Select() | Unruled() if list(old) != list(new):
            raise as_traced("its output has the shape that was traced")
        case Traced():
            return op
        case _:
            return op.bind(new)
    return op


def _without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def _check_broadcast(x: Sequence[Value]) -> None:
    whole = broadcast([value.shape for value in x])
    for value in x:
        tail = whole[len(whole) - len(value.shape) :]
        if any(n not in (1, m) for n, m in zip(value.shape, tail, strict=True)):
            raise different_sizes(x)


def _constants_fit(op: Elementwise, whole: Shape) -> bool:
    """Whether constants among the operands are broadcast to the result: a mask of another size is not known."""
    shapes = [leaf.shape for leaf in (op.call.leaves() if op.call else ()) if isinstance(leaf, Literal)]
    return all(n in (1, m) for shape in shapes for n, m in zip(shape[::-1], whole[::-1], strict=False))


def _stretched(shape: Shape, old: Sequence[Value], new: Sequence[Value]) -> Shape:
    """The shape of a result that is broadcast against constants: axes that they stretch stay, others follow the
    inputs."""
    before, after = (broadcast([value.shape for value in x]) for x in (old, new))
    lead = len(shape) - len(before)
    axes = zip(shape[lead:], before, after, strict=True)
    return shape[:lead] + tuple(whole if whole != was else now for whole, was, now in axes)
