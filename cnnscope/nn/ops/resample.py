"""Interpolation in torch by rules that its `interpolate` lacks: along each axis a product with a matrix of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cnnscope.nn.ops.base import Lacks, Module, TorchOp, X
from cnnscope.ops.resample import Resample


class Resampled(nn.Module):
    """Interpolates along several axes. See `cnnscope.ops.resample.Resample`."""

    def __init__(self, op: Resample, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.axes = [stretch.axis for stretch in op.stretches]
        for stretch, n in zip(op.stretches, sizes, strict=True):
            matrix = torch.zeros(stretch.size, n, dtype=torch.float64)
            for o, read in enumerate(op.weighed(stretch, n)):
                for j, weight in read:
                    matrix[o, j] += weight
            self.register_buffer(f"matrix{stretch.axis}", matrix.float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        for axis in self.axes:
            matrix = self.get_buffer(f"matrix{axis}").to(x.dtype)
            x = (x.movedim(axis, -1) @ matrix.T).movedim(-1, axis)
        return x


def _resampled(op: Resample, x: X) -> Module:
    return Module(Resampled, {"op": op, "sizes": tuple(x[0].shape[s.axis] for s in op.stretches)})


_WHY = Lacks("a rule makes `upsample` of what torch has")
TORCH_OPS = (TorchOp(op=Resample, make=_resampled, roles={Resampled: "average"}, aten=_WHY, onnx=("Resize",)),)
