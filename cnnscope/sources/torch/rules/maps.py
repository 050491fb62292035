"""Rules for maps without weights: pooling, resizing, padding, pixel shuffling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cnnscope.ir import Intent
from cnnscope.ir.steps import Taps
from cnnscope.ops import pool, rearrange
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Gather, Movement, Select
from cnnscope.ops.resize import Upsample
from cnnscope.ops.window import BORDERS
from cnnscope.sources.torch.operands import ALL
from cnnscope.sources.torch.rules import Tracer, records
from cnnscope.sources.torch.rules.weights import Ints, each, with_batch
from cnnscope.sources.torch.shapes import computed, like

Pairs = tuple[tuple[int, int], ...]


def _window(kernel: Ints, stride: Ints, padding: Ints, count: int) -> dict[str, Any]:
    size = each(kernel, count)
    step = size if isinstance(stride, (list, tuple)) and not stride else each(stride, count)
    return {"kernel": size, "stride": step, "pad": tuple((p, p) for p in each(padding, count))}


def _max_pool(count: int) -> Any:
    def rule(
        trace: Tracer, out: Any, x: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = 0, dilation: Ints = 1,
        ceil: bool = False,
    ) -> None:  # fmt: skip
        value, *indices = [out] if isinstance(out, Tensor) else out
        op = pool.MaxPool(**_window(kernel, stride, padding, count), ceil=ceil, dilation=each(dilation, count))
        with_batch(trace, op, x, value, count + 2)
        for index in indices:
            trace.emit(Select(tuple(index.shape)), [value], index, fn="indices")

    return rule


def _avg_pool(count: int) -> Any:
    def rule(
        trace: Tracer, out: Tensor, x: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = 0, ceil: bool = False,
        count_pad: bool = True, divisor: int | None = None,
    ) -> None:  # fmt: skip
        if divisor is not None and divisor < 1:  # torch allows it, the layer does not
            trace.emit(Gather(tuple(out.shape), fn="avg_pool"), [x], out, fn="avg_pool")
            return
        op = pool.AvgPool(**_window(kernel, stride, padding, count), ceil=ceil, count_pad=count_pad, divisor=divisor)
        with_batch(trace, op, x, out, count + 2)

    return rule


def _adaptive(count: int, to: type[Op], whole: type[Op]) -> Any:
    def rule(trace: Tracer, out: Any, x: Tensor, size: Ints) -> None:
        value, *indices = [out] if isinstance(out, Tensor) else out
        extents = tuple(value.shape[-count:])
        op = whole() if set(extents) == {1} else to(out=extents)  # type: ignore[call-arg]  # an op's fields
        with_batch(trace, op, x, value, count + 2)
        for index in indices:
            trace.emit(Select(tuple(index.shape)), [value], index, fn="indices")

    return rule


for _count in (1, 2, 3):
    records(f"max_pool{_count}d", f"max_pool{_count}d_with_indices")(_max_pool(_count))
    records(f"avg_pool{_count}d")(_avg_pool(_count))
    records(f"adaptive_avg_pool{_count}d", f"_adaptive_avg_pool{_count}d")(
        _adaptive(_count, pool.AdaptiveAvgPool, pool.GlobalAvgPool)
    )
    records(f"adaptive_max_pool{_count}d")(_adaptive(_count, pool.AdaptiveMaxPool, pool.GlobalMaxPool))


@records("fractional_max_pool2d", "fractional_max_pool3d")
def fractional_max_pool(trace: Tracer, out: Sequence[Tensor], x: Tensor, kernel: Ints, *rest: Any) -> None:
    """The windows lie at random places (Graham 2014, section 2), so what an element reads is unknown."""
    value, indices = out
    trace.emit(Gather(tuple(value.shape), fn="fractional_max_pool"), [x], value, fn="fractional_max_pool")
    trace.emit(Select(tuple(indices.shape)), [value], indices, fn="indices")


def _resize(mode: str, antialias: bool = False) -> Any:
    """A rule for (x, size or None, [align_corners], factors): torch maps coordinates with a factor if there is one."""

    def rule(trace: Tracer, out: Tensor, x: Tensor, size: Any, *rest: Any) -> None:
        before, after = tuple(x.shape[2:]), tuple(out.shape[2:])
        weighs = not mode.startswith("nearest")
        kind = {"mode": mode, "align_corners": weighs and bool(rest[0]), "antialias": antialias}
        factors = _factors(rest[weighs:], len(after))
        if factors is not None:
            op = Upsample.read({"scale": factors} | kind, len(after))
        elif any(m % n for n, m in zip(before, after, strict=True)):
            op = Upsample.read({"size": after} | kind, len(after))
        else:
            op = Upsample.read({"scale": [m // n for n, m in zip(before, after, strict=True)]} | kind, len(after))
        if size is None:
            trace.emit(op, [x], out)
            return
        places = [2 + i for i in computed(trace.sizes)]
        fixed = tuple(axis for axis in range(2, out.dim()) if axis not in places)
        trace.emit(op, [x], out, intent=Intent(computed=tuple(places), fixed=fixed), like=like(trace.sizes))

    return rule


def _factors(given: Sequence[Any], count: int) -> list[float] | None:
    """The factor of each axis, from one list or one argument an axis; None if the size was given."""
    flat = given[0] if given and isinstance(given[0], (list, tuple)) else given
    return list(flat) if len(flat) == count and None not in flat else None


for _mode, _names in {
    "nearest": ("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
    "nearest-exact": ("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
    "bilinear": ("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"),
    "bicubic": ("upsample_bicubic2d",),
}.items():
    records(*_names, carries=ALL)(_resize(_mode))
records("_upsample_bilinear2d_aa", carries=ALL)(_resize("bilinear", antialias=True))
records("_upsample_bicubic2d_aa", carries=ALL)(_resize("bicubic", antialias=True))


@records("pad")
def pad(
    trace: Tracer, out: Tensor, x: Tensor, sides: Sequence[int], mode: str = "constant", value: float | None = None
) -> None:
    pairs = tuple(zip(sides[::2], sides[1::2], strict=True))[::-1]
    first = x.dim() - len(pairs)
    border = {"constant": "zeros"}.get(mode, mode)
    if mode == "constant" and trace.value(x).kind == "map" and len(pairs) < x.dim() - 2:
        pairs = ((0, 0),) * (x.dim() - 2 - len(pairs)) + pairs
        first = 2
    spatial = trace.value(x).kind == "map" and len(pairs) == x.dim() - 2
    if spatial and min(sides) >= 0 and border in BORDERS:
        trace.emit(rearrange.Pad(pairs, border, float(value or 0)), [x], out)
        return
    edges = BORDERS.get(border, "drop")
    steps: list[Taps] = []
    for axis, (low, high) in enumerate(pairs, start=first):
        if edges == "wrap" and min(low, high) < 0 < max(low, high):  # torch cuts first, and wraps what is left
            steps.append(Taps(axis, x.shape[axis] + min(low, 0) + min(high, 0), 1, ((-min(low, 0),),)))
            low = max(low, 0)
        if low or high:
            steps.append(Taps(axis, out.shape[axis], 1, ((-low,),), edges))
    filled = float(value or 0) if border == "zeros" else 0.0
    trace.emit(Movement("pad", tuple(steps), value=filled), [x], out, fn="pad")


@records("constant_pad_nd")
def constant_pad(trace: Tracer, out: Tensor, x: Tensor, sides: Sequence[int], value: float = 0) -> None:
    pad(trace, out, x, sides, "constant", value)


for _border in ("reflection", "replication"):
    for _count in (1, 2, 3):
        records(f"{_border}_pad{_count}d")(
            lambda trace, out, x, sides, mode=_border: pad(
                trace, out, x, sides, "reflect" if mode == "reflection" else "replicate"
            )
        )


@records("pixel_shuffle")
def pixel_shuffle(trace: Tracer, out: Tensor, x: Tensor, factor: int) -> None:
    trace.emit(rearrange.PixelShuffle(factor), [x], out)


@records("pixel_unshuffle")
def pixel_unshuffle(trace: Tracer, out: Tensor, x: Tensor, factor: int) -> None:
    trace.emit(rearrange.PixelUnshuffle(factor), [x], out)


@records("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(trace: Tracer, out: Tensor, x: Tensor, groups: int) -> None:
    trace.emit(rearrange.Shuffle(groups), [x], out)


@records("grid_sampler", "grid_sampler_2d", "grid_sampler_3d", "affine_grid_generator")
def sample(trace: Tracer, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
    grids = [t for t in rest if isinstance(t, Tensor)]
    trace.emit(Gather(tuple(out.shape), fn="resample"), [x, *grids], out, fn="resample")
