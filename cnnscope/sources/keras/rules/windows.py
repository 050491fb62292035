"""Keras layers with a sliding window, and layers that change the border or size of a map."""

from __future__ import annotations

from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir.graph import PadWord
from cnnscope.ops.arguments import Choice, Maybe, Padding, Pair, PerAxis
from cnnscope.ops.base import Op
from cnnscope.ops.conv import Conv, Depthwise, TransposedConv
from cnnscope.ops.generic import Unsupported
from cnnscope.ops.movement import Flatten
from cnnscope.ops.pool import AdaptiveAvgPool, AdaptiveMaxPool, AvgPool, GlobalAvgPool, GlobalMaxPool, MaxPool
from cnnscope.ops.rearrange import Crop, Pad
from cnnscope.ops.resize import Upsample
from cnnscope.ops.window import span
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Settings, argument, layer
from cnnscope.sources.keras.rules.pointwise import activate
from cnnscope.sources.keras.stored import Stored, kernel


def spatial_map(row: LayerRow, s: Settings, x: Tensor, ndim: int | None = None) -> Tensor:
    axes = ndim or s.ndim
    if x.rank != axes + 2:
        raise CnnscopeError.of("E301", f"it needs {axes} axes of positions and the channels, not {list(x.shape[1:])}")
    return row.map(x)


def _pad_word(s: Settings, *more: PadWord) -> PadWord:
    word: PadWord = s.read("padding", Choice(("valid", "same", *more)), "valid")
    return word


def _window(s: Settings) -> dict[str, Any]:
    """Returns kernel, stride, padding and dilation of a convolution as its op takes them."""
    one = PerAxis(1)
    kernel, dilation = s.read("kernel_size", one, ndim=s.ndim), s.read("dilation_rate", one, 1, s.ndim)
    pad: Any = _pad_word(s, "causal")
    if pad == "causal":  # all padding is before the first element
        pad = [[span(k, d) - 1, 0] for k, d in zip(kernel, dilation, strict=True)]
    return {"kernel": kernel, "stride": s.read("strides", one, 1, s.ndim), "pad": pad, "dilation": dilation}


def _slide(row: LayerRow, s: Settings, op: Op, x: Tensor, part: str = "") -> Tensor:
    return row.add(op, spatial_map(row, s, x), part=part, pad=_pad_word(s, "causal"))


