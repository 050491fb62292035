"""Interpolation in torch, and subsampling whose grid follows the content."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cnnscope.nn.code import Call, Lit
from cnnscope.nn.ops.base import Function, Lacks, Module, TorchOp, X
from cnnscope.ops import resize


def adaptive_polyphase(x: Tensor, stride: tuple[int, ...], p: float) -> Tensor:
    """Each image on the one of its grids of every ``stride``-th pixel that has the largest norm."""
    places = torch.cartesian_prod(*map(torch.arange, stride)).reshape(-1, len(stride)).tolist()
    windows = [[slice(i, None, s) for i, s in zip(place, stride, strict=True)] for place in places]
    grids = [x[(slice(None), slice(None), *window)] for window in windows]
    norms = torch.stack([grid.abs().pow(p).flatten(1).sum(1) for grid in grids])
    return torch.stack(grids)[norms.argmax(0), torch.arange(len(x), device=x.device)]


def _upsample(op: resize.Upsample, x: X) -> Module | Function:
    mode = ("linear", "bilinear", "trilinear")[len(x[0].spatial) - 1] if op.mode == "bilinear" else op.mode
    corners = None if op.mode.startswith("nearest") else op.align_corners
    scale = None if op.scale is None else tuple(map(float, op.scale))
    args = {"size": op.size, "scale_factor": scale, "mode": mode, "align_corners": corners}
    if not op.antialias:
        return Module(nn.Upsample, args, "F.interpolate")
    named = args | {"antialias": True}
    literals = tuple((name, Lit(value)) for name, value in named.items() if value is not None)
    return Function(F.interpolate, named=named, write=lambda x: Call("F.interpolate", (x[0],), literals))


_KINDS = (
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
)  # fmt: skip
_PARTS = Lacks("traced networks have slices, norms and an index")
TORCH_OPS = (
    TorchOp(
        op=resize.Upsample, make=_upsample, roles={nn.Upsample: "average", F.interpolate: "average"},
        aten=_KINDS,
        onnx=Lacks("`Resize` has rules for coordinates that the op lacks"),
    ),
    TorchOp(
        op=resize.PolyphasePool, roles={adaptive_polyphase: "other"}, aten=_PARTS, onnx=_PARTS,
        make=lambda op, x: Function(adaptive_polyphase, (op.stride, op.p), defines=(adaptive_polyphase,)),
    ),
)  # fmt: skip
