"""Steps of `cnnscope.ir.steps` carried out one element at a time, with sets of input elements as Python integers."""

from __future__ import annotations

from functools import reduce
from operator import or_

import numpy as np

from cnnscope.ir.steps import Expand, Mix, Permute, Place, Reshape, Running, Spread, Step, Taps, Whole

Sets = np.ndarray
"""An array of bit masks: bit i is set where the element reads input element i."""


def reached(shape: tuple[int, ...], steps: tuple[Step, ...], output: tuple[int, ...]) -> list[int]:
    """The mask of every output element, in row-major order."""
    sets = np.array([1 << i for i in range(int(np.prod(shape)))], dtype=object).reshape(shape)
    for step in steps:
        sets = follow(step, sets)
    return list(np.broadcast_to(sets, output).ravel())


def union(sets: Sets, axes: tuple[int, ...]) -> Sets:
    for axis in axes:
        sets = np.expand_dims(np.bitwise_or.reduce(sets, axis=axis), axis)
    return sets


def follow(step: Step, sets: Sets) -> Sets:
    match step:
        case Taps():
            return np.stack([tapped(step, sets, o) for o in range(step.size)], step.axis)
        case Mix(axis, out, groups):
            parts = np.split(sets, groups, axis)
            return np.concatenate([np.repeat(union(part, (axis,)), out // groups, axis) for part in parts], axis)
        case Whole(axes, _, keep):
            joined = union(sets, axes)
            return joined if keep else joined.reshape([n for i, n in enumerate(joined.shape) if i not in axes])
        case Running(axis):
            return np.bitwise_or.accumulate(sets, axis)
        case Spread(axes):
            return np.broadcast_to(union(sets, axes), sets.shape) | sets
        case Reshape(shape):
            return sets.reshape(shape)
        case Permute(order):
            return sets.transpose(order)
        case Expand(shape):
            return np.broadcast_to(sets, shape)
        case Place(axis, offset, size):
            sides = [(0, 0)] * sets.ndim
            sides[axis] = (offset, size - offset - sets.shape[axis])
            return np.pad(sets, sides, constant_values=0)


def tapped(step: Taps, sets: Sets, o: int) -> Sets:
    n, phases = sets.shape[step.axis], len(step.taps)
    nothing = np.zeros(np.delete(sets.shape, step.axis), dtype=object)
    places = (bordered(step, tap + step.n * (o // phases), n) for tap in step.taps[o % phases])
    return reduce(or_, (np.take(sets, i, step.axis) for i in places if i is not None), nothing)


def bordered(step: Taps, i: int, n: int) -> int | None:
    if 0 <= i < n:
        return i
    match step.border:
        case "drop":
            return None
        case "clamp":
            return min(max(i, 0), n - 1)
        case "wrap":
            return i % n
        case "reflect":
            return -i if i < 0 else 2 * (n - 1) - i
