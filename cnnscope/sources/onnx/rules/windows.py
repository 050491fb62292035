"""ONNX operators with windows: convolution, transposed convolution, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnscope.ir import Intent
from cnnscope.ir.graph import PadWord
from cnnscope.ops import pool
from cnnscope.ops.activation import Abs
from cnnscope.ops.arguments import Pair
from cnnscope.ops.base import Op
from cnnscope.ops.conv import Conv, TransposedConv
from cnnscope.ops.generic import Reduce, Select
from cnnscope.ops.product import ComputedConv
from cnnscope.ops.rearrange import Crop, Pad
from cnnscope.ops.window import span
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.values import Operand, invalid

Sides = list[Pair]


def _per_axis(call: OperatorCall, name: str, count: int, default: int = 1) -> list[int]:
    """Returns a list attribute with one number per axis, none smaller than ``default``."""
    values = call.integers(name, [default] * count)
    assert values is not None
    if len(values) != count:
        raise invalid(f"`{name}` of `{call.type}` has {len(values)} values for {count} axes")
    if min(values) < default:
        raise invalid(f"`{name}` of `{call.type}` is {values}: numbers from {default} up are expected")
    return values


def _pads(call: OperatorCall, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Sides:
    """Returns the padding (low, high) per axis, from ``pads`` or ``auto_pad``."""
    count, auto = len(kernel), call.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sides = []
        for n, k, s, d in zip(call.positions(), kernel, stride, dilation, strict=True):
            total = max((-(-n // s) - 1) * s + span(k, d) - n, 0)
            sides.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
        return sides
    if auto == "VALID":
        return [(0, 0)] * count
    flat = _per_axis(call, "pads", 2 * count, 0)
    return list(zip(flat[:count], flat[count:], strict=True))


# -- convolution -----------------------------------------------------------------------------------------------------


def _intent(call: OperatorCall) -> Intent:
    words: dict[str, PadWord] = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
    return Intent(pad=words.get(call.text("auto_pad", "NOTSET")))


@rule("Conv")
def _conv(call: OperatorCall) -> list[Operand]:
    weight, count = call.shape(1), len(call.positions())
    if len(weight) != count + 2:
        raise invalid(f"the weight of `Conv` has {len(weight)} axes for {count} axes of positions")
    kernel = _per_axis(call, "kernel_shape", count) if "kernel_shape" in call.attributes else list(weight[2:])
    stride, dilation = _per_axis(call, "strides", count), _per_axis(call, "dilations", count)
    args: dict[str, Any] = {"out": weight[0], "kernel": kernel, "stride": stride, "dilation": dilation,
            "pad": _pads(call, kernel, stride, dilation), "groups": call.integer("group", 1),
            "bias": call.has(2)}  # fmt: skip
    w, bias = call.constant(1), call.constant(2)
    if w is not None and (bias is not None or not call.has(2)):
        op = Conv.read(args, count)
        return [call.emit(op, call.tensor(0), as_kind="map", params={"weight": w, "bias": bias}, intent=_intent(call))]
    x, pads = call.tensor(0), args["pad"]
    if any(low != high for low, high in pads):
        x = call.emit(Pad.read({"pad": pads}, count), x, part="pad", as_kind="map")
        args["pad"] = pads = [(0, 0)] * count
    inputs = [x, call.tensor(1), call.tensor(2) if call.has(2) else None]
    operands = [*inputs, tuple(stride), tuple(low for low, _ in pads), tuple(dilation), False, (0,) * count,
                args["groups"]]  # fmt: skip
    return [call.emit_call(ComputedConv.read(args, count), "convolution", *operands, as_kind="map",
                           intent=_intent(call))]  # fmt: skip


@rule("ConvTranspose")
def _conv_transpose(call: OperatorCall) -> list[Operand]:
    """The operator removes its padding from each side of the full result. The op removes the same on both sides; a crop
    does the rest.
    """
    size, weight = call.positions(), call.constant(1)
    count, bias = len(size), call.constant(2)
    if weight is None or (call.has(2) and bias is None):
        raise UnreadableError("`ConvTranspose` with computed weights")
    if len(weight.shape) != count + 2:
        raise invalid(f"the weight of `ConvTranspose` has {len(weight.shape)} axes for {count} axes of positions")
    kernel = _per_axis(call, "kernel_shape", count) if "kernel_shape" in call.attributes else list(weight.shape[2:])
    stride, dilation = _per_axis(call, "strides", count), _per_axis(call, "dilations", count)
    extra = _per_axis(call, "output_padding", count, 0)
    full = [(n - 1) * s + span(k, d) + e
            for n, s, k, d, e in zip(size, stride, kernel, dilation, extra, strict=True)]  # fmt: skip
    cuts = _cuts(call, size, stride, full)
    even = [max(min(sides), 0) for sides in cuts]
    groups = call.integer("group", 1)
    args = {"out": weight.shape[1] * groups, "kernel": kernel, "stride": stride, "dilation": dilation, "pad": even,
            "out_pad": extra, "groups": groups, "bias": bias is not None}  # fmt: skip
    op, uneven = TransposedConv.read(args, count), [(lo - e, hi - e) for (lo, hi), e in zip(cuts, even, strict=True)]
    cropped = any(map(any, uneven))
    y = call.emit(op, call.tensor(0), part="conv" if cropped else "", as_kind="map",
                  params={"weight": weight, "bias": bias}, intent=_intent(call))  # fmt: skip
    if not cropped:
        return [y]
    if min(map(min, uneven)) < 0:
        raise invalid("`ConvTranspose` has an `output_shape` larger than its full result")
    left = [n - sum(sides) for n, sides in zip(call.value(y).shape[2:], uneven, strict=True)]
    return [call.emit(Crop.read({"size": left, "offset": [lo for lo, _ in uneven]}, count), y)]


def _cuts(call: OperatorCall, size: Sequence[int], stride: Sequence[int], full: Sequence[int]) -> Sides:
    """Returns what is removed from the full result, (low, high) per axis. Source: the specification of the operator."""
    count, auto = len(size), call.text("auto_pad", "NOTSET")
    wanted = call.integers("output_shape")
    if wanted is None and auto.startswith("SAME"):
        wanted = [n * s for n, s in zip(size, stride, strict=True)]
    if wanted is None:
        flat = _per_axis(call, "pads", 2 * count, 0) if auto == "NOTSET" else [0] * 2 * count
        return list(zip(flat[:count], flat[count:], strict=True))
    totals = [n - m for n, m in zip(full, wanted[-count:], strict=True)]
    halves = [(t // 2, t - t // 2) for t in totals]
    return halves if auto == "SAME_UPPER" else [(high, low) for low, high in halves]


# -- pooling ---------------------------------------------------------------------------------------------------------


@rule("MaxPool", "AveragePool", "LpPool")
def _pool(call: OperatorCall) -> list[Operand]:
    count = len(call.positions())
    if "kernel_shape" not in call.attributes:
        raise invalid(f"`{call.type}` has no `kernel_shape`")
    kernel, stride = _per_axis(call, "kernel_shape", count), _per_axis(call, "strides", count)
    dilation = _per_axis(call, "dilations", count)
    pads, x = _pads(call, kernel, stride, dilation), call.tensor(0)
    wide = call.type == "LpPool" or any(2 * max(sides) > k for sides, k in zip(pads, kernel, strict=True))
    lost: tuple[str, ...] = ()
    if wide and any(map(any, pads)):  # the ops accept no more padding than half a window
        lowest = _lowest(call.value(x).dtype) if call.type == "MaxPool" else 0.0
        x = call.emit(Pad.read({"pad": pads, "value": lowest}, count), x, part="pad", as_kind="map")
        pads = [(0, 0)] * count
        lost = ("count_include_pad",) if call.type == "AveragePool" and not call.integer("count_include_pad", 0) else ()
    args: dict[str, Any] = {"kernel": kernel, "stride": stride, "pad": pads}
    args["ceil"] = bool(call.integer("ceil_mode", 0))
    if call.type == "MaxPool":
        op: Op = pool.MaxPool.read(args | {"dilation": dilation}, count)
    elif any(d != 1 for d in dilation):
        raise UnreadableError(f"`{call.type}` with dilation")
    elif call.type == "AveragePool":
        op = pool.AvgPool.read(args | {"count_pad": bool(call.integer("count_include_pad", 0))}, count)
    else:
        op = pool.LpPool.read(args | {"p": call.integer("p", 2)}, count)
        if op.p % 2:
            x = call.emit(Abs(), x, part="abs")
    y = call.emit(op, x, as_kind="map", intent=_intent(call), lost=lost)
    if len(call.outputs) < 2 or not call.outputs[1]:
        return [y]
    where = call.value(y)
    return [y, call.emit(Select(where.shape, "int64", where.batch_axis), y, part="indices", apart=True)]


def _lowest(dtype: str) -> float:
    """Returns the smallest number of a type, which no maximum is."""
    return float(np.iinfo(dtype).min if "int" in dtype else -65504 if dtype == "float16" else np.finfo(np.float32).min)


@rule("GlobalAveragePool", "GlobalMaxPool")
def _global(call: OperatorCall) -> list[Operand]:
    call.positions()
    op = pool.GlobalMaxPool() if "Max" in call.type else pool.GlobalAvgPool()
    return [call.emit(op, call.tensor(0), as_kind="map")]


@rule("GlobalLpPool")
def _global_lp(call: OperatorCall) -> list[Operand]:
    axes = range(2, 2 + len(call.positions()))
    order = call.integer("p", 2)
    return [
        call.emit_call(
            Reduce("norm", tuple(axes), True), "linalg_vector_norm", call.tensor(0), order, tuple(axes), True
        )
    ]
