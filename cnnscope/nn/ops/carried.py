"""Buffers that a layer stores beside its weights, in torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnscope.ir.steps import Shape
from cnnscope.nn.ops.base import Lacks, Module, TorchOp
from cnnscope.ops.carried import Carried


class Beside(nn.Module):
    """Returns its input and has a buffer."""

    vector: Tensor

    def __init__(self, size: Shape) -> None:
        super().__init__()
        self.register_buffer("vector", torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        return x


_WHY = Lacks("it computes nothing")
TORCH_OPS = (
    TorchOp(
        op=Carried, make=lambda op, x: Module(Beside, {"size": op.size}, defines=(Beside,)), roles={Beside: "move"},
        aten=_WHY, onnx=_WHY,
    ),
)  # fmt: skip
