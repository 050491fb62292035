"""Fully connected layers in torch, and the products of traces."""

from __future__ import annotations

import torch
from torch import nn

from cnnscope.nn.code import Call
from cnnscope.nn.ops.base import Function, Lacks, Module, TorchOp, X
from cnnscope.nn.ops.called import called
from cnnscope.nn.ops.merge import infix
from cnnscope.ops import product


def _linear(op: product.Linear, x: X) -> Module:
    args = {"in_features": x[0].shape[-1], "out_features": op.out, "bias": op.bias}
    return Module(nn.Linear, args, applied=lambda x, own: Call("F.linear", (x, *own.values())))


def _bilinear(op: product.Bilinear, x: X) -> Module:
    a, b = (value.shape[-1] for value in x)
    return Module(nn.Bilinear, {"in1_features": a, "in2_features": b, "out_features": op.out, "bias": op.bias})


_MATMUL = Function(torch.matmul, write=infix("@"))
_CALLS = (
    product.ScaledDotProduct, product.Distances, product.ComputedConv, product.ComputedTransposedConv,
    product.ComputedLinear,
)  # fmt: skip
_CALLED = Lacks("it runs as the call that it stands for")
_MANY = Lacks("it stands for several functions, which the rules of sources list")
TORCH_OPS = (
    TorchOp(op=product.Linear, make=_linear, roles={nn.Linear: "conv"}, aten=("linear",), onnx=("Gemm",)),
    TorchOp(op=product.MatMul, make=lambda op, x: _MATMUL, roles={torch.matmul: "bilinear"}, aten=_MANY, onnx=_MANY),
    TorchOp(op=product.Bilinear, make=_bilinear, roles={nn.Bilinear: "other"}, aten=("bilinear",), onnx=_MANY),
    *(TorchOp(op=op, make=lambda op, x: called(op), roles=_CALLED, aten=_MANY, onnx=_MANY) for op in _CALLS),
)
