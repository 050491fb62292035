"""Fully connected layers in torch."""

from __future__ import annotations

from torch import nn

from cnnscope.nn.ops.base import Module, TorchOp, X
from cnnscope.ops import linear


def _linear(op: linear.Linear, x: X) -> Module:
    return Module(nn.Linear, {"in_features": x[0].shape[-1], "out_features": op.out, "bias": op.bias})


TORCH_OPS = (
    TorchOp(op=linear.Linear, make=_linear, roles={nn.Linear: "conv"}, aten=("linear",), onnx=("Gemm",)),
)  # fmt: skip
