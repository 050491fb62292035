"""The pass: follows the image axes and turns of every value, over the same walk as receptive fields."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import reduce
from typing import NamedTuple

from cnnscope.analysis.equivariance.along import Along, Blame, joined, moved, start
from cnnscope.analysis.equivariance.events import (
    EXACT,
    Cause,
    Event,
    Lost,
    Reduce,
    Verdict,
    events,
    held,
    reduced,
    worst,
)
from cnnscope.analysis.receptive_field.digits import Axis, Digit, Layout, leads, seed
from cnnscope.analysis.receptive_field.layout import Unclear, follow
from cnnscope.analysis.receptive_field.walk import Path, Visit, extents, image_axes, walk
from cnnscope.ir import Graph, Node, Value
from cnnscope.ir.steps import Expand, Mix, Step


class ValueMotion(NamedTuple):
    """How a value moves with the image: per image axis, and when the last two axes are exchanged."""

    along: tuple[Along, ...]
    exchange: Verdict
    layout: Layout


def motions(graph: Graph, sources: tuple[str, ...]) -> Iterator[tuple[str, ValueMotion | Cause]]:
    """The motion of the inputs ``sources`` and of every node they reach; a `Cause` after an op that no rule covers."""
    found: dict[str, ValueMotion] = {}
    unknown: dict[str, Cause] = {}
    constants = {name: _pattern(value) for name, value in graph.inputs.items() if name not in sources}
    for name in sources:
        value = graph.inputs[name]
        axes, sizes = image_axes(graph, name), extents(graph, name)
        found[name] = ValueMotion(tuple(map(start, sizes)), _square(value, name), seed(value.shape, axes))
        yield name, found[name]
    for place, visit in enumerate(walk(graph, sources)):
        node = visit.node
        blame = _blame(node, place)
        if not visit.known:
            inherited = [unknown[name] for name in node.inputs if name in unknown]
            unknown[node.name] = inherited[0] if inherited else blame("no rule covers it")
            yield node.name, unknown[node.name]
        elif visit.paths:
            found[node.name] = _step(graph, visit, found, constants, blame)
            yield node.name, found[node.name]
        else:
            constants[node.name] = _constant(graph, node, constants)


def _blame(node: Node, place: int) -> Blame:
    return lambda reason: Cause(node.layer, reason, place)


def _square(value: Value, name: str) -> Verdict:
    if len(value.spatial) < 2:
        return Verdict("not_guaranteed", Cause(name, "it has one axis", -1))
    height, width = value.spatial[-2:]
    return EXACT if height == width else Verdict("not_guaranteed", Cause(name, f"{height}x{width} is no square", -1))


# -- a node ------------------------------------------------------------------------------------------------------------


def _step(
    graph: Graph, visit: Visit, found: Mapping[str, ValueMotion], constants: Mapping[str, Layout], blame: Blame
) -> ValueMotion:
    node = visit.node
    values = graph.values(node)
    ends = [_along(path, found[path.source], node, values, blame) for path in visit.paths]
    along = tuple(reduce(lambda a, b: joined(a, b, blame), axes) for axes in zip(*(e.along for e in ends), strict=True))
    exchange = worst(end.exchange for end in ends)
    after: list[Event] = [Lost(action.image, "its inputs lie differently in its tensor") for action in visit.merging
                          if isinstance(action, Unclear)]  # fmt: skip
    if node.op.weights(values) and not any(isinstance(m.step, Mix) for path in visit.paths for m in path.moves):
        low = (d for axis in visit.layout for d in axis.digits if d.moves and not _leading(d, visit.layout))
        after += held(visit.layout, low)  # channels hold positions, and each channel has its own weight
    after += [Lost(image, "a constant that differs from position to position") for image in
              _fixed(graph, node, constants, visit.layout)]  # fmt: skip
    return _acted(ValueMotion(along, exchange, visit.layout), after, node, blame)


def _along(path: Path, motion: ValueMotion, node: Node, values: Iterable[Value], blame: Blame) -> ValueMotion:
    rank = len(motion.along)
    told_apart = {image for axis in node.op.anchored(tuple(values)) for image in _moving(motion.layout, axis)}
    happened: list[Event] = [Reduce(image, False, True, "dense") for image in sorted(told_apart)]
    happened += [event for move in path.moves for event in events(move, node.op.symmetric, rank)]
    layout = motion.layout if not path.moves else follow(path.moves[-1].before, path.moves[-1].step)[0]
    happened += _split(motion, layout)
    return _acted(motion._replace(layout=layout), happened, node, blame)


def _split(motion: ValueMotion, layout: Layout) -> list[Event]:
    """An axis that repeats beyond its period cannot be cut into pieces and still be followed."""
    pieces = [sum(d.moves for axis in layout for d in axis.digits if image in d.images)
              for image in range(len(motion.along))]  # fmt: skip
    return [Lost(image, "cuts a padded map into pieces") for image, a in enumerate(motion.along)
            if pieces[image] > 1 and a.extent != a.period and a.wraps is None]  # fmt: skip


def _acted(motion: ValueMotion, happened: Iterable[Event], node: Node, blame: Blame) -> ValueMotion:
    """The motion after these events. The last two image axes stay exchangeable while both get the same events."""
    along = list(motion.along)
    per_image: list[list[Event]] = [[] for _ in along]
    chosen = node.name if node.op.polyphase else ""
    border = "zero padding" if node.op.category in ("conv", "movement") else "padding"
    for event in happened:
        along[event.image] = moved(along[event.image], event, blame, border, chosen)
        per_image[event.image].append(event._replace(image=0))
    exchange = motion.exchange
    if len(along) > 1 and per_image[-2] != per_image[-1]:
        exchange = worst([exchange, Verdict("not_guaranteed", blame("height and width are treated differently"))])
    return ValueMotion(tuple(along), exchange, motion.layout)


def channels_united(motion: ValueMotion, value: Value, name: str) -> ValueMotion:
    """The motion of units, all channels of a position together."""
    if value.kind != "map" or not any(d.moves for d in motion.layout[1].digits):
        return motion
    along, cause = list(motion.along), Cause(name, "its channels hold positions", sys.maxsize)
    for event in reduced(motion.layout, (1,), "dense", False, own=False):
        along[event.image] = moved(along[event.image], event, lambda _: cause, "")
    return motion._replace(along=tuple(along))


# -- constants ---------------------------------------------------------------------------------------------------------


def _pattern(value: Value) -> Layout:
    """Follows a constant as if its axes were an image's: the constant varies along the axes where they end up."""
    return tuple(Axis((Digit(n, (i,) if n > 1 else ()),)) for i, n in enumerate(value.shape))


