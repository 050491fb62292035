"""Joins of several inputs in torch: functions, which exported source writes as operators."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor

from cnnscope.nn.code import Call, Expr, Infix, Items, Lit
from cnnscope.nn.ops.base import Function, Inputs, TorchOp, Writer, X
from cnnscope.ops import merge
from cnnscope.ops.base import along


def add(*x: Tensor) -> Tensor:
    return reduce(torch.add, x)


def mul(*x: Tensor) -> Tensor:
    return reduce(torch.mul, x)


def concat(*x: Tensor, dim: int) -> Tensor:
    return torch.cat(x, dim)


def infix(operator: str) -> Writer:
    """Inputs joined by an operator: ``a + b``."""

    def write(inputs: Inputs) -> Expr:
        return Infix(operator, tuple(inputs)) if len(inputs) > 1 else inputs[0]

    return write


def concat_spread(*x: Tensor, dim: int) -> Tensor:
    """Joins tensors of which some have no batch: each image gets them."""
    sizes = [max(t.shape[axis] for t in x) for axis in range(x[0].dim())]
    sizes[dim] = -1
    return torch.cat([t.expand(sizes) for t in x], dim)


def concatenated(axis: int, x: X) -> Function:
    """``torch.cat([a, b], dim=1)``; tensors without a batch are repeated for every image."""
    batched = {value.batch_axis for value in x}
    if None in batched and len(batched) > 1:
        return Function(concat_spread, named={"dim": axis}, defines=(concat_spread,))

    def write(inputs: Inputs) -> Expr:
        return Call("torch.cat", (Items(tuple(inputs)),), (("dim", Lit(axis)),))

    return Function(concat, named={"dim": axis}, write=write)


def _concat(op: merge.Concat, x: X) -> Function:
    return concatenated(along(x[0], op.axis), x)


_ADD, _SUB, _MUL = (
    Function(add, write=infix("+")),
    Function(torch.sub, write=infix("-")),
    Function(mul, write=infix("*")),
)
TORCH_OPS = (
    TorchOp(op=merge.Add, make=lambda op, x: _ADD, roles={add: "add"}, aten=("add",), onnx=("Add", "Sum")),
    TorchOp(op=merge.Sub, make=lambda op, x: _SUB, roles={torch.sub: "other"}, aten=("sub",), onnx=("Sub",)),
    TorchOp(op=merge.Mul, make=lambda op, x: _MUL, roles={mul: "product"}, aten=("mul",), onnx=("Mul",)),
    TorchOp(op=merge.Concat, make=_concat, roles={concat: "move", concat_spread: "move"},
            aten=("cat", "concat", "concatenate"), onnx=("Concat",)),
)  # fmt: skip
