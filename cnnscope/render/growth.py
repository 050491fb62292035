"""Receptive field against depth: how fast it grows, where it outgrows the image, what the shortest path leaves of it.

The band between shortest and longest path and its saturation follow Richter et al. 2021, "Should you go deeper?".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from statistics import median
from typing import TYPE_CHECKING, Any

from cnnscope.analysis.receptive_field import Field
from cnnscope.analysis.receptive_field.walk import extents
from cnnscope.analysis.summary import Summary
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Shape
from cnnscope.render import style
from cnnscope.render.fields import AXES
from cnnscope.render.illustrated import Drawing, file_name
from cnnscope.render.style import check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SQUEEZED = 8
"""A linear axis that leaves half of the layers less than one part in this many gives way to a logarithmic one."""
_LABEL = 7.0
"""Points of a layer's name under the axis."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The fields along some axes of the image that agree on every layer: ``image`` pixels, sizes a row or None."""

    axes: str
    image: int
    longest: tuple[int | None, ...]
    shortest: tuple[int | None, ...]

    def saturated(self, sizes: Sequence[int | None]) -> int | None:
        """The first row from whose centre the whole image can be seen; None if there is none."""
        return next((i for i, size in enumerate(sizes) if size is not None and size >= self.image), None)


@dataclass(frozen=True, slots=True)
class Growth:
    """What is plotted: names and strides of the rows, curves, and which rows see the whole image or what is unknown."""

    name: str
    rows: tuple[str, ...]
    curves: tuple[Curve, ...]
    strides: tuple[Fraction | None, ...]
    whole: tuple[int, ...]
    unknown: tuple[int, ...]

    @property
    def logarithmic(self) -> bool:
        """Whether a linear axis would squeeze half of the layers into its lowest part."""
        sizes = [size for curve in self.curves for size in curve.longest if size]
        return bool(sizes) and max(*sizes, *(curve.image for curve in self.curves)) > SQUEEZED * median(sizes)


def drawing(graph: Graph, summary: Summary) -> Drawing:
    """Receptive fields against depth as a plot. Drawing it raises E607 where the network has no image to see."""
    return Drawing(lambda kind: plot(growth(graph, summary), kind), f"{file_name(graph.name)}-receptive-fields")


def growth(graph: Graph, summary: Summary) -> Growth:
    """The plot of ``summary``'s rows; E607 where the network has no image to see."""
    image = max((extents(graph, name) for name in graph.inputs), key=len, default=())
    rows = [row for row in summary.rows if not row.unused and not row.training_only]
    if not image or not any(row.receptive_field and row.receptive_field.maps for row in rows):
        raise CnnscopeError.of("E607", f"there is no receptive field to plot: `{graph.name}` looks at no image")
    fields = [row.receptive_field for row in rows]
    return Growth(
        graph.name, tuple(row.name for row in rows), tuple(_curves(image, fields)),
        tuple(max(field.stride) if field and field.stride else None for field in fields),
        tuple(i for i, field in enumerate(fields) if field and field.via and not field.maps),
        tuple(i for i, field in enumerate(fields) if field is None or field.position_dependent),
    )  # fmt: skip


def _curves(image: Shape, fields: Sequence[Field | None]) -> Iterator[Curve]:
    """One a set of axes with equal fields in an image of equal extent."""
    names = AXES.get(len(image), tuple(map(str, range(len(image)))))
    found: dict[tuple[int, tuple[int | None, ...], tuple[int | None, ...]], list[str]] = {}
    for axis, extent in enumerate(image):
        longest = tuple(field.size[axis] if field and field.size else None for field in fields)
        shortest = tuple(field.shortest[axis] if field and field.shortest else None for field in fields)
        found.setdefault((extent, longest, shortest), []).append(names[axis])
    for (extent, longest, shortest), axes in found.items():
        yield Curve(", ".join(axes) if len(found) > 1 else "", extent, longest, shortest)


def plot(content: Growth, form: str) -> bytes:
    """The plot as ``png``, ``svg`` or ``pdf``; E604 for another format."""
    check_format(form)
    from matplotlib.figure import Figure

    with style.look():
        width = min(max(7.5, 0.16 * len(content.rows)), 14.0)
        figure = Figure(figsize=(width, 5.2), layout="constrained")
        axes = figure.add_subplot()
        _frame(axes, content, width)
        for number, curve in enumerate(content.curves):
            _draw(axes, curve, number, [style.shortened(row, 40) for row in content.rows])
        _strides(axes, content, width)
        _elsewhere(axes, content)
        figure.legend(loc="outside lower left", ncols=3 if width > 9 else 2)
        return style.encoded(figure, form)


