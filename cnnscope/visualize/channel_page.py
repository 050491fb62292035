"""One channel on a page: kernel, spectrum, distribution, maximised image; below them patches and their projections."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.render.plots import style
from cnnscope.visualize.channel import Channel, Kernel, OnImage
from cnnscope.visualize.maximise import Maximised
from cnnscope.visualize.montage import bare, picture, scale
from cnnscope.visualize.patches import Answers, Box, Patch, Seen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARGIN, _GAP = 0.35, 0.6
_PANEL, _WIDE = 2.1, 3.1
"""Inches of a panel's side in the first row, and the distribution's width."""
_LINE, _FIRST = 0.17, 0.62
_ROW = 0.4 + _PANEL + 0.75
_TILE, _BETWEEN, _CAPTION = 0.98, 0.08, 0.3
_BLOCK = 3 * _TILE + 2 * _BETWEEN
_PATCHES = 0.4 + 3 * (_TILE + _CAPTION) + 0.45
_LETTERS = 15.5
"""Of a remark, in an inch."""
_MOST_KERNELS = 64
_FREQUENCIES = 64
_BARS = 60

Panel = tuple[float, Callable[["Figure", "_Page", float, float], None]]


class _Page:
    """The size of a page in inches, and from inches to shares of it."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height

    def box(self, left: float, top: float, width: float, height: float) -> tuple[float, float, float, float]:
        """``top`` counts from the page's upper edge."""
        return left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height

    def text(self, figure: Figure, left: float, top: float, text: str, **look: Any) -> None:
        figure.text(left / self.width, 1 - top / self.height, text, **{"va": "center", **look})


def draw(channel: Channel, title: str, remarks: Sequence[str], form: str) -> bytes:
    """The page as ``png``, ``svg`` or ``pdf``; E604 for another format."""
    style.check_format(form)
    from matplotlib.figure import Figure

    panels = _panels(channel)
    blocks = _blocks(channel)
    width = max(
        sum(wide for wide, _ in panels) + _GAP * (len(panels) - 1), len(blocks) * _BLOCK + _GAP * (len(blocks) - 1), 7.0
    ) + 2 * _MARGIN  # fmt: skip
    lines = [line for remark in remarks for line in textwrap.wrap(remark, int((width - 2 * _MARGIN) * _LETTERS))]
    first = _FIRST + _LINE * len(lines) + 0.1
    page = _Page(width, first + _ROW + (_PATCHES if blocks else 0.0))
    with style.look():
        figure = Figure(figsize=(page.width, page.height))
        page.text(figure, _MARGIN, 0.32, title, fontsize=12, fontweight="bold")
        for i, line in enumerate(lines):
            page.text(figure, _MARGIN, _FIRST + _LINE * i, line, fontsize=8, color=style.MUTED)
        left = _MARGIN
        for wide, paint in panels:
            paint(figure, page, left, first)
            left += wide + _GAP
        left = _MARGIN
        for paint in blocks:
            paint(figure, page, left, first + _ROW)
            left += _BLOCK + _GAP
        return style.encoded(figure, form)


def _panels(channel: Channel) -> list[Panel]:
    panels: list[Panel] = []
    kernel, found, best, shown = channel.kernel, channel.answers, channel.maximised, channel.on_image
    if kernel is not None:
        panels.append((_PANEL, lambda f, p, x, y: _kernel(f, p, x, y, kernel)))
        if min(kernel.weights.shape[1:]) > 1:
            panels.append((_PANEL, lambda f, p, x, y: _spectrum(f, p, x, y, kernel)))
    if found is not None:
        panels.append((_WIDE, lambda f, p, x, y: _distribution(f, p, x, y, found)))
    if best.pixels is not None:
        panels.append((_PANEL, lambda f, p, x, y: _maximised(f, p, x, y, best, found)))
    if shown is not None:
        panels.append((_PANEL, lambda f, p, x, y: _on_image(f, p, x, y, shown)))
    return panels


def _heading(figure: Figure, page: _Page, left: float, top: float, text: str, below: str) -> tuple[float, float]:
    """A panel's title, and the remark under it; returns where its content begins."""
    page.text(figure, left, top + 0.2, text, fontsize=9.5)
    page.text(figure, left, top + 0.4 + _PANEL + 0.5, below, fontsize=7.5, color=style.MUTED)
    return left, top + 0.4


