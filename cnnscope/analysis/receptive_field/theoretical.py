"""Theoretical receptive fields: on the infinite plane, padding counted, whatever the input's size.

Every image axis of every node has one quasi-affine map; joins take unions. The field of a unit is *local*: paths
through a reduction over a whole image axis (global pooling, attention, a dense layer behind a flatten) are left out
and named in ``via``; through them a unit sees the whole image. Channels are not distinguished.

Araujo et al. 2019, "Computing receptive fields of convolutional neural networks" (Distill), generalised to upsampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from cnnscope.analysis.receptive_field.digits import Layout, seed
from cnnscope.analysis.receptive_field.layout import Action, Global, Unclear, Window, follow
from cnnscope.analysis.receptive_field.quasi_affine import IDENTITY, Interval, QuasiAffine
from cnnscope.analysis.receptive_field.walk import Path, has_frames, image_axes, images, positions, stays_local, walk
from cnnscope.ir import Graph, Value
from cnnscope.ir.steps import Via, Whole

Maps = tuple[QuasiAffine | None, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """The theoretical receptive field of a node's units, one entry per image axis (height, width).

    ``maps`` say which pixels a unit reads; they are empty if no local path remains, and None stands for one without a
    closed form. ``shortest`` is the same for the path with the smallest field. ``via`` names the reductions through
    which a unit sees the whole image.
    """

    maps: Maps = ()
    shortest_maps: Maps = field(default=(), repr=False)
    via: tuple[Via, ...] = ()
    layout: Layout = field(default=(), repr=False, compare=False)
    axes: tuple[int, ...] = field(default=(), repr=False, compare=False)

    @property
    def position_dependent(self) -> bool:
        """Whether the local field has no single size, as where paths of unequal strides meet."""
        return None in self.maps

    @property
    def size(self) -> tuple[int, ...] | None:
        """The size in pixels, the largest over output phases; None if there is no local path or no closed form."""
        return _sizes(self.maps, max)

    @property
    def size_min(self) -> tuple[int, ...] | None:
        """The size in pixels, the smallest over output phases that read anything."""
        return _sizes(self.maps, min)

    @property
    def shortest(self) -> tuple[int, ...] | None:
        """The size on the path with the smallest field (Richter et al. 2021), which a residual network can fall back
        to."""
        return _sizes(self.shortest_maps, max)

    @property
    def stride(self) -> tuple[Fraction, ...] | None:
        """The stride: pixels between neighbouring units."""
        maps = _closed(self.maps)
        return None if maps is None else tuple(m.stride for m in maps)

    @property
    def padding(self) -> tuple[int, ...] | None:
        """The number of pixels that the first unit reaches beyond the image, at the low end."""
        maps = _closed(self.maps)
        return None if maps is None else tuple(-_first(m)[0] for m in maps)

    @property
    def centre0(self) -> tuple[Fraction, ...] | None:
        """The centre of the first unit's field, in pixels from the centre of pixel 0."""
        maps = _closed(self.maps)
        return None if maps is None else tuple(Fraction(sum(_first(m)), 2) for m in maps)

    @property
    def jitter(self) -> tuple[Fraction, ...] | None:
        """How far centres deviate from an even grid: the range of centre(o) - o * stride."""
        maps = _closed(self.maps)
        return None if maps is None else tuple(max(_offsets(m)) - min(_offsets(m)) for m in maps)

    def box(self, position: Sequence[int]) -> tuple[Interval, ...] | None:
        """First and last pixel per image axis of the unit at ``position``, padding counted."""
        maps = _closed(self.maps)
        if maps is None:
            return None
        place = dict(zip(self.axes, position, strict=True))
        indices = [_index(self.layout, place, image) for image in range(len(maps))]
        intervals = [None if o is None else m.at(o) for m, o in zip(maps, indices, strict=True)]
        return None if None in intervals else tuple(interval for interval in intervals if interval)


def theoretical(graph: Graph, wrt: str | None = None) -> Mapping[str, Field]:
    """The field of every input and node by name, with respect to the image inputs that reach it, or to ``wrt`` alone.

    Where images of different dimension meet, it is with respect to those of the most spatial axes. A node that no
    image reaches has an empty field; one behind an op that no rule covers is absent, for its field is unknown.
    """
    fields = dict.fromkeys((*graph.inputs, *(node.name for node in graph.nodes)), Field())
    for rank, sources in images(graph, wrt).items():
        for name, found in _fields(graph, rank, sources):
            if found is None:
                fields.pop(name, None)
            else:
                fields[name] = found
    return fields


class _Reach(NamedTuple):
    """``maps`` and ``shortest`` as in `Field`, both empty once no local path remains."""

    maps: Maps
    shortest: Maps
    via: frozenset[Via] = frozenset()


