"""CPU time of a picture of 256 filters: one tiled axes, as `cnnscope filters` draws it, against an axes a filter.

    python benchmarks/filter_atlas.py [ROUNDS]

Both draw the same weights with the same scale and numbers to PNG bytes at the same size, in turn in one process, after
one unmeasured round. Prints the median CPU time (user + system) of each and their ratio. Target: 256 filters in less
than 0.5 s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cnnscope.learned.filters.atlas import draw
from cnnscope.learned.filters.mosaic import Panel
from cnnscope.render import style
from cnnscope.render.filters import FilterRow, LayerFilters

FILTERS = 256
SHAPES = {"3x3, one channel": (FILTERS, 1, 3, 3), "7x7, RGB": (FILTERS, 3, 7, 7)}
SIDE = 16


def tiled(weights: NDArray[Any]) -> bytes:
    """What the command draws."""
    none = (None,) * 6
    rows = tuple(FilterRow(i, 1.0, *none, "Sobel x", 0.5, 0.5, None, None, None) for i in range(len(weights)))
    layer = LayerFilters("conv1", "conv", weights.shape, 1, float(np.abs(weights).max()), rows, {})
    return draw([Panel(layer, weights, weights.shape[1] == 3)], "256 filters", "png")


def one_axes_each(weights: NDArray[Any]) -> bytes:
    """The plain way: `subplots`, and `imshow` in each."""
    with style.look():
        figure = Figure(figsize=(9.0, 8.0))
        level = weights / (2 * np.abs(weights).max()) + 0.5
        for i, axes in enumerate(figure.subplots(SIDE, SIDE).flat):
            tile = level[i].transpose(1, 2, 0) if weights.shape[1] == 3 else level[i, 0]
            axes.imshow(tile, cmap="gray", vmin=0, vmax=1, interpolation="none")
            axes.set_axis_off()
            axes.set_title(str(i), fontsize=5, pad=1)
        return style.encoded(figure, "png")


def cpu_seconds(action: Callable[[NDArray[Any]], bytes], weights: NDArray[Any]) -> float:
    """User and system time of this process."""
    before = time.process_time()
    action(weights)
    return time.process_time() - before


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name, shape in SHAPES.items():
        weights = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        times: dict[Callable[[NDArray[Any]], bytes], list[float]] = {tiled: [], one_axes_each: []}
        for turn in range(rounds + 1):
            for action, taken in times.items():
                seconds = cpu_seconds(action, weights)
                if turn:
                    taken.append(seconds)
        ours, theirs = (median(taken) for taken in times.values())
        print(f"{FILTERS} filters, {name:17} tiled {ours:6.3f} s  an axes each {theirs:6.3f} s  {ours / theirs:6.3f} x")


if __name__ == "__main__":
    main()
