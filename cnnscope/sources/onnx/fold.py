"""Computes constants: the shapes that exporters compute (``Shape``, ``Gather``, ``Concat`` ... before
``Reshape``).

Every function here is bounded: constants of more than `MAX_ELEMENTS` are neither read nor made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from cnnscope.sources.onnx.lazy import lazily
from cnnscope.sources.onnx.rules import OperatorCall
from cnnscope.sources.onnx.rules.movement import reshaped
from cnnscope.sources.onnx.values import MAX_ELEMENTS, Array, Const

Arrays = Sequence[Array]
MAX_AT_ONCE = 2**12
"""The elements of the largest result that is computed at once and kept. No shape has as many; larger constants are
computed when they are asked for, so that long chains of them fill no memory.
"""


def fold(call: OperatorCall) -> list[Const] | None:
    """Returns the outputs of a node of constants, or of one that asks for a shape; None if they cannot be computed."""
    if call.type in ("Shape", "Size"):
        if not call.outputs:
            return []
        extents = _shape(call)
        return [Const.known(call.outputs[0], extents, np.ones(extents.shape, bool))]
    if any(isinstance(operand, str) for operand in call.inputs):
        return None
    return _at_once(call) or lazily(call.of_constants())


def _at_once(call: OperatorCall) -> list[Const] | None:
    """Returns the outputs of a node of small constants that are no weights; None for others."""
    function = FUNCTIONS.get(call.type)
    if function is None or not call.inputs:
        return None
    arrays: list[Array | None] = []
    for index in range(len(call.inputs)):
        constant = call.constant(index)
        array = None if constant is None or constant.is_weight else constant.value
        if call.has(index) and array is None:
            return None
        arrays.append(array)
    if any(array is None for array in arrays[: len(arrays) if call.type not in OPTIONAL else 1]):
        return None
    try:
        with np.errstate(all="ignore"):
            results = function(call, arrays)
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, MemoryError):
        return None  # against the specification: the rule of the operator reports what is wrong
    results = results if isinstance(results, list) else [results]
    if any(result is None or result.size > MAX_AT_ONCE for result in results):
        return None
    named = list(zip(call.outputs, map(np.asarray, results), strict=False))
    made = [Const.known(name, result, _from_shape(call, result, arrays)) for name, result in named]
    first = call.constant(0)
    return [replace(x, leaf=first.leaf) for x in made] if first and call.type in REARRANGING else made


def _from_shape(call: OperatorCall, result: Array, arrays: Sequence[Any]) -> Array | None:
    """Returns which elements of a result were computed from shapes. Where a function only moves elements, the marks
    move too.
    """
    marks = [constant.from_shape if (constant := call.constant(i)) else None for i in range(len(arrays))]
    if all(mark is None for mark in marks):
        return None
    if call.type == "Concat":
        known = [mark if mark is not None else np.zeros_like(x, bool) for mark, x in zip(marks, arrays, strict=True)]
        return np.asarray(FUNCTIONS[call.type](call, known))
    if call.type in MOVING and marks[0] is not None:
        return np.asarray(FUNCTIONS[call.type](call, [marks[0], *arrays[1:]]))
    return np.ones_like(result, bool)


MOVING = frozenset({"Identity", "Gather", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Expand", "Tile"})
"""Functions whose output elements are elements of their first input."""
REARRANGING = frozenset({"Identity", "Squeeze", "Unsqueeze", "Reshape", "Transpose"})
"""Functions whose output has all elements of their input, each once, and so is the same stored tensor."""
OPTIONAL = frozenset({"Slice", "Squeeze", "Split", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"})
"""Functions whose inputs after the first are optional."""


def _shape(call: OperatorCall) -> Array:
    shape = call.shape(0)
    if call.type == "Size":
        return np.array(prod(shape), np.int64)
    start, end = call.integer("start", 0), call.integer("end", len(shape))
    return np.array(shape[slice(start, end)], np.int64)


# -- functions -------------------------------------------------------------------------------------------------------


def _axes(call: OperatorCall, arrays: Arrays, index: int = 1) -> list[int]:
    given = arrays[index] if index < len(arrays) else None
    return call.integers("axes", []) or [] if given is None else [int(n) for n in given.reshape(-1)]


def _constant_of_shape(call: OperatorCall, x: Arrays) -> Array | None:
    shape = [int(n) for n in x[0].reshape(-1)]
    if prod(shape) > MAX_ELEMENTS or min(shape, default=0) < 0:
        return None
    given = call.attributes.get("value")
    fill = numpy_helper.to_array(given).reshape(-1) if given is not None else np.zeros(1, np.float32)
    return np.full(shape, fill[0])


def _each(function: Callable[..., Array]) -> Callable[[OperatorCall, Arrays], Array | None]:
    """Returns a function of single elements that broadcasts its operands."""

    def run(call: OperatorCall, x: Arrays) -> Array | None:
        shape = np.broadcast_shapes(*(array.shape for array in x))
        return None if prod(shape) > MAX_ELEMENTS else function(*x)

    return run


def _gather(call: OperatorCall, x: Arrays) -> Array | None:
    axis = call.integer("axis", 0)
    if x[0].size // max(x[0].shape[axis], 1) * x[1].size > MAX_ELEMENTS:
        return None
    return np.take(x[0], x[1].astype(np.int64), axis)


def _concat(call: OperatorCall, x: Arrays) -> Array | None:
    return None if sum(array.size for array in x) > MAX_ELEMENTS else np.concatenate(x, call.integer("axis"))


def _range(call: OperatorCall, x: Arrays) -> Array | None:
    start, stop, step = (array.reshape(-1)[0] for array in x)
    return None if abs(stop - start) > MAX_ELEMENTS * abs(step) else np.arange(start, stop, step)


def _expand(call: OperatorCall, x: Arrays) -> Array | None:
    target = [int(n) for n in x[1].reshape(-1)]
    shape = np.broadcast_shapes(x[0].shape, tuple(target))
    return None if prod(shape) > MAX_ELEMENTS else np.broadcast_to(x[0], shape)


def _tile(call: OperatorCall, x: Arrays) -> Array | None:
    return None if prod(map(int, x[1])) * x[0].size > MAX_ELEMENTS else np.tile(x[0], [int(n) for n in x[1]])


def _slice(call: OperatorCall, x: Arrays) -> Array:
    if len(x) > 1:
        if any(array is None for array in x[1:3]):
            raise ValueError("no bounds")
        starts, ends = ([int(n) for n in array.reshape(-1)] for array in x[1:3])
        axes, steps = _axes(call, x, 3), _axes(call, x, 4) if len(x) > 4 else []
    else:
        starts, ends, axes, steps = call.integers("starts") or [], call.integers("ends") or [], _axes(call, x, 9), []
    picked = [slice(None)] * x[0].ndim
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step, axis = steps[i] if steps else 1, axes[i] if axes else i
        stop = None if step < 0 and end < -x[0].shape[axis] else end
        picked[axis] = slice(start, stop, step)
    return x[0][tuple(picked)]


def _reshape(call: OperatorCall, x: Arrays) -> Array:
    return x[0].reshape(reshaped(call, x[0].shape, [int(n) for n in x[1].reshape(-1)]))


def _squeeze(call: OperatorCall, x: Arrays) -> Array:
    return np.squeeze(x[0], tuple(_axes(call, x)) or None)


def _unsqueeze(call: OperatorCall, x: Arrays) -> Array:
    return np.expand_dims(x[0], tuple(_axes(call, x)))


def _split(call: OperatorCall, x: Arrays) -> list[Array]:
    count = len(call.outputs)
    sizes = _axes(call, x) if len(x) > 1 else call.integers("split", []) or []
    cuts: Any = np.cumsum(sizes)[:-1] if sizes else count
    return list(np.split(x[0], cuts, call.integer("axis", 0)))


def _cast(call: OperatorCall, x: Arrays) -> Array:
    return x[0].astype(helper.tensor_dtype_to_np_dtype(call.integer("to")))


def _divide(a: Array, b: Array) -> Array:
    """Divides. Whole numbers are rounded towards zero, as in C."""
    if np.issubdtype(a.dtype, np.integer):
        return np.trunc(np.true_divide(a, b)).astype(a.dtype)
    return np.divide(a, b)


def _scatter(call: OperatorCall, x: Arrays) -> Array:
    result = x[0].copy()
    index = x[1]
    for place in np.ndindex(index.shape[:-1]):
        result[tuple(index[place])] = x[2][place]
    return result


def _reduce(function: Callable[..., Any]) -> Callable[[OperatorCall, Arrays], Array]:
    def run(call: OperatorCall, x: Arrays) -> Array:
        axes = tuple(_axes(call, x)) or None
        return np.asarray(function(x[0], axis=axes, keepdims=bool(call.integer("keepdims", 1))))

    return run


_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": _divide, "Pow": np.power, "Neg": np.negative,
    "Abs": np.abs, "Sqrt": np.sqrt, "Floor": np.floor, "Ceil": np.ceil, "Round": np.round,
    "Reciprocal": np.reciprocal, "Equal": np.equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
    "Less": np.less, "LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or, "Not": np.logical_not,
    "Where": lambda condition, a, b: np.asarray(np.where(condition, a, b)),
    "Max": lambda *x: np.maximum.reduce(np.broadcast_arrays(*x)),
    "Min": lambda *x: np.minimum.reduce(np.broadcast_arrays(*x)),
}  # fmt: skip
_REDUCTIONS: Mapping[str, Callable[..., Any]] = {
    "ReduceProd": np.prod, "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min,
}  # fmt: skip
FUNCTIONS: Mapping[str, Callable[[OperatorCall, Any], Any]] = {
    "Identity": lambda call, x: x[0], "Cast": _cast, "Gather": _gather, "Concat": _concat, "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze, "Reshape": _reshape, "Transpose": lambda call, x: np.transpose(x[0], call.integers("perm")),
    "Slice": _slice, "Split": _split, "Expand": _expand, "Tile": _tile, "Range": _range,
    "ConstantOfShape": _constant_of_shape, "ScatterND": _scatter,
    "Mod": lambda call, x: _each(np.fmod if call.integer("fmod", 0) else np.mod)(call, x),
    **{name: _each(function) for name, function in _ELEMENTWISE.items()},
    **{name: _reduce(function) for name, function in _REDUCTIONS.items()},
}  # fmt: skip
