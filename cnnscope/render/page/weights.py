"""How the weights of a layer are distributed, small enough to embed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnscope.render import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

BARS, TALL = 32, 24
"""Bars of a histogram, and the units of the highest."""


@dataclass(frozen=True)
class Histogram:
    """The values of one tensor between ``low`` and ``high`` in `BARS` equal bins. ``mean`` and ``deviation`` are of the
    finite values; ``odd`` counts the others (infinite, or no number)."""

    name: str
    counts: tuple[int, ...]
    low: float
    high: float
    mean: float
    deviation: float
    odd: int = 0

    @property
    def text(self) -> str:
        """The figures in words."""
        odd = f"; {self.odd:,} not finite" if self.odd else ""
        spread = f"mean {self.mean:.3g}, standard deviation {self.deviation:.3g}"
        return f"{sum(self.counts) + self.odd:,} values from {self.low:.3g} to {self.high:.3g}, {spread}{odd}"

    @property
    def path(self) -> str:
        """The bars as the outline of an SVG path, `BARS` wide and `TALL` high; a bar that is not empty is at least one
        unit high."""
        most = max(self.counts)
        heights = [max(1, round(TALL * n / most)) if n else 0 for n in self.counts]
        steps = (f"V{TALL - height}h1" for height in heights)
        return f"M0 {TALL}{''.join(steps)}V{TALL}z"

    @property
    def record(self) -> dict[str, Any]:
        """What the page draws; ``zero`` is where zero lies along the bars, None where it lies outside."""
        zero = None if self.low > 0 or self.high < 0 or self.low == self.high else (
            round(BARS * -self.low / (self.high - self.low), 1))  # fmt: skip
        return {"name": numbers.printable(self.name), "text": self.text, "path": self.path, "zero": zero}


def histogram(name: str, values: NDArray[Any]) -> Histogram | None:
    """The histogram of a tensor of any shape; None where it has no finite value."""
    import numpy as np

    flat = np.asarray(values, dtype=np.float64).ravel()
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    counts, _ = np.histogram(finite, bins=BARS, range=(low, high) if low < high else (low - 0.5, low + 0.5))
    return Histogram(name, tuple(map(int, counts)), low, high, float(finite.mean()), float(finite.std()),
                     int(flat.size - finite.size))  # fmt: skip
