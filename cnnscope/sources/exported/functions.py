"""The functions that a program may call: of ATen, those that compute tensors from tensors, and arithmetic of sizes.

A program is data of unknown origin. A function is looked up by its name in ATen alone, and whatever else ATen has (it
can write and map files) is not called: such a call is a row of the graph, without a rule.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

_ATEN = re.compile(r"torch\.ops\.aten\.([a-zA-Z]\w*|_[a-zA-Z]\w*)\.(\w+)")
_REFUSED = {"_reshape_alias", "as_strided_", "set_", "resize_", "_resize_output_"}
"""Functions that show memory in another shape without looking how much there is, or change a tensor's memory."""
_TEXTS = {
    "approximate", "assert_msg", "equation", "indexing", "interpolation", "mode", "norm", "ord", "padding",
    "pad_mode", "reduce", "rounding_mode", "side", "UPLO", "driver", "p",
}  # fmt: skip
"""Arguments of type ``str`` that choose how something is computed."""


@cache
def aten(target: str) -> Any:
    """Returns the function (an `OpOverload`) that ``torch.ops.aten.NAME.OVERLOAD`` names; None if it is another's, or
    does more than to compute tensors.
    """
    match = _ATEN.fullmatch(target)
    if match is None or match[1] in _REFUSED:
        return None
    packet = getattr(torch.ops.aten, match[1], None)
    if not isinstance(packet, torch._ops.OpOverloadPacket) or match[2] not in packet.overloads():  # type: ignore[no-untyped-call]
        return None
    function = getattr(packet, match[2])
    schema = function._schema
    computes = torch._C._dispatch_has_kernel(function.name()) and bool(schema.returns)
    texts = {a.name for a in schema.arguments if "str" in str(a.type)}
    return function if computes and texts <= _TEXTS and not any(a.is_out for a in schema.arguments) else None


def is_check(target: str) -> bool:
    """Returns whether a call only checks or bounds sizes and types, and computes nothing."""
    name = target.removeprefix("torch.ops.aten.").partition(".")[0]
    return name.startswith(("_assert", "sym_constrain", "_functional_assert", "_functional_sym"))


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > 64:
        raise ValueError(f"a size to the power of {exponent}")
    return base**exponent


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in (
        "add", "sub", "mul", "truediv", "floordiv", "mod", "neg", "pos", "abs", "eq", "ne", "lt", "le", "gt", "ge",
        "and_", "or_", "not_", "getitem",
    )},
    "_operator.pow": _power, "math.trunc": math.trunc, "math.ceil": math.ceil, "math.floor": math.floor,
    "torch.sym_max": max, "torch.sym_min": min, "torch.sym_float": float, "torch.sym_int": int,
    "torch.sym_not": operator.not_, "torch._sym_sqrt": math.sqrt,
}  # fmt: skip
_LARGEST = 2**63


def arithmetic(target: str) -> Callable[..., Any] | None:
    """Returns the function of sizes that a call names; None if it is none. Its result is bounded: ValueError."""
    function = _ARITHMETIC.get(target.replace("builtins.", "_operator."))
    if function is None:
        return None

    def bounded(*values: Any) -> Any:
        result = function(*values)
        if isinstance(result, (int, float)) and not abs(result) < _LARGEST:
            raise ValueError(f"a size of {result:.3g}")
        return result

    return bounded
