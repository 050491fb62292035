"""Interpolation in torch."""

from __future__ import annotations

from torch import nn

from cnnscope.nn.ops.base import Lacks, Module, TorchOp, X
from cnnscope.ops import resize


def _upsample(op: resize.Upsample, x: X) -> Module:
    mode = ("linear", "bilinear", "trilinear")[len(x[0].spatial) - 1] if op.mode == "bilinear" else op.mode
    corners = None if op.mode == "nearest" else op.align_corners
    scale = None if op.scale is None else tuple(map(float, op.scale))
    args = {"size": op.size, "scale_factor": scale, "mode": mode, "align_corners": corners}
    return Module(nn.Upsample, args, "F.interpolate")


_MODES = tuple(f"upsample_{mode}" for mode in (
    "nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d",
))  # fmt: skip
TORCH_OPS = (
    TorchOp(op=resize.Upsample, make=_upsample, roles={nn.Upsample: "average"}, aten=_MODES,
            onnx=Lacks("`Resize` has coordinate rules that the op lacks")),
)  # fmt: skip