def _fields(graph: Graph, rank: int, sources: tuple[str, ...]) -> Iterator[tuple[str, Field | None]]:
    reach = {name: _Reach((IDENTITY,) * rank, (IDENTITY,) * rank) for name in sources}
    known: dict[tuple[int, int, str], Field] = {}  # elementwise ops share the object they read
    memo: dict[tuple[QuasiAffine, Window], QuasiAffine | None] = {}
    for name in sources:
        value = graph.inputs[name]
        yield name, _field(reach[name], seed(value.shape, image_axes(graph, name)), value)
    for visit in walk(graph, sources):
        if not visit.known:
            yield visit.node.name, None
        if not visit.paths:
            continue
        parts = [_along(path, reach[path.source], memo) for path in visit.paths]
        found = parts[0] if len(parts) == 1 else _merged(parts, visit.merging)
        reach[visit.node.name] = found
        key = id(found), id(visit.layout), visit.node.output.kind
        if key not in known:
            known[key] = _field(found, visit.layout, visit.node.output)
        yield visit.node.name, known[key]


def _along(path: Path, reach: _Reach, memo: dict[tuple[QuasiAffine, Window], QuasiAffine | None]) -> _Reach:
    """The reach at the end of a path."""
    actions = path.actions
    if not actions:
        return reach
    via = reach.via.union(action.via for action in actions if isinstance(action, Global))
    if not reach.maps or not stays_local(actions):
        return _Reach((), (), via)
    return _Reach(_acted(reach.maps, actions, memo), _acted(reach.shortest, actions, memo), via)


def _acted(maps: Maps, actions: Iterable[Action], memo: dict[tuple[QuasiAffine, Window], QuasiAffine | None]) -> Maps:
    result = list(maps)
    for action in actions:
        if isinstance(action, Unclear):
            result[action.image] = None
        elif isinstance(action, Window) and (before := result[action.image]) is not None:
            key = before, action
            if key not in memo:
                memo[key] = before.windowed(action.n, action.taps)
            result[action.image] = memo[key]
    return tuple(result)


def _merged(parts: Sequence[_Reach], merging: tuple[Action, ...]) -> _Reach:
    via = frozenset().union(*(part.via for part in parts))
    some = [part for part in parts if part.maps]
    if not some:
        return _Reach((), (), via)
    maps, shortest = some[0].maps, some[0].shortest
    for part in some[1:]:
        maps = tuple(a and b and a.union(b) for a, b in zip(maps, part.maps, strict=True))
        shortest = tuple(_shorter(a, b) for a, b in zip(shortest, part.shortest, strict=True))
    return _Reach(_acted(maps, merging, {}), _acted(shortest, merging, {}), via)


def _shorter(a: QuasiAffine | None, b: QuasiAffine | None) -> QuasiAffine | None:
    if a is None or b is None:
        return None
    return a if max(a.sizes, default=0) <= max(b.sizes, default=0) else b


def _field(reach: _Reach, layout: Layout, value: Value) -> Field:
    axes = positions(value, layout)
    maps, shortest = reach.maps, reach.shortest
    channels = tuple(i for i in range(has_frames(value, layout), len(layout)) if i not in axes)
    if maps and any(digit.moves for i in channels for digit in layout[i].digits):
        layout, actions = follow(layout, Whole(channels, "dense"))  # a unit has all channels at a position
        if any(isinstance(action, Global) for action in actions):
            actions = tuple(map(Unclear, range(len(maps))))
        maps, shortest = _acted(maps, actions, {}), _acted(shortest, actions, {})
    if any(m and not any(m.phases) for m in maps):  # every window lies between the pixels
        maps, shortest = (), ()
    return Field(maps, shortest, tuple(sorted(reach.via)), layout, axes)


def _closed(maps: Maps) -> tuple[QuasiAffine, ...] | None:
    some = tuple(m for m in maps if m is not None)
    return some if some and len(some) == len(maps) else None


def _sizes(maps: Maps, pick: Callable[[Iterable[int]], int]) -> tuple[int, ...] | None:
    closed = _closed(maps)
    return None if closed is None else tuple(pick(m.sizes) for m in closed)


def _offsets(m: QuasiAffine) -> Iterator[Fraction]:
    """The centre of each phase that reads anything, relative to where the stride puts it."""
    return (Fraction(sum(phase), 2) - o * m.stride for o, phase in enumerate(m.phases) if phase)


def _first(m: QuasiAffine) -> Interval:
    """The interval of the first output that reads anything."""
    return next(phase for phase in m.phases if phase)


def _index(layout: Layout, place: Mapping[int, int], image: int) -> int | None:
    """The position along an image axis of the unit at these tensor positions; None if the unit does not belong to
    it."""
    total = 0
    for i, axis in enumerate(layout):
        inner = place.get(i, 0) - axis.before
        if not 0 <= inner < axis.extent - axis.before - axis.after:
            return None
        for digit in reversed(axis.digits):
            inner, value = divmod(inner, digit.extent)
            total += value * digit.weight if image in digit.images else 0
    return total
