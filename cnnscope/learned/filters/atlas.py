"""The filter atlas: all filters of a layer on one grey-centred scale, in one axes.

Grey is 0; white and black (or full and no red, green, blue) are the layer's largest absolute weight. A dead filter with
a scale of its own would look alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnscope.learned.filters.mosaic import ACROSS, CAPTIONED, LABEL, NUMBERED, Mosaic, Panel, Tiles, tiles_of
from cnnscope.render import style
from cnnscope.render.filters import CHANCE, FilteredLayer, FilterRow, sizes
from cnnscope.render.sheet import Spot, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARGIN, _BAR, _HEAD, _FOOT = 0.3, 1.0, 0.56, 0.34
_WIDTH = _MARGIN + ACROSS + _BAR
_ASCENT, _ADVANCE = 0.73, 0.636
"""Height and width of DejaVu Sans' digits, relative to the size of the text."""


def draw(panels: Sequence[Panel], title: str, form: str) -> bytes:
    """The picture as ``png``, ``svg`` or ``pdf``; E604 for another format."""
    tiled = [tiles_of(panel) for panel in panels]
    tall = [max(tiles.inches[0], 1.5) + _HEAD + _FOOT for tiles in tiled]

    def paint(page: Spot) -> None:
        page.title(_MARGIN, 0.3, title)
        for i, (panel, tiles) in enumerate(zip(panels, tiled, strict=True)):
            _panel(page.at(_MARGIN, 0.5 + sum(tall[:i])), panel, tiles)

    return drawn(_WIDTH, sum(tall) + 0.5, form, paint)


def _panel(spot: Spot, panel: Panel, tiles: Tiles) -> None:
    """One layer."""
    layer = panel.layer
    spot.heading(0.16, f"{style.shortened(layer.name, 40)}: {sizes(layer)}")
    named = tiles.named or (not tiles.by_channel and len(tiles.rows) <= CAPTIONED)
    spot.text(0, 0.36, ", ".join(part for part in (_found(layer, named=named), tiles.left_out) if part))
    height, width = tiles.inches
    indent = LABEL if tiles.by_channel and tiles.places[0, 0] == 0 else 0.0
    axes = spot.axes(indent, _HEAD, width, height)
    axes.imshow(_pixels(tiles.mosaic), interpolation="none", aspect="auto")
    axes.set_axis_off()
    (_row_names if tiles.by_channel else _captions)(axes, tiles)
    _bar(spot.axes(indent + width + 0.2, _HEAD, 0.1, 1.35), panel)


def _pixels(mosaic: Mosaic) -> NDArray[np.uint8]:
    """(height, width, 4) pixels of 8 bits a channel, transparent between tiles."""
    gone = np.isnan(mosaic)
    level = (np.where(gone, 1.0, mosaic) * 255 + 0.5).astype(np.uint8)
    alpha = np.where(gone if mosaic.ndim == 2 else gone[..., 0], 0, 255).astype(np.uint8)
    colours = np.broadcast_to(level[..., None], (*level.shape, 3)) if mosaic.ndim == 2 else level
    return np.concatenate([colours, alpha[..., None]], axis=2)


def _bar(axes: Axes, panel: Panel) -> None:
    largest = panel.layer.largest
    scale = largest or 1.0
    axes.imshow(np.linspace(1, 0, 256)[:, None], cmap="gray", aspect="auto", extent=(0, 1, -scale, scale))
    axes.yaxis.tick_right()
    axes.set_yticks([-scale, 0, scale], [f"{-largest:.3g}", "0", f"{largest:.3g}"] if largest else ["", "0", ""])
    axes.tick_params(labelsize=7.5, length=2)
    axes.set_xticks([])
    if panel.coloured:
        axes.set_xlabel("each of\nR, G, B", fontsize=7, color=style.MUTED, loc="left", labelpad=4)
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.5)


def _found(layer: FilteredLayer, *, named: bool) -> str:
    """One line on how many filters differ from chance."""
    known = [row.similarity_p for row in layer.rows if row.similarity_p is not None]
    parts = []
    if known:
        some = sum(p < CHANCE for p in known)
        verb = "resembles" if some == 1 else "resemble"
        parts.append(f"{some} {verb} a designed kernel at p < {CHANCE} (chance: {CHANCE * len(known):.1f})")
        if named and some < len(known):
            parts.append("none near: no named kernel is nearer than chance")
    if layer.dead is not None:
        parts.append(f"{layer.dead} dead")
    return ", ".join(parts)


def _captions(axes: Axes, tiles: Tiles) -> None:
    """Numbers below tiles; where there are few tiles also the nearest kernel, if it is nearer than chance."""
    scale = tiles.mosaic.shape[1] / tiles.inches[1]
    side = (tiles.places[0, 2] - tiles.places[0, 0]) / scale
    if len(tiles.rows) > CAPTIONED:
        if len(tiles.rows) <= NUMBERED:
            _numbers(axes, tiles, min(7.0, 17 * side), scale)
        return
    for row, (left, _, _, bottom) in zip(tiles.rows, tiles.places, strict=True):
        text = f"{row.index}{' dead' if row.dead else ''}\n{caption(row)}"
        axes.text(left - 0.5, bottom - 0.5 + 0.02 * scale, text, fontsize=min(8.0, 10 * side), va="top",
                  linespacing=1.1, color=style.MARK if row.dead else style.MUTED)  # fmt: skip


def _numbers(axes: Axes, tiles: Tiles, points: float, scale: float) -> None:
    """All numbers of one colour as one outline: hundreds of texts would take longer than the rest of the picture."""
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


def caption(row: FilterRow) -> str:
    """The nearest kernel and its |cos|; ``none near`` where a random filter is as near too often, `_found` says why."""
    if row.nearest is None or row.similarity is None or row.similarity_p is None:
        return ""
    if row.similarity_p >= CHANCE:
        return "none near"
    words = row.nearest.split()
    name = f"Gabor {float(words[1]):.0f}°" if words[0] == "Gabor" else row.nearest
    return f"{name} {row.similarity:.2f}".replace(" 0.", " .")


def _row_names(axes: Axes, tiles: Tiles) -> None:
    """Numbers of filters to the left of their rows, where rows are high enough to read them; below a number the nearest
    kernel, where there is room for it."""
    scale = tiles.mosaic.shape[1] / tiles.inches[1]
    tall = (tiles.places[0, 3] - tiles.places[0, 1]) / scale
    if tall < 0.1:
        return
    for row, (left, top, _, bottom) in zip(tiles.rows, tiles.places, strict=True):
        near = caption(row).rpartition(" ") if tiles.named else ("", "", "")
        text = "\n".join(filter(None, (str(row.index), near[0], near[2])))
        size = min(7.5, 48 * tall) if not tiles.named else 6.0
        axes.text(left - 0.5 - 0.05 * scale, (top + bottom - 1) / 2, text, fontsize=size, ha="right", va="center",
                  color=style.MARK if row.dead else style.MUTED, linespacing=1.1)  # fmt: skip
