"""Ops of traces as code, as far as they say all there is to say: movement, joins, reductions, products.

Functions of single elements are not here: a trace keeps what they cost and read, not their constant operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cnnscope.ir import Graph, Node, Value
from cnnscope.ir.reads import Permute, Reshape, Step, Taps
from cnnscope.nn.export_code import Call, Expr, Infix, Items, Lit
from cnnscope.nn.export_modules import Code, window
from cnnscope.ops.generic import Join, Movement, Reduce
from cnnscope.ops.product import MatMul

_REDUCTIONS = ("mean", "sum", "amax", "amin")
_COPIES = ("clone", "contiguous")


def traced_code(node: Node, x: Sequence[Value]) -> Code | None:
    """How to write a node of a trace; None where its op does not say enough."""
    op = node.op
    function: Callable[[Sequence[Expr]], Expr] | None = None
    if isinstance(op, Join):
        axis = op.axis
        function = lambda given: Call("torch.cat", (Items(tuple(given)),), (("dim", Lit(axis)),))  # noqa: E731
    elif isinstance(op, MatMul):
        function = lambda given: Infix("@", tuple(given))  # noqa: E731
    elif isinstance(op, Reduce) and op.fn in _REDUCTIONS and op.dtype is None:
        function = _reduction(op)
    elif isinstance(op, Movement) and op.dtype is None:
        function = _movement(op, x[0], node.output)
    return None if function is None else Code(None, lambda _, given: function(given), function, plain=False)


def _reduction(op: Reduce) -> Callable[[Sequence[Expr]], Expr]:
    axes = op.axes[0] if len(op.axes) == 1 else op.axes
    return lambda given: Call(op.fn, (Lit(axes),), (("keepdim", Lit(op.keep, "keepdim", False)),), given[0])


def _movement(op: Movement, before: Value, after: Value) -> Callable[[Sequence[Expr]], Expr] | None:
    """Steps one behind the other, each as a method of the tensor; the batch axis may have any size."""
    if not op.steps:
        return (lambda given: given[0]) if op.kind in _COPIES else None
    if before.batch_axis != 0 or after.batch_axis != 0:
        return None
    writers = [_step(step) for step in op.steps]
    if any(writer is None for writer in writers):
        return None

    def write(given: Sequence[Expr]) -> Expr:
        result = given[0]
        for writer in writers:
            assert writer is not None
            result = writer(result)
        return result

    return write


def _step(step: Step) -> Callable[[Expr], Expr] | None:
    match step:
        case Permute(order):
            return lambda x: Call("permute", tuple(map(Lit, order)), target=x)
        case Reshape((1, *rest)):
            return lambda x: Call("reshape", (Lit(-1), *(Lit(n, "size") for n in rest)), target=x)
        case Taps(axis=axis, size=size, n=n, taps=((first,),), border="drop") if n > 0 and axis > 0 and first >= 0:
            return lambda x: window(x, [slice(None)] * axis + [slice(first, first + n * (size - 1) + 1, n)])
    return None


# -- graphs as they are written ----------------------------------------------------------------------------------------


def prepared(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph without weights that nothing uses, and their keys.

    In a trace the layer behind a dropout reads what the dropout read: eval mode hands its input on. Here it reads the
    dropout, so that the code does something in training.
    """
    read = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    nodes = list(graph.nodes)
    for i, node in enumerate(nodes):
        if node.name in read or len(node.inputs) != 1 or not node.op.is_view:
            continue
        source = node.inputs[0]
        reader = next((k for k in range(i + 1, len(nodes)) if source in nodes[k].inputs), None)
        if reader is not None:
            inputs = tuple(node.name if name == source else name for name in nodes[reader].inputs)
            nodes[reader] = replace(nodes[reader], inputs=inputs)
    outputs = tuple(_behind(nodes, name, read) for name in graph.outputs)
    kept: dict[str, Any] = {key: param for key, param in graph.params.items() if key not in set(graph.unused)}
    return replace(graph, nodes=tuple(nodes), outputs=outputs, params=kept), graph.unused


def _behind(nodes: Sequence[Node], output: str, read: set[str]) -> str:
    """The output, or the layer that hands it on where that one is read by nobody."""
    last = next((n for n in nodes if n.inputs == (output,) and n.name not in read and n.op.is_view), None)
    return last.name if last else output
