"""Pixel by pixel: what one unit depends on, and how much, by walking its network backwards.

`touched` finds the holes a bounding box hides (dilation gridding: Wang et al. 2018, "Understanding convolution for
semantic segmentation", section 3.2). `influence` is the gradient if every op averaged what it reads: the structural
part of the effective receptive field (Luo et al. 2016, section 2.1), before any training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from cnnscope.analysis.receptive_field import walk
from cnnscope.analysis.receptive_field.digits import shape_of
from cnnscope.analysis.receptive_field.exact.steps import bordered, reshaped
from cnnscope.analysis.receptive_field.layout import Global
from cnnscope.analysis.receptive_field.quasi_affine import Interval
from cnnscope.ir import Graph, Shape
from cnnscope.ir.steps import Expand, Mix, Permute, Place, Reshape, Running, Spread, Taps, Whole

Flow = npt.NDArray[np.float64]
"""(1, *tensor axes): each element's share of the unit, with extent 1 along axes that do not vary."""
TWO_SIGMA = 0.9545


@dataclass(frozen=True, slots=True)
class Coverage:
    """The pixels a unit depends on: their bounding box, how many lines of it they lie in per axis, and their number."""

    box: tuple[Interval, ...]
    lines: tuple[int, ...]
    pixels: int

    @property
    def fraction(self) -> float:
        """Share of the box that is touched."""
        return self.pixels / prod(hi - lo + 1 for lo, hi in self.box)


def touched(
    graph: Graph, layer: str, position: Sequence[int] | None = None, *, local: bool = False
) -> Mapping[str, npt.NDArray[np.bool_]]:
    """For each image input, the pixels that the unit at ``position`` depends on; with None, that any unit depends on.

    Arrays have the input's spatial shape. ``local`` leaves out paths through reductions over a whole image axis.
    E205 for an unknown layer, E203 for no position of it, E306 behind an op that no rule covers.
    """
    return {name: flow > 0 for name, flow in _flows(graph, layer, position, local, weighed=False).items()}


def influence(graph: Graph, layer: str, position: Sequence[int]) -> Mapping[str, Flow]:
    """For each image input, the weight of every pixel in the unit if each op averages its inputs, on local paths alone.

    A sum weights its terms equally; padding takes its share, which is lost. Errors as in `touched`.
    """
    return _flows(graph, layer, position, True, weighed=True)


def coverage(graph: Graph, layer: str, position: Sequence[int], *, local: bool = False) -> Mapping[str, Coverage]:
    """`touched` in numbers, for the inputs that the unit depends on."""
    result = {}
    for name, mask in touched(graph, layer, position, local=local).items():
        if mask.any():
            places = mask.nonzero()
            box = tuple((int(at.min()), int(at.max())) for at in places)
            result[name] = Coverage(box, tuple(len(np.unique(at)) for at in places), int(mask.sum()))
    return result