def _frame(axes: Axes, content: Growth, width: float) -> None:
    n = len(content.rows)
    axes.set_title(style.shortened(content.name, 60), pad=14)
    scale = "log scale" if content.logarithmic else "linear scale"
    axes.set_ylabel(f"receptive field in pixels ({scale})")
    axes.set_xlabel("layers in order of execution")
    if content.logarithmic:
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    sizes = [size for curve in content.curves for size in (*curve.longest, *curve.shortest, curve.image) if size]
    low, high = (min(sizes) / 1.6, max(sizes) * 2.5) if content.logarithmic else (0, max(sizes) * 1.12)
    axes.set_ylim(low, high)
    axes.set_xlim(-0.7, n - 0.3)
    step = -(-n // int((width - 1.2) * 72 / (_LABEL * 1.45)))
    places = range(0, n, step)
    axes.set_xticks(places, [style.shortened(content.rows[i], 26) for i in places], rotation=90, fontsize=_LABEL)
    axes.grid(axis="y", color=style.PAPER, linewidth=1.0)
    axes.set_axisbelow(True)


def _draw(axes: Axes, curve: Curve, number: int, names: Sequence[str]) -> None:
    colour, places = style.LINES[number % 3], range(len(curve.longest))
    along = f" along {curve.axes}" if curve.axes else ""
    longest, shortest = ([float("nan") if s is None else s for s in sizes] for sizes in (curve.longest, curve.shortest))
    axes.axhline(curve.image, color=colour, linewidth=1.0, linestyle=(0, (6, 3)),
                 label=f"image: {curve.image:,} pixels{along}")  # fmt: skip
    size = 4 if len(places) < 60 else 2
    axes.plot(places, longest, color=colour, marker=style.MARKERS[number % 3], markersize=size, linewidth=1.6,
              label=f"longest path: the receptive field{along}")  # fmt: skip
    if curve.shortest != curve.longest:
        axes.fill_between(places, shortest, longest, color=colour, alpha=0.16, linewidth=0)
        axes.plot(places, shortest, color=colour, linewidth=1.1, linestyle=":", label=f"shortest path{along}")
    for sizes, path in ((curve.longest, "longest"), (curve.shortest, "shortest")):
        place = curve.saturated(sizes)
        if place is not None and (path == "longest" or curve.shortest != curve.longest):
            filled = colour if path == "longest" else "white"
            axes.plot([place], [sizes[place] or 0], marker="D", markersize=7, color=colour, markerfacecolor=filled,
                      linestyle="none", zorder=5, label=f"{path} path spans the image: {names[place]}")  # fmt: skip


def _strides(axes: Axes, content: Growth, width: float) -> None:
    """Layers of one stride have one background; the stride is written where there is room."""
    points = (width - 1.2) * 72 / len(content.rows)
    upper = axes.get_xaxis_transform()
    said: dict[str, Any] = {"transform": upper, "va": "bottom", "fontsize": 7, "color": style.MUTED}
    axes.text(-0.9, 1.01, "stride", ha="right", **said)
    shaded = False
    for stride, group in groupby(enumerate(content.strides), key=lambda item: item[1]):
        places = [place for place, _ in group]
        if stride is None:
            continue
        if shaded:
            axes.axvspan(places[0] - 0.5, places[-1] + 0.5, color=style.PAPER, linewidth=0, zorder=0)
        shaded = not shaded
        text = str(stride)
        if len(places) * points >= 5 * len(text):
            axes.text((places[0] + places[-1]) / 2, 1.01, text, ha="center", **said)


def _elsewhere(axes: Axes, content: Growth) -> None:
    """Marks rows without a size along the upper edge."""
    for places, marker, text in (
        (content.whole, "s", "sees the whole image, no local field"),
        (content.unknown, "x", "no single size, or unknown"),
    ):  # fmt: skip
        if places:
            axes.plot(places, [0.97] * len(places), marker=marker, color=style.MUTED, markersize=5, linestyle="none",
                      transform=axes.get_xaxis_transform(), label=text)  # fmt: skip
