"""The filter atlas: all filters of a layer on one grey-centred scale, in one axes.

Grey is 0, white and black (or full and no red, green, blue) are the layer's largest absolute weight. A scale for each
filter of its own would make a dead filter look alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.render.filters import CHANCE, FilterRow, LayerFilters
from cnnscope.render.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Weights = NDArray[np.floating[Any]]
Mosaic = NDArray[np.float32]

_WIDTH = 9.0
_MARGIN, _BAR, _HEAD, _FOOT = 0.3, 1.0, 0.56, 0.34
_ACROSS = _WIDTH - _MARGIN - _BAR
_TALL = 7.3
"""Inches a layer's mosaic has across, and about how many down."""
_LARGEST_TILE, _GAP = 0.98, 0.07
_SMALL_TILES = (0.42, 0.32, 0.25, 0.2, 0.16, 0.13, 0.114)
"""Sides a tile of one channel may have; the largest at which all filters fit is taken."""
_LABEL = 0.34
"""Inches left of a row of channels, for the filter's number."""
_PIXELS = 24
"""Of the mosaic, a tile's side at least, so that gaps can be thin."""
_CAPTIONED, _NUMBERED, _MOST = 64, 320, 2048
"""Filters up to which each has its number and its nearest kernel below it, its number alone, any place."""
_ASCENT, _ADVANCE = 0.73, 0.636
"""Height and width of DejaVu Sans' digits, of the size of the text."""
_POINTS = 256
"""Rows and columns a matrix of 1x1 kernels has at most."""


@dataclass(frozen=True)
class Panel:
    """A layer to draw: ``weights`` (filters, channels, height, width) in the order of their numbers.

    ``coloured`` where the three channels are red, green and blue.
    """

    layer: LayerFilters
    weights: Weights
    coloured: bool


@dataclass(frozen=True)
class Tiles:
    """A mosaic of values from 0 to 1, NaN between tiles, and its (height, width) in inches.

    ``places`` has each filter's left, top, right and bottom edge in the mosaic.
    """

    mosaic: Mosaic
    inches: tuple[float, float]
    places: NDArray[np.int64]
    rows: tuple[FilterRow, ...]
    by_channel: bool
    left_out: str


def draw(panels: Sequence[Panel], title: str, form: str) -> bytes:
    """The picture as ``png``, ``svg`` or ``pdf``; E604 for another format."""
    style.check_format(form)
    from matplotlib.figure import Figure

    tiled = [tiles_of(panel) for panel in panels]
    total = sum(max(tiles.inches[0], 1.5) + _HEAD + _FOOT for tiles in tiled) + 0.5
    with style.look():
        figure = Figure(figsize=(_WIDTH, total))
        figure.text(_MARGIN / _WIDTH, 1 - 0.3 / total, title, fontsize=12, fontweight="bold", va="center")
        top = total - 0.5
        for panel, tiles in zip(panels, tiled, strict=True):
            _panel(figure, panel, tiles, top, total)
            top -= _HEAD + max(tiles.inches[0], 1.5) + _FOOT
        return style.encoded(figure, form)


def tiles_of(panel: Panel) -> Tiles:
    """All filters of a single channel or of three colours in a grid, others a row each with a tile for each channel."""
    channels, height, width = panel.weights.shape[1:]
    level = (panel.weights / (2 * (panel.layer.largest or 1.0)) + 0.5).astype(np.float32)
    if panel.coloured:
        return _grid(panel.layer.rows, level.transpose(0, 2, 3, 1))
    if channels == 1:
        return _grid(panel.layer.rows, level[:, 0])
    return (_matrix if height * width == 1 else _by_channel)(panel.layer.rows, level)


def _grid(rows: tuple[FilterRow, ...], level: Mosaic) -> Tiles:
    shown = rows[:_MOST]
    below = 0.3 if len(shown) <= _CAPTIONED else 0.17 if len(shown) <= _NUMBERED else _GAP
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
    return Tiles(mosaic, inches, places, shown, False, _left_out(len(shown), len(rows), "filters"))


def _columns(count: int, aspect: float, below: float) -> tuple[int, float]:
    """How many tiles stand side by side and how wide each is: as large as fits, the last line fairly full."""
    for columns in range(1, count + 1):
        side = min(_LARGEST_TILE, _ACROSS / columns - _GAP)
        if ceil(count / columns) * (side * aspect + below) <= _TALL and columns * (side + _GAP) >= min(count, 6) * 0.7:
            fuller = min(range(columns, min(columns + 3, count + 1)), key=lambda n: (-count % n, n))
            return fuller, min(_LARGEST_TILE, _ACROSS / fuller - _GAP)
        if side < 0.15:
            break
    return columns, side


