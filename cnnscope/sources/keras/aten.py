"""The function of ATen behind a function of Keras, so that an op of many functions can be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnscope.ops.call import LARGEST, Call, Input, Literal, Operand
from cnnscope.sources.keras.stored import Array

_UNARY = {
    "abs": "abs", "absolute": "abs", "ceil": "ceil", "cos": "cos", "erf": "erf", "exp": "exp", "exponential": "exp",
    "expm1": "expm1", "floor": "floor", "log": "log", "log1p": "log1p", "negative": "neg", "neg": "neg",
    "reciprocal": "reciprocal", "round": "round", "rsqrt": "rsqrt", "sign": "sign", "sin": "sin", "sqrt": "sqrt",
    "square": "square",
}  # fmt: skip
_NUMBERED: Mapping[str, tuple[str, tuple[tuple[str, float | None], ...]]] = {
    "celu": ("celu", (("alpha", 1.0),)), "soft_shrink": ("softshrink", (("threshold", 0.5),)),
    "hard_shrink": ("hardshrink", (("threshold", 0.5),)),
    "threshold": ("threshold", (("threshold", None), ("default_value", None))),
    "clip": ("clamp", (("x_min", None), ("x_max", None))),
    "clip_by_value": ("clamp", (("clip_value_min", None), ("clip_value_max", None))),
}  # fmt: skip
"""ATen's function, and Keras' names of its numbers with their defaults."""
_BINARY = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "true_divide", "maximum": "maximum",
    "minimum": "minimum", "power": "pow", "mod": "remainder", "floor_divide": "floor_divide",
}  # fmt: skip


def unary(fn: str, options: Mapping[str, Any], numbers: Sequence[Any] = ()) -> Call | None:
    """Returns the call of a function of one tensor; None if it is no function of ATen or lacks a number. ``numbers``
    are its arguments by place, ``options`` those by name.
    """
    if fn in _UNARY:
        return Call(_UNARY[fn], (Input(0),))
    if fn not in _NUMBERED:
        return None
    name, wanted = _NUMBERED[fn]
    given = [numbers[i] if i < len(numbers) else options.get(key, usual) for i, (key, usual) in enumerate(wanted)]
    if not all(type(n) in (int, float) for n in given):
        return None
    return Call(name, (Input(0), *(float(n) for n in given)))


def binary(fn: str, operands: Sequence[Operand]) -> Call | None:
    """Returns the call of a function of two operands; None if it is no function of ATen."""
    return Call(_BINARY[fn], tuple(operands)) if fn in _BINARY else None


def literal(array: Array) -> Literal | None:
    """Returns a constant; None if it is too large for a graph."""
    if array.size > LARGEST:
        return None
    values = np.ascontiguousarray(array, dtype=np.float32)
    return Literal(values.shape, "float32", values.tobytes())


def reduction(fn: str, axes: tuple[int, ...], keep: bool) -> Call | None:
    """Returns the call of a reduction over axes; None for those that need none or take one axis only."""
    if fn in ("std", "var"):  # of the population
        return Call(fn, (Input(0), axes, False, keep))
    if fn == "logsumexp":
        return Call(fn, (Input(0), axes, keep))
    return Call(fn, (Input(0), axes[0], keep)) if fn == "prod" and len(axes) == 1 else None
