"""Feature maps as pictures: all maps of a layer on one scale, in one axes; vectors as bars, or as rows of cells.

A scale for each map of its own would make a map without an answer look alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.learned.features.maps import LayerMaps
from cnnscope.render import numbers, style
from cnnscope.render.formats import check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _MARGIN, _BAR = 9.0, 0.3, 1.0
_ACROSS = _WIDTH - _MARGIN - _BAR
_TOP, _HEAD, _FOOT = 1.5, 0.56, 0.3
"""Inches of the image and the title, above a layer's maps, and below them."""
_TALL = 6.5
_TILE, _GAP, _CAPTION = 1.22, 0.06, 0.17
_MOST, _CAPTIONED = 256, 64
"""Maps shown, and up to how many each has its number below it."""
_BARS, _CELLS = 64, 64
"""Numbers up to which a vector is bars, and those in a row of cells above that."""
_PIXELS = 24
_LEAST_BAR = 1.0


@dataclass(frozen=True)
class _Panel:
    """A layer's part of the picture: its size in inches, and what is left out."""

    found: LayerMaps
    width: float
    height: float
    columns: int
    shown: NDArray[np.int64]

    @property
    def note(self) -> str:
        found = self.found
        parts = [f"{found.low:.3g} to {found.high:.3g}"]
        if found.still:
            parts.append(f"{found.still} of {len(found.maps)} are the same all over")
        if len(self.shown) < len(found.maps):
            parts.append(f"the {len(self.shown)} with the largest magnitudes shown")
        return ", ".join(parts)


def draw(
    layers: Sequence[LayerMaps], pixels: NDArray[np.uint8], title: str, caption: str, labels: Sequence[str], form: str
) -> bytes:
    """The picture as ``png``, ``svg`` or ``pdf``: the image (C, H, W) with its ``caption``, below it each layer's maps.

    ``labels`` name the numbers of a vector as long as they. E604 for another format.
    """
    check_format(form)
    from matplotlib.figure import Figure

    panels = [_panel(found) for found in layers]
    total = _TOP + sum(max(panel.height, _LEAST_BAR) + _HEAD + _FOOT for panel in panels)
    with style.look():
        figure = Figure(figsize=(_WIDTH, total))
        _heading(figure, pixels, title, caption, total)
        top = total - _TOP
        for panel in panels:
            _layer(figure, panel, labels, top, total)
            top -= _HEAD + max(panel.height, _LEAST_BAR) + _FOOT
        return style.encoded(figure, form)


def _panel(found: LayerMaps) -> _Panel:
    count = len(found.maps)
    if found.layer.size == (1, 1):
        rows = 1 if count <= _BARS else ceil(count / _CELLS)
        cell = _ACROSS / _CELLS
        return _Panel(found, _ACROSS, _TILE if count <= _BARS else rows * cell, _CELLS, np.arange(count))
    strongest = np.abs(found.maps).reshape(count, -1).max(axis=1)
    shown = np.sort(np.argsort(-strongest, kind="stable")[:_MOST])
    columns, side = _columns(len(shown), found.layer.size[0] / found.layer.size[1])
    below = _CAPTION if len(shown) <= _CAPTIONED else _GAP
    lines = ceil(len(shown) / columns)
    aspect = found.layer.size[0] / found.layer.size[1]
    return _Panel(found, columns * (side + _GAP) - _GAP, lines * (side * aspect + below), columns, shown)


def _columns(count: int, aspect: float) -> tuple[int, float]:
    """How many maps stand side by side and how wide each is: as large as height allows, the last line fairly full."""
    below = _CAPTION if count <= _CAPTIONED else _GAP
    for columns in range(1, count + 1):
        side = min(_TILE, _ACROSS / columns - _GAP)
        if ceil(count / columns) * (side * aspect + below) <= _TALL and (
            side < _TILE or columns * (side + _GAP) + side > _ACROSS
        ):
            break
    fuller = min(range(columns, min(columns + 3, count + 1)), key=lambda n: (-count % n, n))
    return fuller, min(_TILE, _ACROSS / fuller - _GAP)


def _heading(figure: Figure, pixels: NDArray[np.uint8], title: str, caption: str, total: float) -> None:
    height, width = pixels.shape[1:]
    side = _TOP - 0.35
    wide = min(side * width / height, 2.5)
    tall = wide * height / width
    axes = figure.add_axes((_MARGIN / _WIDTH, (total - 0.25 - tall) / total, wide / _WIDTH, tall / total))
    picture(axes, pixels, (-0.5, width - 0.5, height - 0.5, -0.5))
    bare(axes)
    left = (_MARGIN + wide + 0.2) / _WIDTH
    figure.text(left, (total - 0.42) / total, title, fontsize=12, fontweight="bold", va="center")
    figure.text(left, (total - 0.62) / total, caption, fontsize=8, color=style.MUTED, va="top", linespacing=1.5)


