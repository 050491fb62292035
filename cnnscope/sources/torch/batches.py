"""Where the batch is in the tensors of a traced run, and what a second run at batch 2 adds to that.

Most calls say where the batch goes. Where they do not (functions without a rule, shapes that allow two answers), the
model runs once more, with two images: the axis that has doubled then is the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnnscope.ir import Value
from cnnscope.ir.steps import Reshape, Shape, Step
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Elementwise, Gather, Join, Movement, Select, Unsupported
from cnnscope.ops.merge import Concat
from cnnscope.ops.traced import Traced, kind_of, moved
from cnnscope.sources.torch.batch import GONE, UNSAID, Place, follow
from cnnscope.sources.torch.recording import Draft


@dataclass(frozen=True, slots=True)
class Twice:
    """A run of twice as many images: its drafts, and the shapes of its outputs."""

    drafts: Sequence[Value] = ()
    outputs: Sequence[Shape] = ()

    @classmethod
    def of(cls, ours: Sequence[Draft], drafts: Sequence[Draft], ends: Sequence[int]) -> Twice:
        """Returns what is comparable with our drafts: those before the runs part ways, and the outputs."""
        same = 0
        for a, b in zip(ours, drafts, strict=False):
            if (a.fn, a.inputs, len(a.output.shape)) != (b.fn, b.inputs, len(b.output.shape)):
                break
            same += 1
        return cls([draft.output for draft in drafts[:same]], [drafts[i].output.shape for i in ends])


def compare(one: Shape, two: Shape) -> int | None:
    """Returns the axis that a batch of 2 doubles; None if it is none or more than one."""
    if len(one) != len(two):
        return None
    longer = [axis for axis, (n, m) in enumerate(zip(one, two, strict=True)) if n != m]
    return longer[0] if len(longer) == 1 and two[longer[0]] == 2 * one[longer[0]] else None


def crossed(one: Shape, two: Shape) -> bool:
    """Returns whether a batch of 2 doubles several axes: every image meets every other, as in a Gram matrix."""
    pairs = list(zip(one, two, strict=True))
    return sum(m == 2 * n > 0 for n, m in pairs) > 1 and all(m in (n, 2 * n) for n, m in pairs)


def _meet(op: Op, values: Sequence[Value]) -> bool:
    """Whether images may meet: the batch is in several axes of values that are broadcast, or in the weight of a
    layer.
    """
    if len(values) == 1:
        return False
    axes = [v.batch_axis - len(v.shape) for v in values if v.batch_axis is not None]
    return len(set(axes)) > 1 or (len(axes) > 1 and op.tag == "linear")


class Batches:
    """Where the batch is in every draft of a run of so many ``images``. ``twice`` is a run of the same model of twice
    as many. A run of several images is only located by what doubles.

    ``uncertain`` are drafts of which this run alone does not tell. In those that are ``mixing``, elements of several
    images met, and the second run agrees.
    """

    def __init__(self, twice: Twice | None = None, images: int = 1) -> None:
        self.uncertain: set[int] = set()
        self.mixing: set[int] = set()
        self._images: set[int] = set()
        self._folded: dict[int, Place] = {}
        self._twice, self._size = twice or Twice(), images

    def feed(self, at: int) -> None:
        """The draft ``at`` is a network input."""
        self._images.add(at)

    def place(self, at: int, value: Value) -> Place | None:
        """Returns the place of the batch in a draft; None if it has none, or if it is unknown."""
        axis = value.batch_axis
        return self._folded.get(at) if axis is None else (axis, 1)

    def has_images(self, at: int) -> bool:
        """Whether a draft depends on a network input."""
        return at in self._images

    def copy(self, at: int, source: int) -> None:
        """The draft ``at`` has its batch where the draft ``source`` has it."""
        for known in (self._images, self.uncertain):
            if source in known:
                known.add(at)
        if source in self._folded:
            self._folded[at] = self._folded[source]

    def locate(
        self, at: int, op: Op, inputs: Sequence[int], values: Sequence[Value], value: Value,
        hint: int | None = None,
    ) -> Value:  # fmt: skip
        """Returns the output ``value`` of a new draft ``at`` with its batch axis. ``hint`` as in `follow`."""
        seen = self._twice.drafts[at] if at < len(self._twice.drafts) else None
        doubled = compare(value.shape, seen.shape) if seen else None
        if self._size > 1:
            if not self._images.isdisjoint(inputs):
                self._images.add(at)
            return _with_axis(value, doubled if doubled is not None and value.shape[doubled] == self._size else None)
        if self._images.isdisjoint(inputs):  # a weight that is expanded to the batch is built with one row for all
            made_for_all = not inputs or any(v.batch_axis is not None for v in values)
            own = made_for_all and doubled is not None and value.shape[doubled] == 1
            return _with_axis(value, doubled if own else None)
        self._images.add(at)
        layer = not isinstance(op, Traced) or isinstance(op, Elementwise)
        if layer and value.batch_axis is not None and hint is None and seen is None and not _meet(op, values):
            return value
        places = [self.place(i, v) for i, v in zip(inputs, values, strict=True)]
        found, met, pairs = _result(op, places, values, value, doubled if hint in (None, UNSAID) else hint)
        met = met or (pairs and seen is None)  # a second run shows whether every image met every other: `crossed`
        if seen is None and (met or hint == UNSAID or found in (None, GONE)):
            self.uncertain.add(at)
        elif seen is not None and len(seen.shape) == len(value.shape):
            if seen.shape == value.shape or crossed(value.shape, seen.shape):
                found, met = GONE, met or seen.shape != value.shape
            elif doubled is not None and (found is None or found[0] != doubled):
                found, met = (doubled, 1), False
            own_kernels = op.category == "conv" and sum(i in self._images for i in inputs) > 1
            if met and not own_kernels:  # a kernel an image, as in dynamic convolutions, has a group an image
                self.mixing.add(at)
        found = found or _aligned(places, values, value)
        return value if found is None else self._at(at, value, found)

    def along(
        self, source: int, before: Value, at: int, after: Value, steps: Sequence[Step]
    ) -> tuple[int | None, ...] | None:
        """Returns the axis that has the batch behind each of the ``steps`` that make the draft ``at`` of the draft
        ``source``; None for one that has none, and instead of all if it is unknown.
        """
        start, end = self.place(source, before), self.place(at, after)
        if source not in self._images:
            return tuple(None if end is None or i < len(steps) - 1 else end[0] for i in range(len(steps)))
        if start is None or end is None or GONE in (start, end):
            return None
        last = max((i for i, step in enumerate(steps) if isinstance(step, Reshape)), default=-1)
        places = [
            follow(start, before.shape, steps[: i + 1], end[0] if i == last else None)[0] for i in range(len(steps))
        ]
        axes = tuple(place[0] for place in places if place is not None and place != GONE)
        return axes if len(axes) == len(steps) and (not steps or axes[-1] == end[0]) else None

    def end(self, at: int, value: Value, index: int) -> Value:
        """Returns the value of the draft ``at`` as output number ``index`` of the model, with its batch axis."""
        if index >= len(self._twice.outputs) or at not in self._images:
            return value
        seen = self._twice.outputs[index]
        if len(seen) == len(value.shape) and crossed(value.shape, seen):
            self.mixing.add(at)
            return _with_axis(value, None)
        axis = compare(value.shape, seen)
        return value if axis is None or value.shape[axis] != self._size else _with_axis(value, axis)

    def _at(self, at: int, value: Value, found: Place) -> Value:
        axis = found[0]
        if found != GONE and value.shape[axis] == 1:
            return _with_axis(value, axis)
        self._folded[at] = found
        return _with_axis(value, None)


def _with_axis(value: Value, axis: int | None) -> Value:
    if value.batch_axis == axis:
        return value
    keeps = value.kind in ("map", "tokens") and axis in (0, None)
    return replace(value, batch_axis=axis, kind=value.kind if keeps else kind_of(value.shape, axis))


def _result(
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


def _aligned(places: Sequence[Place | None], values: Sequence[Value], value: Value) -> Place | None:
    """The likely place after a function without a rule: an axis of one element stays where it was."""
    for place, x in zip(places, values, strict=True):
        if place and place != GONE and len(x.shape) == len(value.shape) and value.shape[place[0]] == 1:
            return place
    return None
