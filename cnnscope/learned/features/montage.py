"""Feature maps as pictures: all maps of a layer on one scale, in one axes; vectors as bars, or as rows of cells.

With a scale of its own, a map with hardly any activation would look active.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnscope.learned.maps import LayerMaps
from cnnscope.render import numbers, style
from cnnscope.render.sheet import Spot, bare, drawn, picture, scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    """A layer's part of the picture: its size in inches, and the maps that are shown."""

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

    ``labels`` name the numbers of a vector of the same length. E604 for another format.
    """
    panels = [_panel(found) for found in layers]
    tall = [_HEAD + max(panel.height, _LEAST_BAR) + _FOOT for panel in panels]

    def paint(page: Spot) -> None:
        _head(page.at(_MARGIN, 0), pixels, title, caption)
        for i, panel in enumerate(panels):
            _layer(page.at(_MARGIN, _TOP + sum(tall[:i])), panel, labels)

    return drawn(_WIDTH, _TOP + sum(tall), form, paint)


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


def _head(spot: Spot, pixels: NDArray[np.uint8], title: str, caption: str) -> None:
    height, width = pixels.shape[1:]
    wide = min((_TOP - 0.35) * width / height, 2.5)
    axes = spot.axes(0, 0.25, wide, wide * height / width)
    picture(axes, pixels, (-0.5, width - 0.5, height - 0.5, -0.5))
    bare(axes)
    spot.title(wide + 0.2, 0.42, title)
    spot.text(wide + 0.2, 0.62, caption, fontsize=8, va="top", linespacing=1.5)


def _layer(spot: Spot, panel: _Panel, labels: Sequence[str]) -> None:
    found, vector = panel.found, panel.found.layer.size == (1, 1)
    what = f"{len(found.maps)} " + ("numbers" if vector else f"maps of {numbers.shape(found.layer.size)}")
    spot.heading(0.16, f"{style.shortened(found.layer.name, 40)}: {what}, {style.shortened(found.layer.op, 44)}")
    spot.text(0, 0.36, panel.note)
    if vector and len(found.maps) <= _BARS:
        _bars(spot.axes(0.4, _HEAD, panel.width - 0.4, panel.height), found.maps[:, 0, 0], labels)
        return
    axes = spot.axes(0, _HEAD, panel.width, panel.height)
    cmap, low, high = scale(found.low, found.high)
    mosaic = _cells(found) if vector else _mosaic(axes, panel)
    plain = vector or _factor(found) > 1
    shown = axes.imshow(np.ma.masked_invalid(mosaic), cmap=cmap, vmin=low, vmax=high, aspect="auto",
                        interpolation="none" if plain else "antialiased")  # fmt: skip
    axes.set_axis_off()
    place = spot.axes(panel.width + 0.2, _HEAD, 0.1, min(max(panel.height, _LEAST_BAR), 1.35))
    ends = (low, 0.0, high) if low < 0 else (0.0, high)
    spot.bar(place, shown, ends, None if found.high or low < 0 else ("0", ""), 7.5, across=False)


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


def _bars(axes: Axes, values: NDArray[np.float32], labels: Sequence[str]) -> None:
    colours = [style.LINES[0] if value >= 0 else style.MARK for value in values]
    axes.bar(np.arange(len(values)), values, color=colours, width=0.8)
    axes.axhline(0, color=style.FRAME, linewidth=0.8)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.tick_params(labelsize=7, length=2)
    if len(labels) == len(values):
        axes.set_xticks(np.arange(len(values)), [style.shortened(label, 12) for label in labels])
