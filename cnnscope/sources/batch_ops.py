"""Where the images of a batch are in the result of an op, from where they are in its inputs.

See `cnnscope.sources.batch` for what a place is.
"""

from __future__ import annotations

from collections.abc import Sequence

from cnnscope.ir import Value
from cnnscope.ir.steps import Permute, Reshape, Shape, Step
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Gather, Join, Movement, Select, Unsupported
from cnnscope.ops.merge import Concat
from cnnscope.ops.traced import kind_of, moved
from cnnscope.sources.batch import GONE, Place, follow


def along(
    start: Place | None, before: Value, end: Place | None, steps: Sequence[Step]
) -> tuple[int | None, ...] | None:
    """Returns the axis that has the batch behind each of the ``steps``, from its place in the value ``before`` them and
    at the ``end``; None if that is unknown.
    """
    if start is None or end is None or GONE in (start, end):
        return None
    last = max((i for i, step in enumerate(steps) if isinstance(step, Reshape)), default=-1)
    hint = end[0]
    for step in reversed(steps[last + 1 :]):  # where the batch of the end is behind the last reshape
        hint = step.order[hint] if isinstance(step, Permute) else hint
    places = [follow(start, before.shape, steps[: i + 1], hint if i == last else None)[0] for i in range(len(steps))]
    axes = tuple(place[0] for place in places if place is not None and place != GONE)
    return axes if len(axes) == len(steps) and (not steps or axes[-1] == end[0]) else None


def grown(end: Place | None, steps: Sequence[Step]) -> tuple[int | None, ...]:
    """Returns the same for a tensor that no image is in: the last step may give it the place of one."""
    return tuple(None if end is None or i < len(steps) - 1 else end[0] for i in range(len(steps)))


def with_axis(value: Value, axis: int | None) -> Value:
    if value.batch_axis == axis:
        return value
    keeps = value.kind in ("map", "tokens") and axis in (0, None)
    return Value(value.shape, value.dtype, axis, value.kind if keeps else kind_of(value.shape, axis))


def result(
    op: Op, places: Sequence[Place | None], values: Sequence[Value], value: Value, hint: int | None
) -> tuple[Place | None, bool, bool]:
    """Returns the place of the batch in the result of ``op``, whether images met in it, and whether the inputs have the
    batch in several places, so that they may have.
    """
    if isinstance(op, Movement) and len(places) == 1:
        start = places[0]
        if start is None or start == GONE:
            return start, False, False
        return *follow(start, values[0].shape, op.steps, hint), False
    if isinstance(op, (Join, Concat)):
        joined = _joined(op, places, values)
        if joined is not None:
            return joined, False, False
    if isinstance(op, Select) and value.shape == values[0].shape:
        return places[0], False, False
    if isinstance(op, (Gather, Select, Unsupported)):
        return (None if hint is None else (hint, 1)), False, False
    found: list[Place] = []
    met = False
    for place, x, steps in zip(places, values, op.reads(values) or (), strict=False):
        if place is None:
            continue
        if place == GONE:
            found.append(GONE)
            continue
        end, mixed = follow(place, x.shape, steps, hint)
        end = _stretched(end, x.shape, steps, value.shape)
        met = met or mixed
        if end is not None:
            found.append(end)
    pairs = len({end for end in found if end != GONE}) > 1
    return next((end for end in found if end != GONE), found[0] if found else None), met, pairs


def _stretched(place: Place | None, shape: Shape, steps: Sequence[Step], whole: Shape) -> Place | None:
    """The place once the tensor at the end of ``steps`` is broadcast to ``whole``."""
    if place is None or place == GONE:
        return place
    for step in steps:
        shape = moved(Value(shape, batch_axis=None), (step,)).shape
    axis = place[0] + len(whole) - len(shape)
    return (axis, place[1]) if axis >= 0 and whole[axis] == shape[place[0]] else None


def _joined(op: Join | Concat, places: Sequence[Place | None], values: Sequence[Value]) -> Place | None:
    """The place if tensors are joined along the axis of the batch; None if they are joined along another."""
    axis = op.axis if op.axis is not None else 1
    if any(place is None or place[0] != axis for place in places):
        return None
    sizes = {v.shape[axis] // place[1] for place, v in zip(places, values, strict=True) if place}
    return (axis, sum(place[1] for place in places if place)) if len(sizes) == 1 else None


def aligned(places: Sequence[Place | None], values: Sequence[Value], value: Value) -> Place | None:
    """The likely place after a function without a rule: an axis of one element stays where it was."""
    for place, x in zip(places, values, strict=True):
        if place and place != GONE and len(x.shape) == len(value.shape) and value.shape[place[0]] == 1:
            return place
    return None
