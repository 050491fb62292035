"""Fully connected layers in torch, and the products of traces."""

from __future__ import annotations

import torch
from torch import nn

from cnnscope.nn.ops.base import Function, Lacks, Module, TorchOp, X
from cnnscope.nn.ops.merge import infix
from cnnscope.ops import product


def _linear(op: product.Linear, x: X) -> Module:
    return Module(nn.Linear, {"in_features": x[0].shape[-1], "out_features": op.out, "bias": op.bias})


_MATMUL = Function(torch.matmul, write=infix("@"))
_COMPUTED = "other ops compute its weights"
_UNKNOWN = {
    product.ScaledDotProduct: "a trace does not keep its mask and scale",
    product.Bilinear: "it has two inputs and weights of its own", product.Distances: "it is no layer of torch",
    product.ComputedConv: _COMPUTED, product.ComputedTransposedConv: _COMPUTED, product.ComputedLinear: _COMPUTED,
}  # fmt: skip
_MANY = Lacks("it stands for several functions, which the rules of sources list")
TORCH_OPS = (
    TorchOp(op=product.Linear, make=_linear, roles={nn.Linear: "conv"}, aten=("linear",), onnx=("Gemm",)),
    TorchOp(op=product.MatMul, make=lambda op, x: _MATMUL, roles={torch.matmul: "bilinear"}, aten=_MANY, onnx=_MANY),
    *(TorchOp(op=op, make=Lacks(why), roles=Lacks(why), aten=_MANY, onnx=_MANY) for op, why in _UNKNOWN.items()),
)