@dataclass(frozen=True, slots=True)
class Unread:
    """Pixels that no output depends on: whole lines at either end of each axis, and all of them."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    pixels: int


def unread(graph: Graph) -> Mapping[str, Unread]:
    """For each image input, the pixels that no output depends on.

    Inception v3 ignores the last 3 rows and columns of a 224 image, torchvision's AlexNet the last 5 of 230.
    """
    masks: dict[str, npt.NDArray[np.bool_]] = {}
    for output in graph.outputs:
        for name, mask in touched(graph, output).items():
            masks[name] = masks[name] | mask if name in masks else mask
    return {name: _unread(mask) for name, mask in masks.items()}


def _unread(mask: npt.NDArray[np.bool_]) -> Unread:
    ends = []
    for axis in range(mask.ndim):
        lines = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
        n = mask.shape[axis]
        ends.append((int(lines[0]), n - 1 - int(lines[-1])) if len(lines) else (n, 0))
    return Unread(tuple(low for low, _ in ends), tuple(high for _, high in ends), int((~mask).sum()))


def effective_size(flow: Flow) -> float:
    """Side of the square (or cube) with as many pixels as have a weight above 4.55 % of the largest (Luo et al.,
    section 4).

    VGG-16's pool5 has 123 of its theoretical 212 pixels.
    """
    return float(np.count_nonzero(flow >= (1 - TWO_SIGMA) * flow.max()) ** (1 / flow.ndim))


def _flows(graph: Graph, layer: str, position: Sequence[int] | None, local: bool, weighed: bool) -> dict[str, Flow]:
    target = walk.find(graph, layer)
    value = graph.value(target)
    ranks = walk.images(graph)
    walks = {rank: {v.node.name: v for v in walk.walk(graph, sources)} for rank, sources in ranks.items()}
    there = [visits[target] for visits in walks.values() if target in visits]
    if not all(visit.known for visit in there):
        raise walk.unknown(layer)
    layout = next((visit.layout for visit in reversed(there) if visit.paths), ())
    axes = walk.positions(value, layout)
    if position is not None:
        walk.check(layer, position, tuple(value.shape[axis] for axis in axes))
        if walk.has_frames(value, layout):
            axes, position = (0, *axes), (0, *position)
    result: dict[str, Flow] = {}
    for rank, sources in ranks.items():
        visits = walks[rank]
        flows = {target: _unit(value.shape, axes, position)}
        for visit in reversed(visits.values()):
            if visit.node.name in flows and visit.paths:
                _back(visit, flows, local, weighed)
        for name in sources:
            shape = graph.inputs[name].shape
            flow = flows.get(name, np.zeros((1,) * (len(shape) + 1)))
            held = walk.image_axes(graph, name)
            others = tuple(axis + 1 for axis in range(len(shape)) if axis not in held)
            result[name] = np.broadcast_to(flow, (1, *shape)).sum((0, *others))
    return result


def _unit(shape: Shape, axes: tuple[int, ...], position: Sequence[int] | None) -> Flow:
    """A total of 1, divided equally over the channels of the unit; over all units if ``position`` is None."""
    channels = prod(n for axis, n in enumerate(shape) if axis not in axes)
    flow = np.full((1,) * (len(shape) + 1), 1 / channels)
    if position is not None:
        for axis, at in zip(axes, position, strict=True):
            line = np.zeros(shape[axis])
            line[at] = 1
            flow = flow * line.reshape(-1, *(1,) * (len(shape) - 1 - axis))
    return flow


def _back(visit: walk.Visit, flows: dict[str, Flow], local: bool, weighed: bool) -> None:
    """Distributes the weights of a node to the values it reads."""
    arrived = flows.pop(visit.node.name)
    shared = len(visit.paths) if not any(isinstance(m.step, Place) for p in visit.paths for m in p.moves) else 1
    for path in visit.paths:
        if local and not walk.stays_local(path.actions):
            continue
        flow = arrived / shared
        for move in reversed(path.moves):
            if not (local and any(isinstance(action, Global) for action in move.actions)):
                flow = _spread(flow, move)
        if not weighed:
            flow = (flow > 0).astype(np.float64)  # the numbers of deep networks stay within the range of a float
        flows[path.source] = flows[path.source] + flow if path.source in flows else flow


def _spread(flow: Flow, move: walk.Move) -> Flow:
    """One step backwards: each element distributes its weight equally to the elements it reads."""
    shape = shape_of(move.before)
    match move.step:
        case Taps() as step:
            return _untapped(flow, step, shape[step.axis])
        case Mix(axis, out, groups):
            n, at = shape[axis] // groups, axis + 1
            if flow.shape[at] == 1:
                return flow * (out / groups / n)
            parts: Flow = flow.reshape(*flow.shape[:at], groups, -1, *flow.shape[at + 1 :]).sum(at + 1) / n
            return parts if groups == 1 else parts.repeat(n, at)
        case Whole(axes, _, keep):
            kept = flow if keep else np.expand_dims(flow, tuple(axis + 1 for axis in axes))
            return kept / prod(shape[axis] for axis in axes)
        case Running(axis):
            return _unrun(flow, axis, shape[axis])
        case Spread(axes):
            statistic = flow
            for axis in axes:
                statistic = statistic.mean(axis + 1, keepdims=True)
            return (flow + statistic) / 2
        case Reshape(after):
            return reshaped(flow, after, shape)
        case Permute(order):
            return flow.transpose(0, *(1 + order.index(axis) for axis in range(len(order))))
        case Expand(after):
            return _unexpanded(flow, shape, after)
        case Place(axis, offset, _):
            cut = slice(offset, offset + shape[axis]) if flow.shape[axis + 1] > 1 else slice(None)
            return flow[(slice(None),) * (axis + 1) + (cut,)]


def _unrun(flow: Flow, axis: int, extent: int) -> Flow:
    out = np.moveaxis(flow, axis + 1, 0)
    shares = np.broadcast_to(out, (extent, *out.shape[1:])) / np.arange(1, extent + 1).reshape(
        -1, *(1,) * (flow.ndim - 1)
    )
    return np.moveaxis(shares[::-1].cumsum(0)[::-1], 0, axis + 1)


def _unexpanded(flow: Flow, before: Shape, after: Shape) -> Flow:
    new = len(after) - len(before)
    for axis, n in enumerate(after):
        if axis < new or before[axis - new] != n:
            flow = flow.sum(axis + 1, keepdims=True) * (n if flow.shape[axis + 1] == 1 else 1)
    return flow.reshape(1, *flow.shape[new + 1 :])


def _untapped(flow: Flow, step: Taps, extent: int) -> Flow:
    out = np.moveaxis(flow, step.axis + 1, 0)
    out = np.broadcast_to(out, (step.size, *out.shape[1:]))
    into = np.zeros((extent, *out.shape[1:]))
    for phase, taps in enumerate(step.taps):
        part = out[phase :: len(step.taps)] / max(len(taps), 1)
        for tap in taps:
            index = tap + step.n * np.arange(len(part))
            real = (index >= 0) & (index < extent)
            if step.n:
                into[index[real]] += part[real]  # each at most once
            else:
                into[index[real][:1]] += part[real].sum(0, keepdims=True)
            border = bordered(index[~real], extent, step.border)
            np.add.at(into, border[border < extent], part[~real][border < extent])
    return np.moveaxis(into, 0, step.axis + 1)