def _constant(graph: Graph, node: Node, constants: Mapping[str, Layout]) -> Layout:
    """The axes along which a node that no image reaches varies."""
    reads = node.op.reads(graph.values(node))
    layouts = [constants.get(name) for name in node.inputs]
    if reads is None or not layouts or None in layouts:
        return _pattern(node.output)
    ends = [_carried(layout, steps, node.output) for layout, steps in zip(layouts, reads, strict=True) if layout]
    varies = {i for end in ends for i, axis in enumerate(end) if axis.images and axis.extent > 1}
    shape = node.output.shape
    return tuple(Axis((Digit(n, (i,) if i in varies else ()),)) for i, n in enumerate(shape))


def _carried(layout: Layout, steps: Iterable[Step], output: Value) -> Layout:
    for step in (*steps, Expand(output.shape)):
        layout = follow(layout, step)[0]
    return layout


def _fixed(graph: Graph, node: Node, constants: Mapping[str, Layout], layout: Layout) -> list[int]:
    """The image axes along which the constant inputs of a node vary."""
    reads = node.op.reads(graph.values(node)) or ()
    images: set[int] = set()
    for name, steps in zip(node.inputs, reads, strict=False):
        if name in constants:
            end = _carried(constants[name], steps, node.output)
            images.update(image for i, axis in enumerate(end) if axis.images and axis.extent > 1
                          for image in _moving(layout, i))  # fmt: skip
    return sorted(images)


def _moving(layout: Layout, axis: int) -> set[int]:
    return {image for d in layout[axis].digits if d.moves for image in d.images}


def _leading(digit: Digit, layout: Layout) -> bool:
    return digit.weight == 0 or leads(layout, digit)
