"""All filters of a layer as one array of pixels: tiles in a grid, rows of channels, or a matrix.

Values range from 0 to 1, with 0.5 for a weight of 0, on one scale for the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.render.filters import FilteredLayer, FilterRow

Weights = NDArray[np.floating[Any]]
Mosaic = NDArray[np.float32]

ACROSS, TALL = 7.7, 7.3
"""The largest width of a mosaic in inches, and about its largest height."""
LABEL, _NAMED = 0.34, 0.62
"""Inches to the left of a row of channels for the filter's number, and for its nearest kernel as well."""
_TALL_ENOUGH = 0.3
"""Inches of a row beside which there is room for three lines."""
CAPTIONED, NUMBERED = 64, 320
"""Up to this many filters each tile has its number and its nearest kernel below it; up to the second, its number."""
_MOST = 2048
_LARGEST_TILE, _GAP = 0.98, 0.07
_SMALL_TILES = (0.42, 0.32, 0.25, 0.2, 0.16, 0.13, 0.114)
"""Possible sides of a square tile of one channel, in inches; the largest is used at which all filters fit."""
_PIXELS = 24
"""Smallest side of a tile in pixels of the mosaic, so that gaps can be thin."""
_POINTS = 256
"""Largest number of rows and columns of a matrix of 1x1 kernels."""


@dataclass(frozen=True)
class Panel:
    """A layer to draw: ``weights`` (filters, channels, height, width) in the order of their numbers.

    ``coloured`` says that the three channels are red, green and blue.
    """

    layer: FilteredLayer
    weights: Weights
    coloured: bool


@dataclass(frozen=True)
class Tiles:
    """A mosaic of values from 0 to 1, NaN between tiles, and its (height, width) in inches.

    ``places`` are each filter's left, top, right and bottom edges in the mosaic.
    """

    mosaic: Mosaic
    inches: tuple[float, float]
    places: NDArray[np.int64]
    rows: tuple[FilterRow, ...]
    by_channel: bool
    left_out: str
    named: bool = False
    """Whether there is room for the nearest kernel to the left of a row of channels."""


def tiles_of(panel: Panel) -> Tiles:
    """Filters of one channel or of three colours in a grid; others in a row each, with a tile for each channel."""
    channels, height, width = panel.weights.shape[1:]
    level = (panel.weights / (2 * (panel.layer.largest or 1.0)) + 0.5).astype(np.float32)
    if panel.coloured:
        return _grid(panel.layer.rows, level.transpose(0, 2, 3, 1))
    if channels == 1:
        return _grid(panel.layer.rows, level[:, 0])
    return (_matrix if height * width == 1 else _by_channel)(panel.layer.rows, level)


def _grid(rows: tuple[FilterRow, ...], level: Mosaic) -> Tiles:
    shown = rows[:_MOST]
    below = 0.3 if len(shown) <= CAPTIONED else 0.17 if len(shown) <= NUMBERED else _GAP
    columns, side = _columns(len(shown), level.shape[1] / level.shape[2], below)
    tiles = _enlarged(level[[row.index for row in shown]])
    tall, wide = tiles.shape[1:3]
    scale = wide / side
    gap, caption = max(1, round(_GAP * scale)), max(1, round(below * scale))
    lines = ceil(len(shown) / columns)
    mosaic = np.full((lines * (tall + caption), columns * (wide + gap) - gap, *level.shape[3:]), np.nan, np.float32)
    places = np.empty((len(shown), 4), np.int64)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (tall + caption), (i % columns) * (wide + gap)
        mosaic[top : top + tall, left : left + wide] = tile
        places[i] = left, top, left + wide, top + tall
    inches = mosaic.shape[0] / scale, mosaic.shape[1] / scale
    return Tiles(mosaic, inches, places, shown, by_channel=False, left_out=_left_out(len(shown), len(rows), "filters"))


