"""Borders, and trades between channels and positions, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.ir.steps import Shape
from cnnscope.nn.code import Call, Lit
from cnnscope.nn.ops.base import PAD_MODES, Function, Lacks, Module, TorchOp, X, of_role, torch_pads, write_pad
from cnnscope.nn.ops.movement import window
from cnnscope.ops import rearrange


def crop(x: Tensor, offset: Shape, size: Shape) -> Tensor:
    windows = [slice(first, first + n) for first, n in zip(offset, size, strict=True)]
    return x[(slice(None), slice(None), *windows)]


def center_crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """The window of ``size`` at the centre of a map."""
    for axis, (n, m) in enumerate(zip(x.shape[2:], size, strict=True), start=2):
        x = x.narrow(axis, (n - m) // 2, m)
    return x


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channel shuffle (Zhang et al. 2018, section 3.1)."""
    split = x.reshape(len(x), groups, -1, *x.shape[2:])
    return split.transpose(1, 2).reshape(x.shape)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """As torch's, in any number of spatial axes."""
    n = x.dim() - 2
    cells = x.reshape(len(x), -1, *(factor,) * n, *x.shape[2:])
    pairs = (axis for i in range(n) for axis in (2 + n + i, 2 + i))
    return cells.permute(0, 1, *pairs).reshape(len(x), -1, *(m * factor for m in x.shape[2:]))


def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`."""
    n = x.dim() - 2
    size = [m // factor for m in x.shape[2:]]
    cells = x.reshape(*x.shape[:2], *(part for m in size for part in (m, factor)))
    inner, outer = range(3, 3 + 2 * n, 2), range(2, 2 + 2 * n, 2)
    return cells.permute(0, 1, *inner, *outer).reshape(len(x), -1, *size)


def _pad(op: rearrange.Pad, x: X) -> Function:
    pads, mode = torch_pads(op.pad), PAD_MODES[op.pad_mode]
    value = op.value if op.pad_mode == "zeros" else None
    return Function(F.pad, (pads, mode, value), write=lambda x: write_pad(x[0], pads, mode, value or 0.0))


def _crop(op: rearrange.Crop, x: X) -> Function:
    offset, whole = op.offsets(x[0].shape[2:]), x[0].shape[2:]
    cut = partial(Function, crop, (offset, op.size))
    if all(first == (n - m) // 2 for first, m, n in zip(offset, op.size, whole, strict=True)):
        written = Lit(op.size, "size")
        return cut(write=lambda x: Call("center_crop", (*x, written)), defines=(center_crop,))
    picked = [slice(None), slice(None), *(slice(first, first + n) for first, n in zip(offset, op.size, strict=True))]
    return cut(write=lambda x: window(x[0], picked))


def _pixelshuffle(op: rearrange.PixelShuffle, x: X) -> Module | Function:
    if len(x[0].spatial) == 2:
        return Module(nn.PixelShuffle, {"upscale_factor": op.factor}, "F.pixel_shuffle")
    return Function(pixel_shuffle, (op.factor,), defines=(pixel_shuffle,))


def _pixelunshuffle(op: rearrange.PixelUnshuffle, x: X) -> Module | Function:
    if len(x[0].spatial) == 2:
        return Module(nn.PixelUnshuffle, {"downscale_factor": op.factor}, "F.pixel_unshuffle")
    return Function(pixel_unshuffle, (op.factor,), defines=(pixel_unshuffle,))


_PADS = (nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ConstantPad2d)
TORCH_OPS = (
    TorchOp(op=rearrange.Pad, make=_pad, roles=of_role("move", F.pad, *_PADS),
            aten=Lacks("`pad` also pads the channels or cuts, which is the traced op `movement`"),
            onnx=Lacks("`Pad` also pads the channels or cuts, which is the traced op `movement`")),
    TorchOp(op=rearrange.Crop, make=_crop, roles={crop: "move"}, aten=Lacks("ATen has slices"),
            onnx=Lacks("ONNX has slices")),
    TorchOp(op=rearrange.Shuffle, make=lambda op, x: Function(shuffle, (op.groups,), defines=(shuffle,)),
            roles={shuffle: "move", nn.ChannelShuffle: "move"}, aten=("channel_shuffle", "native_channel_shuffle"),
            onnx=Lacks("ONNX has reshape and transpose")),
    TorchOp(op=rearrange.PixelShuffle, make=_pixelshuffle, roles={pixel_shuffle: "move", nn.PixelShuffle: "move"},
            aten=("pixel_shuffle",), onnx=Lacks("`DepthToSpace` has two orders, one of which is no pixel shuffle")),
    TorchOp(op=rearrange.PixelUnshuffle, make=_pixelunshuffle,
            roles={pixel_unshuffle: "move", nn.PixelUnshuffle: "move"}, aten=("pixel_unshuffle",),
            onnx=Lacks("`SpaceToDepth` has the block's position slowest")),
)  # fmt: skip
