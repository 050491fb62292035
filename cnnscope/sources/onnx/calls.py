"""The function of torch that computes an operator, with every operand: inputs, numbers, constants, weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from math import prod
from typing import Any

import numpy as np

from cnnscope.ir.graph import DTYPE_BYTES
from cnnscope.ops.call import Call, Held, Input, Literal, Operand
from cnnscope.sources.onnx.values import MAX_ELEMENTS, Const, evaluate

INTEGERS = frozenset({"uint16", "uint32", "uint64"})
"""Types for which torch has no arithmetic."""


def call_of(
    function: str, operands: Sequence[Any], named: Sequence[tuple[str, Any]] = (), item: int | None = None
) -> Call | None:
    """Returns the call of ATen's ``function``; None if the elements of a constant are unknown or too many.

    Names of tensors are inputs, in their order; a weight has the role ``constant0``, ``constant1`` and so on by its
    place among the constants.
    """
    places, constants = count(), count()

    def known(x: Any) -> Operand:
        if isinstance(x, str):
            return Input(next(places))
        if isinstance(x, Const):
            index = next(constants)
            found = _held(x, index) if x.is_weight or is_buffer(x) else literal(x)
            if found is None:
                raise UnknownElementsError
            return found
        return tuple(map(known, x)) if isinstance(x, tuple) else x

    try:
        return Call(function, tuple(map(known, operands)), tuple(named), item)
    except UnknownElementsError:
        return None


class UnknownElementsError(Exception):
    """A constant whose elements are unknown or too many."""


def leaves(operands: Sequence[Any]) -> Iterator[Any]:
    """Yields the operands, those of lists too."""
    for operand in operands:
        if isinstance(operand, tuple):
            yield from leaves(operand)
        else:
            yield operand


def _held(constant: Const, index: int) -> Held | None:
    real = constant.dtype in ("float32", "float64", "float16", "bfloat16")
    if not real and constant.is_weight:
        return None
    return Held(f"constant{index}", constant.shape, dtype=constant.dtype, buffer=is_buffer(constant))


def is_buffer(constant: Const) -> bool:
    """Returns whether a constant that is no weight is too large for a graph, which has it as a buffer."""
    return not (constant.is_weight or constant.measured) and prod(constant.shape) > MAX_ELEMENTS


MASKED, TABLE = -50, 4
"""The largest number that stands for minus infinity in a mask, and the fewest elements of a table."""


def known_constant(constant: Const) -> Const:
    """Returns an operand of arithmetic as no weight if its elements show that nothing trained it: a mask of zeros and
    one large negative number, or a table of different multiples of 1/2 (coordinates, strides, means of bytes).
    """
    array = constant.value if constant.is_weight and constant.leaf is not None else None
    if array is None or array.size < TABLE:
        return constant
    low, high = float(array.min()), float(array.max())
    mask = high == 0 and low <= MASKED and bool(((array == 0) | (array == low)).all())
    table = low < high and max(-low, high) >= 2 and bool((2 * array == np.round(2 * array)).all())
    return replace(constant, origin=()) if mask or table else constant


def literal(constant: Const) -> Literal | None:
    """Returns a constant with its elements; None if they are unknown or too many."""
    array = evaluate(constant) if constant.measured else constant.value  # without rounding, the scale is 1
    if array is None or constant.dtype not in DTYPE_BYTES or constant.dtype.endswith(("int4", "int2")):
        return None
    first = array.reshape(-1)[:1]
    uniform = array.size > 1 and bool((array == first).all())
    return Literal(constant.shape, constant.dtype, (first if uniform else array).tobytes())