def _columns(count: int, aspect: float, below: float) -> tuple[int, float]:
    """The number of tiles side by side and the width of each: as large as fits, the last line fairly full."""
    for columns in range(1, count + 1):
        side = min(_LARGEST_TILE, ACROSS / columns - _GAP)
        if ceil(count / columns) * (side * aspect + below) <= TALL and columns * (side + _GAP) >= min(count, 6) * 0.7:
            fuller = min(range(columns, min(columns + 3, count + 1)), key=lambda n: (-count % n, n))
            return fuller, min(_LARGEST_TILE, ACROSS / fuller - _GAP)
        if side < 0.15:
            break
    return columns, side


def _by_channel(rows: tuple[FilterRow, ...], level: Mosaic) -> Tiles:
    """A row of channels for each filter, in as many blocks side by side as fit."""
    channels, height, width = level.shape[1:]
    for square in _SMALL_TILES:
        named = square * sqrt(height / width) >= _TALL_ENOUGH and len(rows) <= CAPTIONED
        beside = _NAMED if named else LABEL
        side = min(square * sqrt(width / height), ACROSS - beside)  # a tile of the same area where it is not square
        used = min(channels, int((ACROSS - beside) / side))
        blocks = max(1, int(ACROSS / (used * side + beside)))
        lines = min(ceil(len(rows) / blocks), int(TALL / (side * height / width)) or 1)
        if used == channels and blocks * lines >= len(rows):
            break
    shown = rows[: blocks * lines]
    tiles = _enlarged(level[[row.index for row in shown], :used].reshape(-1, height, width))
    gap = 1 if square > _SMALL_TILES[3] else 2
    scale = (tiles.shape[2] + gap) / side
    framed = np.pad(tiles, ((0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    tall, wide = framed.shape[1], framed.shape[2] * used
    strips = framed.reshape(len(shown), used, tall, framed.shape[2]).swapaxes(1, 2).reshape(len(shown), tall, wide)
    label = round(beside * scale)
    blocks = ceil(len(shown) / lines)
    mosaic = np.full((min(lines, len(shown)) * tall, blocks * (wide + label)), np.nan, np.float32)
    places = np.empty((len(shown), 4), np.int64)
    for i, strip in enumerate(strips):
        top, left = (i % lines) * tall, (i // lines) * (wide + label) + label
        mosaic[top : top + tall, left : left + wide] = strip
        places[i] = left, top, left + wide, top + tall
    parts = _left_out(len(shown), len(rows), "filters"), _left_out(used, channels, "input channels")
    inches = mosaic.shape[0] / scale, mosaic.shape[1] / scale
    left_out = ", ".join(part for part in parts if part)
    return Tiles(mosaic, inches, places, shown, by_channel=True, left_out=left_out, named=named)


def _matrix(rows: tuple[FilterRow, ...], level: Mosaic) -> Tiles:
    """1x1 kernels: a line for each filter, a cell for each channel."""
    shown, used = rows[:_POINTS], min(level.shape[1], _POINTS)
    mosaic = level[[row.index for row in shown], :used, 0, 0]
    cell = min(0.16, (ACROSS - LABEL) / used, TALL / len(shown))
    tops = np.arange(len(shown))
    places = np.stack([np.zeros_like(tops), tops, np.full_like(tops, used), tops + 1], axis=1)
    parts = _left_out(len(shown), len(rows), "filters"), _left_out(used, level.shape[1], "input channels")
    left_out = ", ".join(part for part in parts if part)
    return Tiles(mosaic, (len(shown) * cell, used * cell), places, shown, by_channel=True, left_out=left_out)


def _enlarged(tiles: Mosaic) -> Mosaic:
    """(n, height, width) tiles in which every weight is a square of several pixels."""
    factor = ceil(_PIXELS / max(tiles.shape[1:3]))
    return tiles.repeat(factor, axis=1).repeat(factor, axis=2)


def _left_out(shown: int, count: int, what: str) -> str:
    return f"{shown} of {count} {what} shown" if shown < count else ""
