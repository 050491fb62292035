"""What an op of a trace was called with: the operands that are not inputs of its node.

A plain number or a word is an argument of the call, at its place among the operands (``1 - x`` is not ``x - 1``). A
constant tensor is a `Literal`, a stored buffer or weight is `Held` by its key. With that a graph stays frozen, JSON can
show every operand, and torch can repeat the call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from struct import iter_unpack
from typing import Any

from cnnscope.ir.graph import DTYPE_BYTES
from cnnscope.ir.steps import Shape

LARGEST = 2**18
"""The most elements of a constant that a graph keeps, which are those of Swin's attention mask at 224x224. An op with
a larger one lacks it."""
SHOWN = 4096
"""The most elements that documents and source code write out."""


@dataclass(frozen=True, slots=True)
class Input:
    """The input number ``index`` of the node."""

    index: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant tensor. ``data`` has its elements as the machine stores them, in row-major order.

    If all its elements are equal, ``data`` is one of them, however many there are.
    """

    shape: Shape
    dtype: str
    data: bytes = field(repr=False)

    @property
    def is_uniform(self) -> bool:
        """Whether ``data`` stands for every element."""
        return len(self.data) == DTYPE_BYTES[self.dtype] and prod(self.shape) > 0

    @property
    def count(self) -> int:
        """The number of elements that must be written out."""
        return 1 if self.is_uniform else prod(self.shape)

    @property
    def shown(self) -> list[Any] | None:
        """The elements as plain numbers, one if all are equal; None if they are too many to write out."""
        return elements(self) if self.count <= SHOWN else None


@dataclass(frozen=True, slots=True)
class Held:
    """The weight or buffer with the role ``role`` in the node, in the shape ``seen`` where that is another."""

    role: str
    shape: Shape
    seen: Shape | None = None
    dtype: str = "float32"
    buffer: bool = True


Operand = Input | Literal | Held | bool | int | float | str | None | tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Call:
    """The call of ATen's ``function``: the operands by place, and those that it takes by name only.

    ``item`` is the number of the result, of a function with several.
    """

    function: str
    operands: tuple[Operand, ...]
    named: tuple[tuple[str, Operand], ...] = ()
    item: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the inputs in their order are all that it has."""
        return not self.named and self.operands == tuple(map(Input, range(len(self.operands))))

    def leaves(self) -> Iterator[Operand]:
        """Yields every operand, those of lists too."""
        yield from _leaves((*self.operands, *(value for _, value in self.named)))

    def held(self, *, buffer: bool) -> dict[str, Held]:
        """The buffers that it uses by their role, or the weights."""
        return {leaf.role: leaf for leaf in self.leaves() if isinstance(leaf, Held) and leaf.buffer == buffer}

    def arguments(self) -> dict[str, Any]:
        """The call as plain JSON values."""
        given: dict[str, Any] = {"function": self.function, "operands": [_json(value) for value in self.operands]}
        if self.named:
            given["named"] = {name: _json(value) for name, value in self.named}
        return given if self.item is None else {**given, "item": self.item}


def _leaves(operands: tuple[Operand, ...]) -> Iterator[Operand]:
    for operand in operands:
        if isinstance(operand, tuple):
            yield from _leaves(operand)
        else:
            yield operand


def _json(operand: Operand) -> Any:
    match operand:
        case Input(index):
            return {"input": index}
        case Held(role):
            return {"param": role}
        case Literal(shape, dtype):
            return {"shape": list(shape), "dtype": dtype, "values": operand.shown}
        case tuple():
            return [_json(item) for item in operand]
        case float() if operand != operand or operand in (float("inf"), float("-inf")):
            return str(operand)
    return operand


_FORMATS = {"float64": "d", "float32": "f", "float16": "e", "int64": "q", "int32": "i", "int16": "h", "int8": "b",
            "uint8": "B", "bool": "?"}  # fmt: skip


def elements(literal: Literal) -> list[Any] | None:
    """The elements as plain numbers (one if all are equal); None for a type that Python has no numbers for."""
    kind = _FORMATS.get(literal.dtype)
    if kind is None:
        return None
    numbers = [n for (n,) in iter_unpack(f"={kind}", literal.data)]
    return [n if n == n and abs(n) != float("inf") else str(n) for n in numbers]
