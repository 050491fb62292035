"""Subsampling whose grid follows the content, in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from cnnscope.nn.ops.base import Function, Lacks, TorchOp
from cnnscope.ops import polyphase


def adaptive_polyphase(x: Tensor, stride: tuple[int, ...], p: float) -> Tensor:
    """Each image on the one of its grids of every ``stride``-th pixel that has the largest norm."""
    places = torch.cartesian_prod(*map(torch.arange, stride)).reshape(-1, len(stride)).tolist()
    windows = [[slice(i, None, s) for i, s in zip(place, stride, strict=True)] for place in places]
    grids = [x[(slice(None), slice(None), *window)] for window in windows]
    norms = torch.stack([grid.abs().pow(p).flatten(1).sum(1) for grid in grids])
    return torch.stack(grids)[norms.argmax(0), torch.arange(len(x), device=x.device)]


TORCH_OPS = (
    TorchOp(
        op=polyphase.PolyphasePool,
        make=lambda op, x: Function(adaptive_polyphase, (op.stride, op.p), defines=(adaptive_polyphase,)),
        roles={adaptive_polyphase: "other"},
        aten=Lacks("ATen has slices, norms and an index"),
        onnx=Lacks("ONNX has slices, norms and a gather"),
    ),
)
