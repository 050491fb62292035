"""Joins of several inputs: add, sub, mul, concat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod
from typing import Annotated, ClassVar

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Expand, Place, Shape, Step
from cnnscope.ops.arguments import Integer, Maybe
from cnnscope.ops.base import Case, Op, along, shape_text
from cnnscope.ops.saved import FLOAT, NOTHING, Kept, TrainStep


class _Elementwise(Op):
    """Combines its inputs element by element. FLOPs: one an output element for each input after the first."""

    arity: ClassVar[tuple[int, int | None]] = (2, None)
    decorates = True

    def output(self, x: Sequence[Value]) -> Value:
        if any(value.kind == "tensor" for value in x):
            return _broadcast_tensors(x)
        if any(value.shape != x[0].shape or value.kind != x[0].kind for value in x):
            raise different_sizes(x)
        return x[0]

    def elementwise(self, x: Sequence[Value]) -> int:
        return (len(x) - 1) * self.output(x).numel

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        shape = self.output(x).shape
        return tuple(() if value.shape == shape else (Expand(shape),) for value in x)

    keeps = NOTHING


class Add(_Elementwise, tag="add", category="merge"):
    """The sum of inputs of one size. FLOPs: one an element for each input after the first.

    Source: He et al. 2016, section 3.2 (residual connections).
    """

    arity = (1, None)
    cases = (
        Case(x=((64, 56, 56), (64, 56, 56)), args={}, shape=(64, 56, 56)),
        Case(x=((3, 4), (3, 4), (3, 4)), args={}, shape=(3, 4), kind="tokens"),
        Case(x=((3, 1, 5), (4, 5)), args={}, shape=(3, 4, 5), kind="tensor"),
    )


class Sub(_Elementwise, tag="sub", category="merge"):
    """The first input minus the second, of one size. FLOPs: one an element: the formula is the definition."""

    foreign = ("subtract",)
    arity = (2, 2)
    cases = (
        Case(x=((8, 5, 5), (8, 5, 5)), args={}, shape=(8, 5, 5)),
        Case(x=((8,), (8,)), args={}, shape=(8,), kind="flat"),
        Case(x=((8, 1), (8, 5)), args={}, shape=(8, 5), kind="tensor"),
    )


class Mul(_Elementwise, tag="mul", category="merge"):
    """The product of inputs; an axis of size 1 is stretched to the others' size, so a gate Cx1x1 scales channels.

    FLOPs: one an output element for each input after the first.
    Source: Hu et al. 2018, section 3.2 (channel gates); broadcasting as in numpy.
    """

    def output(self, x: Sequence[Value]) -> Value:
        if any(value.kind == "tensor" for value in x):
            return _broadcast_tensors(x)
        same_kind = all(value.kind == x[0].kind and len(value.shape) == len(x[0].shape) for value in x)
        shape = _broadcast([value.shape for value in x]) if same_kind else None
        if shape is None:
            raise different_sizes(x, hint="only axes of size 1 are stretched")
        return replace(x[0], shape=shape)

    def saved(self, step: TrainStep) -> Kept:
        return kept_of_product(step)

    cases = (
        Case(x=((64, 14, 14), (64, 1, 1)), args={}, shape=(64, 14, 14)),
        Case(x=((1, 6, 6), (8, 6, 1)), args={}, shape=(8, 6, 6)),
        Case(x=((4, 5), (4, 5), (4, 5)), args={}, shape=(4, 5)),
        Case(x=((2, 3, 4), (4,)), args={}, shape=(2, 3, 4), kind="tensor"),
    )


class Concat(Op, tag="concat", category="merge"):
    """Joins inputs one after the other along ``axis`` (the batch is 0), by default the channels.

    No arithmetic. Source: Szegedy et al. 2015, section 4; Huang et al. 2017, section 3.
    """

    axis: Annotated[int | None, Maybe(Integer())] = None
    foreign = ("cat", "concatenate", "route")
    arity = (1, None)
    aliases = {"dim": "axis"}
    decorates = True

    def output(self, x: Sequence[Value]) -> Value:
        axis = along(x[0], self.axis)
        if any(value.kind != x[0].kind or _without(value.shape, axis) != _without(x[0].shape, axis) for value in x):
            what = "the channels" if self.axis is None else f"axis {axis}"
            raise different_sizes(x, hint=f"only {what} may differ")
        shape = x[0].shape
        batch = None if axis == x[0].batch_axis else x[0].batch_axis
        shape = (*shape[:axis], sum(value.shape[axis] for value in x), *shape[axis + 1 :])
        return replace(x[0], shape=shape, batch_axis=batch)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axis = along(x[0], self.axis)
        ends = list(accumulate((value.shape[axis] for value in x), initial=0))
        return tuple((Place(axis, offset, ends[-1]),) for offset in ends[:-1])

    keeps = NOTHING
    cases = (
        Case(x=((64, 28, 28), (128, 28, 28), (32, 28, 28)), args={}, shape=(224, 28, 28)),
        Case(x=((4, 3, 5), (4, 2, 5)), args={"axis": 2}, shape=(4, 5, 5)),
        Case(x=((5, 8), (5, 4)), args={}, shape=(5, 12), kind="tokens"),
        Case(x=((5, 8), (1, 8)), args={"axis": 1}, shape=(6, 8), kind="tokens"),
        Case(x=((10,), (4,)), args={}, shape=(14,), kind="flat"),
    )


def kept_of_product(step: TrainStep) -> Kept:
    """Each factor that the gradient of another needs, and for more than two factors the products in between."""
    wanted = tuple(i for i in range(len(step.x)) if any(read for j, read in enumerate(step.reads) if j != i))
    return Kept(wanted, image_bytes=max(len(step.x) - 2, 0) * FLOAT * prod(step.y.features))


def different_sizes(x: Sequence[Value], *, hint: str | None = None) -> ShapeError:
    """E303 with the size of every input, or of the first and those that differ if there are many."""
    kinds = len({value.kind for value in x}) > 1
    sizes = [shape_text(value.features) + (f" ({value.kind})" if kinds else "") for value in x]
    texts = [f"input {i} is {size}" for i, size in enumerate(sizes, start=1)]
    if len(texts) > 6:
        texts = [texts[0], *[t for t, v in zip(texts, x, strict=True) if v.shape != x[0].shape][:5]]
    return ShapeError(f"paths have different sizes: {', '.join(texts)}", code="E303", hint=hint)


def _without(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def _broadcast(shapes: Sequence[Shape]) -> Shape | None:
    """The shape by numpy's rule (aligned at the right, sizes equal or 1); None if the shapes do not fit."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    result = tuple(max(sizes) if min(sizes) else 0 for sizes in zip(*padded, strict=True))
    fits = all(n in (1, m) for shape in padded for n, m in zip(shape, result, strict=True))
    return result if fits else None


def _broadcast_tensors(x: Sequence[Value]) -> Value:
    shape = _broadcast([value.shape for value in x])
    if shape is None:
        raise different_sizes(x)
    batch = [len(shape) - len(v.shape) + v.batch_axis for v in x if v.batch_axis is not None]
    return replace(x[0], shape=shape, kind="tensor", batch_axis=batch[0] if batch else None)