# -- the first row -----------------------------------------------------------------------------------------------------


def _kernel(figure: Figure, page: _Page, left: float, top: float, kernel: Kernel) -> None:
    channels, height, width = kernel.weights.shape
    shown = kernel.weights
    some = ""
    if channels > _MOST_KERNELS and height * width > 1:
        heaviest = np.argsort(-np.square(shown).sum(axis=(1, 2)), kind="stable")[:_MOST_KERNELS]
        shown, some = shown[np.sort(heaviest)], f", the {_MOST_KERNELS} heaviest"
    heading = f"kernel, {channels}x{height}x{width}{', RGB' if kernel.coloured else some}"
    x, y = _heading(figure, page, left, top, heading, "")
    most = kernel.largest or 1.0
    mosaic = shown / (2 * most) + 0.5 if kernel.coloured else _tiled(shown)
    aspect = mosaic.shape[-2] / mosaic.shape[-1]
    wide, tall = (_PANEL, _PANEL * aspect) if aspect <= 1 else (_PANEL / aspect, _PANEL)
    axes = figure.add_axes(page.box(x, y, wide, tall))
    if kernel.coloured:
        axes.imshow(mosaic.transpose(1, 2, 0), interpolation="none", aspect="auto")
        bare(axes)
        page.text(figure, x, y + _PANEL + 0.2, f"grey is 0; ±{kernel.largest:.3g}, the layer's largest", fontsize=7.5,
                  color=style.MUTED)  # fmt: skip
        return
    image = axes.imshow(np.ma.masked_invalid(mosaic), cmap="RdBu_r", vmin=-most, vmax=most, interpolation="none", aspect="auto")
    axes.set_axis_off()
    _bar(figure, page, image, x, y + _PANEL + 0.12, (-most, 0.0, most), "the layer's largest weight")


