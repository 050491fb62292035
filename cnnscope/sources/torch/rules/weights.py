"""Rules for layers with weights: convolution, linear, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnscope.ir import Intent
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ir.steps import Reshape
from cnnscope.ops import norm
from cnnscope.ops.base import Op, channel_axis
from cnnscope.ops.conv import Conv, TransposedConv
from cnnscope.ops.generic import Elementwise, Scan, Select, View
from cnnscope.ops.product import ComputedConv, ComputedLinear, ComputedTransposedConv, Linear
from cnnscope.sources.torch.refusals import ModelError
from cnnscope.sources.torch.rules import Tracer, records, unsupported

Ints = int | Sequence[int]
Weights = Mapping[str, Tensor | None]


def each(n: Ints, count: int) -> tuple[int, ...]:
    """Returns one number per axis."""
    if isinstance(n, int):
        return (n,) * count
    return tuple(n) * count if len(n) == 1 else tuple(n)


def with_batch(
    trace: Tracer, op: Op, x: Tensor, out: Tensor, rank: int, weights: Weights | None = None,
    intent: Intent = NO_INTENT, *, others: Sequence[Tensor] = (),
) -> None:  # fmt: skip
    """Records a layer that needs ``rank`` axes. torch also accepts its input without a batch. ``others`` are further
    inputs.
    """
    if x.dim() >= rank:
        trace.emit(op, [x, *others], out, weights, intent=intent)
        return
    batched, result = x.unsqueeze(0), out.unsqueeze(0)
    trace.emit(View("unsqueeze", (Reshape(tuple(batched.shape)),)), [x], batched)
    trace.emit(op, [batched, *others], result, weights, intent=intent)
    trace.emit(View("squeeze", (Reshape(tuple(out.shape)),)), [result], out)


# -- convolution and linear --------------------------------------------------------------------------------------------


@records("conv1d", "conv2d", "conv3d")
def convolution(
    trace: Tracer, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
    padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1,
) -> None:  # fmt: skip
    kernel = tuple(weight.shape[2:])
    count = len(kernel)
    gaps = each(dilation, count)
    if padding == "same":  # the stride is 1; an odd pixel is added at the high side
        reach = [d * (k - 1) for d, k in zip(gaps, kernel, strict=True)]
        pad = tuple((r // 2, r - r // 2) for r in reach)
    else:
        pad = tuple((p, p) for p in each(0 if isinstance(padding, str) else padding, count))
    layer = {
        "out": weight.shape[0], "kernel": kernel, "stride": each(stride, count), "pad": pad, "dilation": gaps,
        "groups": groups, "bias": bias is not None,
    }  # fmt: skip
    intent = Intent(pad="same") if padding == "same" else NO_INTENT  # ATen cannot tell "valid" from no padding
    _weighted(trace, Conv, ComputedConv, layer, x, weight, bias, out, intent)


@records("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(
    trace: Tracer, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
    padding: Ints = 0, output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1,
) -> None:  # fmt: skip
    kernel = tuple(weight.shape[2:])
    count = len(kernel)
    if x.shape[-count - 1] != weight.shape[0]:  # without values torch accepts any number
        raise ModelError(f"expected {weight.shape[0]} input channels but got {x.shape[-count - 1]}")
    layer = {
        "out": weight.shape[1] * groups, "kernel": kernel, "stride": each(stride, count),
        "pad": tuple((p, p) for p in each(padding, count)), "out_pad": each(output_padding, count),
        "dilation": each(dilation, count), "groups": groups, "bias": bias is not None,
    }  # fmt: skip
    _weighted(trace, TransposedConv, ComputedTransposedConv, layer, x, weight, bias, out)


@records("convolution", "_convolution")
def any_convolution(
    trace: Tracer, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints,
    dilation: Ints, transposed: bool, output_padding: Ints, groups: int, *flags: bool,
) -> None:  # fmt: skip
    if transposed:
        transposed_convolution(trace, out, x, weight, bias, stride, padding, output_padding, groups, dilation)
    else:
        convolution(trace, out, x, weight, bias, stride, padding, dilation, groups)


@records("linear")
def linear(trace: Tracer, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    if weight.dim() == 2:
        layer = {"out": weight.shape[0], "bias": bias is not None}
        _weighted(trace, Linear, ComputedLinear, layer, x, weight, bias, out)
    else:
        unsupported(trace, out, "linear", [x, weight])


def _weighted(
    trace: Tracer, layer: Callable[..., Op], computed: Callable[..., Op], arguments: Mapping[str, Any], x: Tensor,
    weight: Tensor, bias: Tensor | None, out: Tensor, intent: Intent = NO_INTENT,
) -> None:  # fmt: skip
    weights = {"weight": weight, "bias": bias}
    if all(t is None or trace.key(t) for t in weights.values()):
        with_batch(trace, layer(**arguments), x, out, weight.dim(), weights, intent)
    else:
        given = [t for t in weights.values() if t is not None and not trace.key(t)]
        rank = weight.dim() if layer is not Linear else 0
        with_batch(trace, computed(**arguments), x, out, rank, weights, intent, others=given)


# -- normalisation -----------------------------------------------------------------------------------------------------

_STATISTICS = ("running_mean", "running_var")
"""Not read where those of the batch are."""


@records("batch_norm", "native_batch_norm", carries=_STATISTICS)
def batch_norm(
    trace: Tracer, out: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, training: bool, momentum: float | None, eps: float, *flags: bool,
) -> None:  # fmt: skip
    track = not training

    def make(affine: bool) -> Op:
        return norm.BatchNorm(eps=eps, momentum=0.1 if momentum is None else momentum, affine=affine, track=track)

    statistics = {"running_mean": running_mean, "running_var": running_var} if track else {}
    _normalised(trace, make, x, _first(out), (1,), weight, bias, statistics)


@records("_native_batch_norm_legit_no_training")
def batch_norm_at_inference(
    trace: Tracer, out: Sequence[Tensor], x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor,
    running_var: Tensor, momentum: float, eps: float,
) -> None:  # fmt: skip
    batch_norm(trace, out[0], x, weight, bias, running_mean, running_var, False, momentum, eps)


@records("instance_norm", carries=_STATISTICS)
def instance_norm(
    trace: Tracer, out: Tensor, x: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
    running_var: Tensor | None, use_input_stats: bool, momentum: float, eps: float, *flags: bool,
) -> None:  # fmt: skip
    if not use_input_stats:
        batch_norm(trace, out, x, weight, bias, running_mean, running_var, False, momentum, eps)
        return
    _normalised(trace, lambda affine: norm.InstanceNorm(eps, affine), x, out, (1,), weight, bias)


@records("group_norm")
def group_norm(
    trace: Tracer, out: Tensor, x: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5, *flags: bool,
) -> None:  # fmt: skip
    _normalised(trace, lambda affine: norm.GroupNorm(groups, eps, affine), x, out, (1,), weight, bias)


@records("native_group_norm")
def native_group_norm(
    trace: Tracer, out: Sequence[Tensor], x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int,
    positions: int, groups: int, eps: float,
) -> None:  # fmt: skip
    group_norm(trace, out[0], x, groups, weight, bias, eps)
    for index, statistic in enumerate(out[1:], start=1):
        trace.emit(Select(tuple(statistic.shape), index=index), [x], statistic, fn="statistics")


@records("layer_norm", "native_layer_norm")
def layer_norm(
    trace: Tracer, out: Tensor, x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5, *flags: bool,
) -> None:  # fmt: skip
    count, value = len(normalized_shape), trace.value(x)
    axes = tuple(range(x.dim() - count, x.dim()))

    def make(affine: bool) -> Op:
        if value.kind == "map" and count == x.dim() - 1:
            return norm.LayerNorm(eps, "all", affine, bias is not None)
        if value.kind == "map" or 0 in axes:  # over the rows or columns of a map, or over everything
            return Scan("layer_norm", axes, cost=5 if affine else 4)
        return norm.LayerNorm(eps, "channels", affine, bias is not None, count)

    _normalised(trace, make, x, _first(out), axes, weight, bias)


@records("_weight_norm", "_weight_norm_interface")
def weight_norm(trace: Tracer, out: Any, direction: Tensor, length: Tensor, axis: int = 0) -> None:
    """Computes a weight as direction / |direction| * length (Salimans & Kingma 2016), the norm taken over all axes but
    one.
    """
    weight = _first(out)
    unit = torch.empty_like(weight)
    axes = tuple(i for i in range(direction.dim()) if i != axis)
    trace.emit(Scan("weight_norm", axes, cost=3), [direction], unit, fn="weight_norm")
    trace.emit(Elementwise("mul"), [unit, length], weight, fn="mul")


@records("rms_norm")
def rms_norm(
    trace: Tracer, out: Tensor, x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
    eps: float | None = None,
) -> None:  # fmt: skip
    axes = tuple(range(x.dim() - len(normalized_shape), x.dim()))

    def make(affine: bool) -> Op:
        if affine and axes == (channel_axis(trace.value(x)),):
            return norm.RMSNorm(eps=torch.finfo(x.dtype).eps if eps is None else eps)
        return Scan("rms_norm", axes, cost=4 if affine else 3)

    _normalised(trace, make, x, out, axes, weight, None)


def _normalised(
    trace: Tracer, make: Callable[[bool], Op], x: Tensor, out: Tensor, axes: tuple[int, ...], weight: Tensor | None,
    bias: Tensor | None, statistics: Weights | None = None,
) -> None:  # fmt: skip
    """Records the normalisation ``make(affine)``. A computed scale and shift over ``axes`` are ops of their own."""
    affine = {"weight": weight, "bias": bias}
    if all(t is None or trace.key(t) for t in affine.values()):
        trace.emit(make(weight is not None), [x], out, {**affine, **_with_counter(trace, statistics or {})})
        return
    given = [(fn, t) for fn, t in (("mul", weight), ("add", bias)) if t is not None]
    steps = [out, *(torch.empty_like(out) for _ in given)][::-1]
    trace.emit(make(False), [x], steps[0], _with_counter(trace, statistics or {}))
    for (fn, t), before, after in zip(given, steps, steps[1:], strict=False):
        shaped = t.reshape([n if axis in axes else 1 for axis, n in enumerate(x.shape)])
        trace.emit(View("reshape", (Reshape(tuple(shaped.shape)),)), [t], shaped)
        trace.emit(Elementwise(fn), [before, shaped], after)


def _with_counter(trace: Tracer, statistics: Weights) -> Weights:
    """Adds the counter of batches, which is beside the running mean in the state dict. Inference does not read it."""
    mean = statistics.get("running_mean")
    counter = trace.sibling(mean, "num_batches_tracked") if mean is not None else None
    return {**statistics, "num_batches_tracked": counter}


def _first(out: Any) -> Tensor:
    return out if isinstance(out, Tensor) else out[0]