def _by_channel(rows: tuple[FilterRow, ...], level: Mosaic) -> Tiles:
    """A row of channels for each filter, in as many blocks side by side as there is room for."""
    channels, height, width = level.shape[1:]
    for side in _SMALL_TILES:
        used = min(channels, int((_ACROSS - _LABEL) / side))
        blocks = max(1, int(_ACROSS / (used * side + _LABEL)))
        lines = min(ceil(len(rows) / blocks), int(_TALL / (side * height / width)) or 1)
        if used == channels and blocks * lines >= len(rows):
            break
    shown = rows[: blocks * lines]
    tiles = _enlarged(level[[row.index for row in shown], :used].reshape(-1, height, width))
    gap = 1 if side > _SMALL_TILES[3] else 2
    scale = (tiles.shape[2] + gap) / side
    framed = np.pad(tiles, ((0, 0), (0, gap), (0, gap)), constant_values=np.nan)
    tall, wide = framed.shape[1], framed.shape[2] * used
    strips = framed.reshape(len(shown), used, tall, framed.shape[2]).swapaxes(1, 2).reshape(len(shown), tall, wide)
    label = round(_LABEL * scale)
    blocks = ceil(len(shown) / lines)
    mosaic = np.full((min(lines, len(shown)) * tall, blocks * (wide + label)), np.nan, np.float32)
    places = np.empty((len(shown), 4), np.int64)
    for i, strip in enumerate(strips):
        top, left = (i % lines) * tall, (i // lines) * (wide + label) + label
        mosaic[top : top + tall, left : left + wide] = strip
        places[i] = left, top, left + wide, top + tall
    parts = _left_out(len(shown), len(rows), "filters"), _left_out(used, channels, "input channels")
    inches = mosaic.shape[0] / scale, mosaic.shape[1] / scale
    return Tiles(mosaic, inches, places, shown, True, ", ".join(part for part in parts if part))


def _matrix(rows: tuple[FilterRow, ...], level: Mosaic) -> Tiles:
    """1x1 kernels: a line for each filter, a cell for each channel."""
    shown, used = rows[:_POINTS], min(level.shape[1], _POINTS)
    mosaic = level[[row.index for row in shown], :used, 0, 0]
    cell = min(0.16, (_ACROSS - _LABEL) / used, _TALL / len(shown))
    tops = np.arange(len(shown))
    places = np.stack([np.zeros_like(tops), tops, np.full_like(tops, used), tops + 1], axis=1)
    parts = _left_out(len(shown), len(rows), "filters"), _left_out(used, level.shape[1], "input channels")
    left_out = ", ".join(part for part in parts if part)
    return Tiles(mosaic, (len(shown) * cell, used * cell), places, shown, True, left_out)


def _enlarged(tiles: Mosaic) -> Mosaic:
    """(n, height, width) tiles with every weight a square of the same number of pixels."""
    factor = ceil(_PIXELS / max(tiles.shape[1:3]))
    return tiles.repeat(factor, axis=1).repeat(factor, axis=2)


def _left_out(shown: int, count: int, what: str) -> str:
    return f"{shown} of {count} {what} shown" if shown < count else ""


def _panel(figure: Figure, panel: Panel, tiles: Tiles, top: float, total: float) -> None:
    """One layer below ``top``, in inches from the bottom of a figure ``total`` inches high."""
    layer = panel.layer
    count, channels, tall, wide = layer.shape
    heading = f"{style.shortened(layer.name, 40)}: {count} filters of {channels}x{tall}x{wide}"
    note = ", ".join(part for part in (_found(layer), tiles.left_out) if part)
    figure.text(_MARGIN / _WIDTH, (top - 0.16) / total, heading, fontsize=9.5, va="center")
    figure.text(_MARGIN / _WIDTH, (top - 0.36) / total, note, fontsize=7.5, color=style.MUTED, va="center")
    height, width = tiles.inches
    indent = _MARGIN + (_LABEL if tiles.by_channel and tiles.places[0, 0] == 0 else 0.0)
    bottom = top - _HEAD - height
    axes = figure.add_axes((indent / _WIDTH, bottom / total, width / _WIDTH, height / total))
    axes.imshow(_pixels(tiles.mosaic), interpolation="none", aspect="auto")
    axes.set_axis_off()
    (_row_names if tiles.by_channel else _captions)(axes, tiles)
    bar = (indent + width + 0.2, top - _HEAD - 1.35, 0.1, 1.35)
    _bar(figure, panel, (bar[0] / _WIDTH, bar[1] / total, bar[2] / _WIDTH, bar[3] / total))


def _pixels(mosaic: Mosaic) -> NDArray[np.uint8]:
    """(height, width, 4) of 8 bits a channel, clear between tiles."""
    gone = np.isnan(mosaic)
    level = (np.where(gone, 1.0, mosaic) * 255 + 0.5).astype(np.uint8)
    alpha = np.where(gone if mosaic.ndim == 2 else gone[..., 0], 0, 255).astype(np.uint8)
    colours = np.broadcast_to(level[..., None], (*level.shape, 3)) if mosaic.ndim == 2 else level
    return np.concatenate([colours, alpha[..., None]], axis=2)


def _bar(figure: Figure, panel: Panel, box: tuple[float, float, float, float]) -> None:
    largest = panel.layer.largest
    scale = largest or 1.0
    axes = figure.add_axes(box)
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap="gray", aspect="auto", extent=(0, 1, -scale, scale))
    axes.yaxis.tick_right()
    axes.set_yticks([-scale, 0, scale], [f"{-largest:.3g}", "0", f"{largest:.3g}"] if largest else ["", "0", ""])
    axes.tick_params(labelsize=7.5, length=2)
    axes.set_xticks([])
    if panel.coloured:
        axes.set_xlabel("each of\nR, G, B", fontsize=7, color=style.MUTED, loc="left", labelpad=4)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.5)


