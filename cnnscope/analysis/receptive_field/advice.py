"""What a receptive field means for using a network: tiles and halos, layers that cannot see more, windows cut short.

Pixels that no output reads are found by `exact.unread`, holes inside a field by `exact.coverage`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from cnnscope.analysis.receptive_field.quasi_affine import QuasiAffine
from cnnscope.analysis.receptive_field.theoretical import Field, theoretical
from cnnscope.analysis.receptive_field.walk import extents
from cnnscope.ir import Graph, Node, Shape
from cnnscope.ir.steps import Taps


@dataclass(frozen=True, slots=True)
class Tiling:
    """How to compute a layer tile by tile along one image axis, in pixels, with the result of the whole image.

    A tile's own pixels begin and end at multiples of ``step``; it is computed with ``before`` and ``after`` pixels
    around them, rounded up to multiples of ``step`` as well, for a crop must keep the strides in phase. At the image's
    own border there is no halo.
    """

    step: int
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class CutWindow:
    """A window too wide for its input: along a spatial axis no unit of ``layer`` has all ``taps`` inside, only
    ``most``."""

    layer: str
    axis: int
    taps: int
    most: int


def tiling(field: Field) -> tuple[Tiling, ...] | None:
    """Tile and halo per image axis; None if units see the whole image or their field has no closed form.

    The halo is how far a unit reaches beyond the pixels of its own stride: max(o S - lo) and max(hi - (o S + S -
    1)) over phases.
    """
    maps = [m for m in field.maps if m is not None and m.advance > 0]
    if field.via or not maps or len(maps) < len(field.maps):
        return None
    return tuple(map(_tiling, maps))


def _tiling(m: QuasiAffine) -> Tiling:
    reads = [(o * m.stride, phase) for o, phase in enumerate(m.phases) if phase]
    before = max(0, *(floor(start) - lo for start, (lo, _) in reads))
    after = max(0, *(hi - (ceil(start + m.stride) - 1) for start, (_, hi) in reads))
    return Tiling(m.advance, *(-(-halo // m.advance) * m.advance for halo in (before, after)))


def resize_offset(field: Field) -> tuple[Fraction, ...] | None:
    """Pixels by which a map is displaced once it is stretched over the image as pictures are resized (no aligned
    corners): centre0 - (stride - 1) / 2. VGG-16's conv5 fits, ResNet-50's layer4 lies 15.5 pixels up and left."""
    if field.centre0 is None or field.stride is None:
        return None
    return tuple(c - (s - 1) / 2 for c, s in zip(field.centre0, field.stride, strict=True))


def unproductive(graph: Graph) -> tuple[str, ...]:
    """Layers that look at neighbours although the path with the smallest field has already seen the whole image.

    The shortest-path field entering the layer spans the input on every axis along which the layer has a window.
    Richter et al. 2021, "Input size matters for CNN classifiers", section 3.
    """
    fields, size = theoretical(graph), _image(graph)
    found = []
    for node, axes in _windows(graph):
        seen = [fields[name].shortest for name in node.inputs if name in fields]
        if all(short and all(short[a] >= size[a] for a in axes if a < len(short)) for short in seen):
            found.append(node.layer)
    return tuple(dict.fromkeys(found))


def saturated(graph: Graph) -> str | None:
    """The first layer whose units have a field at least as large as the image, padding counted; None if there is
    none."""
    fields, size = theoretical(graph), _image(graph)
    for node in graph.nodes:
        reach = fields[node.name].size if node.name in fields else None
        if reach and all(r >= n for r, n in zip(reach, size, strict=False)):
            return node.layer
    return None


def cut_windows(graph: Graph) -> tuple[CutWindow, ...]:
    """Windows that fit nowhere into their input, so that some of their weights always meet padding.

    Chen et al. 2017 (DeepLabv3), section 3.3: at rate 36 on a 65x65 map a 3x3 kernel never has its three taps inside.
    """
    found = []
    for node, _ in _windows(graph):
        values = graph.values(node)
        for value, steps in zip(values, node.op.reads(values) or (), strict=True):
            for step in steps:
                if isinstance(step, Taps) and len(step.taps) == 1 and step.border == "drop":
                    most = _most_inside(step, value.shape[step.axis])
                    if most < len(step.taps[0]):
                        found.append(CutWindow(node.layer, step.axis - 2, len(step.taps[0]), most))
    return tuple(found)


def _most_inside(step: Taps, extent: int) -> int:
    (taps,) = step.taps
    return max(sum(0 <= tap + step.n * o < extent for tap in taps) for o in range(step.size))


def _windows(graph: Graph) -> Iterator[tuple[Node, tuple[int, ...]]]:
    """Convolutions and pools with the spatial axes along which they read more than one position."""
    for node in graph.nodes:
        if node.op.category in ("conv", "pool"):
            steps = (node.op.reads(graph.values(node)) or ((),))[0]
            windows = [step for step in steps if isinstance(step, Taps) and max(map(len, step.taps)) > 1]
            if windows:
                yield node, tuple(step.axis - 2 for step in windows)


def _image(graph: Graph) -> Shape:
    """The largest extent of the image inputs along each axis."""
    found = [extents(graph, name) for name in graph.inputs]
    sizes = [each for each in found if len(each) == max(map(len, found))]
    return tuple(map(max, *sizes)) if len(sizes) > 1 else sizes[0] if sizes else ()
