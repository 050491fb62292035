"""Ops of traces as code, as far as they say all there is to say: movement, joins, reductions, products.

Functions of single elements are not here: a trace keeps what they cost and read, not their constant operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnscope.ir import Node, Value
from cnnscope.ir.steps import Permute, Reshape, Step, Taps
from cnnscope.nn.export.code import Call, Expr, Infix, Items, Lit
from cnnscope.nn.export.pytorch.construct import Code
from cnnscope.nn.export.pytorch.functions import window
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
