"""Which torch module runs which op: one table, keyed by op class. Teaching torch a new op is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.errors import CnnscopeError
from cnnscope.ir.graph import Operation, Value
from cnnscope.ir.steps import Shape
from cnnscope.nn import functional, layers
from cnnscope.nn.layers import Call
from cnnscope.nn.traced import traced_module
from cnnscope.ops import (
    activation,
    attention,
    conv,
    linear,
    merge,
    movement,
    norm,
    polyphase,
    pool,
    rearrange,
    regularization,
    resize,
    tokens,
)
from cnnscope.ops.arguments import Pair
from cnnscope.ops.base import Op, axis_of, channel_axis

X = Sequence[Value]
AnyOp = TypeVar("AnyOp", bound=Op)
TABLE: dict[type[Op], Callable[[Any, X], nn.Module]] = {}


def module_of(op: Operation, x: X) -> nn.Module:
    """A fresh torch module that computes ``op`` on inputs like ``x`` at any batch size; E428 if the table has none."""
    build = TABLE.get(type(op)) if isinstance(op, Op) else None
    module = traced_module(op, x) if build is None else build(op, [_as_map(op, value) for value in x])
    if module is None:
        raise CnnscopeError.of("E428", f"`{op.tag}` cannot be run in torch")
    return module


def _as_map(op: Operation, value: Value) -> Value:
    """What a layer for maps takes a tensor of a trace for."""
    tensor = value.kind == "tensor" and len(value.shape) > 2 and "tokens" not in getattr(op, "accepts", ())
    return replace(value, kind="map") if tensor else value


def runs(op: type[AnyOp], build: Callable[[AnyOp, X], nn.Module]) -> None:
    """Enters how an op is built; a second entry for the same class is an error."""
    if op in TABLE:
        raise TypeError(f"two table entries build `{op.tag}`")
    TABLE[op] = build


def _of_rank(family: str, x: X) -> Callable[..., nn.Module]:
    """torch's class for maps of this many axes: ``Conv`` -> ``nn.Conv2d``."""
    return cast("Callable[..., nn.Module]", getattr(nn, f"{family}{len(x[0].spatial)}d"))


def _sides(pad: str | tuple[Pair, ...]) -> tuple[tuple[Pair, ...], Shape | None]:
    """A bound op's padding, and as one number an axis where both sides are alike."""
    assert not isinstance(pad, str)
    even = all(low == high for low, high in pad)
    return pad, tuple(low for low, _ in pad) if even else None


# -- convolution and linear ------------------------------------------------------------------------------------------


def _conv(op: conv.Conv, x: X) -> nn.Module:
    channels, (pads, even) = x[0].shape[1], _sides(op.pad)
    rest: dict[str, Any] = {"stride": op.stride, "dilation": op.dilation, "groups": op.groups, "bias": op.bias}
    if even is not None and op.pad_mode == "zeros":
        return _of_rank("Conv", x)(channels, op.out, op.kernel, padding=even, **rest)
    padded: Callable[..., nn.Module] = layers.PADDED_CONV[len(op.kernel) - 1]
    return padded(channels, op.out, op.kernel, pads=pads, pad_mode=op.pad_mode, **rest)


def _upconv(op: conv.TransposedConv, x: X) -> nn.Module:
    return _of_rank("ConvTranspose", x)(
        x[0].shape[1], op.out, op.kernel, stride=op.stride, padding=op.pad, output_padding=op.out_pad,
        groups=op.groups, bias=op.bias, dilation=op.dilation,
    )  # fmt: skip


runs(conv.Conv, _conv)
runs(conv.TransposedConv, _upconv)
runs(linear.Linear, lambda op, x: nn.Linear(x[0].shape[-1], op.out, bias=op.bias))


# -- pooling ---------------------------------------------------------------------------------------------------------


def _maxpool(op: pool.MaxPool, x: X) -> nn.Module:
    pads, even = _sides(op.pad)
    if even is None:
        return layers.PaddedMaxPool(op.kernel, op.step, pads, op.gaps, ceil=op.ceil)
    return _of_rank("MaxPool", x)(op.kernel, op.step, even, op.dilation, ceil_mode=op.ceil)


