"""Ops of traces as torch modules, as far as they say all there is to say: movement, joins, reductions, products.

Functions of single elements are not here: a trace keeps what they cost and read, not their constant operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from cnnscope.ir.graph import Operation, Value
from cnnscope.ir.steps import Permute, Reshape, Shape, Step, Taps
from cnnscope.nn import functional
from cnnscope.nn.layers import Call
from cnnscope.ops.generic import Elementwise, Join, Movement, Parameter, Reduce
from cnnscope.ops.product import MatMul

Move = Callable[[Tensor], Tensor]
_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean, "sum": torch.sum, "amax": torch.amax, "amin": torch.amin,
}  # fmt: skip
_COPIES = ("clone", "contiguous")


class Weight(nn.Module):
    """A weight used as it is, with no batch axis of its own."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Tensor:
        return self.value


def traced_module(op: Operation, x: Sequence[Value]) -> nn.Module | None:
    """What computes a traced op on inputs like ``x`` at any batch size; None where it does not say enough."""
    match op:
        case Parameter(shape=shape):
            return Weight(shape)
        case Join(axis=axis):
            return Call(functional.concat, dim=axis)
        case MatMul():
            return Call(torch.matmul)
        case Reduce(fn=fn, axes=axes, keep=keep, dtype=None) if fn in _REDUCTIONS:
            return Call(_REDUCTIONS[fn], axes, keep)
        case Elementwise(fn=("add" | "mul") as fn, dtype=None) if len(x) == 2:  # so there is no constant beside them
            return Call(torch.add if fn == "add" else torch.mul)
        case Movement(dtype=None):
            return _movement(op, x[0])
    return None


def _movement(op: Movement, before: Value) -> nn.Module | None:
    """Steps one behind the other; the batch axis stays first and may have any size."""
    if not op.steps:
        return nn.Identity() if op.kind in _COPIES else None
    if before.batch_axis != 0 or op.output((before,)).batch_axis != 0:
        return None
    moves = [_move(step) for step in op.steps]
    return None if None in moves else Call(chain, tuple(moves))


def chain(x: Tensor, moves: Sequence[Move]) -> Tensor:
    """One move after the other."""
    for move in moves:
        x = move(x)
    return x


def _move(step: Step) -> Move | None:
    match step:
        case Permute(order):
            return lambda x: x.permute(order)
        case Reshape((1, *rest)):
            return lambda x: x.reshape(-1, *rest)
        case Taps(axis=axis, size=size, n=n, taps=((first,),), border="drop") if n > 0 and axis > 0 and first >= 0:
            window = (*(slice(None),) * axis, slice(first, first + n * (size - 1) + 1, n))
            return lambda x: x[window]
    return None
