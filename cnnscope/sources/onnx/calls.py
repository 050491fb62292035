"""The function of torch that computes an operator, with every operand: inputs, numbers, constants, weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from cnnscope.ir.graph import DTYPE_BYTES
from cnnscope.ops.call import Call, Held, Input, Literal, Operand
from cnnscope.sources.onnx.values import Const, evaluate

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
            found = _held(x, index) if x.is_weight else literal(x)
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
    return Held(f"constant{index}", constant.shape, dtype=constant.dtype, buffer=False) if real else None


def literal(constant: Const) -> Literal | None:
    """Returns a constant with its elements; None if they are unknown or too many."""
    array = evaluate(constant) if constant.measured else constant.value  # without rounding, the scale is 1
    if array is None or constant.dtype not in DTYPE_BYTES or constant.dtype.endswith(("int4", "int2")):
        return None
    first = array.reshape(-1)[:1]
    uniform = array.size > 1 and bool((array == first).all())
    return Literal(constant.shape, constant.dtype, (first if uniform else array).tobytes())
