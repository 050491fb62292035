"""Where each value of a network lies: its extents along the image's axes, its channels, and its level of resolution."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import floor, log2, prod

from cnnscope.analysis.receptive_field import Field
from cnnscope.ir import Graph, Node, Value
from cnnscope.ir.steps import Permute, Reshape, Step, Taps


@dataclass(frozen=True, slots=True)
class Place:
    """``size`` and ``channels`` as in `Part`; ``axes`` of the full tensor have the size. ``depth`` is the binary
    logarithm of the stride, not yet rounded, None for a vector."""

    axes: tuple[int, ...]
    size: tuple[int, ...]
    channels: int
    depth: float | None

    @property
    def level(self) -> int | None:
        """The depth as a whole number. A half counts as one more: a pool over one of two axes is a step down."""
        return None if self.depth is None else floor(self.depth + 0.5)


def places(graph: Graph, fields: Mapping[str, Field]) -> dict[str, Place]:
    """The place of every network input and of every node that an input reaches, by name."""
    found: dict[str, Place] = {}
    for name, value in graph.inputs.items():
        axes = _axes(value, fields.get(name))
        found[name] = _place(value, axes, 0.0 if axes else None)
    for node in graph.nodes:
        if node.name in graph.images:
            field = fields.get(node.name)
            axes = _axes(node.output, field)
            found[node.name] = _place(node.output, axes, _depth(graph, node, field, found) if axes else None)
    return found


def _place(value: Value, axes: tuple[int, ...], depth: float | None) -> Place:
    size = tuple(value.shape[axis] for axis in axes)
    whole = prod(value.features)
    return Place(axes, size, whole // prod(size) if whole else 0, depth)


def _axes(value: Value, field: Field | None) -> tuple[int, ...]:
    """The axes of the full tensor with positions of the image; none if there is one position only."""
    if value.kind == "tokens":
        return (1,)
    if value.kind == "map":
        axes: tuple[int, ...] = tuple(range(2, len(value.shape)))
    else:
        axes = () if field is None or len(value.features) < 2 else field.axes
    axes = tuple(axis for axis in axes if axis != value.batch_axis)
    return axes if prod(value.shape[axis] for axis in axes) > 1 else ()


def _depth(graph: Graph, node: Node, field: Field | None, found: Mapping[str, Place]) -> float | None:
    """The depth by the stride of the receptive field. Where its paths differ or none is local, the least depth of what
    is read and the steps of the op itself."""
    strides = field.stride if field is not None else None
    if strides and all(strides):
        return sum(log2(abs(stride)) for stride in strides) / len(strides)
    reads = node.op.reads(graph.values(node)) or ((),) * len(node.inputs)
    depths = [
        place.depth + _step(steps, place)
        for name, steps in zip(node.inputs, reads, strict=True)
        if (place := found.get(name)) is not None and place.depth is not None
    ]
    return min(depths, default=None)


def _step(steps: Iterable[Step], place: Place) -> float:
    """By how much the taps along the image's axes change the depth: 1 for a stride of 2, -1 for doubling."""
    change = 0.0
    for step in steps:
        if isinstance(step, (Reshape, Permute)):  # the axes behind it have other numbers
            break
        if isinstance(step, Taps) and step.axis in place.axes and step.n:
            change += log2(abs(step.n) / len(step.taps))
    return change / len(place.axes)
