"""One channel on a page: kernel, spectrum, distribution and maximised image, below them patches and projections."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, floor, log10
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.learned.features.channel import Channel, Kernel, OnImage, Values
from cnnscope.learned.features.maximise import Maximised
from cnnscope.learned.features.patch_blocks import HEIGHT, WIDTH, blocks, empty, longest, tile
from cnnscope.learned.features.patches import Activity
from cnnscope.learned.layers import Seen
from cnnscope.render import style
from cnnscope.render.sheet import Spot, bare, drawn, picture, scale, signed

_MARGIN, _GAP, _NARROWEST = 0.35, 0.6, 7.0
_PANEL, _WIDE, _HEAD = 2.1, 3.1, 0.4
"""Inches of a panel's side in the first row, of the distribution's width, and of the space above them."""
_LINE, _FIRST = 0.17, 0.62
_ROW = _HEAD + _PANEL + 0.75
_LETTERS = 15.5
"""Letters of a remark in an inch."""
_MOST_KERNELS = 64
_FREQUENCIES = 64
_BARS = 60


def draw(channel: Channel, title: str, remarks: Sequence[str], form: str) -> bytes:
    """The page as ``png``, ``svg`` or ``pdf``; E604 for another format."""
    first, second = _panels(channel), blocks(channel)
    widths = [wide for wide, _ in first], [WIDTH] * len(second)
    inner = max(_NARROWEST, *(sum(row) + _GAP * (len(row) - 1) for row in widths))
    lines = [line for remark in remarks for line in textwrap.wrap(remark, int(inner * _LETTERS))]
    top = _FIRST + _LINE * len(lines) + 0.1

    def paint(page: Spot) -> None:
        page.title(_MARGIN, 0.32, title)
        for i, line in enumerate(lines):
            page.text(_MARGIN, _FIRST + _LINE * i, line, fontsize=8)
        left = _MARGIN
        for wide, panel in first:
            panel(page.at(left, top))
            left += wide + _GAP
        for i, block in enumerate(second):
            block(page.at(_MARGIN + i * (WIDTH + _GAP), top + _ROW))

    return drawn(inner + 2 * _MARGIN, top + _ROW + (HEIGHT if second else 0.0), form, paint)


def _panels(channel: Channel) -> list[tuple[float, Callable[[Spot], None]]]:
    """The first row: the width of each panel, and the function that draws it."""
    panels: list[tuple[float, Callable[[Spot], None]]] = []
    if channel.kernel is not None:
        panels.append((_PANEL, partial(_kernel, channel.kernel)))
        if min(channel.kernel.weights.shape[1:]) > 1:
            panels.append((_PANEL, partial(_spectrum, channel.kernel.weights)))
    if channel.activity is not None:
        panels.append((_WIDE, partial(_distribution, channel.activity)))
    if channel.maximised.pixels is not None:
        panels.append((_PANEL, partial(_maximised, channel.maximised, channel.activity)))
    if channel.on_image is not None:
        panels.append((_PANEL, partial(_value if channel.on_image.map.size == 1 else _map, channel.on_image)))
    return panels


def _kernel(kernel: Kernel, spot: Spot) -> None:
    channels, height, width = kernel.weights.shape
    shown, some = kernel.weights, ""
    if channels > _MOST_KERNELS and height * width > 1:
        heaviest = np.argsort(-np.square(shown).sum(axis=(1, 2)), kind="stable")[:_MOST_KERNELS]
        shown, some = shown[np.sort(heaviest)], f", the {_MOST_KERNELS} heaviest"
    spot.heading(0.2, f"kernel, {channels}x{height}x{width}{', RGB' if kernel.coloured else some}")
    most = kernel.largest or 1.0
    mosaic = shown / (2 * most) + 0.5 if kernel.coloured else _tiled(shown)
    wide, tall = _fitted(*mosaic.shape[-2:])
    axes = spot.axes(0, _HEAD, wide, tall)
    if kernel.coloured:
        axes.imshow(mosaic.transpose(1, 2, 0), interpolation="none", aspect="auto")
        bare(axes)
        spot.text(0, _HEAD + tall + 0.2, f"grey is 0; ±{kernel.largest:.3g}, the layer's largest")
        return
    image = signed(axes, np.ma.masked_invalid(mosaic), most)
    axes.set_axis_off()
    _bar(spot, _HEAD + tall + 0.12, image, (-most, 0.0, most), "the layer's largest weight")


def _bar(spot: Spot, y: float, image: Any, ends: Sequence[float], note: str) -> None:
    spot.bar(spot.axes(0.2, y, 1.3, 0.08), image, ends)
    spot.text(0, y + 0.38, note, fontsize=7)


def _fitted(height: int, width: int) -> tuple[float, float]:
    """Width and height, in inches, of the largest box of that shape in a panel."""
    return _PANEL * min(1.0, width / height), _PANEL * min(1.0, height / width)


def _tiled(kernels: Values) -> Values:
    """(channels, height, width) kernels side by side in about a square, NaN between them; 1x1 kernels without a gap."""
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


def _spectrum(weights: Values, spot: Spot) -> None:
    """The amplitude over a grid of frequencies: the root of the power summed over input channels."""
    spot.heading(0.2, "its spectrum")
    transform = np.fft.fft2(weights.astype(np.float64), s=(_FREQUENCIES, _FREQUENCIES))
    amplitude = np.fft.fftshift(np.sqrt((np.abs(transform) ** 2).sum(axis=0)))
    amplitude = np.pad(amplitude, ((0, 1), (0, 1)), mode="wrap")  # half a cycle either way is the same frequency
    most, edge = float(amplitude.max()), 0.5 + 0.5 / _FREQUENCIES
    axes = spot.axes(0, _HEAD, _PANEL, _PANEL)
    axes.imshow(amplitude, cmap="cividis", vmin=0, vmax=most or 1.0, interpolation="none", aspect="auto",
                extent=(-edge, edge, edge, -edge))  # fmt: skip
    bare(axes)
    axes.set_xticks([-0.5, 0, 0.5])
    axes.set_yticks([-0.5, 0, 0.5])
    axes.tick_params(labelsize=7, length=2)
    axes.set_xlabel(f"cycles a pixel; amplitude 0 to {most:.3g}", fontsize=7.5, color=style.MUTED, labelpad=3)


def _distribution(found: Activity, spot: Spot) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    spot.heading(0.2, f"activations on {found.images:,} images{', dead' if found.dead else ''}")
    axes = spot.axes(0.45, _HEAD, _WIDE - 0.45, _PANEL)
    lefts, shares, width = _bins(found)
    axes.bar(lefts, shares, width=width, align="edge", color=style.LINES[0], linewidth=0)
    axes.set_yscale("log")
    lowest = floor(log10(min(float(shares[shares > 0].min()), 0.1)))
    axes.set_ylim(10.0**lowest / 1.5, 1.5)
    decades = [10.0**-i for i in range(0, 1 - lowest, max(1, -lowest // 4))]
    axes.set_yticks(decades, [f"{100 * share:g} %" for share in decades])
    axes.axvline(0, color=style.FRAME, linewidth=0.8, zorder=0)
    first, last = lefts[0], lefts[-1] + width
    if found.constant:
        first, last = found.low - 20 * width, found.low + 20 * width
    axes.set_xlim(first - 0.03 * (last - first), last + 0.03 * (last - first))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    marks = [patch.activation for patch in found.patches]
    axes.plot(marks, [0.03] * len(marks), "|", color=style.MARK, markersize=9, clip_on=False,
              transform=axes.get_xaxis_transform())  # fmt: skip
    axes.tick_params(labelsize=7, length=2)
    axes.tick_params(which="minor", length=0)
    below = "share of all activations; marks: the patches below"
    axes.set_xlabel(below, fontsize=7.5, color=style.MUTED, labelpad=3)


def _bins(found: Activity) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Starts, shares and width of about `_BARS` bars; a constant has a single bar."""
    if found.constant:
        width = 0.05 * (abs(found.low) or 1.0)
        return np.array([found.low - width / 2]), np.ones(1), width
    edges, counts = found.histogram.edges, found.histogram.counts
    used = np.flatnonzero(counts)
    step = ceil((used[-1] + 1 - used[0]) / _BARS)
    starts = np.arange(used[0], used[-1] + 1, step)
    shares = np.add.reduceat(counts[: used[-1] + 1], starts) / counts.sum()
    return edges[starts], shares, float(step * (edges[1] - edges[0]))


