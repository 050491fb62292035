"""The volumes view: feature maps as boxes to scale, in the manner of the LeNet and AlexNet figures.

A box's height and depth are the map's, its width the channels. Axes are honest: each has one scale for the whole
figure, linear or square root, and the figure names it. A window is drawn to scale on the map it slides over, with
lines to the unit it makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

from cnnscope.ir import Graph, Shape
from cnnscope.render import numbers
from cnnscope.render.diagram.canvas import Canvas, Mark, Path, Point, Polygon, Text
from cnnscope.render.diagram.model import Box, Diagram, diagram
from cnnscope.render.style import SIZES, THEMES, WINDOW, Theme, ThemeName, kind_colour, shaded

TALL, WIDE = 190.0, 64.0
"""Points of the largest map's height, and of the largest number of channels."""
BAR = 120.0
"""Points of the longest vector."""
SLANT = (0.42, -0.30)
"""The shift on the page for one step into the depth."""
GAP = 30.0
THIN = 3.0
"""Thinner sides could not be seen."""
LINEAR_RATIO = 20
"""Maps differ by at most this much where a linear scale still shows the smallest."""
CHARACTER = 0.62
"""Mean advance of DejaVu Sans in ems, with a little to spare."""
DRAWN = ("input", "conv", "linear", "pool", "merge", "block", "resize", "attention")
"""Categories that get a volume; what only normalises, drops or reshapes is part of the one before."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How sizes become points: linear, or by the square root."""

    largest: int
    points: float
    root: bool

    def __call__(self, n: int) -> float:
        share = n / self.largest
        return max(self.points * (sqrt(share) if self.root else share), THIN)

    @property
    def name(self) -> str:
        return "square root" if self.root else "linear"


@dataclass(frozen=True, slots=True)
class Volume:
    """A box in place: lower left corner of the front at (x, y); a vector has no depth."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    depth: float

    @property
    def lean(self) -> tuple[float, float]:
        return SLANT[0] * self.depth, SLANT[1] * self.depth

    @property
    def right(self) -> float:
        return self.x + self.width + self.lean[0]

    @property
    def top(self) -> float:
        return self.y - self.height + self.lean[1]

    def side(self, up: float, back: float) -> tuple[float, float]:
        """A point of the right side: ``up`` and ``back`` from 0 to 1."""
        return self.x + self.width + back * self.lean[0], self.y - up * self.height + back * self.lean[1]


def volumes(graph: Graph, theme: ThemeName = "light") -> Canvas:
    """The figure, ready to be written in any format."""
    figure = diagram(graph, "overview")
    boxes = [box for box in figure.boxes if box.category in DRAWN and box.shape]
    scales = _scales(boxes)
    return _canvas(figure, graph, tuple(_placed(boxes, *scales)), scales, THEMES[theme])


def map_size(shape: Shape) -> tuple[int, int, int] | None:
    """Channels, height and width of a map, tokens or signal; None for a vector."""
    if len(shape) == 1:
        return None
    if len(shape) == 2:
        return shape[0], shape[1], 1
    return shape[0], shape[-2], shape[-1]


def _scales(boxes: Sequence[Box]) -> tuple[Scale, Scale, Scale]:
    sizes = [size for box in boxes if (size := map_size(box.shape))]
    extents = [n for size in sizes for n in size[1:] if n > 1] or [1]
    channels = max((size[0] for size in sizes), default=1)
    vectors = max((box.shape[0] for box in boxes if len(box.shape) == 1), default=1)
    root = max(extents) > LINEAR_RATIO * min(extents)
    return Scale(max(extents), TALL, root), Scale(channels, WIDE, True), Scale(vectors, BAR, True)


def _placed(boxes: Sequence[Box], maps: Scale, channels: Scale, vectors: Scale) -> Iterator[Volume]:
    """One behind the other, each slot as wide as its box and its labels, whichever is more."""
    x, base = 0.0, 0.0
    for box in boxes:
        size = map_size(box.shape)
        if size is None:
            width, height, depth = 8.0, vectors(box.shape[0]), 0.0
        else:
            width, height, depth = channels(size[0]), maps(size[1]), maps(size[2]) if size[2] > 1 else 8.0
        text = max(_text_width(line, SIZES["edge"]) for line in _labels(box))
        slot = max(width + SLANT[0] * depth, text)
        yield Volume(box, x + (slot - width - SLANT[0] * depth) / 2, base + height / 2, width, height, depth)
        x += slot + GAP


def _labels(box: Box) -> tuple[str, ...]:
    times = f" ×{box.count}" if box.count > 1 else ""
    return (numbers.shape(box.shape), _short(box.title) + times, _short(box.name))


def _short(text: str) -> str:
    text = numbers.printable(text)
    return text if len(text) <= 28 else text[:27] + "…"


def _text_width(text: str, size: float) -> float:
    return CHARACTER * size * len(text)


def _canvas(
    figure: Diagram, graph: Graph, volumes: Sequence[Volume], scales: tuple[Scale, Scale, Scale], theme: Theme
) -> Canvas:
    skips = tuple(_skips(figure, volumes))
    arcs = 26.0 * len(skips) + (14.0 if skips else 0.0)
    left, top = min(v.x for v in volumes) - 40, min(v.top for v in volumes) - arcs - 62
    right, bottom = max(v.right for v in volumes) + 40, max(v.y for v in volumes) + 96
    facts = f"{figure.parameters} · {numbers.short(figure.totals.macs)} MACs"
    floor = max(v.y for v in volumes) + 18
    roof = min(v.top for v in volumes) - 14
    marks: list[Mark] = [
        Text((left + right) / 2, top + 26, figure.name, SIZES["title"], theme.text, bold=True),
        Text((left + right) / 2, top + 42, facts, SIZES["cluster"], theme.muted),
    ]
    for volume in volumes:
        marks += _drawn(volume, floor, theme)
    for source, target in pairwise(volumes):
        marks += _projection(source, target, graph, theme)
    for level, (source, target) in enumerate(skips):
        marks += _arc(source, target, roof - 26 * level, theme)
    marks += _key(volumes, scales, (left + 24, bottom - 30), theme)
    return Canvas(figure.name, left, top, right - left, bottom - top, theme.background, tuple(marks))


def _drawn(volume: Volume, floor: float, theme: Theme) -> Iterator[Mark]:
    """Front, top and side, and the labels under the figure's floor, where nothing else is."""
    x, y, w, h = volume.x, volume.y, volume.width, volume.height
    dx, dy = volume.lean
    colour = kind_colour(volume.box.category)
    faces = (
        (colour, ((x, y), (x + w, y), (x + w, y - h), (x, y - h))),
        (shaded(colour, 0.3), ((x, y - h), (x + w, y - h), (x + w + dx, y - h + dy), (x + dx, y - h + dy))),
        (shaded(colour, -0.3), ((x + w, y), (x + w + dx, y + dy), (x + w + dx, y - h + dy), (x + w, y - h))),
    )
    for fill, corners in faces:
        yield Polygon(corners, fill, theme.line, opacity=0.82, title=f"{volume.box.name}: {volume.box.title}")
    middle = (x + volume.right) / 2
    shape, title, name = _labels(volume.box)
    yield Text(middle, floor, shape, SIZES["edge"], theme.text, bold=True)
    yield Text(middle, floor + 12, title, SIZES["edge"], theme.text)
    yield Text(middle, floor + 24, name, SIZES["edge"], theme.muted)


