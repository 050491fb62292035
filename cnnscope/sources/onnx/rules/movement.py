"""ONNX operators that move elements: reshape, transpose, slice, pad, gather, concatenate, blocks to positions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod

import numpy as np

from cnnscope.ir import Intent, Shape
from cnnscope.ir.steps import Expand, Permute, Reshape, Step, Taps, repeated
from cnnscope.ops import merge
from cnnscope.ops.generic import Embedding, Gather, Join, Movement, View
from cnnscope.ops.movement import Flatten
from cnnscope.sources.batch import GONE
from cnnscope.sources.batch import reshaped as after_reshape
from cnnscope.sources.onnx.rules import OperatorCall, rule
from cnnscope.sources.onnx.values import Const, Operand, invalid


def move(
    call: OperatorCall,
    kind: str,
    x: str,
    *steps: Step,
    view: bool = True,
    part: str = "",
    computed: tuple[int, ...] = (),
    batch: int | None = None,
) -> str:
    """Appends a rearrangement and returns its name. It is a view if the elements can stay in place. ``computed`` as in
    `Intent`.
    """
    op = (View if view else Movement)(kind, steps)
    return call.emit(op, x, part=part, intent=Intent(computed=computed), batch=batch)


# -- shape -----------------------------------------------------------------------------------------------------------


@rule("Reshape")
def _reshape(call: OperatorCall) -> list[Operand]:
    x, target = call.tensor(0), call.given_integers(1, "shape")
    shape, free = call.value(x).shape, call.computed(1)
    new = reshaped(call, shape, target or [])
    return [move(call, "reshape", x, Reshape(new), computed=free, batch=_batch(call, x, new, free))]


def _batch(call: OperatorCall, x: str, new: Shape, free: Sequence[int]) -> int | None:
    """Returns the axis that has the batch after a reshape, where not its sizes but those that are open tell."""
    place, shape = call.batches.places.get(x), call.value(x).shape
    if place is None or place == GONE or after_reshape(place, shape, new) is not None:
        return None
    found = [axis for axis in free if after_reshape(place, shape, new, axis) is not None]
    return found[0] if len(found) == 1 else None


def reshaped(call: OperatorCall, shape: Shape, target: Sequence[int]) -> Shape:
    """Returns the shape that a ``Reshape`` makes: 0 keeps an axis, one -1 is computed."""
    whole = bool(call.integer("allowzero", 0))
    if any(n == 0 and i >= len(shape) for i, n in enumerate(target)) and not whole:
        raise invalid(f"`Reshape` of {list(shape)} to {list(target)} keeps an axis that is not there")
    sizes = [n if n or whole else shape[i] for i, n in enumerate(target)]
    rest = prod(n for n in sizes if n != -1)
    if sizes.count(-1) > 1 or min(sizes, default=1) < -1:
        raise invalid(f"`Reshape` to {list(target)} is not a shape")
    if -1 in sizes and rest and prod(shape) % rest == 0:
        sizes[sizes.index(-1)] = prod(shape) // rest
    if prod(sizes) != prod(shape) or -1 in sizes:
        raise invalid(f"`Reshape` of {list(shape)} to {list(target)} does not fit")
    return tuple(sizes)


@rule("Flatten")
def _flatten(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    value, rank = call.value(x), len(call.shape(0))
    axis = call.integer("axis", 1)
    if axis == 1 and value.batch_axis == 0 and rank > 1:
        return [call.emit(Flatten(), x)]
    place = axis if axis == rank else call.axis(axis, rank)
    shape = (prod(value.shape[:place]), prod(value.shape[place:]))
    return [move(call, "flatten", x, Reshape(shape))]


@rule("Squeeze")
def _squeeze(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    return [move(call, "squeeze", x, Reshape(squeezed(call, call.value(x).shape)))]


def squeezed(call: OperatorCall, shape: Shape) -> Shape:
    """Returns ``shape`` without the axes of size 1 that a ``Squeeze`` names, or without all of them."""
    axes = call.given_integers(1, "axes")
    gone = {call.axis(axis, len(shape)) for axis in axes} if axes else {i for i, n in enumerate(shape) if n == 1}
    if any(shape[axis] != 1 for axis in gone):
        raise invalid(f"`Squeeze` of axes {sorted(gone)} of {list(shape)}, which are larger than 1")
    return tuple(n for i, n in enumerate(shape) if i not in gone)


@rule("Unsqueeze")
def _unsqueeze(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    return [move(call, "unsqueeze", x, Reshape(unsqueezed(call, call.value(x).shape)))]


def unsqueezed(call: OperatorCall, shape: Shape) -> Shape:
    """Returns ``shape`` with axes of size 1 where an ``Unsqueeze`` names them."""
    axes = call.given_integers(1, "axes") or []
    new = {call.axis(axis, len(shape) + len(axes)) for axis in axes}
    if len(new) < len(axes):
        raise invalid(f"`Unsqueeze` names an axis twice: {axes}")
    rest = iter(shape)
    return tuple(1 if i in new else next(rest) for i in range(len(shape) + len(new)))


@rule("Transpose")
def _transpose(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    return [move(call, "permute", x, Permute(order_of(call, len(call.value(x).shape))))]


def order_of(call: OperatorCall, rank: int) -> tuple[int, ...]:
    """Returns the new order of the axes of a ``Transpose``: reversed unless stated otherwise."""
    order = call.integers("perm", range(rank - 1, -1, -1)) or []
    if sorted(order) != list(range(rank)):
        raise invalid(f"`perm` {order} of `Transpose` is no reordering of {rank} axes")
    return tuple(order)


@rule("Expand")
def _expand(call: OperatorCall) -> list[Operand]:
    x, target = call.tensor(0), call.given_integers(1, "shape") or []
    shape = call.value(x).shape
    rank = max(len(shape), len(target))
    sizes = zip((1,) * (rank - len(shape)) + shape, [1] * (rank - len(target)) + list(target), strict=True)
    pairs = list(sizes)
    if any((n != m and 1 not in (n, m)) or m < 1 for n, m in pairs):
        raise invalid(f"`Expand` of {list(shape)} to {list(target)} does not fit")
    whole = tuple(max(pair) for pair in pairs)
    return [x if whole == shape else move(call, "expand", x, Expand(whole), computed=call.computed(1))]


@rule("Tile")
def _tile(call: OperatorCall) -> list[Operand]:
    x, times = call.tensor(0), call.given_integers(1, "repeats") or []
    shape = call.value(x).shape
    if len(times) != len(shape) or min(times, default=1) < 1:
        raise invalid(f"`Tile` of {list(shape)} by {times} does not fit")
    return [move(call, "repeat", x, *repeated(shape, times), view=False)]


# -- parts -----------------------------------------------------------------------------------------------------------


@rule("Slice")
def _slice(call: OperatorCall) -> list[Operand]:
    """Bounds are attributes up to opset 9 and inputs later."""
    x = call.tensor(0)
    shape = call.value(x).shape
    starts, ends = call.given_integers(1, "starts") or [], call.given_integers(2, "ends") or []
    axes = call.given_integers(3, "axes") or list(range(len(starts)))
    steps = call.given_integers(4, "steps") or [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise invalid("`Slice` has bounds of different lengths, or a step of 0")
    taps: list[Step] = []
    whole = list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = call.axis(axis, len(shape))
        stop = None if step < 0 and end < -shape[place] else end
        picked = range(*slice(start, stop, step).indices(shape[place]))
        whole[place] = len(picked)
        if picked and picked != range(shape[place]):
            taps.append(Taps.picked(place, picked))
    if not all(whole):
        return [nothing(call, tuple(whole), call.value(x).dtype)]
    return [move(call, "slice", x, *taps) if taps else x]


def nothing(call: OperatorCall, shape: Shape, dtype: str, index: int = 0) -> Const:
    """Returns a tensor without elements, which is a constant, as where ``torch.roll`` shifts by the whole size."""
    label = f"nothing {shape} {dtype}".encode()
    return Const.computed(call.outputs[index], shape, dtype, label, lambda _: np.zeros(shape, dtype), (), ())


@rule("Split")
def _split(call: OperatorCall) -> list[Operand]:
    x = call.tensor(0)
    shape = call.value(x).shape
    axis, count = call.axis(call.integer("axis", 0), len(shape)), len(call.outputs)
    if not count:
        raise invalid("`Split` into no parts")
    each = -(-shape[axis] // count)
    equal = [min(each, shape[axis] - i * each) for i in range(count)]
    sizes = call.given_integers(1, "split") or equal
    if sum(sizes) != shape[axis] or len(sizes) != count or min(sizes) < 0:
        raise invalid(f"`Split` of {shape[axis]} elements into {sizes}")
    ends = list(accumulate(sizes, initial=0))
    picked = [range(first, first + n) for first, n in zip(ends, sizes, strict=False)]
    empty, dtype = (*shape[:axis], 0, *shape[axis + 1 :]), call.value(x).dtype
    return [move(call, "slice", x, Taps.picked(axis, r), part=f"part{i}") if r else nothing(call, empty, dtype, i)
            for i, r in enumerate(picked)]  # fmt: skip


_QUANTISED = ("int4", "uint4", "int8", "uint8")
"""Types of stored tables whose rows are made real after they are chosen; wider integers are places and sizes."""


@rule("Gather")
def _gather(call: OperatorCall) -> list[Operand]:
    """Elements at known places are a movement. Rows of a stored table, chosen by the network, are an embedding."""
    table, places = call.constant(0), call.constant(1)
    shape, chosen = call.shape(0), call.shape(1)
    axis = call.axis(call.integer("axis", 0), len(shape))
    is_table = table is not None and (table.is_weight or table.dtype in _QUANTISED)
    if table is not None and is_table and axis == 0 and len(shape) == 2:
        op = Embedding(shape[0], shape[1], table.dtype)
        return [call.emit(op, call.tensor(1), params={"weight": table})]
    whole = (*shape[:axis], *chosen, *shape[axis + 1 :])
    indices = places.integers() if places is not None else None
    if indices is None:
        x, batch = call.tensor(0), 0 if whole[:1] == (1,) else None
        picked = Gather(whole, call.value(x).dtype, batch)
        return [call.emit_call(picked, "index", x, (*(None,) * axis, call.operand(1)))]
    if any(not -shape[axis] <= i < shape[axis] for i in indices):
        raise invalid(f"`Gather` picks places outside the {shape[axis]} there are")
    if len(indices) == 1:
        taps: Step = Taps.picked(axis, range(indices[0] % shape[axis], indices[0] % shape[axis] + 1))
    else:
        taps = Taps(axis, len(indices), shape[axis], tuple((i % shape[axis],) for i in indices))
    steps = (taps,) if len(chosen) == 1 else (taps, Reshape(whole))
    return [move(call, "select" if not chosen else "index", call.tensor(0), *steps, view=len(indices) == 1)]


# -- joins -----------------------------------------------------------------------------------------------


@rule("Concat")
def _concat(call: OperatorCall) -> list[Operand]:
    given = [i for i in range(len(call.inputs)) if call.has(i)]
    if not given:
        raise invalid("`Concat` of nothing")
    axis = call.axis(call.integer("axis", 1), len(call.shape(given[0])))
    filled = [i for i in given if all(call.shape(i))]
    if len(filled) == 1 and len(given) > 1:
        return [call.tensor(filled[0])]
    names = [call.tensor(i) for i in filled or given]
    values = [call.value(name) for name in names]
    rests = {value.shape[:axis] + value.shape[axis + 1 :] for value in values}
    if len(rests) > 1 or len({len(value.shape) for value in values}) > 1:
        raise invalid("`Concat` of " + " and ".join(str(list(value.shape)) for value in values) + " does not fit")
    alike = len({value.kind for value in values}) == 1 and values[0].batch_axis != axis
    return [call.emit(merge.Concat(axis) if alike else Join(axis), *names)]


@rule("Identity")
def _identity(call: OperatorCall) -> list[Operand]:
    return [call.operand(0)]