@layer("Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D")
def _conv(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    args = {"out": s.get("filters"), "groups": s.get("groups", 1), "bias": s.get("use_bias", True)}
    return activate(row, _slide(row, s, Conv.read(args | _window(s), s.ndim), x), s.get("activation"))


@layer("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    args = {"multiplier": s.get("depth_multiplier", 1), "bias": s.get("use_bias", True)}
    return activate(row, _slide(row, s, Depthwise.read(args | _window(s), s.ndim), x, "conv"), s.get("activation"))


@layer("SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D")
def _separable(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    depthwise = Depthwise.read({"multiplier": s.get("depth_multiplier", 1), "bias": False} | _window(s), s.ndim)
    pointwise = Conv.read({"out": s.get("filters"), "kernel": 1, "bias": s.get("use_bias", True)}, s.ndim)
    x = row.add(
        pointwise, _slide(row, s, depthwise, x, "depthwise"), part="pointwise",
        stored={"weight": Stored("pointwise_kernel", kernel)},
    )  # fmt: skip
    return activate(row, x, s.get("activation"))


@layer("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", "Convolution2DTranspose", "Convolution3DTranspose")
def _transposed(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Keras states the size of the output and cuts unevenly what is beyond it. The op cuts evenly; a crop does
    the rest.
    """
    x, one = spatial_map(row, s, x), PerAxis(1)
    kernel, stride = s.read("kernel_size", one, ndim=s.ndim), s.read("strides", one, 1, s.ndim)
    dilation, extra = s.read("dilation_rate", one, 1, s.ndim), s.read("output_padding", Maybe(PerAxis(0)), ndim=s.ndim)
    extras, same = extra or (None,) * s.ndim, _pad_word(s) == "same"
    cuts = [
        _cut(n, k, step, d, same=same, extra=e)
        for n, k, step, d, e in zip(x.value.shape[2:], kernel, stride, dilation, extras, strict=True)
    ]
    even = [max(min(low, high), 0) for low, high in cuts]
    args = {"out": s.get("filters"), "kernel": kernel, "stride": stride, "dilation": dilation, "pad": even,
            "out_pad": [max(-high, 0) for _, high in cuts], "groups": s.get("groups", 1),
            "bias": s.get("use_bias", True)}  # fmt: skip
    y = row.add(TransposedConv.read(args, s.ndim), x, part="conv", pad=_pad_word(s))
    uneven = [(low - e, max(high, 0) - e) for (low, high), e in zip(cuts, even, strict=True)]
    if any(map(any, uneven)):
        y = _crop(row, y, uneven)
    return activate(row, y, s.get("activation"))


def _cut(n: int, kernel: int, stride: int, dilation: int, *, same: bool, extra: int | None) -> Pair:
    """Returns what is removed from a full transposed convolution at both ends; a negative number is added at
    the end.

    Source: Keras' `deconv_output_length`. TensorFlow places a `same` output like the input of the convolution that it
    inverts.
    """
    reach = span(kernel, dilation)
    full = (n - 1) * stride + reach
    if same:
        size = n * stride if extra is None else (n - 1) * stride + reach % 2 + extra
    else:
        size = (n - 1) * stride + (max(reach, stride) if extra is None else reach + extra)
    low = max(full - size, 0) // 2 if same else 0
    return low, full - size - low


def _crop(row: LayerRow, x: Tensor, sides: list[Pair]) -> Tensor:
    size = [n - low - high for n, (low, high) in zip(x.value.shape[2:], sides, strict=True)]
    if min(size) < 1:
        raise CnnscopeError.of("E301", f"cropping {sides} leaves nothing of {list(x.shape[1:])}")
    return row.add(Crop.read({"size": size, "offset": [low for low, _ in sides]}, len(sides)), x, part="crop")


@layer("MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxPool1D", "MaxPool2D", "MaxPool3D")
def _maxpool(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(MaxPool.read(_pool(s), s.ndim), spatial_map(row, s, x))


@layer("AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D", "AvgPool3D")
def _avgpool(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Pixels of `same` padding do not count in the mean, as in TensorFlow."""
    return row.add(AvgPool.read(_pool(s) | {"count_pad": False}, s.ndim), spatial_map(row, s, x))


def _pool(s: Settings) -> dict[str, Any]:
    kernel = s.get("pool_size", 2)
    return {"kernel": kernel, "stride": s.get("strides", kernel), "pad": _pad_word(s)}


@layer(*(f"Global{what}Pool{end}{n}D" for what in ("Average", "Avg", "Max") for end in ("ing", "") for n in (1, 2, 3)))
def _global(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    op = GlobalMaxPool() if "Max" in s.layer.kind else GlobalAvgPool()
    y = row.add(op, spatial_map(row, s, x), part="pool")
    return y if s.flag("keepdims", False) else row.add(Flatten(), y)


@layer(*(f"Adaptive{what}Pooling{n}D" for what in ("Average", "Max") for n in (1, 2, 3)))
def _adaptive(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    op = AdaptiveMaxPool if "Max" in s.layer.kind else AdaptiveAvgPool
    return row.add(op.read({"out": s.get("output_size")}, s.ndim), spatial_map(row, s, x))


def _sides(s: Settings, key: str) -> list[Pair]:
    """Returns (low, high) per axis. Keras also writes one number for all, or one per axis."""
    value = s.get(key, 1)
    if s.ndim == 1 and isinstance(value, list):
        value = [value]
    return list(argument(key, value, Padding(words=()), s.ndim))


@layer("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def _pad(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return row.add(Pad.read({"pad": _sides(s, "padding")}, s.ndim), spatial_map(row, s, x))


@layer("Cropping1D", "Cropping2D", "Cropping3D")
def _cropping(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    return _crop(row, spatial_map(row, s, x), _sides(s, "cropping"))


@layer("UpSampling1D", "UpSampling2D", "UpSampling3D")
def _upsample(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    scale = s.read("size", PerAxis(1), 2, s.ndim)
    x = spatial_map(row, s, x)
    return resized(row, s, x, [n * m for n, m in zip(x.value.shape[2:], scale, strict=True)], scale)


def resized(row: LayerRow, s: Settings, x: Tensor, size: list[int], scale: Any = None) -> Tensor:
    """Interpolates a map to a size, or by a factor."""
    mode = s.get("interpolation", "bilinear" if s.layer.kind == "Resizing" else "nearest")
    if mode not in ("nearest", "bilinear", "bicubic"):
        shape = (*x.value.shape[:2], *size)
        return row.add(Unsupported(shape=shape, batch_axis=0, fn=f"resize {mode}"), x, axes=x.axes, kind="map")
    args: dict[str, Any] = {"size": size} if scale is None else {"scale": scale}
    if mode == "nearest" and scale is None:
        mode = "nearest-exact"  # the pixel below the centre of the output, as `tf.image.resize` picks it
    if s.flag("antialias", False) and mode in ("bilinear", "bicubic"):
        args["antialias"] = True
    return row.add(Upsample.read(args | {"mode": mode}, len(size)), x)


@layer("CenterCrop")
def _center_crop(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    x, size = spatial_map(row, s, x, 2), [s.integer("height", minimum=1), s.integer("width", minimum=1)]
    if any(n > m for n, m in zip(size, x.value.shape[2:], strict=True)):
        raise CnnscopeError.of("E445", f"`CenterCrop` to {size} would enlarge {list(x.shape[1:])}; not read yet")
    return row.add(Crop.read({"size": size}, 2), x)
