"""The call that an op of a trace stands for, with every operand: numbers, constants, buffers and its inputs.

A call is kept only if it computes the same for every size of the batch: constants that are read along the batch axis
hold for a batch of 1 alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnscope.ir.graph import DTYPE_BYTES, Value
from cnnscope.ops.base import Op
from cnnscope.ops.call import LARGEST, Call, Held, Input, Literal, Operand
from cnnscope.ops.generic import Gather
from cnnscope.sources.torch.operands import WITHOUT_EFFECT
from cnnscope.sources.torch.recording import data_of, dtype_name


class UnknownOperandError(Exception):
    """An operand whose numbers the trace does not know. The message is its name."""


def literal(t: Tensor) -> Literal | None:
    """Returns a constant with its elements; None if it has no values, or too many."""
    if t.is_meta or t.is_sparse or t.is_quantized or dtype_name(t) not in DTYPE_BYTES:
        return None
    if t.numel() > 1 and bool((t == t.reshape(-1)[0]).all()):
        return Literal(tuple(t.shape), dtype_name(t), data_of(t.reshape(-1)[:1]))
    if t.numel() > LARGEST:
        return None
    return Literal(tuple(t.shape), dtype_name(t), data_of(t))


def call_of(
    name: str, args: Sequence[Any], kwargs: Mapping[str, Any], item: int | None,
    operand: Callable[[Tensor], Operand],
) -> Call | None:  # fmt: skip
    """Returns the call of the ATen function ``name``; None if an operand of it is no plain value.

    ``operand`` returns what a tensor is to the node, and raises `UnknownOperandError`.
    """
    try:
        by_place = tuple(_operand(value, operand) for value in args)
        named = tuple(
            (key, _operand(value, operand)) for key, value in kwargs.items() if key not in WITHOUT_EFFECT
        )  # fmt: skip
    except UnknownOperandError:
        return None
    return Call(name, by_place, named, item)


def _operand(value: Any, operand: Callable[[Tensor], Operand]) -> Operand:
    if isinstance(value, Tensor):
        return operand(value)
    if isinstance(value, (list, tuple)):
        return tuple(_operand(item, operand) for item in value)
    if isinstance(value, torch.dtype):
        return f"torch.{str(value).removeprefix('torch.')}"
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise UnknownOperandError(type(value).__name__)


_AT_PLACES = {"index": 1, "_unsafe_index": 1, "index_select": 2}
"""Functions that take constant places, and the number of that operand."""
_SIZED = {"as_strided", "repeat_interleave"}
"""Functions with sizes of whole tensors among their operands."""


def is_for_every_batch(call: Call, op: Op, x: Sequence[Value], has_batch: Sequence[bool]) -> bool:
    """Whether a call that was traced at one size of the batch computes the same at every other.

    ``has_batch`` says which of the inputs ``x`` depend on the images.
    """
    if not isinstance(op, Gather) or not any(has_batch):
        return True
    if all(isinstance(leaf, Input) or not isinstance(leaf, (Literal, Held)) for leaf in call.leaves()):
        return call.function not in _SIZED
    batch = x[0].batch_axis
    if call.function not in _AT_PLACES or batch is None or call.operands[0] != Input(0):
        return False
    given = call.operands[_AT_PLACES[call.function]]
    if call.function == "index_select":
        return isinstance(call.operands[1], int) and call.operands[1] % len(x[0].shape) != batch
    return isinstance(given, tuple) and (batch >= len(given) or given[batch] is None)
