"""Re-inference: binds the ops of a changed graph to their new inputs.

A layer keeps what its author stated (``out``, ``kernel``, ``stride``) and adapts what follows from its input: the
input channels of its weights, the channels of a norm, the groups of a depthwise convolution. Padding keeps the number
of pixels it was resolved to. Ops that occur only in traces contain shapes of the traced run; they are adapted if the
new shape follows from the change alone, and refused (E492) otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from cnnscope.errors import CnnscopeError, Diagnostic, ShapeError
from cnnscope.ir import Graph, Node, Param, Shape, Value
from cnnscope.ir.steps import Expand, Permute, Place, Reshape, Running, Spread, Step, Taps, Whole
from cnnscope.ops.base import Op, shape_text
from cnnscope.ops.call import Literal
from cnnscope.ops.conv import Conv
from cnnscope.ops.generic import Elementwise, Gather, Join, Movement, Overwrite, Select
from cnnscope.ops.generic import Unsupported as Unruled
from cnnscope.ops.merge import different_sizes
from cnnscope.ops.movement import Flatten
from cnnscope.ops.product import ComputedConv, ComputedLinear, ComputedTransposedConv, MatMul
from cnnscope.ops.traced import Traced, broadcast, moved


def reinfer(graph: Graph, nodes: Sequence[Node], outputs: Sequence[str]) -> Graph:
    """The graph of ``nodes`` (of ``graph``, with other inputs or ops) with shapes and weights inferred again.

    A node whose inputs did not change stays the same. Weights that were unused before stay; those that become unused
    are removed. `CnnscopeError`: E491 where a node does not fit what it reads, E492 where a traced op cannot be carried
    over, E304 where layers that share a weight would need it in two shapes.
    """
    values, kept, params = dict(graph.inputs), [], dict[str, Param]()
    for node in nodes:
        x = [values[name] for name in node.inputs]
        before = graph.node(node.name)
        same = node.op == before.op and x == list(graph.values(before))
        node = node if same else _renewed(graph, node, before, x)
        for role, key in node.params.items():
            param = graph.params[key] if same else _param(graph.params[key], node.op, before, graph, role, x)
            if params.setdefault(key, param) != param:
                raise _shared(key, params[key], param)
        values[node.name] = node.output
        kept.append(node)
    order = {key: params.get(key, param) for key, param in graph.params.items() if key in params or key in graph.unused}
    alive = {node.layer for node in kept}
    scopes = {path: kind for path, kind in graph.scopes.items() if any(_under(layer, path) for layer in alive)}
    return replace(graph, nodes=tuple(kept), outputs=tuple(dict.fromkeys(outputs)), params=order, scopes=scopes)


def _under(layer: str, path: str) -> bool:
    return layer == path or layer.startswith(f"{path}.")


def _renewed(graph: Graph, node: Node, before: Node, x: Sequence[Value]) -> Node:
    """The node bound to ``x``."""
    old = graph.values(before)
    op = node.op
    assert isinstance(op, Op)
    try:
        op = rebound(op, old, x)
        value = op.infer(x)
    except ShapeError as error:
        raise _misfit(graph, node, x, error) from None
    plain = before.op.output(old)
    if plain != before.output:  # a trace knows more about a value than its op
        rank = len(value.shape) == len(before.output.shape)
        value = replace(
            value, dtype=before.output.dtype,
            kind=before.output.kind if rank else value.kind,
            batch_axis=before.output.batch_axis if rank else value.batch_axis,
        )  # fmt: skip
    return replace(node, op=op, output=value)


def _param(param: Param, op: object, before: Node, graph: Graph, role: str, x: Sequence[Value]) -> Param:
    """The parameter in the shape that the op now needs; one that is no weight of the op (a constant's origin) stays."""
    assert isinstance(op, Op)
    old = graph.values(before)
    was = {**before.op.weights(old), **before.op.buffers(old)}.get(role)
    now = {**op.weights(x), **op.buffers(x)}.get(role)
    return param if was == now or now is None else replace(param, shape=now)


class MisfitError(CnnscopeError):
    """The error for a node that does not fit its new input; ``layer`` is its row."""

    layer: str = ""


def _misfit(graph: Graph, node: Node, x: Sequence[Value], error: ShapeError) -> MisfitError:
    (found,) = error.diagnostics
    rows = {each.name: each.layer for each in graph.nodes if each.layer != node.layer}
    inputs = " and ".join(
        f"`{rows.get(name, name)}` ({shape_text(v.features)})" for name, v in zip(node.inputs, x, strict=True)
    )
    joins = found.code in ("E302", "E303")
    text = f"`{node.layer}` cannot join {inputs}" if joins else f"`{node.layer}` cannot read {inputs}: {found.message}"
    misfit = MisfitError(Diagnostic("E492" if found.code == "E492" else "E491", text, node.span))
    misfit.layer = node.layer
    return misfit


def _shared(key: str, one: Param, other: Param) -> CnnscopeError:
    shapes = f"{shape_text(one.shape)} and {shape_text(other.shape)}"
    return CnnscopeError.of("E304", f"layers share `{key}`, which would have to be {shapes}")


# -- ops ---------------------------------------------------------------------------------------------------------------


def rebound(op: Op, old: Sequence[Value], new: Sequence[Value]) -> Op:
    """``op`` adapted from ``old`` to ``new`` inputs; `ShapeError` if that is impossible."""
    ranks = any(len(a.shape) != len(b.shape) for a, b in zip(old, new, strict=True))
    if ranks and not isinstance(op, Flatten) and (isinstance(op, Traced) or any(v.kind == "tensor" for v in new)):
        raise _as_traced("it was traced with another number of axes")
    match op:
        case ComputedConv() | ComputedTransposedConv() | ComputedLinear():
            axis = -1 if isinstance(op, ComputedLinear) else 1
            if old[0].shape[axis] != new[0].shape[axis] or list(old[1:]) != list(new[1:]):
                raise _as_traced("other layers compute its weights, for the channels it had")
        case Conv(groups=groups) if groups == old[0].shape[1] > 1:  # a depthwise convolution stays depthwise
            channels = new[0].shape[1]
            return replace(op, groups=channels, out=op.out // groups * channels).bind(new)
        case Movement(steps=steps):
            return replace(op, steps=_carried(steps, old[0].shape, new[0].shape))
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
        case Overwrite() | Gather() | Select() | Unruled():
            raise _as_traced("its output has the shape that was traced")
        case Traced():
            return op
        case _:
            return op.bind(new)
    return op


def _as_traced(why: str) -> ShapeError:
    return ShapeError(f"{why}, which cannot be carried over to other shapes", code="E492")


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


# -- movements ---------------------------------------------------------------------------------------------------------


def _carried(steps: Sequence[Step], old: Shape, new: Shape) -> tuple[Step, ...]:
    """The same movement for a tensor of another shape; E492 if it is not certain."""
    result: list[Step] = []
    for step in steps:
        carried = step if old == new else _step(step, old, new)
        old, new = (moved(Value(shape), (s,)).shape for shape, s in ((old, step), (new, carried)))
        result.append(carried)
    return tuple(result)


def _step(step: Step, old: Shape, new: Shape) -> Step:
    match step:
        case Permute() | Running() | Spread() | Whole():
            return step
        case Expand(shape=shape):
            lead = len(shape) - len(old)
            axes = zip(shape[lead:], old, new, strict=True)
            return Expand(shape[:lead] + tuple(now if whole == was else whole for whole, was, now in axes))
        case Taps(axis=axis) | Place(axis=axis) if old[axis] == new[axis]:
            return step
        case Reshape(shape=shape):
            return Reshape(_reshaped(old, new, shape))
    raise _as_traced("it picks positions that were counted when it was traced")


def _reshaped(old: Shape, new: Shape, target: Shape) -> Shape:
    """``target`` (a shape for ``old``) adapted to ``new``: runs of axes that hold the same elements change together.

    A run whose axes did not change keeps its part of the target. A run that was merged into a single axis, with any
    axes of size 1 beside it, is merged again.
    """
    result: list[int] = []
    i = j = 0
    while i < len(old) or j < len(target):
        first, start = i, j
        i, j = min(i + 1, len(old)), min(j + 1, len(target))
        while prod(old[first:i]) != prod(target[start:j]):
            if prod(old[first:i]) < prod(target[start:j]):
                i += 1
            else:
                j += 1
        run = list(target[start:j])
        if old[first:i] != new[first:i]:
            longer = [axis for axis, n in enumerate(run) if n != 1]
            if len(longer) != 1 or any(was == 1 != now for was, now in zip(old[first:i], new[first:i], strict=True)):
                raise _as_traced("it splits or drops an axis that had another size when it was traced")
            run[longer[0]] = prod(new[first:i])
        result += run
    return tuple(result)