def _projection(source: Volume, target: Volume, graph: Graph, theme: Theme) -> Iterator[Mark]:
    """The window of the target's op on the source's map, to scale, and lines to the unit it makes; else an arrow."""
    kernel, size = _kernel(target.box, graph), map_size(source.box.shape)
    end = target.x, target.y - target.height / 2
    if kernel is None or size is None or target.box.count > 1:
        start = source.right + 4 if source.depth == 0 else source.side(0.5, 0.5)[0] + 6
        x, y = end[0] - 4, end[1]
        yield Path(((start, y), (x, y)), theme.line)
        yield Polygon(((x - 6, y - 3), (x - 6, y + 3), (x, y)), theme.line, theme.line)
        return
    up, back = (min(k / n, 1.0) for k, n in zip(kernel, size[1:], strict=True))
    low, near = 0.5 - up / 2, 0.5 - back / 2
    corners = (source.side(low, near), source.side(low, near + back), source.side(low + up, near + back),
               source.side(low + up, near))  # fmt: skip
    for corner in corners:
        yield Path((corner, end), theme.line, dashed=True)
    yield Polygon(corners, theme.background, WINDOW, opacity=0.6, width=1.0)


def _kernel(box: Box, graph: Graph) -> tuple[int, int] | None:
    """Height and width of the window of a layer, where it has one larger than 1x1 in two dimensions."""
    if box.id.startswith("in_"):
        return None
    kernel = getattr(graph.node(box.id).op, "kernel", None)
    return kernel if isinstance(kernel, tuple) and len(kernel) == 2 and max(kernel) > 1 else None


def _skips(figure: Diagram, volumes: Sequence[Volume]) -> Iterator[tuple[Volume, Volume]]:
    """Edges past at least one volume, the shortest first, so that arcs nest."""
    place = {volume.box.id: i for i, volume in enumerate(volumes)}
    pairs = [(place[e.source], place[e.target]) for e in figure.edges if e.source in place and e.target in place]
    for a, b in sorted((pair for pair in pairs if pair[1] - pair[0] > 1), key=lambda pair: pair[1] - pair[0]):
        yield volumes[a], volumes[b]


def _arc(source: Volume, target: Volume, y: float, theme: Theme) -> Iterator[Mark]:
    start, end = (source.x + source.right) / 2, (target.x + target.right) / 2
    tip = target.top - 3
    yield Path(((start, source.top - 3), (start, y), (end, y), (end, tip - 2)), theme.line)
    yield Polygon(((end - 3, tip - 6), (end + 3, tip - 6), (end, tip)), theme.line, theme.line)


def _key(volumes: Sequence[Volume], scales: tuple[Scale, Scale, Scale], corner: Point, theme: Theme) -> Iterator[Mark]:
    """Which colour is which kind, and how sizes were scaled."""
    x, y = corner
    for kind in dict.fromkeys(volume.box.category for volume in volumes):
        colour = kind_colour(kind)
        yield Polygon(((x, y - 8), (x + 9, y - 8), (x + 9, y + 1), (x, y + 1)), colour, colour)
        yield Text(x + 13, y, kind, SIZES["note"], theme.muted, anchor="start")
        x += 24 + _text_width(kind, SIZES["note"])
    maps, channels, _ = scales
    note = f"height and depth: {maps.name} scale; width (channels) and vectors: {channels.name} scale"
    yield Text(corner[0], y + 16, note, SIZES["note"], theme.muted, anchor="start")
