"""Ops that move elements, in torch: methods of the tensor, and slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnnscope.ir.steps import Shape
from cnnscope.nn.code import Call, Expr, Index, Lit
from cnnscope.nn.ops.base import Function, Inputs, Lacks, Module, TorchOp, X
from cnnscope.ops import movement as move
from cnnscope.ops.base import axis_of


def reshape(x: Tensor, shape: Shape) -> Tensor:
    """The tensor with another shape behind the batch."""
    return x.reshape(len(x), *shape)


def take(x: Tensor, axis: int, picked: slice) -> Tensor:
    return x[(*(slice(None),) * axis, picked)]


def window(x: Expr, picked: Sequence[slice]) -> Expr:
    """``x[:, 3:8]``: these parts of the first axes."""
    texts: list[str] = []
    values: list[Expr] = []
    for part in picked:
        ends = [(part.start or None, "start"), (part.stop, "stop")]
        values += [Lit(end, name) for end, name in ends if end is not None]
        start, stop = ("" if end is None else "{}" for end, _ in ends)
        texts.append(f"{start}:{stop}" + (f":{part.step}" if part.step not in (None, 1) else ""))
    return Index(x, ", ".join(texts), tuple(values))


def method(name: str, *args: Any) -> Any:
    """A writer of a method of the first input: ``x.permute(0, 2, 1)``."""
    return lambda x: Call(name, tuple(map(Lit, args)), target=x[0])


def _flatten(op: move.Flatten, x: X) -> Module:
    ends = (op.start,) if op.end == -1 else (op.start, op.end)
    return Module(nn.Flatten, {"start_dim": op.start, "end_dim": op.end}, method("flatten", *ends))


def _reshape(op: move.ReshapeOp, x: X) -> Function:
    shape = op.output(x).shape[1:]
    return Function(reshape, (shape,), write=method("reshape", -1, *shape))


def _permute(op: move.PermuteOp, x: X) -> Function:
    order = (0, *op.order)
    return Function(torch.permute, (order,), write=method("permute", *order))


def _slice(op: move.Slice, x: X) -> Function:
    axis, picked = axis_of(x[0], op.axis), slice(op.start, op.stop, op.step)
    return Function(take, (axis, picked), write=lambda x: window(x[0], [slice(None)] * axis + [picked]))


def _roll(op: move.Roll, x: X) -> Function:
    axis = axis_of(x[0], op.axis)

    def write(inputs: Inputs) -> Expr:
        return Call("torch.roll", (*inputs, Lit(op.shift), Lit(axis)))

    return Function(torch.roll, (op.shift, axis), write=write)


def _flip(op: move.Flip, x: X) -> Function:
    axis = axis_of(x[0], op.axis)
    return Function(torch.flip, ((axis,),), write=method("flip", axis))


_GENERAL = Lacks("a traced tensor may move its batch too, which the traced op `view` or `movement` says")
TORCH_OPS = (
    TorchOp(
        op=move.Identity, make=lambda op, x: Module(nn.Identity, function=lambda x: x[0]),
        roles={nn.Identity: "move"}, aten=Lacks("there is nothing to call"), onnx=("Identity",),
    ),
    TorchOp(op=move.Flatten, make=_flatten, roles={nn.Flatten: "move"}, aten=("flatten",), onnx=("Flatten",)),
    TorchOp(op=move.ReshapeOp, make=_reshape, roles={reshape: "move", nn.Unflatten: "move"}, aten=_GENERAL,
            onnx=_GENERAL),
    TorchOp(op=move.PermuteOp, make=_permute, roles={torch.permute: "move"}, aten=_GENERAL, onnx=_GENERAL),
    TorchOp(op=move.Slice, make=_slice, roles={take: "move"}, aten=_GENERAL, onnx=_GENERAL),
    TorchOp(op=move.Roll, make=_roll, roles={torch.roll: "move"}, aten=_GENERAL, onnx=_GENERAL),
    TorchOp(op=move.Flip, make=_flip, roles={torch.flip: "move"}, aten=_GENERAL, onnx=_GENERAL),
)  # fmt: skip
