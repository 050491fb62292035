"""The base of ops that only traces have, and the rules for their shapes and batch axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from math import prod
from typing import Any

from cnnscope.ir.graph import Kind, Value
from cnnscope.ir.steps import Expand, Permute, Place, Reshape, Shape, Step, Taps, Whole
from cnnscope.ops.base import REGISTRY, Category, Op
from cnnscope.ops.call import Call

TRACED: dict[str, type[Traced]] = {}
"""Every op of traces by tag."""


class Traced(Op):
    """Base of the ops that only traces have."""

    accepts = ("map", "tokens", "flat", "tensor")

    def __init_subclass__(cls, tag: str = "", category: Category = "", **kwargs: Any) -> None:
        super().__init_subclass__(category=category, **kwargs)
        cls.tag = tag
        if tag in REGISTRY or (tag and TRACED.setdefault(tag, cls) is not cls):
            raise TypeError(f"two ops are tagged {tag!r}")

    def label(self) -> str:
        """The name of the function, else the tag."""
        return str(getattr(self, "fn", self.tag))


class Called(Op):
    """An op that stands for many functions: ``call`` is the one with all its operands, if they are known."""

    call: Call | None = field(default=None, kw_only=True)

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {role: held.shape for role, held in self.call.held(buffer=False).items()} if self.call else {}

    def buffers(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {role: held.shape for role, held in self.call.held(buffer=True).items()} if self.call else {}

    def arguments(self) -> dict[str, Any]:
        given = super().arguments()
        given.pop("call", None)
        return given if self.call is None or self.call.is_plain else {**given, "call": self.call.arguments()}


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The shape by numpy's rule, of shapes that fit: aligned at the right, an axis of size 1 is stretched."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((n for n in sizes if n != 1), 1) for sizes in zip(*padded, strict=True))


def kind_of(shape: Shape, batch_axis: int | None) -> Kind:
    """The kind of a traced tensor after its axes changed: a flat vector if that is certain, else a tensor."""
    return "flat" if len(shape) == 2 and batch_axis == 0 else "tensor"


def batch_of_all(x: Sequence[Value], rank: int) -> int | None:
    """The batch axis of a broadcast result: that of an input, unless another input stretches the axis."""
    axes = [rank - len(v.shape) + v.batch_axis for v in x if v.batch_axis is not None]
    whole = broadcast([v.shape for v in x])
    return next((axis for axis in axes if axis >= len(whole) or whole[axis] == 1), None)


def moved(value: Value, steps: Sequence[Step]) -> Value:
    """The value after ``steps``, with its new shape and batch axis. It stays a map if its axes stay in place."""
    shape, batch, in_place = value.shape, value.batch_axis, True
    for step in steps:
        match step:
            case Taps(axis=axis, size=size) | Place(axis=axis, size=size):
                shape = (*shape[:axis], size, *shape[axis + 1 :])
            case Whole(axes=axes, keep=True):
                shape = tuple(1 if axis in axes else n for axis, n in enumerate(shape))
            case Whole(axes=axes):
                batch = None if batch is None or batch in axes else batch - sum(axis < batch for axis in axes)
                shape, in_place = tuple(n for axis, n in enumerate(shape) if axis not in axes), False
            case Reshape(shape=new):
                batch, shape, in_place = _reshaped_batch(shape, batch, new), new, False
            case Permute(order=order):
                batch = None if batch is None else order.index(batch)
                shape, in_place = tuple(shape[axis] for axis in order), False
            case Expand(shape=new):
                batch = None if batch is None else batch + len(new) - len(shape)
                in_place = in_place and len(new) == len(shape)
                shape = new
        if batch is not None and shape[batch] != 1:
            batch = None
    return Value(shape, value.dtype, batch, value.kind if in_place else kind_of(shape, batch))


def _reshaped_batch(old: Shape, batch: int | None, new: Shape) -> int | None:
    """The batch axis (of size 1) after a reshape: the axis of size 1 with as many elements before it.

    None once it is merged with another axis. A batch that was merged into the leading axis, as by window attention,
    is back once that axis is split again and starts with 1.
    """
    if batch is None:
        return 0 if new and new[0] == 1 and old and old[0] != 1 else None
    before = prod(old[:batch])
    places = [axis for axis, n in enumerate(new) if n == 1 and prod(new[:axis]) == before]
    return batch if batch in places else (places[0] if places else None)