def picture(axes: Axes, pixels: NDArray[Any], extent: tuple[float, float, float, float]) -> None:
    """(C, H, W) pixels, of 8 bits or from 0 to 1, grey or RGB."""
    top = 255 if pixels.dtype == np.uint8 else 1.0
    shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=top, extent=extent, interpolation="none", aspect="auto", zorder=2)


def bare(axes: Axes) -> None:
    """A frame without ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.6)


def scale(low: float, high: float) -> tuple[str, float, float]:
    """Colours and limits: 0 to the greatest where nothing is negative, else symmetric about 0."""
    if low < 0:
        most = max(-low, high)
        return "RdBu_r", -most, most
    return "viridis", 0.0, high or 1.0


def _layer(figure: Figure, panel: _Panel, labels: Sequence[str], top: float, total: float) -> None:
    found = panel.found
    size = f" of {numbers.shape(found.layer.size)}" if found.layer.size != (1, 1) else ""
    what = f"{len(found.maps)} {'maps' if size else 'numbers'}{size}"
    left = _MARGIN / _WIDTH
    heading = f"{style.shortened(found.layer.name, 40)}: {what}, {style.shortened(found.layer.op, 44)}"
    figure.text(left, (top - 0.16) / total, heading, fontsize=9.5, va="center")
    figure.text(left, (top - 0.36) / total, panel.note, fontsize=7.5, color=style.MUTED, va="center")
    box = (left, (top - _HEAD - panel.height) / total, panel.width / _WIDTH, panel.height / total)
    if found.layer.size == (1, 1) and len(found.maps) <= _BARS:
        _bars(figure, found, labels, box)
        return
    axes = figure.add_axes(box)
    cmap, low, high = scale(found.low, found.high)
    mosaic = _cells(found) if found.layer.size == (1, 1) else _mosaic(axes, panel)
    plain = found.layer.size == (1, 1) or _factor(found) > 1
    shown = axes.imshow(np.ma.masked_invalid(mosaic), cmap=cmap, vmin=low, vmax=high, aspect="auto",
                        interpolation="none" if plain else "antialiased")  # fmt: skip
    axes.set_axis_off()
    tall = min(max(panel.height, _LEAST_BAR), 1.35)
    place = ((_MARGIN + panel.width + 0.2) / _WIDTH, (top - _HEAD - tall) / total, 0.1 / _WIDTH, tall / total)
    bar = figure.colorbar(shown, cax=figure.add_axes(place))
    ends = [low, 0.0, high] if low < 0 else [0.0, high]
    bar.set_ticks(ends, labels=[f"{end:.3g}" for end in ends] if found.high or low < 0 else ["0", ""])
    bar.ax.tick_params(labelsize=7.5, length=2)
    bar.outline.set_linewidth(0.5)


def _factor(found: LayerMaps) -> int:
    return ceil(_PIXELS / max(found.layer.size))


def _mosaic(axes: Axes, panel: _Panel) -> NDArray[np.float32]:
    """All maps in one array, NaN between them, and their numbers below them."""
    found, columns = panel.found, panel.columns
    factor = _factor(found)
    tiles = found.maps[panel.shown].repeat(factor, axis=1).repeat(factor, axis=2)
    tall, wide = tiles.shape[1:]
    per_inch = wide / (panel.width / columns - _GAP * (columns - 1) / columns)
    captioned = len(panel.shown) <= _CAPTIONED
    gap, below = max(1, round(_GAP * per_inch)), max(1, round((_CAPTION if captioned else _GAP) * per_inch))
    lines = ceil(len(tiles) / columns)
    mosaic = np.full((lines * (tall + below), columns * (wide + gap) - gap), np.nan, np.float32)
    for i, (tile, channel) in enumerate(zip(tiles, panel.shown, strict=True)):
        top, left = (i // columns) * (tall + below), (i % columns) * (wide + gap)
        mosaic[top : top + tall, left : left + wide] = tile
        if captioned:
            axes.text(
                left - 0.5, top + tall - 0.5 + 0.02 * per_inch, str(channel), fontsize=6.5, va="top", color=style.MUTED
            )
    return mosaic


def _cells(found: LayerMaps) -> NDArray[np.float32]:
    rows = ceil(len(found.maps) / _CELLS)
    cells = np.full(rows * _CELLS, np.nan, np.float32)
    cells[: len(found.maps)] = found.maps[:, 0, 0]
    return cells.reshape(rows, _CELLS)


def _bars(figure: Figure, found: LayerMaps, labels: Sequence[str], box: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes((box[0] + 0.4 / _WIDTH, box[1], box[2] - 0.4 / _WIDTH, box[3]))
    values = found.maps[:, 0, 0]
    colours = [style.LINES[0] if value >= 0 else style.MARK for value in values]
    axes.bar(np.arange(len(values)), values, color=colours, width=0.8)
    axes.axhline(0, color=style.FRAME, linewidth=0.8)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.tick_params(labelsize=7, length=2)
    if len(labels) == len(values):
        axes.set_xticks(np.arange(len(values)), [style.shortened(label, 12) for label in labels])
