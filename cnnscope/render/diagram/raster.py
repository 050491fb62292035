"""A canvas as PNG and PDF, through matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from cnnscope.render import numbers, style
from cnnscope.render.diagram.canvas import Canvas, Circle, Mark, Path, Polygon, Text, head, rounded, shaft
from cnnscope.render.diagram.layout import FONT
from cnnscope.render.style import channels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.path import Path as Curve


def to_raster(canvas: Canvas, form: Literal["png", "pdf"], dots_per_inch: int = style.DPI) -> bytes:
    """The same picture through matplotlib."""
    with style.look():
        return style.encoded(_figure(canvas), form, dpi=dots_per_inch, background=canvas.background)


def to_pages(canvases: Sequence[Canvas]) -> bytes:
    """A PDF with a page for each canvas."""
    from matplotlib.backends.backend_pdf import PdfPages

    content = io.BytesIO()
    with style.look(), PdfPages(content, metadata=style.NO_METADATA["pdf"]) as pages:
        for canvas in canvases:
            pages.savefig(_figure(canvas), facecolor=canvas.background)
    return content.getvalue()


def _figure(canvas: Canvas) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = canvas.width * canvas.scale / 72, canvas.height * canvas.scale / 72
    figure = Figure(figsize=size, facecolor=canvas.background)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(canvas.left, canvas.left + canvas.width)
    axes.set_ylim(canvas.top + canvas.height, canvas.top)
    for order, mark in enumerate(canvas.marks):
        _plot(axes, mark, order, canvas.scale)
    return figure


def _plot(axes: Axes, mark: Mark, order: int, scale: float) -> None:
    from matplotlib import patches, patheffects

    match mark:
        case Polygon():
            fill = (*channels(mark.fill), mark.opacity) if mark.fill != "none" else "none"
            patch = patches.Polygon(
                mark.points, facecolor=fill, edgecolor=mark.stroke, linewidth=mark.width * scale, zorder=order,
                linestyle=(0, (2.5, 2)) if mark.dashed else "solid", joinstyle="round",
            )  # fmt: skip
            axes.add_patch(patch)
        case Path():
            axes.add_patch(
                patches.PathPatch(
                    _curve(mark), facecolor="none", edgecolor=mark.stroke, linewidth=mark.width * scale, zorder=order,
                    linestyle=(0, (2.5, 2)) if mark.dashed else "solid", joinstyle="round", capstyle="butt",
                )
            )  # fmt: skip
            if mark.head:
                axes.add_patch(patches.Polygon(head(mark), facecolor=mark.stroke, linewidth=0, zorder=order))
        case Circle():
            axes.add_patch(
                patches.Circle(
                    (mark.x, mark.y), mark.radius, facecolor=mark.fill, edgecolor=mark.stroke,
                    linewidth=mark.width * scale, zorder=order,
                )
            )  # fmt: skip
        case Text():
            text = axes.text(
                mark.x, mark.y, numbers.printable(mark.text), fontsize=mark.size * scale, color=mark.colour,
                fontweight="bold" if mark.bold else "normal", family=FONT, va="baseline", zorder=order,
                ha={"start": "left", "end": "right"}.get(mark.anchor, "center"),
            )  # fmt: skip
            if mark.halo:
                text.set_path_effects([patheffects.withStroke(linewidth=3 * scale, foreground=mark.halo)])


def _curve(path: Path) -> Curve:
    from matplotlib.path import Path as Curve

    codes = {"M": [Curve.MOVETO], "L": [Curve.LINETO], "Q": [Curve.CURVE3, Curve.CURVE3]}
    commands = list(rounded(shaft(path), path))
    vertices = [point for _, *points in commands for point in points]
    return Curve(vertices, [code for letter, *_ in commands for code in codes[letter]])
