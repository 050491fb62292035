"""One step of a shadow: arrays over a tensor's axes, with extent 1 along axes on which nothing varies.

In most networks the bounds of an image axis vary along one tensor axis only, so shadows stay one-dimensional.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from cnnscope.analysis.receptive_field.digits import aligned, shape_of
from cnnscope.analysis.receptive_field.walk import Move
from cnnscope.ir import Shape
from cnnscope.ir.steps import Border, Expand, Mix, Permute, Place, Reshape, Running, Spread, Taps, Whole

Array = npt.NDArray[np.int32]
Index = npt.NDArray[np.intp]
Number = TypeVar("Number", np.int32, np.float64)
EMPTY = np.int32(2**30)


def moved(bounds: Array, move: Move) -> Array:
    """The shadow behind a step: the minimum over what each element reads."""
    match move.step:
        case Taps() as step:
            return _tapped(bounds, step, move.before[step.axis].extent)
        case Mix(axis, out, groups):
            return _mixed(bounds, axis + 1, out, groups)
        case Whole(axes, _, keep):
            return least(bounds, tuple(axis + 1 for axis in axes), keep)
        case Running(axis):
            return np.minimum.accumulate(bounds, axis + 1)
        case Spread(axes):
            return least(bounds, tuple(axis + 1 for axis in axes), True)
        case Reshape(shape):
            return reshaped(bounds, shape_of(move.before), shape)
        case Permute(order):
            return bounds.transpose(0, *(axis + 1 for axis in order))
        case Expand(shape):
            return bounds.reshape(2, *(1,) * (len(shape) + 1 - bounds.ndim), *bounds.shape[1:])
        case Place() as step:
            return _placed(bounds, step, move.before[step.axis].extent)


def least(bounds: Array, axes: tuple[int, ...], keep: bool = False) -> Array:
    """The minimum over these axes, which are dropped unless ``keep``."""
    result: Array = bounds.min(axes, keepdims=keep)
    return result


def _tapped(bounds: Array, step: Taps, extent: int) -> Array:
    index, reads = tap_table(step, extent)
    axis = step.axis + 1
    if bounds.shape[axis] == 1:
        if reads.all():
            return bounds
        return np.where(reads.reshape(-1, *(1,) * (bounds.ndim - 1 - axis)), bounds, EMPTY)
    beyond = np.full((*bounds.shape[:axis], 1, *bounds.shape[axis + 1 :]), EMPTY)
    return least(np.concatenate([bounds, beyond], axis).take(index, axis), (axis + 1,))


@lru_cache(maxsize=4096)
def tap_table(step: Taps, extent: int) -> tuple[Index, npt.NDArray[np.bool_]]:
    """Input indices (outputs, taps) along the axis, where ``extent`` means none; and which outputs read any."""
    width = max(map(len, step.taps))
    taps = np.array([[*tap, *(0,) * (width - len(tap))] for tap in step.taps], dtype=np.intp).reshape(-1, width)
    holes = np.array([[False] * len(tap) + [True] * (width - len(tap)) for tap in step.taps]).reshape(-1, width)
    turn, phase = np.divmod(np.arange(step.size), len(step.taps))
    index = bordered(taps[phase] + step.n * turn[:, None], extent, step.border)
    index[holes[phase]] = extent
    return index, np.any(index < extent, axis=1)


def bordered(index: Index, extent: int, border: Border) -> Index:
    """The pixel at each index along an axis; ``extent`` if there is none."""
    match border:
        case "clamp":
            index = index.clip(0, extent - 1)
        case "reflect":
            index = np.where(index < 0, -index, index)
            index = np.where(index >= extent, 2 * (extent - 1) - index, index)
        case "wrap":
            index = index % extent
    return np.where((index < 0) | (index >= extent), extent, index)


def _mixed(bounds: Array, axis: int, out: int, groups: int) -> Array:
    if bounds.shape[axis] == 1:
        return bounds
    split = (*bounds.shape[:axis], groups, -1, *bounds.shape[axis + 1 :])
    united = least(bounds.reshape(split), (axis + 1,))
    return united if groups == 1 else united.repeat(out // groups, axis)


def reshaped(array: npt.NDArray[Number], old: Shape, new: Shape) -> npt.NDArray[Number]:
    """A tensor flattened into one axis; only axes along which it varies are expanded and joined."""
    filled: list[int] = [1] * len(old)
    result: list[int] = [1] * len(new)
    for olds, news in aligned(old, new):
        if any(array.shape[i + 1] > 1 for i in olds):
            for i in olds:
                filled[i] = old[i]
            for i in news:
                result[i] = new[i]
    return np.broadcast_to(array, (len(array), *filled)).reshape(len(array), *result)


def _placed(bounds: Array, step: Place, extent: int) -> Array:
    axis = step.axis + 1
    result = np.full((*bounds.shape[:axis], step.size, *bounds.shape[axis + 1 :]), EMPTY)
    result.swapaxes(0, axis)[step.offset : step.offset + extent] = bounds.swapaxes(0, axis)
    return result