def _avgpool(op: pool.AvgPool, x: X) -> nn.Module:
    pads, even = _sides(op.pad)
    refused = len(op.kernel) == 3 and any(n < k for n, k in zip(x[0].spatial, op.kernel, strict=True))
    if even is None or refused:  # AvgPool3d alone wants an input no smaller than the kernel, padding apart
        return layers.PaddedAvgPool(op.kernel, op.step, pads, op.gaps, ceil=op.ceil, count_pad=op.count_pad)
    return _of_rank("AvgPool", x)(op.kernel, op.step, even, ceil_mode=op.ceil, count_include_pad=op.count_pad)


def _lppool(op: pool.LpPool, x: X) -> nn.Module:
    if len(op.kernel) == 1:  # LPPool1d alone wants numbers
        return nn.LPPool1d(op.p, op.kernel[0], op.step[0], op.ceil)
    return _of_rank("LPPool", x)(op.p, op.kernel, op.step, op.ceil)


def _blurpool(op: pool.BlurPool, x: X) -> nn.Module:
    return layers.BlurPool(op.kernel, op.step, pads=_sides(op.pad)[0], pad_mode=op.pad_mode)


runs(pool.MaxPool, _maxpool)
runs(pool.AvgPool, _avgpool)
runs(pool.BlurPool, _blurpool)
runs(pool.LpPool, _lppool)
runs(polyphase.PolyphasePool, lambda op, x: Call(functional.adaptive_polyphase, op.stride, op.p))
runs(pool.AdaptiveAvgPool, lambda op, x: _of_rank("AdaptiveAvgPool", x)(op.out))
runs(pool.AdaptiveMaxPool, lambda op, x: _of_rank("AdaptiveMaxPool", x)(op.out))
runs(pool.GlobalAvgPool, lambda op, x: _of_rank("AdaptiveAvgPool", x)(1))
runs(pool.GlobalMaxPool, lambda op, x: _of_rank("AdaptiveMaxPool", x)(1))


# -- normalisation ---------------------------------------------------------------------------------------------------


def _batchnorm(op: norm.BatchNorm, x: X) -> nn.Module:
    family = nn.BatchNorm1d if x[0].kind == "flat" else _of_rank("BatchNorm", x)
    return family(x[0].shape[1], op.eps, op.momentum, op.affine, op.track)


def _layernorm(op: norm.LayerNorm, x: X) -> nn.Module:
    shape = [x[0].shape[axis] for axis in op.normalised(x[0])]
    family = layers.ChannelLayerNorm if x[0].kind == "map" and op.over == "channels" else nn.LayerNorm
    return family(shape, op.eps, op.affine, op.bias)


def _rmsnorm(op: norm.RMSNorm, x: X) -> nn.Module:
    family = layers.ChannelRMSNorm if x[0].kind == "map" else nn.RMSNorm
    return family(x[0].shape[channel_axis(x[0])], op.eps)


runs(norm.BatchNorm, _batchnorm)
runs(norm.LayerNorm, _layernorm)
runs(norm.RMSNorm, _rmsnorm)
runs(norm.GroupNorm, lambda op, x: nn.GroupNorm(op.groups, x[0].shape[1], op.eps, op.affine))
runs(norm.InstanceNorm, lambda op, x: _of_rank("InstanceNorm", x)(x[0].shape[1], op.eps, affine=op.affine))
runs(norm.LRN, lambda op, x: nn.LocalResponseNorm(op.size, op.alpha, op.beta, op.k))


# -- activation and dropout ------------------------------------------------------------------------------------------

runs(activation.ReLU, lambda op, x: nn.ReLU())
runs(activation.ReLU6, lambda op, x: nn.ReLU6())
runs(activation.LeakyReLU, lambda op, x: nn.LeakyReLU(op.slope))
runs(activation.ELU, lambda op, x: nn.ELU(op.alpha))
runs(activation.SELU, lambda op, x: nn.SELU())
runs(activation.GELU, lambda op, x: nn.GELU("tanh" if op.tanh else "none"))
runs(activation.SiLU, lambda op, x: nn.SiLU())
runs(activation.Hardswish, lambda op, x: nn.Hardswish())
runs(activation.Hardsigmoid, lambda op, x: nn.Hardsigmoid())
runs(activation.Hardtanh, lambda op, x: nn.Hardtanh(op.low, op.high))
runs(activation.Sigmoid, lambda op, x: nn.Sigmoid())
runs(activation.LogSigmoid, lambda op, x: nn.LogSigmoid())
runs(activation.Tanh, lambda op, x: nn.Tanh())
runs(activation.Softplus, lambda op, x: nn.Softplus())
runs(activation.Softsign, lambda op, x: nn.Softsign())
runs(activation.Mish, lambda op, x: nn.Mish())
runs(activation.Abs, lambda op, x: Call(torch.abs))
runs(activation.PReLU, lambda op, x: nn.PReLU(1 if op.shared else x[0].shape[1]))
runs(activation.Softmax, lambda op, x: nn.Softmax(op.along(x[0])))
runs(activation.LogSoftmax, lambda op, x: nn.LogSoftmax(op.along(x[0])))
runs(activation.GLU, lambda op, x: nn.GLU(op.along(x[0])))
runs(regularization.Dropout, lambda op, x: nn.Dropout(op.p))
runs(regularization.SpatialDropout, lambda op, x: _of_rank("Dropout", x)(op.p))
runs(regularization.AlphaDropout, lambda op, x: nn.AlphaDropout(op.p))
runs(regularization.StochasticDepth, lambda op, x: layers.StochasticDepth(op.p))


