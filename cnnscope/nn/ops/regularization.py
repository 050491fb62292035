"""Dropout in torch, and stochastic depth, which torch lacks. All hand their input on at inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnscope.nn.ops.base import Lacks, Module, TorchOp, of_rank, of_role, ranks
from cnnscope.ops import regularization as drop


class StochasticDepth(nn.Module):
    """Zeroes whole images of the batch with probability ``p`` in training (Huang et al. 2016, section 3)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        if self.p == 1:
            return torch.zeros_like(x)
        keep = torch.rand(len(x), *(1,) * (x.dim() - 1), device=x.device) >= self.p
        return x * keep / (1 - self.p)


_UNSEEN = Lacks("at inference nothing is left of it")
TORCH_OPS = (
    TorchOp(
        op=drop.Dropout, make=lambda op, x: Module(nn.Dropout, {"p": op.p}), roles={nn.Dropout: "move"},
        aten=("dropout",), onnx=("Dropout",),
    ),
    TorchOp(
        op=drop.SpatialDropout, make=lambda op, x: Module(of_rank("Dropout", x), {"p": op.p}),
        roles=of_role("move", *ranks("Dropout")), aten=("feature_dropout",), onnx=_UNSEEN,
    ),
    TorchOp(
        op=drop.AlphaDropout, make=lambda op, x: Module(nn.AlphaDropout, {"p": op.p}),
        roles={nn.AlphaDropout: "move"}, aten=("alpha_dropout", "feature_alpha_dropout"), onnx=_UNSEEN,
    ),
    TorchOp(
        op=drop.StochasticDepth, make=lambda op, x: Module(StochasticDepth, {"p": op.p}, defines=(StochasticDepth,)),
        roles={StochasticDepth: "move"}, aten=_UNSEEN, onnx=_UNSEEN,
    ),
)  # fmt: skip
