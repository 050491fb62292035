"""Sums and products with plain numbers in torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnscope.nn.ops.base import Function, Lacks, TorchOp, X
from cnnscope.ops.affine import Affine


def affine(x: Tensor, scale: Sequence[float], shift: Sequence[float], axis: int) -> Tensor:
    """scale * x + shift, along ``axis`` where they are several numbers."""
    sides = [-1 if i == axis else 1 for i in range(x.ndim)]
    factor, term = (torch.tensor(side, dtype=x.dtype, device=x.device) for side in (scale, shift))
    factor, term = (side.reshape(sides) if side.numel() > 1 else side for side in (factor, term))
    return x * factor + term


def _affine(op: Affine, x: X) -> Function:
    return Function(affine, (op.scale, op.shift, op.axis), defines=(affine,))


_MANY = Lacks("it stands for several functions, which the rules of sources list")
TORCH_OPS = (TorchOp(op=Affine, make=_affine, roles={affine: "other"}, aten=_MANY, onnx=_MANY),)
