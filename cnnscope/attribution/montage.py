"""Attributions side by side, each over its image in grey; comparable ones share a scale.

Signed maps are blue to red about 0, magnitudes magma; the larger the value, the less of the image shows through. Tiles
of one ``scale`` share their limit, the `SHARE` quantile of their magnitudes; the maximum of each is printed below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.attribution.finding import Finding, draw_legend, draw_strip, strip_height
from cnnscope.render import style
from cnnscope.render.sheet import Spot, bare, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARE = 0.995
"""Share of the pixels, over all tiles of a scale, that lie within its limit; larger values have the last colour."""
SIGNED, MAGNITUDE = "RdBu_r", "magma"
MOST_COLUMNS = 5
SIDE = 2.15
"""Inches of a tile's side."""
HEAD, FOOT = 0.62, 0.5
"""Inches above a tile for its title, and below it for its colour bar; a trust strip comes below that."""
TITLE = 0.55
DPI = 150
LIGHTER = 0.4
"""How far the grey image is moved towards white, so that colours on it stay visible."""


@dataclass(frozen=True)
class Tile:
    """One picture of a montage.

    ``values`` (H, W) lie over ``image``, (H, W) or (H, W, 3) from 0 to 1. Without values only the image is shown.
    ``lines`` stand below the ``title``. ``trust`` has the findings for the strip below the tile.
    """

    image: NDArray[Any]
    title: str
    lines: tuple[str, ...] = ()
    values: NDArray[np.float64] | None = None
    signed: bool = False
    scale: str = ""
    trust: tuple[Finding, ...] = ()


def montage(rows: Sequence[Sequence[Tile]], title: str, kind: str) -> bytes:
    """The tiles as ``png``, ``svg`` or ``pdf``: a line for each of ``rows``; a single long row is broken into several.

    E604 for another format.
    """
    grid = _wrapped(rows)
    limits = scale_limits([tile for row in grid for tile in row])
    columns = max(map(len, grid))
    below = max(strip_height(tile.trust) for row in grid for tile in row)
    height = HEAD + SIDE + FOOT + below

    def paint(page: Spot) -> None:
        page.title(0.18, 0.32, style.shortened(title, 28 * columns))
        for i, row in enumerate(grid):
            for j, tile in enumerate(row):
                spot = page.at(0.2 + j * (SIDE + 0.3), TITLE + i * height + HEAD)
                _draw(spot, tile, limits.get(tile.scale, 1.0))
                if below:
                    _strip(spot.axes(0, SIDE + FOOT - 0.06, SIDE, below), tile, below)

    return drawn(columns * (SIDE + 0.3) + 0.2, TITLE + len(grid) * height, kind, paint, DPI)


def _wrapped(rows: Sequence[Sequence[Tile]]) -> list[Sequence[Tile]]:
    """The rows, a single long one broken into several of about the same length."""
    if len(rows) > 1 or len(rows[0]) <= MOST_COLUMNS:
        return list(rows)
    (row,) = rows
    count = -(-len(row) // MOST_COLUMNS)
    length = -(-len(row) // count)
    return [row[start : start + length] for start in range(0, len(row), length)]


def scale_limits(tiles: Sequence[Tile]) -> dict[str, float]:
    """The limit of each scale: the `SHARE` quantile of the magnitudes on it; where that is 0 their maximum, else 1."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for tile in tiles:
        if tile.values is not None:
            found.setdefault(tile.scale, []).append(np.abs(tile.values).ravel())
    limits = {}
    for scale, parts in found.items():
        magnitudes = np.concatenate(parts)
        limits[scale] = float(np.quantile(magnitudes, SHARE)) or float(magnitudes.max()) or 1.0
    return limits


def coloured(tile: Tile, limit: float) -> NDArray[np.float64]:
    """(H, W, 3) the image in grey under the colours of the values; the larger a value, the more opaque its colour."""
    from matplotlib import colormaps

    assert tile.values is not None
    share = np.clip(tile.values / limit, -1, 1)
    colours = colormaps[SIGNED if tile.signed else MAGNITUDE](share / 2 + 0.5 if tile.signed else share)[..., :3]
    alpha = np.sqrt(np.abs(share))[..., None]
    result: NDArray[np.float64] = alpha * colours + (1 - alpha) * grey(tile.image)[..., None]
    return result


def grey(image: NDArray[Any]) -> NDArray[np.float64]:
    """(H, W) luma, lightened."""
    luma = image @ np.array([0.299, 0.587, 0.114]) if image.ndim == 3 else image
    result: NDArray[np.float64] = LIGHTER + (1 - LIGHTER) * np.asarray(luma, np.float64)
    return result


def _draw(spot: Spot, tile: Tile, limit: float) -> None:
    axes = bare(spot.axes(0, 0, SIDE, SIDE))
    smooth = "nearest" if max(tile.image.shape[:2]) <= 300 else "antialiased"
    axes.imshow(tile.image if tile.values is None else coloured(tile, limit), cmap="gray", vmin=0, vmax=1,
                interpolation=smooth, aspect="equal")  # fmt: skip
    spot.text(0, -0.42, style.shortened(tile.title, 27), fontsize=9.5, fontweight="bold", color=style.INK)
    for i, line in enumerate(tile.lines[:2]):
        spot.text(0, -0.25 + 0.15 * i, style.shortened(line, 42), fontsize=7)
    if tile.values is not None:
        _bar(spot.axes(0, SIDE + 0.08, SIDE, 0.09), tile, limit)


def _strip(axes: Axes, tile: Tile, tall: float) -> None:
    """The findings of a tile; below the image itself, the meaning of the marks."""
    if tile.values is None:
        draw_legend(axes, tall)
    else:
        draw_strip(axes, tile.trust, tall)


def _bar(axes: Axes, tile: Tile, limit: float) -> None:
    """The colours and what they stand for; the tile's own maximum in words."""
    from matplotlib import colormaps

    assert tile.values is not None
    low = -limit if tile.signed else 0.0
    axes.imshow(np.linspace(0, 1, 256)[None], cmap=colormaps[SIGNED if tile.signed else MAGNITUDE], aspect="auto",
                extent=(low, limit, 0, 1))  # fmt: skip
    axes.set_yticks([])
    axes.set_xticks([low, limit], [f"{low:.2g}", f"{limit:.2g}"], fontsize=6.5)
    axes.tick_params(length=2, pad=1.5)
    left, right = axes.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    most = float(np.abs(tile.values).max())
    axes.text(0.5, -0.75, "zero everywhere" if most == 0 else f"max |value| {most:.3g}", transform=axes.transAxes,
              ha="center", va="top", fontsize=6.5, color=style.MUTED)  # fmt: skip
    for spine in axes.spines.values():
        spine.set_visible(False)
