"""Where the batch is in the tensors of a traced run, and what a second run at batch 2 adds to that.

Most calls say where the batch goes. Where they do not (functions without a rule, shapes that allow two answers), the
model runs once more, with two images: the axis that has doubled then is the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnscope.ir import Value
from cnnscope.ir.steps import Shape, Step
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Elementwise
from cnnscope.ops.recurrent import Recurrent
from cnnscope.ops.traced import Traced
from cnnscope.sources.batch import GONE, UNSAID, Place
from cnnscope.sources.batch_ops import aligned, along, grown, result, with_axis
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
    if len(values) == 1 or isinstance(op, Recurrent):  # first states have the batch in an axis of their own
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
            return with_axis(value, doubled if doubled is not None and value.shape[doubled] == self._size else None)
        if self._images.isdisjoint(inputs):  # a weight that is expanded to the batch is built with one row for all
            made_for_all = not inputs or any(v.batch_axis is not None for v in values)
            own = made_for_all and doubled is not None and value.shape[doubled] == 1
            return with_axis(value, doubled if own else None)
        self._images.add(at)
        layer = not isinstance(op, Traced) or isinstance(op, Elementwise)
        if layer and value.batch_axis is not None and hint is None and seen is None and not _meet(op, values):
            return value
        places = [self.place(i, v) for i, v in zip(inputs, values, strict=True)]
        found, met, pairs = result(op, places, values, value, doubled if hint in (None, UNSAID) else hint)
        met = met or (pairs and seen is None)  # a second run shows whether every image met every other: `crossed`
        if seen is None and (met or hint == UNSAID or found in (None, GONE)):
            self.uncertain.add(at)
        elif seen is not None and len(seen.shape) == len(value.shape):
            if seen.shape == value.shape or crossed(value.shape, seen.shape):
                found, met = GONE, met or seen.shape != value.shape
            elif doubled is not None and (found is None or found[0] != doubled):
                found, met = (doubled, 1), False
            own_kernels = op.category == "conv" and sum(i in self._images for i in inputs) > 1
            if (
                met and not own_kernels and not isinstance(op, Recurrent)
            ):  # a kernel an image, as in dynamic convolutions, has a group an image
                self.mixing.add(at)
        found = found or aligned(places, values, value)
        return value if found is None else self._at(at, value, found)

    def along(
        self, source: int, before: Value, at: int, after: Value, steps: Sequence[Step]
    ) -> tuple[int | None, ...] | None:
        """Returns the axis that has the batch behind each of the ``steps`` that make the draft ``at`` of the draft
        ``source``; None for one that has none, and instead of all if it is unknown.
        """
        start, end = self.place(source, before), self.place(at, after)
        return along(start, before, end, steps) if source in self._images else grown(end, steps)

    def end(self, at: int, value: Value, index: int) -> Value:
        """Returns the value of the draft ``at`` as output number ``index`` of the model, with its batch axis."""
        if index >= len(self._twice.outputs) or at not in self._images:
            return value
        seen = self._twice.outputs[index]
        if len(seen) == len(value.shape) and crossed(value.shape, seen):
            self.mixing.add(at)
            return with_axis(value, None)
        axis = compare(value.shape, seen)
        return value if axis is None or value.shape[axis] != self._size else with_axis(value, axis)

    def _at(self, at: int, value: Value, found: Place) -> Value:
        axis = found[0]
        if found != GONE and value.shape[axis] == 1:
            return with_axis(value, axis)
        self._folded[at] = found
        return with_axis(value, None)
