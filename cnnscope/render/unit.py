"""What one unit sees, drawn on the input: the pixels it depends on, their box, and the box that counts padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact import exact, touched
from cnnscope.analysis.receptive_field.walk import find
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.render import numbers, style
from cnnscope.render.fields import AXES, UnitReport
from cnnscope.render.html import fitted
from cnnscope.render.style import KINDS, PICTURES, check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL.Image import Image

SEEN = KINDS["block"]
"""The pixels that the unit depends on."""
REACH = 0.6
"""At most this share of the image's side is shown beyond each edge; a larger field is cut, with a note."""
MOST_INPUTS = 3


@dataclass(frozen=True)
class Unit(UnitReport):
    """What one unit sees. It can be drawn, over ``image`` if there is one."""

    KINDS: ClassVar[Sequence[str]] = PICTURES
    image: Path | None = None

    def drawn(self, kind: str) -> bytes:
        return picture(self, kind, None if self.image is None else fitted(self.image, self.graph))


def unit(graph: Graph, source: str, layer: str, position: tuple[int, ...], image: Path | None = None) -> Unit:
    """The receptive field of the unit at a position of a layer. E205 no such layer, E203 position, E306 unsupported."""
    found = exact(graph, [layer])
    full, local = found.box(layer, position), found.box(layer, position, local=True)
    field = theoretical(graph)[find(graph, layer)]
    return Unit(
        graph, source, layer, position, theoretical=field.box(position), exact=local, full=full, via=field.via,
        image=image,
    )  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One input: which of its pixels the unit depends on, as an array of rows and columns of pixels.

    A signal is one row high; of a volume it is what any slice shows, ``slices`` are those touched.
    """

    name: str
    mask: NDArray[Any]
    theoretical: tuple[tuple[int, int], ...] | None
    slices: tuple[int, int] | None = None


def picture(report: UnitReport, form: str, image: Image | None = None) -> bytes:
    """The picture as ``png``, ``svg`` or ``pdf``; ``image`` is drawn under the boxes at the size of the input.

    E604 for another format, E607 where the unit sees no image.
    """
    check_format(form)
    from matplotlib.figure import Figure

    panels = _panels(report)
    with style.look():
        height, width = panels[0].mask.shape
        tall = min(max(5.6 * height / width, 2.2), 7.0)
        figure = Figure(figsize=(5.6 * len(panels) + 2.4, tall + 1.5), layout="constrained")
        grid = figure.add_gridspec(1, len(panels) + 1, width_ratios=[5.6] * len(panels) + [2.0])
        for i, panel in enumerate(panels):
            axes = figure.add_subplot(grid[0, i])
            _draw(axes, panel, image)
            if len(panels) > 1:
                axes.set_title(numbers.printable(panel.name), fontsize=9)
        _map(figure.add_subplot(grid[0, -1]), report)
        _captions(figure, report, panels)
        return style.encoded(figure, form)


def _panels(report: UnitReport) -> list[Panel]:
    local = report.exact is not None
    masks = touched(report.graph, report.layer, report.position, local=local)
    seen = {name: mask for name, mask in masks.items() if mask.any()}
    if not seen:
        raise CnnscopeError.of("E607", f"there is nothing to draw: the unit of `{report.layer}` sees no image")
    rank = max(mask.ndim for mask in seen.values())
    chosen = [name for name, mask in seen.items() if mask.ndim == rank][:MOST_INPUTS]
    return [_panel(name, seen[name], report.theoretical if local else None) for name in chosen]


def _panel(name: str, mask: NDArray[Any], theoretical: tuple[tuple[int, int], ...] | None) -> Panel:
    if mask.ndim == 1:
        return Panel(name, mask[None], theoretical and ((0, 0), *theoretical))
    if mask.ndim == 2:
        return Panel(name, mask, theoretical)
    depths = mask.nonzero()[0]
    flat = mask.max(axis=tuple(range(mask.ndim - 2)))
    return Panel(name, flat, theoretical and theoretical[-2:], (int(depths.min()), int(depths.max())))


def _draw(axes: Axes, panel: Panel, image: Image | None) -> None:
    height, width = panel.mask.shape
    signal = height == 1
    axes.set_aspect("auto" if signal else "equal")
    whole = (-0.5, width - 0.5, height - 0.5, -0.5)
    if image is not None:
        axes.imshow(image, extent=whole, cmap="gray", vmin=0, vmax=255, aspect=axes.get_aspect(), zorder=1)
    else:
        _rectangle(axes, ((0, height - 1), (0, width - 1)), facecolor="white", linewidth=0, zorder=-0.5)
    _rectangle(axes, ((0, height - 1), (0, width - 1)), facecolor="none", edgecolor=style.INK, linewidth=1.0, zorder=2)
    box = _box(panel.mask)
    _pixels(axes, panel.mask, box, over=image is not None)
    if panel.theoretical is not None:
        sides = zip(panel.theoretical, (height, width), strict=True)
        if any(low < 0 or high >= extent for (low, high), extent in sides):
            _rectangle(axes, panel.theoretical, facecolor="none", edgecolor=style.FRAME, hatch="////", linewidth=0,
                       zorder=-1, label="padding it reaches into")  # fmt: skip
        _rectangle(axes, panel.theoretical, facecolor="none", edgecolor=style.MARK, linestyle=(0, (4, 2)),
                   linewidth=1.4, zorder=4, label="theoretical field, padding counted")  # fmt: skip
    _rectangle(axes, box, facecolor="none", edgecolor=style.MARK, linewidth=2.2, zorder=5, label="exact box")
    _limits(axes, panel, signal)


def _pixels(axes: Axes, mask: NDArray[Any], box: Sequence[tuple[int, int]], *, over: bool) -> None:
    """Tints the pixels that are read; over a photograph these keep their colours, others fade and holes are dark."""
    import numpy as np
    from matplotlib.colors import to_rgba

    colours = np.zeros((*mask.shape, 4))
    inside = np.zeros(mask.shape, bool)
    inside[tuple(slice(lo, hi + 1) for lo, hi in box)] = True
    holes = inside & ~mask
    colours[~inside] = (1.0, 1.0, 1.0, 0.45 if over else 0.0)
    colours[mask] = to_rgba(SEEN, 0.0 if over else 0.75)
    colours[holes] = (0.06, 0.07, 0.09, 0.72) if over else to_rgba(style.INK, 0.28)
    height, width = mask.shape
    axes.imshow(colours, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="none", aspect=axes.get_aspect(),
                zorder=3)  # fmt: skip
    if not over:
        axes.plot([], [], marker="s", linestyle="none", markersize=8, color=SEEN, alpha=0.75, label="pixels it sees")
    if holes.any():
        axes.plot([], [], marker="s", linestyle="none", markersize=8, color=style.INK, alpha=0.72 if over else 0.28,
                  label="holes: pixels in the box that it does not see")  # fmt: skip


def _limits(axes: Axes, panel: Panel, signal: bool) -> None:
    """The image with what padding is seen, but not more than its own size again."""
    shown = []
    for i, extent in enumerate(panel.mask.shape):
        lo, hi = panel.theoretical[i] if panel.theoretical else (0, extent - 1)
        margin = max(0.03 * extent, 0.6)
        most = REACH * extent
        shown.append((max(min(lo, 0), -most) - margin, min(max(hi, extent - 1), extent - 1 + most) + margin))
    (top, bottom), (left, right) = shown
    axes.set_xlim(left, right)
    axes.set_ylim((1.1, -1.1) if signal else (bottom, top))
    axes.set_xlabel("x")
    axes.grid(color=style.PAPER, linewidth=1.0)
    axes.set_axisbelow(True)
    if signal:
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    else:
        axes.set_ylabel("y")


def _map(axes: Axes, report: UnitReport) -> None:
    """The layer's map with the unit in its place."""
    spatial = report.graph.value(find(report.graph, report.layer)).spatial
    if not spatial or not report.position:
        axes.set_axis_off()
        return
    height, width = (1, *spatial)[-2:]
    row, column = (0, *report.position)[-2:]
    axes.set_aspect("equal" if height > 1 else "auto")
    _rectangle(axes, ((0, height - 1), (0, width - 1)), facecolor=style.PAPER, edgecolor=style.FRAME, linewidth=0.8)
    if max(height, width) <= 32:
        axes.hlines([i - 0.5 for i in range(1, height)], -0.5, width - 0.5, color="white", linewidth=0.8)
        axes.vlines([i - 0.5 for i in range(1, width)], -0.5, height - 0.5, color="white", linewidth=0.8)
    axes.plot(column, row, marker="s", color=style.MARK, markersize=6)
    axes.set_xlim(-1, width)
    axes.set_ylim(height if height > 1 else 2, -1 if height > 1 else -2)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title("the unit in its map", fontsize=8, loc="center", fontweight="normal", color=style.MUTED)
    text = f"{style.shortened(report.layer, 24)}\n{numbers.shape(spatial)}"
    axes.set_xlabel(text, fontsize=8, color=style.MUTED)


