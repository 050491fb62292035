"""A figure as a list of shapes, and the ways to write one: SVG by hand, PNG and PDF through matplotlib."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

from cnnscope.render import numbers
from cnnscope.render.diagram.layout import FONT
from cnnscope.render.style import channels

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Polygon:
    """A filled outline; ``title`` is shown where the reader points at it."""

    points: tuple[Point, ...]
    fill: str
    stroke: str
    opacity: float = 1.0
    width: float = 0.7
    title: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: tuple[Point, ...]
    stroke: str
    dashed: bool = False
    width: float = 0.7


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; (x, y) is the baseline at the anchor."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    bold: bool = False
    anchor: Literal["start", "middle"] = "middle"


Mark = Polygon | Path | Text


@dataclass(frozen=True, slots=True)
class Canvas:
    """Shapes in points, y downwards, drawn in order on a background."""

    title: str
    left: float
    top: float
    width: float
    height: float
    background: str
    marks: tuple[Mark, ...]


def to_svg(canvas: Canvas) -> bytes:
    """An SVG document."""
    return ("\n".join(_svg(canvas)) + "\n").encode()


def _svg(canvas: Canvas) -> Iterator[str]:
    box = f"{canvas.left:.1f} {canvas.top:.1f} {canvas.width:.1f} {canvas.height:.1f}"
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{canvas.width:.0f}pt" height="{canvas.height:.0f}pt" '
        f'role="img" viewBox="{box}" font-family="{FONT}, sans-serif">'
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
                f'stroke="{mark.stroke}" stroke-width="{mark.width:g}" stroke-linejoin="round">{title}</polygon>'
            )
        case Path():
            dash = ' stroke-dasharray="2.5 2"' if mark.dashed else ""
            return (
                f'<polyline points="{_points(mark.points)}" fill="none" stroke="{mark.stroke}" '
                f'stroke-width="{mark.width:g}" stroke-linejoin="round"{dash}/>'
            )
        case Text():
            weight = ' font-weight="bold"' if mark.bold else ""
            return (
                f'<text x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size:g}" fill="{mark.colour}" '
                f'text-anchor="{mark.anchor}"{weight}>{_safe(mark.text)}</text>'
            )


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _safe(text: str) -> str:
    return escape(numbers.printable(text))


def to_raster(canvas: Canvas, form: Literal["png", "pdf"], dots_per_inch: int = 150) -> bytes:
    """The same picture through matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(canvas.width / 72, canvas.height / 72), facecolor=canvas.background)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(canvas.left, canvas.left + canvas.width)
    axes.set_ylim(canvas.top + canvas.height, canvas.top)
    for order, mark in enumerate(canvas.marks):
        _plot(axes, mark, order)
    file = io.BytesIO()
    metadata = {"CreationDate": None} if form == "pdf" else {"Software": None}
    figure.savefig(file, format=form, dpi=dots_per_inch, facecolor=canvas.background, metadata=metadata)
    return file.getvalue()


def _plot(axes: object, mark: Mark, order: int) -> None:
    from matplotlib.axes import Axes
    from matplotlib.patches import Polygon as Patch

    assert isinstance(axes, Axes)
    match mark:
        case Polygon():
            fill = (*channels(mark.fill), mark.opacity)
            patch = Patch(mark.points, facecolor=fill, edgecolor=mark.stroke, linewidth=mark.width, zorder=order)
            axes.add_patch(patch)
        case Path():
            x, y = zip(*mark.points, strict=True)
            style = (0, (2.5, 2)) if mark.dashed else "solid"
            axes.plot(x, y, color=mark.stroke, linewidth=mark.width, linestyle=style, zorder=order)
        case Text():
            axes.text(
                mark.x, mark.y, numbers.printable(mark.text).replace("$", r"\$"), fontsize=mark.size, color=mark.colour,
                fontweight="bold" if mark.bold else "normal", family=FONT, va="baseline", zorder=order,
                ha="left" if mark.anchor == "start" else "center",
            )  # fmt: skip
