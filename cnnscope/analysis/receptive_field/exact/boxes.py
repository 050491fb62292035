"""The bounding box of the pixels a unit depends on.

The field of an element is the union of the fields of the elements it reads, and the hull of a union is the hull of
the hulls, so bounds carried forward are exact. Every tensor has a shadow: per image axis the lower bound and the
negated upper bound of each element, so that an op is a minimum over what it reads and `EMPTY` is neutral. An element
that reads nothing is `EMPTY` in every image axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np

from cnnscope.analysis.receptive_field.digits import Layout
from cnnscope.analysis.receptive_field.exact.steps import Array, least, moved
from cnnscope.analysis.receptive_field.layout import Global
from cnnscope.analysis.receptive_field.quasi_affine import Interval
from cnnscope.analysis.receptive_field.walk import (
    Path,
    check,
    has_frames,
    image_axes,
    images,
    names,
    pick,
    positions,
    stays_local,
    unknown,
    walk,
)
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Shape, Value

Bounds = tuple[Array, ...]
"""For each image axis, an array (2, *tensor axes) of lower and negated upper bounds."""


class Range(NamedTuple):
    """Pixels per image axis of the smallest and the largest field in a layer; 0 where a unit reads nothing."""

    min: tuple[int, ...]
    max: tuple[int, ...]


class _Units(NamedTuple):
    """A layer's positions and their bounds, united over channels. ``local`` is None if there is no local field."""

    extents: Shape
    full: Bounds = ()
    local: Bounds | None = None


@dataclass(frozen=True)
class Exact:
    """The fields of the layers that were kept. With ``local``, paths through global reductions are left out."""

    names: Mapping[str, str]
    units: Mapping[str, _Units | None]

    def box(self, layer: str, position: Sequence[int], *, local: bool = False) -> tuple[Interval, ...] | None:
        """First and last pixel per image axis that the unit depends on; None if it depends on no pixel.

        ``position`` is one index per spatial axis of a map; for another tensor, per axis that has image positions.
        E205 for an unknown layer, E203 for no position of it, E306 behind an op that no rule covers.
        """
        units = self._units(layer)
        if units is None:
            raise unknown(layer)
        check(layer, position, units.extents)
        bounds = units.local if local else units.full
        if not bounds:
            return None
        at = [tuple(min(p, n - 1) for p, n in zip(position, b.shape[1:], strict=True)) for b in bounds]
        box = [(int(b[0][i]), -int(b[1][i])) for b, i in zip(bounds, at, strict=True)]
        return None if any(lo > hi for lo, hi in box) else tuple(box)

    def range(self, layer: str, *, local: bool = False) -> Range | None:
        """The extremes over all positions; None if no unit depends on anything or it is not known on what."""
        units = self._units(layer)
        bounds = units and (units.local if local else units.full)
        if not bounds:
            return None
        sizes = [np.maximum(1 - b[0] - b[1], 0) for b in bounds]
        result = Range(tuple(int(s.min()) for s in sizes), tuple(int(s.max()) for s in sizes))
        return result if all(result.max) else None

    def _units(self, layer: str) -> _Units | None:
        return self.units[pick(layer, self.names)]


MOST_POSITIONS = 10_000_000
"""The largest number of positions along one axis that are followed one by one (about 100 MB per tensor)."""


def exact(graph: Graph, keep: Collection[str] | None = None, wrt: str | None = None) -> Exact:
    """The exact fields of all layers, or of those in ``keep``; with respect to all image inputs, or to ``wrt`` alone.

    Where images of different dimension meet, it is with respect to those of the most spatial axes.
    """
    _check_size(graph)
    known = names(graph)
    wanted = None if keep is None else {pick(layer, known) for layer in keep}
    values = {**graph.inputs, **{node.name: node.output for node in graph.nodes}}
    units: dict[str, _Units | None] = {
        name: _Units(tuple(value.shape[axis] for axis in positions(value, ())))
        for name, value in values.items()
        if wanted is None or name in wanted
    }
    for rank, sources in images(graph, wrt).items():
        for name, shadow, layout in _shadows(graph, rank, sources):
            if name in units:
                units[name] = None if shadow is None else _at_positions(shadow, values[name], layout)
    return Exact(known, units)


