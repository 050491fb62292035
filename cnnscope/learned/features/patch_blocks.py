"""The second row of a channel's page: nine patches in a block, and a block for each of their projections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.learned.features.channel import Channel, Values
from cnnscope.learned.features.patches import Patch
from cnnscope.learned.layers import Seen
from cnnscope.render import style
from cnnscope.render.sheet import Spot, picture, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Extent = tuple[float, float, float, float]
"""Left, right, bottom, top, as `imshow` takes it."""


def longest(seen: Sequence[Seen]) -> int:
    """Pixels of the longest side of any frame: with it `tile` draws all images at one size of pixel."""
    return max(high - low + 1 for one in seen for low, high in one.frame)


def tile(
    axes: Axes, image: NDArray[Any], seen: Seen, corner: tuple[float, float], side: float, pixels: int,
    paint: Callable[[Axes, NDArray[Any], Extent], None],
) -> None:  # fmt: skip
    """Draws the part of an image (C, H, W) that is seen, in the middle of a square of ``side``, ``pixels`` wide.

    Padding is hatched. ``paint`` draws an array in an extent.
    """
    from matplotlib.patches import Rectangle

    unit = side / pixels
    (top, bottom), (left, right) = seen.frame
    wide, tall = (right - left + 1) * unit, (bottom - top + 1) * unit
    x0, y0 = corner[0] + (side - wide) / 2, corner[1] + (side - tall) / 2
    (first, last), (start, end) = seen.exact
    if seen.frame != seen.exact:
        axes.add_patch(Rectangle((x0, y0), wide, tall, facecolor=style.PAPER, edgecolor=style.FRAME, hatch="//////",
                                 linewidth=0, zorder=1))  # fmt: skip
    x1, x2 = x0 + (start - left) * unit, x0 + (end + 1 - left) * unit
    y1, y2 = y0 + (first - top) * unit, y0 + (last + 1 - top) * unit
    limits = axes.get_xlim(), axes.get_ylim()
    paint(axes, image[:, first : last + 1, start : end + 1], (x1, x2, y2, y1))
    axes.set_xlim(*limits[0])  # which an image changes
    axes.set_ylim(*limits[1])
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, facecolor="none", edgecolor=style.FRAME, linewidth=0.6,
                             zorder=3, clip_on=False))  # fmt: skip


def empty(axes: Axes, wide: float, tall: float) -> None:
    """Hides the axes and puts (0, 0) in the upper left corner."""
    axes.set_axis_off()
    axes.set_xlim(0, wide)
    axes.set_ylim(tall, 0)


_TILE, _BETWEEN, _CAPTION, _HEAD = 0.98, 0.08, 0.3, 0.4
WIDTH = 3 * _TILE + 2 * _BETWEEN
_BELOW = _HEAD + 3 * (_TILE + _CAPTION)
HEIGHT = _BELOW + 0.45
"""Inches of a block."""


def blocks(channel: Channel) -> list[Callable[[Spot], None]]:
    """Functions that draw a block each; none without images."""
    if channel.activity is None:
        return []
    patches = channel.activity.patches
    several = channel.layer.size != (1, 1)
    return [
        partial(_top, patches, several),
        *(partial(_projected, patches, name, values) for name, values in channel.projections.items()),
    ]


def _block(spot: Spot, title: str) -> Axes:
    spot.heading(0.2, title)
    axes = spot.axes(0, _HEAD, WIDTH, 3 * (_TILE + _CAPTION))
    empty(axes, WIDTH, 3 * (_TILE + _CAPTION))
    return axes


def _corner(i: int) -> tuple[float, float]:
    return (i % 3) * (_TILE + _BETWEEN), (i // 3) * (_TILE + _CAPTION)


def _top(patches: Sequence[Patch], several: bool, spot: Spot) -> None:
    """``several`` says whether the map has more than one place."""
    axes = _block(spot, "largest activations, cut to what the unit sees")
    pixels = longest([patch.seen for patch in patches])
    for i, patch in enumerate(patches):
        x, y = _corner(i)
        tile(axes, patch.pixels, patch.seen, (x, y), _TILE, pixels, picture)
        where = " at {},{}".format(*patch.position) if several else ""
        text = f"{patch.activation:.4g}{where}\n{style.shortened(patch.sample, 20)}"
        axes.text(x, y + _TILE + 0.03, text, fontsize=5.8, va="top", color=style.MUTED, linespacing=1.2)
    if any(patch.seen.frame != patch.seen.exact for patch in patches):
        spot.text(0, _BELOW + 0.12, "hatched: padding", fontsize=7)


def _projected(patches: Sequence[Patch], name: str, values: Values, spot: Spot) -> None:
    """All on one scale: red and blue for grey images, the image's own colours about grey for RGB."""
    axes = _block(spot, f"{name} of these")
    most = float(np.abs(values).max())
    limit = most or 1.0
    pixels = longest([patch.seen for patch in patches])
    shown: list[Any] = []

    def paint(axes: Axes, part: NDArray[Any], extent: Extent) -> None:
        if len(part) == 3:
            picture(axes, (part / (2 * limit) + 0.5).clip(0, 1), extent)
        else:
            shown.append(signed(axes, part[0], limit, extent=extent, zorder=2))

    for i, (patch, projected) in enumerate(zip(patches, values, strict=True)):
        tile(axes, projected, patch.seen, _corner(i), _TILE, pixels, paint)
    if not most:
        spot.text(0, _BELOW + 0.12, "zero everywhere", fontsize=7)
    elif shown:
        spot.bar(spot.axes(0.2, _BELOW + 0.02, 1.3, 0.08), shown[0], (-most, 0.0, most))
    else:
        spot.text(0, _BELOW + 0.12, f"grey is 0; ±{most:.3g}", fontsize=7)