def _tiled(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(channels, height, width) side by side in about a square, NaN between them; points stand close."""
    count, height, width = kernels.shape
    columns = ceil(np.sqrt(count * height / width))
    rows = ceil(count / columns)
    factor, gap = (1, 0) if height * width == 1 else (8, 3 if count > 1 else 0)
    tall, wide = height * factor + gap, width * factor + gap
    mosaic = np.full((rows * tall - gap, columns * wide - gap), np.nan, np.float32)
    for i, kernel in enumerate(kernels):
        y, x = (i // columns) * tall, (i % columns) * wide
        mosaic[y : y + tall - gap, x : x + wide - gap] = kernel.repeat(factor, 0).repeat(factor, 1)
    return mosaic


def _spectrum(figure: Figure, page: _Page, left: float, top: float, kernel: Kernel) -> None:
    """The root of the power summed over input channels, on a grid of frequencies."""
    x, y = _heading(figure, page, left, top, "its spectrum", "")
    transform = np.fft.fft2(kernel.weights.astype(np.float64), s=(_FREQUENCIES, _FREQUENCIES))
    amplitude = np.fft.fftshift(np.sqrt((np.abs(transform) ** 2).sum(axis=0)))
    axes = figure.add_axes(page.box(x, y, _PANEL, _PANEL))
    edge = 0.5 + 0.5 / _FREQUENCIES
    axes.imshow(amplitude, cmap="cividis", vmin=0, vmax=float(amplitude.max()) or 1.0, interpolation="none", aspect="auto",
                extent=(-edge, edge - 1 / _FREQUENCIES, edge - 1 / _FREQUENCIES, -edge))  # fmt: skip
    axes.set_xticks([-0.5, 0, 0.5])
    axes.set_yticks([-0.5, 0, 0.5])
    axes.tick_params(labelsize=7, length=2)
    axes.set_xlabel(f"cycles a pixel; amplitude 0 to {amplitude.max():.3g}", fontsize=7.5, color=style.MUTED, labelpad=3)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.6)


def _distribution(figure: Figure, page: _Page, left: float, top: float, found: Answers) -> None:
    x, y = _heading(figure, page, left, top, f"activations on {found.images:,} images{', dead' if found.dead else ''}", "")
    axes = figure.add_axes(page.box(x + 0.35, y, _WIDE - 0.35, _PANEL))
    edges, counts = found.histogram.edges, found.histogram.counts
    used = np.flatnonzero(counts)
    step = max(1, ceil((used[-1] + 1 - used[0]) / _BARS))
    starts = np.arange(used[0], used[-1] + 1, step)
    shares = np.add.reduceat(counts[: used[-1] + 1], starts) / counts.sum()
    widths = np.minimum(starts + step, len(counts)) - starts
    axes.bar(edges[starts], shares, width=widths * (edges[1] - edges[0]), align="edge", color=style.LINES[0], linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(bottom=min(0.5 / counts.sum(), 0.1), top=2.0)
    axes.axvline(0, color=style.FRAME, linewidth=0.8, zorder=0)
    marks = [patch.activation for patch in found.patches]
    axes.plot(marks, [0.03] * len(marks), "|", color=style.MARK, markersize=9, transform=axes.get_xaxis_transform(), clip_on=False)
    axes.tick_params(labelsize=7, length=2)
    axes.tick_params(which="minor", length=0)
    axes.set_ylabel("share", fontsize=7.5, color=style.MUTED, labelpad=2)
    axes.set_xlabel("activation at all places; marks: the patches below", fontsize=7.5, color=style.MUTED, labelpad=3)


def _maximised(figure: Figure, page: _Page, left: float, top: float, best: Maximised, found: Answers | None) -> None:
    assert best.pixels is not None
    x, y = _heading(figure, page, left, top, "maximised image", "")
    axes = figure.add_axes(page.box(x, y, _PANEL, _PANEL))
    _tile(axes, best.pixels, best.seen, (0.0, 0.0), _longest([best.seen]), picture)
    _frame(axes, 1, 1)
    lines = [f"reaches {best.activation:.4g} from {best.start:.4g}"]
    lines += [] if found is None else [f"the best image: {found.high:.4g}"]
    for i, line in enumerate(lines):
        page.text(figure, x, y + _PANEL + 0.2 + _LINE * i, line, fontsize=7.5, color=style.MUTED)


def _on_image(figure: Figure, page: _Page, left: float, top: float, shown: OnImage) -> None:
    x, y = _heading(figure, page, left, top, f"its map of {style.shortened(shown.name, 20)}", "")
    height, width = shown.map.shape
    wide, tall = (_PANEL, _PANEL * height / width) if height <= width else (_PANEL * width / height, _PANEL)
    axes = figure.add_axes(page.box(x, y, wide, tall))
    cmap, low, high = scale(shown.low, shown.high)
    image = axes.imshow(shown.map, cmap=cmap, vmin=low, vmax=high, interpolation="none", aspect="auto")
    bare(axes)
    ends = (low, 0.0, high) if low < 0 else (0.0, high)
    _bar(figure, page, image, x, y + _PANEL + 0.12, ends, "the layer's extremes")


def _bar(figure: Figure, page: _Page, image: Any, left: float, top: float, ends: Sequence[float], note: str) -> None:
    bar = figure.colorbar(image, cax=figure.add_axes(page.box(left, top, 1.3, 0.08)), orientation="horizontal")
    bar.set_ticks(list(ends), labels=[f"{end:.3g}" for end in ends])
    bar.ax.tick_params(labelsize=7, length=2)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]  # an artist, whatever its stub says
    page.text(figure, left, top + 0.38, note, fontsize=7, color=style.MUTED)


# -- patches -----------------------------------------------------------------------------------------------------------


def _blocks(channel: Channel) -> list[Callable[[Figure, _Page, float, float], None]]:
    found = channel.answers
    if found is None:
        return []
    blocks: list[Callable[[Figure, _Page, float, float], None]] = [lambda f, p, x, y: _top(f, p, x, y, found.patches)]
    for name, values in channel.projections.items():
        blocks.append(lambda f, p, x, y, name=name, values=values: _projected(f, p, x, y, found.patches, name, values))  # type: ignore[misc]  # bound now
    return blocks


def _block(figure: Figure, page: _Page, left: float, top: float, title: str) -> Axes:
    page.text(figure, left, top + 0.2, title, fontsize=9.5)
    axes = figure.add_axes(page.box(left, top + 0.4, _BLOCK, 3 * (_TILE + _CAPTION)))
    axes.set_axis_off()
    axes.set_xlim(0, _BLOCK)
    axes.set_ylim(3 * (_TILE + _CAPTION), 0)
    return axes


def _corner(i: int) -> tuple[float, float]:
    return (i % 3) * (_TILE + _BETWEEN), (i // 3) * (_TILE + _CAPTION)


def _top(figure: Figure, page: _Page, left: float, top: float, patches: Sequence[Patch]) -> None:
    axes = _block(figure, page, left, top, "images it answers to most, as far as it sees them")
    longest = _longest([patch.seen for patch in patches])
    for i, patch in enumerate(patches):
        x, y = _corner(i)
        _tile(axes, patch.pixels, patch.seen, (x, y), longest, picture, _TILE)
        row, column = patch.position
        text = f"{patch.activation:.4g} at {row},{column}\n{style.shortened(patch.sample, 20)}"
        axes.text(x, y + _TILE + 0.03, text, fontsize=5.8, va="top", color=style.MUTED, linespacing=1.2)
    if any(patch.seen.frame != patch.seen.exact for patch in patches):
        page.text(figure, left, top + 0.4 + 3 * (_TILE + _CAPTION) + 0.12, "hatched: padding", fontsize=7, color=style.MUTED)


def _projected(
    figure: Figure, page: _Page, left: float, top: float, patches: Sequence[Patch], name: str, values: NDArray[np.float32]
) -> None:
    """All on one scale: in red and blue where the image is grey, in its colours about grey where it has some."""
    axes = _block(figure, page, left, top, f"{name} of these")
    most = float(np.abs(values).max())
    coloured = values.shape[1] == 3
    longest = _longest([patch.seen for patch in patches])
    image = None

    def paint(axes: Axes, part: NDArray[Any], extent: tuple[float, float, float, float]) -> None:
        nonlocal image
        if coloured:
            picture(axes, (part / (2 * (most or 1.0)) + 0.5).clip(0, 1), extent)
        else:
            image = axes.imshow(part[0], cmap="RdBu_r", vmin=-(most or 1.0), vmax=most or 1.0, extent=extent,
                                interpolation="none", aspect="auto", zorder=2)  # fmt: skip

    for i, (patch, projected) in enumerate(zip(patches, values, strict=True)):
        _tile(axes, projected, patch.seen, _corner(i), longest, paint, _TILE)
    below = top + 0.4 + 3 * (_TILE + _CAPTION)
    if image is None:
        page.text(figure, left, below + 0.12, f"grey is 0; ±{most:.3g}", fontsize=7, color=style.MUTED)
    elif most:
        _bar(figure, page, image, left, below + 0.02, (-most, 0.0, most), "")
    if not most:
        page.text(figure, left, below + 0.12, "zero everywhere", fontsize=7, color=style.MUTED)


def _longest(seen: Sequence[Seen]) -> int:
    return max(high - low + 1 for one in seen for low, high in one.frame)


def _tile(
    axes: Axes, image: NDArray[Any], seen: Seen, corner: tuple[float, float], longest: int,
    paint: Callable[[Axes, NDArray[Any], tuple[float, float, float, float]], None], side: float = 1.0,
) -> None:  # fmt: skip
    """The exact field of (C, H, W) in a square of ``side``, a pixel being ``side / longest``; padding hatched around it."""
    from matplotlib.patches import Rectangle

    unit = side / longest
    (top, bottom), (left, right) = seen.frame
    x0 = corner[0] + (longest - (right - left + 1)) * unit / 2
    y0 = corner[1] + (longest - (bottom - top + 1)) * unit / 2
    (first, last), (start, end) = seen.exact
    if seen.frame != seen.exact:
        axes.add_patch(Rectangle((x0, y0), (right - left + 1) * unit, (bottom - top + 1) * unit, facecolor=style.PAPER,
                                 edgecolor=style.FRAME, hatch="//////", linewidth=0, zorder=1))  # fmt: skip
    extent = (x0 + (start - left) * unit, x0 + (end + 1 - left) * unit, y0 + (last + 1 - top) * unit, y0 + (first - top) * unit)
    limits = axes.get_xlim(), axes.get_ylim()
    paint(axes, image[:, first : last + 1, start : end + 1], extent)
    axes.set_xlim(*limits[0])  # which an image changes
    axes.set_ylim(*limits[1])
    axes.add_patch(Rectangle((extent[0], extent[3]), extent[1] - extent[0], extent[2] - extent[3], facecolor="none",
                             edgecolor=style.FRAME, linewidth=0.6, zorder=3))  # fmt: skip


def _frame(axes: Axes, width: float, height: float) -> None:
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()


__all__ = ["Box", "draw"]