def _check_size(graph: Graph) -> None:
    """E307 for a network with so long an axis that bounds for each position would fill the memory."""
    values = {**graph.inputs, **{node.name: node.output for node in graph.nodes if node.output.kind == "map"}}
    for name, value in values.items():
        if max(value.spatial, default=0) > MOST_POSITIONS:
            raise CnnscopeError.of(
                "E307", f"`{name}` has {max(value.spatial):,} positions along an axis, too many to follow each",
                hint="`cnnscope summary` has the theoretical fields, which do not depend on the size",
            )  # fmt: skip


class _Shadow(NamedTuple):
    full: Bounds
    local: Bounds | None

    def first(self) -> _Shadow:
        """What the units of the first frame see."""
        full = tuple(bounds[:, :1] for bounds in self.full)
        if self.local is self.full:
            return _Shadow(full, full)
        return _Shadow(full, self.local and tuple(bounds[:, :1] for bounds in self.local))


def _shadows(graph: Graph, rank: int, sources: Collection[str]) -> Iterator[tuple[str, _Shadow | None, Layout]]:
    """Yields every input and node that an image reaches; each is freed after its last use.

    None after an op without a rule.
    """
    alive: dict[str, _Shadow] = {}
    readers = Counter(name for node in graph.nodes for name in node.inputs)
    for name in sources:
        bounds = tuple(_pixels(graph.inputs[name].shape, axis) for axis in image_axes(graph, name))
        alive[name] = _Shadow(bounds, bounds)
        yield name, alive[name], ()
    for visit in walk(graph, sources):
        name = visit.node.name
        if not visit.known:
            yield name, None, ()
        elif visit.paths:
            alive[name] = _merged([_along(path, alive[path.source]) for path in visit.paths])
            yield name, alive[name], visit.layout
        readers.subtract(visit.node.inputs)
        for done in (*visit.node.inputs, name):
            if not readers[done]:
                alive.pop(done, None)


def _pixels(shape: Shape, axis: int) -> Array:
    axes = [1] * len(shape)
    axes[axis] = -1
    pixels = np.arange(shape[axis], dtype=np.int32).reshape(axes)
    return np.stack([pixels, -pixels])


def _along(path: Path, shadow: _Shadow) -> _Shadow:
    full, local = shadow
    for move in path.moves:
        after = tuple(moved(bounds, move) for bounds in full)
        reductions = [action for action in move.actions if isinstance(action, Global)]
        if not stays_local(move.actions):
            local = None
        elif not reductions and local is not None:
            local = after if local is full else tuple(moved(bounds, move) for bounds in local)
        full = after
    return _Shadow(full, local)


def _merged(parts: Sequence[_Shadow]) -> _Shadow:
    full = reduce(_union, (part.full for part in parts))
    if all(part.local is part.full for part in parts):
        return _Shadow(full, full)
    some = [part.local for part in parts if part.local is not None]
    return _Shadow(full, reduce(_union, some) if some else None)


def _union(a: Bounds, b: Bounds) -> Bounds:
    return a if a is b else tuple(np.minimum(x, y) for x, y in zip(a, b, strict=True))


def _at_positions(shadow: _Shadow, value: Value, layout: Layout) -> _Units:
    axes = positions(value, layout)
    if has_frames(value, layout):
        shadow = shadow.first()
    rest = tuple(i + 1 for i in range(len(value.shape)) if i not in axes)
    full = tuple(least(bounds, rest) for bounds in shadow.full)
    if shadow.local is shadow.full:
        local: Bounds | None = full
    else:
        local = None if shadow.local is None else tuple(least(bounds, rest) for bounds in shadow.local)
    return _Units(tuple(value.shape[axis] for axis in axes), full, local)
