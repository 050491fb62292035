"""A figure as a list of shapes, written as SVG by hand; `raster` writes it as PNG and PDF.

A mark may carry ``data``: what it stands for in the network, written as attributes ``data-NAME`` into an SVG. A box has
``layer``; an arrow has ``from`` and ``to``, which are the layers of two boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import hypot
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from cnnscope.render import numbers
from cnnscope.render.diagram.layout import FONT
from cnnscope.render.style import Page

Point = tuple[float, float]
Data = tuple[tuple[str, str], ...]
FONTS = f"{FONT}, Verdana, sans-serif"
"""Verdana has nearly the widths of DejaVu Sans, where that is not installed."""
HEAD = 6.0, 2.6
"""The length of an arrow's head and half its width."""


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled outline; ``title`` is shown where the reader points at it."""

    points: tuple[Point, ...]
    fill: str
    stroke: str
    opacity: float = 1.0
    width: float = 0.7
    title: str = ""
    data: Data = ()
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points; corners are rounded by ``radius``. With ``head`` it is an arrow to the last point."""

    points: tuple[Point, ...]
    stroke: str
    dashed: bool = False
    width: float = 0.7
    radius: float = 0.0
    head: bool = False
    data: Data = ()


@dataclass(frozen=True, slots=True)
class Circle:
    """A disc round (x, y)."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str
    width: float = 1.3
    data: Data = ()


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; (x, y) is the baseline at the anchor. ``halo`` is the colour of a margin round the letters."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    bold: bool = False
    anchor: Literal["start", "middle", "end"] = "middle"
    halo: str = ""


Mark = Polygon | Path | Circle | Text


def rectangle(
    x: float, y: float, wide: float, tall: float, fill: str, stroke: str = "none", *, width: float = 0.7,
    title: str = "", data: Data = (), dashed: bool = False,
) -> Polygon:  # fmt: skip
    """A rectangle from its upper left corner."""
    corners = ((x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall))
    return Polygon(corners, fill, stroke, width=width, title=title, data=data, dashed=dashed)


@dataclass(frozen=True, slots=True)
class Canvas:
    """Shapes in points, y downwards, drawn in order on a background; ``scale`` shrinks the whole to fit a page."""

    title: str
    left: float
    top: float
    width: float
    height: float
    background: str
    marks: tuple[Mark, ...]
    scale: float = 1.0

    @property
    def smallest(self) -> float:
        """The smallest text in points, as it is printed."""
        return min((mark.size for mark in self.marks if isinstance(mark, Text)), default=0.0) * self.scale

    def fitted(self, page: Page) -> Canvas:
        """The same figure, shrunk to fit a page."""
        return replace(self, scale=page.scale(self.width, self.height))


def to_svg(canvas: Canvas) -> bytes:
    """An SVG document."""
    return ("\n".join(_svg(canvas)) + "\n").encode()


def _svg(canvas: Canvas) -> Iterator[str]:
    box = f"{canvas.left:.1f} {canvas.top:.1f} {canvas.width:.1f} {canvas.height:.1f}"
    wide, tall = canvas.width * canvas.scale, canvas.height * canvas.scale
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}pt" height="{tall:.0f}pt" '
        f'role="img" viewBox="{box}" font-family="{FONTS}">'
    )
    yield f"<title>{_safe(canvas.title)}</title>"
    yield (
        f'<rect x="{canvas.left:.1f}" y="{canvas.top:.1f}" width="{canvas.width:.1f}" height="{canvas.height:.1f}" '
        f'fill="{canvas.background}"/>'
    )
    for mark in canvas.marks:
        yield _svg_mark(mark)
    yield "</svg>"


def _svg_mark(mark: Mark) -> str:
    match mark:
        case Polygon():
            title = f"<title>{_safe(mark.title)}</title>" if mark.title else ""
            return (
                f'<polygon points="{_points(mark.points)}" fill="{mark.fill}" fill-opacity="{mark.opacity:g}" '
                f'stroke="{mark.stroke}" stroke-width="{mark.width:g}" stroke-linejoin="round"{_dash(mark.dashed)}'
                f"{_data(mark.data)}>{title}</polygon>"
            )
        case Path():
            line = (
                f'<path d="{commands(mark)}" fill="none" stroke="{mark.stroke}" stroke-width="{mark.width:g}" '
                f'stroke-linejoin="round"{_dash(mark.dashed)}{_data(mark.data)}/>'
            )
            return line + (f'<polygon points="{_points(head(mark))}" fill="{mark.stroke}"/>' if mark.head else "")
        case Circle():
            return (
                f'<circle cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="{mark.radius:g}" fill="{mark.fill}" '
                f'stroke="{mark.stroke}" stroke-width="{mark.width:g}"{_data(mark.data)}/>'
            )
        case Text():
            weight = ' font-weight="bold"' if mark.bold else ""
            halo = (
                f' paint-order="stroke" stroke="{mark.halo}" stroke-width="3" stroke-linejoin="round"'
                if mark.halo
                else ""
            )
            return (
                f'<text x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size:g}" fill="{mark.colour}" '
                f'text-anchor="{mark.anchor}"{weight}{halo}>{_safe(mark.text)}</text>'
            )


def _dash(dashed: bool) -> str:
    return ' stroke-dasharray="2.5 2"' if dashed else ""


def _data(data: Data) -> str:
    return "".join(f" data-{name}={quoteattr(numbers.printable(value))}" for name, value in data)


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def commands(path: Path) -> str:
    """The line of a path in SVG's language; an arrow's ends inside its head."""
    return " ".join(
        f"{letter}{' '.join(f'{x:.1f},{y:.1f}' for x, y in points)}" for letter, *points in rounded(shaft(path), path)
    )


def rounded(points: Sequence[Point], path: Path) -> Iterator[tuple[str, *tuple[Point, ...]]]:
    """``M``, ``L`` and ``Q`` commands through points, with a quadratic curve at each corner."""
    yield "M", points[0]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        if not path.radius:
            yield "L", corner
            continue
        start, end = (_towards(corner, other, min(path.radius, _far(corner, other) / 2)) for other in (before, after))
        yield "L", start
        yield "Q", corner, end
    yield "L", points[-1]


def shaft(path: Path) -> tuple[Point, ...]:
    """The line of an arrow, which ends inside its head."""
    if not path.head:
        return path.points
    *rest, before, tip = path.points
    return (*rest, before, _towards(tip, before, min(HEAD[0] - 1, _far(tip, before))))


def head(path: Path) -> tuple[Point, ...]:
    """The tip and the two corners of an arrow's head."""
    before, (x, y) = path.points[-2], path.points[-1]
    far = _far((x, y), before) or 1.0
    along, across = ((x - before[0]) / far, (y - before[1]) / far), HEAD[1]
    back = x - HEAD[0] * along[0], y - HEAD[0] * along[1]
    left = back[0] - across * along[1], back[1] + across * along[0]
    right = back[0] + across * along[1], back[1] - across * along[0]
    return (x, y), left, right


def _far(a: Point, b: Point) -> float:
    return hypot(b[0] - a[0], b[1] - a[1])


def _towards(a: Point, b: Point, distance: float) -> Point:
    far = _far(a, b) or 1.0
    return a[0] + (b[0] - a[0]) * distance / far, a[1] + (b[1] - a[1]) * distance / far


def _safe(text: str) -> str:
    return escape(numbers.printable(text))
