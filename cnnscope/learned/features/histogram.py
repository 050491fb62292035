"""The distribution of numbers that come in pieces, without keeping them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BINS = 1024


@dataclass
class Histogram:
    """Counts of numbers in `BINS` bins of one width, half of them below 0; it grows with what it is given."""

    reach: float = 2.0**-30
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: NDArray[np.float32]) -> None:
        largest = float(np.abs(values).max(initial=0))
        while largest >= self.reach:  # two bins become one, in the middle half
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(merged, BINS // 4)
            self.reach *= 2
        index = np.floor((values.astype(np.float64) / self.reach + 1) * (BINS / 2)).astype(np.int64)
        self.counts += np.bincount(index.ravel(), minlength=BINS)

    @property
    def edges(self) -> NDArray[np.float64]:
        return np.linspace(-self.reach, self.reach, BINS + 1)
