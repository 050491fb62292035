"""Pictures laid out in inches, from the upper left corner of a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnscope.render import style
from cnnscope.render.style import check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def drawn(wide: float, tall: float, form: str, paint: Callable[[Spot], None], dpi: int = style.DPI) -> bytes:
    """A page of that size in inches as ``png``, ``svg`` or ``pdf``, with what ``paint`` draws on it.

    E604 for another format.
    """
    check_format(form)
    from matplotlib.figure import Figure

    with style.look():
        figure = Figure(figsize=(wide, tall), dpi=dpi)
        paint(Spot(figure))
        return style.encoded(figure, form, dpi=dpi)


@dataclass(frozen=True)
class Spot:
    """A place on a figure, in inches from its left and upper edge. Positions on it are relative to it, downwards."""

    figure: Figure
    left: float = 0.0
    top: float = 0.0

    def at(self, x: float, y: float) -> Spot:
        """The place ``x``, ``y`` inches further to the right and down."""
        return Spot(self.figure, self.left + x, self.top + y)

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        """Text that starts at ``x`` with its middle at ``y``; by default muted and small."""
        width, height = self.figure.get_size_inches()
        look = {"va": "center", "fontsize": 7.5, "color": style.MUTED, **look}
        self.figure.text((self.left + x) / width, 1 - (self.top + y) / height, text, **look)

    def title(self, x: float, y: float, text: str) -> None:
        """The title of a page."""
        self.text(x, y, text, fontsize=12, fontweight="bold", color=style.INK)

    def heading(self, y: float, text: str) -> None:
        """The heading of a part of a page."""
        self.text(0, y, text, fontsize=9.5, color=style.INK)

    def axes(self, x: float, y: float, wide: float, tall: float) -> Axes:
        """Axes with their upper left corner at ``x``, ``y``."""
        width, height = self.figure.get_size_inches()
        left, bottom = (self.left + x) / width, 1 - (self.top + y + tall) / height
        return self.figure.add_axes((left, bottom, wide / width, tall / height))

    def bar(
        self, axes: Axes, image: Any, ends: Sequence[float], labels: Sequence[str] | None = None, size: float = 7,
        *, across: bool = True,
    ) -> None:  # fmt: skip
        """The colour bar of an image in axes of its own; ``labels`` are by default the numbers themselves."""
        bar = self.figure.colorbar(image, cax=axes, orientation="horizontal" if across else "vertical")
        bar.set_ticks(list(ends), labels=labels or [f"{end:.3g}" for end in ends])
        bar.ax.tick_params(labelsize=size, length=2)
        bar.outline.set_linewidth(0.5)


def bare(axes: Axes) -> Axes:
    """Axes with a thin frame and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.6)
    return axes


def picture(axes: Axes, pixels: NDArray[Any], extent: tuple[float, float, float, float]) -> None:
    """Draws (C, H, W) pixels, grey or RGB, of 8 bits or from 0 to 1."""
    top = 255 if pixels.dtype == "uint8" else 1.0
    shown = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    axes.imshow(shown, cmap="gray", vmin=0, vmax=top, extent=extent, interpolation="none", aspect="auto", zorder=2)


def signed(axes: Axes, values: Any, limit: float, **how: Any) -> Any:
    """Draws values blue below 0 and red above it, up to ``limit`` on either side; returns what a colour bar needs."""
    how = {"interpolation": "none", "aspect": "auto", **how}
    return axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, **how)


def scale(low: float, high: float) -> tuple[str, float, float]:
    """Colours and limits: from 0 to the largest value where none is negative, else symmetric about 0."""
    if low < 0:
        most = max(-low, high)
        return "RdBu_r", -most, most
    return "viridis", 0.0, high or 1.0