def _captions(figure: Figure, report: UnitReport, panels: Sequence[Panel]) -> None:
    at = f" ({', '.join(map(str, report.position))})" if report.position else ""
    title = f"{style.shortened(report.graph.name, 40)}: what {style.shortened(report.layer, 40)}{at} sees"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    texts = _texts(report, panels)
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=2,
                  title="\n".join(texts), title_fontsize=8, alignment="left")  # fmt: skip


def _texts(report: UnitReport, panels: Sequence[Panel]) -> list[str]:
    texts = []
    for panel in panels:
        (top, bottom), (left, right) = box = _box(panel.mask)
        inside = prod(hi - lo + 1 for lo, hi in box)
        count = int(panel.mask.sum())
        where = f"x {left} to {right}" if panel.mask.shape[0] == 1 else f"y {top} to {bottom}, x {left} to {right}"
        if panel.slices:
            where = f"z {panel.slices[0]} to {panel.slices[1]}, {where}"
        share = "every pixel" if count == inside else f"{count:,} of {inside:,} pixels ({100 * count / inside:.1f} %)"
        name = f"{numbers.printable(panel.name)}: " if len(panels) > 1 else ""
        texts.append(f"{name}sees {where}; {share} in that box{' in some slice' if panel.slices else ''}")
    if report.theoretical is not None:
        names = AXES.get(len(report.theoretical), ())
        sides = (f"{n} {lo} to {hi}" for n, (lo, hi) in zip(names, report.theoretical, strict=True))
        texts.append(f"with padding {', '.join(sides)}")
    if report.via:
        more = "beside that " if report.exact is not None else ""
        texts.append(f"{more}the whole image through {style.shortened(', '.join(report.via), 60)}")
    return texts


def _box(mask: NDArray[Any]) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = mask.nonzero()
    return (int(rows.min()), int(rows.max())), (int(columns.min()), int(columns.max()))


def _rectangle(axes: Axes, box: Sequence[tuple[int, int]], **look: Any) -> None:
    """Round the outer edges of the pixels of a box."""
    from matplotlib.patches import Rectangle

    (top, bottom), (left, right) = box
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left + 1, bottom - top + 1, **look))
