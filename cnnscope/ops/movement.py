"""Ops that move elements and compute nothing: flatten, reshape, permute, slice, roll, flip, identity.

Axes are numbered as in the full tensor, where 0 is the batch; negative ones count from the end.
Those that change borders or trade channels for positions are in `cnnscope.ops.rearrange`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Annotated

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Kind, Value
from cnnscope.ir.steps import Permute, Reshape, Shape, Step, Taps
from cnnscope.ops.arguments import AnyInt, Integer, Ints, Maybe, Pos
from cnnscope.ops.base import Case, Op, axis_of, shape_text
from cnnscope.ops.saved import NOTHING


class Identity(Op, tag="identity", category="movement"):
    """The input unchanged: y = x."""

    is_view = True

    keeps = NOTHING
    cases = (Case(x=(3, 4, 5), args={}, shape=(3, 4, 5)), Case(x=(7,), args={}, shape=(7,), kind="flat"))


class Flatten(Op, tag="flatten", category="movement"):
    """Merges the axes ``start`` to ``end`` into one, in row-major order: (N, C, n...) -> (N, C * n * ...).

    Everything but the batch unless said otherwise, which makes a flat vector of a map or of tokens.
    Source: the order is torch's (channels slowest); LeCun et al. 1998, figure 2, between C5 and F6.
    """

    start: AnyInt = 1
    end: AnyInt = -1
    aliases = {"start_dim": "start", "end_dim": "end"}
    is_view = True

    def output(self, x: Sequence[Value]) -> Value:
        shape, (start, end) = x[0].shape, self._range(x[0])
        merged = (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :])
        return replace(x[0], shape=merged, batch_axis=self._batch(x[0], start, end), kind=_kind_of(merged, x[0].kind))

    def _range(self, x: Value) -> tuple[int, int]:
        start, end = axis_of(x, self.start), axis_of(x, self.end)
        if start > end:
            raise ShapeError(f"`start` {self.start} lies behind `end` {self.end} in {shape_text(x.features)}")
        return start, end

    def _batch(self, x: Value, start: int, end: int) -> int | None:
        if x.batch_axis is None or (start <= x.batch_axis <= end and start < end):
            return None
        return x.batch_axis - (end - start) if x.batch_axis > end else x.batch_axis

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Reshape(self.output(x).shape),),)

    keeps = NOTHING
    cases = (
        Case(x=(256, 6, 6), args={}, shape=(9216,)),
        Case(x=(4, 5), args={}, shape=(20,), kind="tokens"),
        Case(x=(7,), args={}, shape=(7,), kind="flat"),
        Case(x=(4, 5, 6), args={"start": 2}, shape=(4, 30)),
        Case(x=(4, 5, 6), args={"start": -3, "end": 2}, shape=(20, 6), kind="tensor"),
    )


class ReshapeOp(Op, tag="reshape", category="movement"):
    """The same elements in row-major order under another shape, written without the batch; one -1 is worked out.

    One axis makes a flat vector, more a map (channels first); tokens reshaped to two axes stay tokens.
    (N, a, b, ...) -> (N, *shape), prod(shape) = a * b * ...: the formula is the definition.
    """

    shape: Ints
    short = "shape"
    aliases = {"target_shape": "shape", "size": "shape"}
    is_view = True

    def output(self, x: Sequence[Value]) -> Value:
        images = x[0].shape[0]
        shape = (images, *self._solved(x[0]))
        return replace(x[0], shape=shape, batch_axis=0 if images == 1 else None, kind=_kind_of(shape, x[0].kind))

    def _solved(self, x: Value) -> Shape:
        unknown = [n for n in self.shape if n < 1]
        if unknown not in ([], [-1]):
            raise ShapeError(f"`shape` takes positive numbers and one -1, not {list(self.shape)}", code="E203")
        rest, own = prod(n for n in self.shape if n > 0), x.numel // x.shape[0]
        if own % rest if unknown else own != rest:
            raise ShapeError(f"{shape_text(x.features)} has {own} elements, which do not make {shape_text(self.shape)}")
        return tuple(own // rest if n < 0 else n for n in self.shape)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Reshape(self.output(x).shape),),)

    def label(self) -> str:
        return f"to {shape_text(self.shape)}"

    keeps = NOTHING
    cases = (
        Case(x=(100,), args={"shape": [4, 5, 5]}, shape=(4, 5, 5), kind="flat"),
        Case(x=(12, 5, 5), args={"shape": [4, -1, 5]}, shape=(4, 15, 5)),
        Case(x=(6, 4), args={"shape": [3, 8]}, shape=(3, 8), kind="tokens"),
    )


class PermuteOp(Op, tag="permute", category="movement"):
    """Reorders the axes behind the batch: axis i of the output is axis ``order[i - 1]`` of the input, counted from 1.

    ``[2, 1]`` turns tokens TxC into a one-dimensional map CxT, and back. The formula is the definition.
    """

    order: Ints
    foreign = ("transpose",)
    short = "order"
    aliases = {"dims": "order"}
    is_view = True
    accepts = ("map", "tokens")

    def output(self, x: Sequence[Value]) -> Value:
        rank = len(x[0].shape)
        if sorted(self.order) != list(range(1, rank)):
            raise ShapeError(
                f"`order` {list(self.order)} is no reordering of the {rank - 1} axes of {shape_text(x[0].features)}",
                hint=f"each of {', '.join(map(str, range(1, rank)))} once",
            )
        kind: Kind = x[0].kind
        if self.order == (2, 1) and kind != "tensor":
            kind = "map" if kind == "tokens" else "tokens"
        return replace(x[0], shape=(x[0].shape[0], *(x[0].shape[axis] for axis in self.order)), kind=kind)

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Permute((0, *self.order)),),)

    keeps = NOTHING
    cases = (
        Case(x=(3, 4, 5), args={"order": [2, 3, 1]}, shape=(4, 5, 3)),
        Case(x=(6, 4), args={"order": [2, 1]}, shape=(4, 6), kind="tokens"),
        Case(x=(2, 3, 4, 5), args={"order": [1, 4, 3, 2]}, shape=(2, 5, 4, 3)),
    )


class Slice(Op, tag="slice", category="movement"):
    """Elements ``start``, ``start + step``, ... before ``stop`` along one axis, with Python's rules for the ends.

    y[i] = x[start + i * step], ceil((stop - start) / step) elements, after negative ends are counted from the back
    and both are cut to the axis.
    """

    axis: AnyInt = 1
    start: AnyInt = 0
    stop: Annotated[int | None, Maybe(Integer())] = None
    step: Pos = 1
    aliases = {"dim": "axis", "end": "stop"}
    is_view = True

    def _range(self, x: Value) -> tuple[int, range]:
        axis = axis_of(x, self.axis)
        picked = range(*slice(self.start, self.stop, self.step).indices(x.shape[axis]))
        if not picked:
            stop = "" if self.stop is None else self.stop
            raise ShapeError(f"`{self.start}:{stop}` takes nothing of axis {axis}, which has {x.shape[axis]} elements")
        return axis, picked

    def output(self, x: Sequence[Value]) -> Value:
        axis, picked = self._range(x[0])
        return replace(x[0], shape=(*x[0].shape[:axis], len(picked), *x[0].shape[axis + 1 :]))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axis, picked = self._range(x[0])
        return ((Taps(axis, len(picked), picked.step, ((picked.start,),)),),)

    keeps = NOTHING
    cases = (
        Case(x=(64, 5, 5), args={"stop": 32}, shape=(32, 5, 5)),
        Case(x=(3, 9, 9), args={"axis": 2, "start": 1, "stop": -1, "step": 3}, shape=(3, 3, 9)),
        Case(x=(10, 4), args={"start": -3}, shape=(3, 4), kind="tokens"),
    )


class Roll(Op, tag="roll", category="movement"):
    """Shifts along one axis; elements that leave at the end come back at the start: y[i] = x[(i - shift) mod n].

    Source: Liu et al. 2021 (Swin), section 3.2 (cyclic shift).
    """

    shift: AnyInt
    axis: AnyInt = -1
    short = "shift"
    aliases = {"dim": "axis", "dims": "axis", "shifts": "shift"}

    def output(self, x: Sequence[Value]) -> Value:
        axis_of(x[0], self.axis)
        return x[0]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axis = axis_of(x[0], self.axis)
        return ((Taps(axis, x[0].shape[axis], 1, ((-self.shift,),), "wrap"),),)

    keeps = NOTHING
    cases = (
        Case(x=(3, 4, 5), args={"shift": 2}, shape=(3, 4, 5)),
        Case(x=(3, 4, 5), args={"shift": -7, "axis": 2}, shape=(3, 4, 5)),
    )


class Flip(Op, tag="flip", category="movement"):
    """Reverses one axis: y[i] = x[n - 1 - i]."""

    axis: AnyInt = -1
    short = "axis"
    aliases = {"dim": "axis", "dims": "axis"}

    def output(self, x: Sequence[Value]) -> Value:
        axis_of(x[0], self.axis)
        return x[0]

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        axis = axis_of(x[0], self.axis)
        size = x[0].shape[axis]
        return ((Taps(axis, size, -1, ((size - 1,),)),),)

    keeps = NOTHING
    cases = (Case(x=(3, 4, 5), args={}, shape=(3, 4, 5)), Case(x=(3, 4, 5), args={"axis": 1}, shape=(3, 4, 5)))


def _kind_of(shape: Shape, was: Kind) -> Kind:
    """The kind of a tensor of this shape after axes were merged or split."""
    if was == "tensor":
        return "tensor"
    if len(shape) == 2:
        return "flat"
    return "tokens" if was == "tokens" and len(shape) == 3 else "map"
