"""The second row of a channel's page: nine patches in a block, and a block for each of their projections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.learned.features.channel import Channel, Values
from cnnscope.learned.features.montage import picture
from cnnscope.learned.features.patches import Patch
from cnnscope.learned.features.sheet import Extent, Spot, empty, longest, tile
from cnnscope.render import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TILE, _BETWEEN, _CAPTION, _HEAD = 0.98, 0.08, 0.3, 0.4
WIDTH = 3 * _TILE + 2 * _BETWEEN
_BELOW = _HEAD + 3 * (_TILE + _CAPTION)
HEIGHT = _BELOW + 0.45
"""Inches of a block."""


def blocks(channel: Channel) -> list[Callable[[Spot], None]]:
    """What draws each block at a spot; none without images."""
    if channel.answers is None:
        return []
    patches = channel.answers.patches
    several = channel.layer.size != (1, 1)
    return [
        partial(_top, patches, several),
        *(partial(_projected, patches, name, values) for name, values in channel.projections.items()),
    ]


def _block(spot: Spot, title: str) -> Axes:
    spot.text(0, 0.2, title, fontsize=9.5, color=style.INK)
    axes = spot.axes(0, _HEAD, WIDTH, 3 * (_TILE + _CAPTION))
    empty(axes, WIDTH, 3 * (_TILE + _CAPTION))
    return axes


def _corner(i: int) -> tuple[float, float]:
    return (i % 3) * (_TILE + _BETWEEN), (i // 3) * (_TILE + _CAPTION)


def _top(patches: Sequence[Patch], several: bool, spot: Spot) -> None:
    """``several``: whether there is more than one place in the map."""
    axes = _block(spot, "images it answers to most, as far as it sees them")
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
    """All on one scale: in red and blue where the image is grey, in its colours about grey where it has some."""
    axes = _block(spot, f"{name} of these")
    most = float(np.abs(values).max())
    limit = most or 1.0
    pixels = longest([patch.seen for patch in patches])
    shown: list[Any] = []

    def paint(axes: Axes, part: NDArray[Any], extent: Extent) -> None:
        if len(part) == 3:
            picture(axes, (part / (2 * limit) + 0.5).clip(0, 1), extent)
        else:
            shown.append(axes.imshow(part[0], cmap="RdBu_r", vmin=-limit, vmax=limit, extent=extent,
                                     interpolation="none", aspect="auto", zorder=2))  # fmt: skip

    for i, (patch, projected) in enumerate(zip(patches, values, strict=True)):
        tile(axes, projected, patch.seen, _corner(i), _TILE, pixels, paint)
    if not most:
        spot.text(0, _BELOW + 0.12, "zero everywhere", fontsize=7)
    elif shown:
        spot.bar(0, _BELOW + 0.02, shown[0], (-most, 0.0, most))
    else:
        spot.text(0, _BELOW + 0.12, f"grey is 0; ±{most:.3g}", fontsize=7)
