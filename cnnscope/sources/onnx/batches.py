"""Where the batch is in every value of an ONNX graph, which is read at one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cnnscope.ir import Operation, Value
from cnnscope.ir.steps import Reshape, Step
from cnnscope.ops.base import Op
from cnnscope.ops.generic import Elementwise, Movement
from cnnscope.ops.traced import Traced
from cnnscope.sources.batch import GONE, Place, follow
from cnnscope.sources.batch_ops import aligned, along, grown, result, with_axis


@dataclass
class Batches:
    """``images`` are the values that depend on an image. ``places`` has where the batch is in them, if it is known."""

    images: set[str] = field(default_factory=set)
    places: dict[str, Place] = field(default_factory=dict)

    fixed: list[str] = field(default_factory=list)
    """Nodes that reshape to sizes in which the batch has no place: they run for one image, and fail for several."""

    @staticmethod
    def _fixed(place: Place | None, x: Value, steps: Sequence[Step]) -> tuple[int | None, ...] | None:
        """Returns the axis of the batch behind each step up to a reshape that leaves none, and None from there on; None
        as a whole where another step loses the batch.
        """
        axes: list[int | None] = []
        for count, step in enumerate(steps, start=1):
            if place is None or place == GONE:
                return None
            now = follow(place, x.shape, steps[:count])[0]
            if now is None and isinstance(step, Reshape):
                return (*axes, *(None,) * (len(steps) - len(axes)))
            if now is None or now == GONE:
                return None
            axes.append(now[0])
        return None

    def feed(self, name: str, value: Value) -> None:
        """``name`` is a network input. One without a batch axis is the same for all images."""
        if value.batch_axis is not None:
            self.images.add(name)
            self.places[name] = (value.batch_axis, 1)

    def locate(
        self, name: str, op: Operation, inputs: Sequence[str], x: Sequence[Value], output: Value, hint: int | None
    ) -> tuple[Operation, Value]:
        """Returns the op and the output of a new node, with where the batch is in both. ``hint`` is the axis of the
        output that has the batch, where the file says so.
        """
        if self.images.isdisjoint(inputs):
            if isinstance(op, Movement):
                op = replace(op, batch=grown(None, op.steps))
            return op, with_axis(output, None) if inputs else output
        self.images.add(name)
        places = [self.places.get(source) for source in inputs]
        assert isinstance(op, Op)
        layer = not isinstance(op, Traced) or isinstance(op, Elementwise)
        if layer and output.batch_axis is not None:
            found: Place | None = (output.batch_axis, 1)
        else:
            found = result(op, places, x, output, hint)[0] or aligned(places, x, output)
        if isinstance(op, Movement):
            op = replace(op, batch=along(places[0], x[0], found, op.steps))
            if op.batch is None and (fixed := self._fixed(places[0], x[0], op.steps)) is not None:
                self.images.remove(name)  # beyond here there is one image
                self.fixed.append(name)
                return replace(op, batch=fixed), with_axis(output, None)
        if found is None or found == GONE:
            return op, output
        self.places[name] = found
        return op, with_axis(output, found[0] if output.shape[found[0]] == 1 else None)
