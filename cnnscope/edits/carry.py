"""Movements of elements under another shape of what they move.

Windows stay and their number changes. An axis that the author worked out from shapes (`Intent.computed`) takes a
change; a number that was written stays. What is not certain is refused (E492).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from cnnscope.errors import ShapeError
from cnnscope.ir import Intent, Shape, Value
from cnnscope.ir.graph import NO_INTENT
from cnnscope.ir.steps import Expand, Permute, Place, Reshape, Running, Spread, Step, Taps, Whole
from cnnscope.ops.base import shape_text
from cnnscope.ops.traced import moved


def as_traced(why: str) -> ShapeError:
    """The error for what only holds for the shapes that were traced."""
    return ShapeError(f"{why}, which cannot be carried over to other shapes", code="E492")


def carried(steps: Sequence[Step], old: Shape, new: Shape, intent: Intent = NO_INTENT) -> tuple[Step, ...]:
    """The same movement for a tensor of shape ``new`` instead of ``old``; E492 if it is not certain."""
    result: list[Step] = []
    for place, step in enumerate(steps):
        meant = intent if place == len(steps) - 1 else NO_INTENT
        now = step if old == new else _step(step, old, new, meant)
        old, new = (moved(Value(shape), (s,)).shape for shape, s in ((old, step), (new, now)))
        result.append(now)
    return tuple(result)


def _step(step: Step, old: Shape, new: Shape, intent: Intent) -> Step:
    match step:
        case Permute() | Running() | Spread() | Whole():
            return step
        case Expand(shape=shape):
            lead = len(shape) - len(old)
            axes = zip(shape[lead:], old, new, strict=True)
            return Expand(shape[:lead] + tuple(now if whole == was else whole for whole, was, now in axes))
        case Taps(axis=axis) | Place(axis=axis) if old[axis] == new[axis]:
            return step
        case Taps():
            return _taps(step, old[step.axis], new[step.axis], intent)
        case Reshape(shape=shape):
            return Reshape(reshaped(old, new, shape, intent))
    raise as_traced("it picks positions that were counted when it was traced")


def _taps(step: Taps, old: int, new: int, intent: Intent) -> Taps:
    """Positions along an axis of ``new`` instead of ``old`` elements."""
    if len(step.taps) == 1 and len(step.taps[0]) == 1 and not step.sized:
        (start,), size, n = step.taps[0], step.size, step.n
        end = start + (size - 1) * n + 1
        if n == -1 and start == old - 1 and size == old:  # mirrored
            return replace(step, size=new, taps=((new - 1,),))
        if n == 1 and size == old and step.border == "wrap":  # rolled
            return replace(step, size=new)
        if n == 1 and start <= 0 and end >= old:  # padded
            return replace(step, size=size + new - old)
        if n > 1 and 0 <= start < n and end + n > old:  # every n-th, to the end
            return replace(step, size=-(-(new - start) // n))
        even = n == 1 and old % size == 0 and start % size == 0
        if even and step.axis in intent.computed and new % (old // size) == 0:  # an equal part
            part = new // (old // size)
            return replace(step, size=part, taps=((start // size * part,),))
        if n == 1 and 0 < start < size and end == old and not even and new > start:  # all but the first
            return replace(step, size=new - start)
    raise as_traced("it picks positions that were counted when it was traced")


def reshaped(old: Shape, new: Shape, target: Shape, intent: Intent = NO_INTENT) -> Shape:
    """``target`` (a shape for ``old``) adapted to ``new``: runs of axes that hold the same elements change together.

    A run whose axes did not change keeps its part of the target. A run that is split changes along the first axis
    that was computed from shapes or, where the author stated none, along the first that divides.
    """
    result: list[int] = []
    for axes, places in runs(old, target):
        run = [target[i] for i in places]
        before, after = [old[i] for i in axes], [new[i] for i in axes]
        if before != after:
            run = after if before == run else _split(before, after, run, [i in intent.computed for i in places], intent)
        result += run
    return tuple(result)


def runs(old: Shape, target: Shape) -> list[tuple[range, range]]:
    """The axes of both shapes in the shortest runs that hold equally many elements."""
    found, i, j = [], 0, 0
    while i < len(old) or j < len(target):
        first, start = i, j
        i, j = min(i + 1, len(old)), min(j + 1, len(target))
        while prod(old[first:i]) != prod(target[start:j]):
            if prod(old[first:i]) < prod(target[start:j]):
                i += 1
            else:
                j += 1
        found.append((range(first, i), range(start, j)))
    return found


def _split(
    before: Sequence[int], after: Sequence[int], run: Sequence[int], computed: Sequence[bool], intent: Intent
) -> list[int]:
    longer = [place for place, n in enumerate(run) if n != 1]
    if any(was == 1 != now for was, now in zip(before, after, strict=True)) or not longer:
        raise as_traced("it splits or drops an axis that had another size when it was traced")
    takes = [place for place in longer if computed[place]]
    if intent.computed and not takes:
        raise as_traced(f"its size {shape_text(tuple(run))} was written as a number")
    whole, split = prod(after), len(longer) > 1
    if split and not takes:
        raise as_traced("it splits or drops an axis that had another size when it was traced")
    for place in takes or longer:
        rest = prod(run) // run[place]
        if whole % rest == 0:
            return [whole // rest if i == place else n for i, n in enumerate(run)]
    raise as_traced(f"{whole} elements cannot be split as {shape_text(tuple(run))} were")