# -- joins, movement, resizing ---------------------------------------------------------------------------------------


def _pad(op: rearrange.Pad, x: X) -> nn.Module:
    value = op.value if op.pad_mode == "zeros" else None
    return Call(F.pad, functional.torch_pads(op.pad), functional.TORCH_PAD_MODES[op.pad_mode], value)


def _pixelshuffle(op: rearrange.PixelShuffle, x: X) -> nn.Module:
    return nn.PixelShuffle(op.factor) if len(x[0].spatial) == 2 else Call(functional.pixel_shuffle, op.factor)


def _pixelunshuffle(op: rearrange.PixelUnshuffle, x: X) -> nn.Module:
    return nn.PixelUnshuffle(op.factor) if len(x[0].spatial) == 2 else Call(functional.pixel_unshuffle, op.factor)


def _upsample(op: resize.Upsample, x: X) -> nn.Module:
    mode = ("linear", "bilinear", "trilinear")[len(x[0].spatial) - 1] if op.mode == "bilinear" else op.mode
    corners = None if op.mode == "nearest" else op.align_corners
    scale = None if op.scale is None else tuple(map(float, op.scale))
    return nn.Upsample(op.size, scale, mode, corners)


runs(merge.Add, lambda op, x: Call(functional.add))
runs(merge.Sub, lambda op, x: Call(torch.sub))
runs(merge.Mul, lambda op, x: Call(functional.mul))
runs(merge.Concat, lambda op, x: Call(functional.concat, dim=op.along(x[0])))
runs(movement.Identity, lambda op, x: nn.Identity())
runs(movement.Flatten, lambda op, x: nn.Flatten(op.start, op.end))
runs(movement.ReshapeOp, lambda op, x: Call(functional.reshape, op.output(x).shape[1:]))
runs(movement.PermuteOp, lambda op, x: Call(torch.permute, (0, *op.order)))
runs(movement.Slice, lambda op, x: Call(functional.take, axis_of(x[0], op.axis), slice(op.start, op.stop, op.step)))
runs(movement.Roll, lambda op, x: Call(torch.roll, op.shift, axis_of(x[0], op.axis)))
runs(movement.Flip, lambda op, x: Call(torch.flip, (axis_of(x[0], op.axis),)))
runs(rearrange.Pad, _pad)
runs(rearrange.Crop, lambda op, x: Call(functional.crop, op.offsets(x[0].shape[2:]), op.size))
runs(rearrange.Shuffle, lambda op, x: Call(functional.shuffle, op.groups))
runs(rearrange.PixelShuffle, _pixelshuffle)
runs(rearrange.PixelUnshuffle, _pixelunshuffle)
runs(resize.Upsample, _upsample)


# -- tokens ----------------------------------------------------------------------------------------------------------


def _layerscale(op: tokens.LayerScale, x: X) -> nn.Module:
    axis = channel_axis(x[0])
    return layers.LayerScale(x[0].shape[axis], op.init, axis)


runs(attention.Attention, lambda op, x: layers.SelfAttention(x[0].shape[2], op.heads, bias=op.bias))
runs(tokens.Tokens, lambda op, x: Call(functional.to_tokens))
runs(tokens.ClassToken, lambda op, x: layers.ClassToken(x[0].shape[2]))
runs(tokens.Position, lambda op, x: layers.Position(x[0].shape[1], x[0].shape[2]))
runs(tokens.Token, lambda op, x: Call(torch.select, 1, op.index))
runs(tokens.TokenMean, lambda op, x: Call(torch.mean, dim=1))
runs(tokens.LayerScale, _layerscale)
