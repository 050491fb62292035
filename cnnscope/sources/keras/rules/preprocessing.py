"""Keras' preprocessing layers: bins, categories, sizes, statistics."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from cnnscope.errors import CnnscopeError
from cnnscope.ops.call import LARGEST, Call, Held, Input, Literal
from cnnscope.ops.carried import Carried
from cnnscope.ops.generic import Elementwise, Movement, Reduce, Unsupported
from cnnscope.ops.norm import BatchNorm
from cnnscope.ops.rearrange import Crop, Pad
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Arguments, Settings, calls, layer
from cnnscope.sources.keras.rules.pointwise import TORCH_COUNTER, affine, channels_first, numbers
from cnnscope.sources.keras.rules.tensors import reshape
from cnnscope.sources.keras.rules.windows import resized, spatial_map
from cnnscope.sources.keras.stored import Stored, flat, same


@layer("Discretization")
def _discretization(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """The number of the bin of each element; a boundary belongs to the bin above it."""
    edges = s.get("bin_boundaries")
    if not isinstance(edges, list) or not all(type(n) in (int, float) and isfinite(n) for n in edges):
        raise CnnscopeError.of("E445", "`Discretization` without `bin_boundaries` in its config is not read yet")
    literal = Literal((len(edges),), "float32", np.asarray(edges, dtype=np.float32).tobytes())
    named = (("right", True),)
    y = row.add(Elementwise("digitize", dtype="int64", call=Call("bucketize", (Input(0), literal), named)), x)
    return _encoded(row, y, str(s.get("output_mode", "int")), len(edges) + 1)


@calls("CategoryEncoding")
def _category_encoding(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    y = _encoded(row, call.tensor(), str(s.get("output_mode", "multi_hot")), s.integer("num_tokens", minimum=1))
    if call.kwargs.get("count_weights") is not None:
        row.lose("count_weights")
    return [y]


def _encoded(row: LayerRow, x: Tensor, mode: str, depth: int) -> Tensor:
    """Ones at the categories: (..., n) -> (..., n, depth), or over all n: (..., depth) (``multi_hot``, ``count``)."""
    if mode == "int":
        return x
    if mode not in ("one_hot", "multi_hot", "count"):
        raise CnnscopeError.of("E445", f"`output_mode` `{mode}` is not read yet")
    x = row.authored(x)
    shape = x.shape[1:]
    if mode == "one_hot" and shape[-1:] == (1,) and x.rank > 1:
        shape = shape[:-1]
    x = reshape(row, x, (*shape, 1))
    whole = (x.shape[0], *shape, depth)
    if depth > LARGEST:
        raise CnnscopeError.of("E445", f"an encoding of {depth} categories is not read")
    given = (1,) * (len(whole) - 1) + (depth,)
    numbers = Literal(given, "int64", np.arange(depth, dtype=np.int64).tobytes())
    op = Elementwise("equal", whole, "bool", (len(whole) - 1,), call=Call("eq", (Input(0), numbers)))
    hot = row.add(op, x, axes=tuple(range(len(whole))))
    hot = row.add(Movement("cast", (), dtype="float32"), hot, part="cast")
    if mode == "one_hot":
        return row.authored(hot)
    fn, axis = ("amax", hot.rank - 2) if mode == "multi_hot" else ("sum", 1)
    y = row.add(Reduce(fn, (axis,)), hot, axes=tuple(range(hot.rank - 1)))
    return row.authored(y)


@layer("Resizing")
def _resizing(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Resizes. With an aspect ratio to keep, the middle is cut or borders are added before that."""
    x, (height, width) = spatial_map(row, s, x, 2), _size(s)
    h, w = x.value.shape[2:]
    if s.flag("crop_to_aspect_ratio", False):
        cut = max(min(h, w * height // width), 1), max(min(w, h * width // height), 1)
        x = _cut(row, x, cut)
    elif s.flag("pad_to_aspect_ratio", False):
        if s.get("fill_mode", "constant") != "constant":
            raise CnnscopeError.of("E445", f"`fill_mode` `{s.get('fill_mode')}` is not read yet")
        sides = [(max(n, whole) - n) // 2 for n, whole in ((h, w * height // width), (w, h * width // height))]
        args: dict[str, Any] = {"pad": [[n, n] for n in sides], "value": s.number("fill_value", 0.0)}
        x = row.add(Pad.read(args, 2), x) if any(sides) else x
    return resized(row, s, x, [height, width])


def _size(s: Settings) -> tuple[int, int]:
    return s.integer("height", minimum=1), s.integer("width", minimum=1)


def _cut(row: LayerRow, x: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the middle of a map; the odd pixel stays at the end."""
    if size == x.value.shape[2:]:
        return x
    offset = [(n - m) // 2 for n, m in zip(x.value.shape[2:], size, strict=True)]
    return row.add(Crop.read({"size": list(size), "offset": offset}, 2), x, part="crop")


@layer("AutoContrast", "Solarization", "Equalization", "ContrastLimitedAdaptiveHistogramEqualization")
def _photographic(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Keeps the shape and computes another image by its histogram or brightness, which is not read."""
    shape = x.value.shape
    op = Unsupported(shape=shape, batch_axis=0 if shape[0] == 1 else None, fn=s.layer.kind)
    return row.add(op, x, axes=x.axes, kind=x.value.kind)


# -- statistics ------------------------------------------------------------------------------------------------------

_SMALLEST = 1e-14
"""`Normalization` divides by at least 1e-7, the square root of this."""


@layer("Normalization")
def _normalization(row: LayerRow, s: Settings, x: Tensor) -> Tensor:
    """Computes (x - mean) / sqrt(variance), or inverts that. Both are buffers, with a counter, unless the config has
    their values.
    """
    invert = s.flag("invert", False)
    if s.get("mean") is not None:
        means = numbers(s.get("mean"), "mean")
        deviations = [max(n**0.5, 1e-7) for n in numbers(s.get("variance"), "variance")]
        if invert:
            return affine(row, affine(row, x, deviations, 0.0), 1.0, list(means))
        return affine(row, affine(row, x, 1.0, [-n for n in means]), [1 / n for n in deviations], 0.0)
    axes = [] if s.layer.config.get("axis", -1) is None else s.integers("axis", -1)
    if len(axes) != 1 or invert:
        return _standardised(row, x, sorted({x.axes[x.axis(axis)] for axis in axes}), invert)
    stored = {
        "running_mean": Stored("mean", flat), "running_var": Stored("variance", flat),
        TORCH_COUNTER: Stored("count", same),
    }  # fmt: skip
    return row.add(BatchNorm(eps=_SMALLEST, affine=False), channels_first(row, x, axes[0]), stored=stored)


def _standardised(row: LayerRow, x: Tensor, axes: list[int], invert: bool) -> Tensor:
    """The general case: one mean and one deviation for each index of the author's ``axes``."""
    if 0 in axes:
        raise CnnscopeError.of("E443", "`axis` 0 is the batch")
    seen = tuple(x.shape[axis] if axis in axes else 1 for axis in x.axes)
    places = sorted(range(len(axes)), key=lambda place: x.axes.index(axes[place]))
    shape = tuple(n for n, axis in zip(seen, x.axes, strict=True) if axis in axes)
    held = Held("value", shape, seen)
    mean = Stored("mean", lambda array: array.transpose(places), place=0)
    deviation = Stored("variance", lambda array: np.maximum(np.sqrt(array), 1e-7).transpose(places), place=1)
    calls = [("mul", deviation), ("add", mean)] if invert else [("sub", mean), ("true_divide", deviation)]
    for fn, stored in calls:
        op = Elementwise(fn, call=Call(fn, (Input(0), held)))
        x = row.add(op, x, part=stored.name, stored={"value": stored})
    return row.add(Carried(()), x, part="count", stored={"vector": Stored("count", same, place=2)})