def _maximised(best: Maximised, found: Activity | None, spot: Spot) -> None:
    assert best.pixels is not None
    spot.heading(0.2, "maximised image")
    axes = spot.axes(0, _HEAD, _PANEL, _PANEL)
    empty(axes, 1, 1)
    tile(axes, best.pixels, best.seen, (0.0, 0.0), 1.0, longest([best.seen]), picture)
    spot.text(0, _HEAD + _PANEL + 0.2, f"reaches {best.activation:.5g} from {best.start:.5g}")
    if found is not None:
        spot.text(0, _HEAD + _PANEL + 0.2 + _LINE, f"the best image: {found.high:.5g}")


def _map(shown: OnImage, spot: Spot) -> None:
    spot.heading(0.2, f"its map of {style.shortened(shown.name, 20)}")
    wide, tall = _fitted(*shown.map.shape)
    axes = spot.axes(0, _HEAD, wide, tall)
    cmap, low, high = scale(shown.low, shown.high)
    image = axes.imshow(shown.map, cmap=cmap, vmin=low, vmax=high, interpolation="none", aspect="auto")
    bare(axes)
    _bar(spot, _HEAD + tall + 0.12, image, (low, 0.0, high) if low < 0 else (0.0, high), "the layer's extremes")


def _value(shown: OnImage, spot: Spot) -> None:
    """The single activation of an image."""
    spot.heading(0.2, style.shortened(shown.name, 24))
    height, width = shown.pixels.shape[1:]
    whole = ((0, height - 1), (0, width - 1))
    axes = spot.axes(0, _HEAD, _PANEL, _PANEL)
    empty(axes, 1, 1)
    tile(axes, shown.pixels, Seen(whole, whole), (0.0, 0.0), 1.0, max(height, width), picture)
    spot.text(0, _HEAD + _PANEL + 0.2, f"activation {shown.map.item():.5g}")