def _found(layer: LayerFilters) -> str:
    """What stands out from chance, in a line."""
    known = [row.similarity_p for row in layer.rows if row.similarity_p is not None]
    parts = []
    if known:
        some = sum(p < CHANCE for p in known)
        parts.append(f"{some} resemble a designed kernel at p < {CHANCE} (chance: {CHANCE * len(known):.1f})")
    if layer.dead is not None:
        parts.append(f"{layer.dead} dead")
    return ", ".join(parts)


def _captions(axes: Axes, tiles: Tiles) -> None:
    """Numbers below tiles; few tiles have their nearest kernel as well, where it is nearer than chance."""
    scale = tiles.mosaic.shape[1] / tiles.inches[1]
    side = (tiles.places[0, 2] - tiles.places[0, 0]) / scale
    if len(tiles.rows) > _CAPTIONED:
        if len(tiles.rows) <= _NUMBERED:
            _numbers(axes, tiles, min(7.0, 17 * side), scale)
        return
    for row, (left, _, _, bottom) in zip(tiles.rows, tiles.places, strict=True):
        text = f"{row.index}{' dead' if row.dead else ''}\n{_near(row)}"
        axes.text(left - 0.5, bottom - 0.5 + 0.02 * scale, text, fontsize=min(8.0, 10 * side), va="top",
                  linespacing=1.1, color=style.MARK if row.dead else style.MUTED)  # fmt: skip


def _numbers(axes: Axes, tiles: Tiles, points: float, scale: float) -> None:
    """All numbers as one outline a colour: hundreds of texts would take longer than all else."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    digits = {digit: TextPath((0, 0), digit, size=points) for digit in "0123456789"}
    unit = scale / 72
    for dead, colour in ((False, style.MUTED), (True, style.MARK)):
        glyphs = []
        for row, (left, _, _, bottom) in zip(tiles.rows, tiles.places, strict=True):
            if bool(row.dead) is dead:
                baseline = bottom - 0.5 + 0.03 * scale + _ASCENT * points * unit
                for i, digit in enumerate(str(row.index)):
                    start = np.array([left - 0.5 + i * _ADVANCE * points * unit, baseline])
                    glyph = digits[digit]
                    glyphs.append(Path(start + glyph.vertices * [unit, -unit], glyph.codes))
        if glyphs:
            outline = PathPatch(Path.make_compound_path(*glyphs), facecolor=colour, linewidth=0)
            axes.add_artist(outline)  # not add_patch, which looks for the limits of every curve


def _near(row: FilterRow) -> str:
    if row.nearest is None or row.similarity_p is None or row.similarity_p >= CHANCE:
        return ""
    words = row.nearest.split()
    return f"Gabor {float(words[1]):.0f}°" if words[0] == "Gabor" else row.nearest


def _row_names(axes: Axes, tiles: Tiles) -> None:
    """Numbers of filters left of their rows, where rows are high enough to read them."""
    scale = tiles.mosaic.shape[1] / tiles.inches[1]
    tall = (tiles.places[0, 3] - tiles.places[0, 1]) / scale
    if tall < 0.1:
        return
    for row, (left, top, _, bottom) in zip(tiles.rows, tiles.places, strict=True):
        axes.text(left - 0.5 - 0.05 * scale, (top + bottom - 1) / 2, str(row.index), fontsize=min(7.5, 48 * tall),
                  ha="right", va="center", color=style.MARK if row.dead else style.MUTED)  # fmt: skip
