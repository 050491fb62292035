"""Products of traces in torch."""

from __future__ import annotations

import torch

from cnnscope.nn.ops.base import Function, Lacks, TorchOp
from cnnscope.nn.ops.merge import infix
from cnnscope.ops import product

_MATMUL = Function(torch.matmul, write=infix("@"))
_UNKNOWN = {
    product.ScaledDotProduct: "a trace does not keep its mask and scale",
    product.Recurrent: "its output is one of several",
    product.ComputedConv: "its weights are computed by other ops",
    product.ComputedTransposedConv: "its weights are computed by other ops",
    product.ComputedLinear: "its weights are computed by other ops",
}
_MANY = Lacks("it stands for several functions, which the rules of sources list")
TORCH_OPS = (
    TorchOp(op=product.MatMul, make=lambda op, x: _MATMUL, roles={torch.matmul: "bilinear"}, aten=_MANY, onnx=_MANY),
    *(TorchOp(op=op, make=Lacks(why), roles=Lacks(why), aten=_MANY, onnx=_MANY) for op, why in _UNKNOWN.items()),
)
