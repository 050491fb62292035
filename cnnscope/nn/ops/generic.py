"""Ops of traces in torch, if they have all the information: movement, joins, reductions, sums, products, weights.

Of functions of single elements a trace keeps costs and reads, not constant operands, so most of them cannot be run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.ir.steps import Permute, Reshape, Shape, Step, Taps
from cnnscope.nn.code import Call, Expr, Lit
from cnnscope.nn.ops.base import Function, Inputs, Lacks, Module, TorchOp, X, inline, of_role, write_pad
from cnnscope.nn.ops.merge import add, concatenated, infix, mul
from cnnscope.nn.ops.movement import window
from cnnscope.ops import generic
from cnnscope.ops.traced import moved

Move = Callable[[Tensor], Tensor]
_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "mean": torch.mean, "sum": torch.sum, "amax": torch.amax, "amin": torch.amin,
}  # fmt: skip
_COPIES = ("clone", "contiguous")


class Weight(nn.Module):
    """A weight as a value of the network, without a batch axis."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Tensor:
        return self.value


def chain(x: Tensor, moves: Sequence[Move]) -> Tensor:
    """One move after the other."""
    for move in moves:
        x = move(x)
    return x


def _movement(op: generic.Movement, x: X) -> Module | Function | None:
    """Steps one after the other; the batch axis stays first and may have any size."""
    if op.dtype is not None:
        return None
    if not op.steps:
        return Module(nn.Identity, code=inline(lambda x: x[0])) if op.kind in _COPIES else None
    if x[0].batch_axis != 0 or op.output(x[:1]).batch_axis != 0:
        return None
    found = [_move(step, moved(x[0], op.steps[:i]).shape) for i, step in enumerate(op.steps)]
    moves = [pair for pair in found if pair is not None]

    def write(inputs: Inputs) -> Expr:
        result = inputs[0]
        for _, writer in moves:
            result = writer(result)
        return result

    whole = len(moves) == len(op.steps)
    return Function(chain, (tuple(move for move, _ in moves),), write=write) if whole else None


def _move(step: Step, shape: Shape) -> tuple[Move, Callable[[Expr], Expr]] | None:
    """One step of a tensor of ``shape`` as a function and as an expression; None if it may change the batch or is
    neither a window nor a border of zeros.
    """
    match step:
        case Permute(order):
            return lambda x: x.permute(order), lambda x: Call("permute", tuple(map(Lit, order)), target=x)
        case Reshape((1, *rest)):
            sizes = (Lit(-1), *(Lit(n, "size") for n in rest))
            return lambda x: x.reshape(-1, *rest), lambda x: Call("reshape", sizes, target=x)
        case Taps(axis=axis, size=size, n=n, taps=((first,),), border="drop") if n > 0 and axis > 0:
            last = first + n * (size - 1)
            picked = [slice(None)] * axis + [slice(first, last + 1, n)]
            if first >= 0 and last < shape[axis]:
                return lambda x: x[tuple(picked)], lambda x: window(x, picked)
            if n == 1:
                pads = [0, 0] * (len(shape) - 1 - axis) + [-first, last + 1 - shape[axis]]
                return lambda x: F.pad(x, pads), lambda x: write_pad(x, pads, "constant")
    return None


def _reduce(op: generic.Reduce, x: X) -> Function | None:
    if op.fn not in _REDUCTIONS or op.dtype is not None:
        return None
    axes = op.axes[0] if len(op.axes) == 1 else op.axes
    named = (("keepdim", Lit(op.keep, "keepdim", False)),)
    return Function(_REDUCTIONS[op.fn], (op.axes, op.keep), write=lambda x: Call(op.fn, (Lit(axes),), named, x[0]))


def _elementwise(op: generic.Elementwise, x: X) -> Function | None:
    """A sum or product of two inputs, beside which there is no constant."""
    if op.fn not in ("add", "mul") or op.dtype is not None or len(x) != 2:
        return None
    return Function(add if op.fn == "add" else mul, write=infix("+" if op.fn == "add" else "*"))


_OTHERS = (nn.CELU, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold)
"""Activations for which the spec language has no op."""
_MANY = Lacks("it stands for many functions, which the rules of sources list")
_NAMED_ELSEWHERE = Lacks("the functions it is made of are those of other ops")
_UNKNOWN = {
    generic.Overwrite: "where a trace writes to is known, not by which statement",
    generic.Scan: "it stands for many functions, and a trace keeps only what they cost and read",
    generic.Constant: "a trace keeps the shape of a constant, not its numbers",
    generic.Embedding: "its input is a tensor of indices, not an image",
    generic.EmbeddingBag: "its input is a tensor of indices, not an image",
    generic.Gather: "what it reads depends on values that the trace does not have",
    generic.Select: "a module has one output",
    generic.Unsupported: "no rule covers the function",
}
TORCH_OPS = (
    TorchOp(op=generic.Elementwise, make=_elementwise, roles=of_role("activation", *_OTHERS), aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.Movement, make=_movement, roles={chain: "move"}, aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.View, make=_movement, roles={chain: "move"}, aten=_MANY, onnx=_MANY),
    TorchOp(op=generic.Join, make=lambda op, x: concatenated(op.axis), roles=_NAMED_ELSEWHERE, aten=_MANY, onnx=_MANY),
    TorchOp(
        op=generic.Reduce, make=_reduce, roles={torch.sum: "average", torch.mean: "average", torch.amax: "max"},
        aten=_MANY, onnx=_MANY,
    ),
    TorchOp(
        op=generic.Parameter, make=lambda op, x: Module(Weight, {"shape": op.shape}), roles={Weight: "other"},
        aten=_MANY, onnx=_MANY,
    ),
    *(TorchOp(op=op, make=Lacks(why), roles=Lacks(why), aten=_MANY, onnx=_MANY) for op, why in _UNKNOWN.items()),
)  # fmt: skip
