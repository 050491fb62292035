"""Placing things on a page in inches, and the pieces that pages are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from cnnscope.learned.features.seen import Seen
from cnnscope.render import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Extent = tuple[float, float, float, float]
"""Left, right, bottom, top, as `imshow` takes it."""


@dataclass(frozen=True)
class Spot:
    """A corner on a figure, in inches from its left and upper edge; what is placed counts from there, downwards."""

    figure: Figure
    left: float
    top: float

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        """Text that begins at ``x``, its middle at ``y``; muted and small unless said otherwise."""
        width, height = self.figure.get_size_inches()
        look = {"va": "center", "fontsize": 7.5, "color": style.MUTED, **look}
        self.figure.text((self.left + x) / width, 1 - (self.top + y) / height, text, **look)

    def axes(self, x: float, y: float, wide: float, tall: float) -> Axes:
        """Axes whose upper left corner is at ``x``, ``y``."""
        width, height = self.figure.get_size_inches()
        left, bottom = (self.left + x) / width, 1 - (self.top + y + tall) / height
        return self.figure.add_axes((left, bottom, wide / width, tall / height))

    def bar(self, x: float, y: float, image: Any, ends: Sequence[float], note: str = "") -> None:
        """A colour bar of what `imshow` gave, and a note below it."""
        bar = self.figure.colorbar(image, cax=self.axes(x + 0.2, y, 1.3, 0.08), orientation="horizontal")
        bar.set_ticks(list(ends), labels=[f"{end:.3g}" for end in ends])
        bar.ax.tick_params(labelsize=7, length=2)
        bar.outline.set_linewidth(0.5)
        self.text(x, y + 0.38, note, fontsize=7)


def longest(seen: Sequence[Seen]) -> int:
    """Pixels of the longest side of any frame: what `tile` needs to draw them all at one size of pixel."""
    return max(high - low + 1 for one in seen for low, high in one.frame)


def tile(
    axes: Axes, image: NDArray[Any], seen: Seen, corner: tuple[float, float], side: float, pixels: int,
    paint: Callable[[Axes, NDArray[Any], Extent], None],
) -> None:  # fmt: skip
    """What is seen of an image (C, H, W), in the middle of a square of ``side`` that is ``pixels`` wide.

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
    """Axes without axes, (0, 0) in the upper left corner."""
    axes.set_axis_off()
    axes.set_xlim(0, wide)
    axes.set_ylim(tall, 0)
