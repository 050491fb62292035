"""The plots of the report: curves over the magnitude, offsets, angles, layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from math import log2, pi, radians
from typing import TYPE_CHECKING, Any

from cnnscope.render import style
from cnnscope.render.audit import drawing
from cnnscope.render.audit.words import Json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CURVES = (("agreement", drawing.BLUE, "o"), ("kappa", drawing.ORANGE, "s"), ("accuracy", drawing.GREEN, "^"))
_LONGEST = 14
"""Characters of a layer's name beside its row."""


@contextmanager
def _figure(height: float, width: float = drawing.WIDTH) -> Iterator[Figure]:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with style.look(), rc_context(drawing.LOOK):
        yield Figure(figsize=(width, height), layout="constrained")


def curves(sheet: drawing.Sheet, probe: Json, baseline: Sequence[Json], label: str) -> str:
    """Agreement, kappa and accuracy over the magnitude with their 95 % bands; hollow marks are not in averages."""
    with _figure(3.1) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log", base=2)
        main = [i for i, averaged in enumerate(probe["averaged"]) if averaged]
        apart = [i for i, averaged in enumerate(probe["averaged"]) if not averaged]
        for name, colour, marker in _CURVES:
            _curve(axes, probe, name, colour, marker, main, apart)
        known = {b["magnitude"]: b["kappa"] for b in baseline if b["on_grid"] == probe["on_grid"][main[0]]}
        points = [(m, known[m]) for m in sorted(known) if known[m] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=drawing.MUTED, linestyle=(0, (4, 3)), linewidth=1.2,
                      label="kappa, random weights")  # fmt: skip
        _shares(axes, probe)
        shown = [probe["magnitudes"][i] for i in (*main, *apart)]
        ticks = _sparse(sorted(set(shown)))
        axes.set_xticks(ticks, [f"{m:g}" for m in ticks])
        axes.minorticks_off()
        axes.set_xlabel({"px": "shift in pixels", "x": "scale factor", "deg": "degrees"}.get(probe["unit"], ""))
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=4, handlelength=1.6, columnspacing=1.2)
        return sheet.svg(figure, label)


def _curve(
    axes: Axes, probe: Json, name: str, colour: str, marker: str, main: Sequence[int], apart: Sequence[int]
) -> None:
    points = [(probe["magnitudes"][i], probe[name][i]) for i in main if probe[name][i]["value"] is not None]
    if not points:
        return
    x, estimates = zip(*points, strict=True)
    axes.fill_between(x, [e["low"] for e in estimates], [e["high"] for e in estimates], color=colour, alpha=0.16,
                      linewidth=0)  # fmt: skip
    axes.plot(x, [e["value"] for e in estimates], color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
    others = [(probe["magnitudes"][i], probe[name][i]["value"]) for i in apart if probe[name][i]["value"] is not None]
    if others:
        axes.plot(*zip(*others, strict=True), color=colour, marker=marker, markersize=4, linestyle="none",
                  markerfacecolor="none", markeredgewidth=1.0)  # fmt: skip


def _shares(axes: Axes, probe: Json) -> None:
    lows = [e["low"] for name, *_ in _CURVES for e in probe[name] if e["low"] is not None]
    axes.set_ylim(min(-0.02, min(lows, default=0.0) - 0.02), 1.02)
    axes.grid(axis="y", linewidth=0.8)
    axes.set_axisbelow(True)


def _sparse(ticks: Sequence[float], least: float = 0.12) -> list[float]:
    """Ticks far enough apart on a logarithmic axis to be read, the last one among them."""
    span = max(log2(ticks[-1] / ticks[0]), 1e-9)
    kept: list[float] = []
    for tick in reversed(ticks):
        if not kept or log2(kept[-1] / tick) / span >= least * 0.5:
            kept.append(tick)
    return kept[::-1]


def offsets(sheet: drawing.Sheet, cells: Mapping[tuple[int, int], float], label: str) -> str:
    """Agreement by offset (dy, dx), only offsets that were measured having rows and columns. Hot is changed.

    The image as it is is framed.
    """
    places = {**cells, (0, 0): 1.0}
    rows, columns = (sorted({place[axis] for place in places}) for axis in (0, 1))
    side = max(len(rows), len(columns))
    with _figure(drawing.WIDTH * 0.86) as figure:
        axes = figure.add_subplot()
        for (dy, dx), value in places.items():
            text = "" if side > 17 else f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
            _cell(axes, columns.index(dx), rows.index(dy), 1 - value, text, 6.5 if side > 10 else 8)
        _outline(axes, columns.index(0), rows.index(0))
        _ticks(axes, [f"{n}" for n in columns], [f"{n}" for n in rows])
        axes.set_aspect("equal")
        axes.set_xlabel("pixels to the right")
        axes.set_ylabel("pixels down")
        return sheet.svg(figure, label)


def remainders(sheet: drawing.Sheet, cells: Mapping[tuple[int, int], float], label: str) -> str:
    """Agreement of offsets with a remainder (dy, dx) less that of others of their size; blue is higher."""
    side = max(max(place) for place in cells) + 1
    widest = max(0.05, *(abs(value) for value in cells.values()))
    with _figure(drawing.WIDTH * 0.86) as figure:
        axes = figure.add_subplot()
        for (dy, dx), value in cells.items():
            text = f"{100 * value:+.0f}".replace("-0", "0").replace("+0", "0") if side <= 12 else ""
            _cell(axes, dx, dy, 0, "", 0)
            axes.patches[-1].set_facecolor(drawing.diverging(0.85 * value / widest))
            axes.text(dx, dy, text, ha="center", va="center_baseline", fontsize=8, color=drawing.INK)
        _ticks(axes, [str(n) for n in range(side)], [str(n) for n in range(side)])
        axes.set_aspect("equal")
        axes.set_xlabel("remainder of pixels to the right")
        axes.set_ylabel("remainder of pixels down")
        return sheet.svg(figure, label)


def forest(sheet: drawing.Sheet, differences: Sequence[Json], label: str) -> str:
    """A row a difference: its value, its interval, and a line at 0."""
    with _figure(0.7 + 0.19 * len(differences), drawing.WIDTH) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=drawing.FRAME, linewidth=1)
        for y, d in enumerate(differences):
            value, low, high = (d["difference"][end] for end in ("value", "low", "high"))
            mean = d["label"] is None
            colour = drawing.MUTED if low <= 0 <= high else drawing.BLUE if low > 0 else drawing.ORANGE
            axes.plot([low, high], [y, y], color=colour, linewidth=1.4)
            axes.plot([value], [y], color=colour, marker="s" if mean else "o", markersize=6 if mean else 4)
        axes.set_yticks(range(len(differences)), [f"{d['family']} {d['title']}" for d in differences], fontsize=8)
        axes.set_ylim(len(differences) - 0.4, -0.6)
        axes.grid(axis="x", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("difference in agreement")
        return sheet.svg(figure, label)


def _cell(axes: Axes, x: float, y: float, heat: float, text: str, size: float) -> None:
    from matplotlib.patches import Rectangle

    fill, edge = drawing.fill(heat), drawing.PAPER
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor=edge, linewidth=1.2))
    if text:
        axes.text(x, y, text, ha="center", va="center_baseline", fontsize=size, color=drawing.text_on(heat))


def _outline(axes: Axes, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x - 0.42, y - 0.42), 0.84, 0.84, facecolor="none", edgecolor=drawing.INK, zorder=3))


def _ticks(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    every = 1 if len(columns) <= 17 else 2
    axes.set_xticks(range(0, len(columns), every), columns[::every])
    axes.set_yticks(range(0, len(rows), every), rows[::every])
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def polar(sheet: drawing.Sheet, angles: Mapping[float, tuple[float, bool]], label: str) -> str:
    """Agreement by angle, counter-clockwise from the top. ``angles``: the value, and whether the pixels are exact."""
    with _figure(drawing.WIDTH * 0.9) as figure:
        axes: Any = figure.add_subplot(projection="polar")
        axes.set_theta_zero_location("N")
        path = _round({angle: value for angle, (value, on_grid) in angles.items() if not on_grid})
        if path:
            theta, r = zip(*((radians(angle), value) for angle, value in path), strict=True)
            axes.plot(theta, r, color=drawing.BLUE, linewidth=1.6, marker="o", markersize=3.6, label="agreement")
            axes.fill([0, *theta], [0, *r], color=drawing.BLUE, alpha=0.10, linewidth=0)
        quarters = [(radians(angle), value) for angle, (value, on_grid) in angles.items() if on_grid]
        if quarters:
            axes.plot(*zip(*quarters, strict=True), color=drawing.ORANGE, marker="s", markersize=6,
                      markerfacecolor="none", markeredgewidth=1.5, linestyle="none", label="quarter turns")  # fmt: skip
        axes.set_ylim(0, 1.04)
        axes.set_yticks([0.25, 0.5, 0.75, 1.0], [".25", ".5", ".75", "1"], fontsize=7.5)
        axes.set_rlabel_position(135)
        axes.set_xticks([i * pi / 6 for i in range(12)], [f"{a}°" for a in (*range(0, 181, 30), *range(-150, 0, 30))])
        axes.grid(color=drawing.SOFT, linewidth=0.8)
        axes.spines["polar"].set_color(drawing.FRAME)
        figure.legend(loc="outside upper left", ncols=2)
        return sheet.svg(figure, label)


def _round(values: Mapping[float, float], widest: float = 60) -> list[tuple[float, float]]:
    """Angles in order with the image as it is at 0; a ring where no gap is wider than ``widest`` degrees."""
    if not values:
        return []
    ring = sorted((angle % 360, value) for angle, value in {**values, 0.0: 1.0}.items())
    ring.append((ring[0][0] + 360, ring[0][1]))
    if max(b[0] - a[0] for a, b in pairwise(ring)) <= widest:
        return ring
    return sorted({**values, 0.0: 1.0}.items())


def layers(sheet: drawing.Sheet, rows: Sequence[Json], label: str) -> str:
    """The distance of every layer's features by magnitude; 1 is as far as those of another image."""
    titles, names = rows[0]["titles"], [style.shortened(row["name"], _LONGEST) for row in rows]
    width = max(drawing.WIDTH, 1.3 + 0.36 * len(titles)) if len(titles) > 9 else drawing.WIDTH
    with _figure(0.75 + 0.29 * len(rows), width) as figure:
        axes = figure.add_subplot()
        for y, row in enumerate(rows):
            for x, estimate in enumerate(row["distance"]):
                value = estimate["value"]
                if value is None:
                    axes.text(x, y, "?", ha="center", va="center_baseline", fontsize=7.5, color=drawing.MUTED)
                else:
                    _cell(axes, x, y, value, f"{value:.2f}".removeprefix("0"), 7.5)
        _ticks(axes, titles, names)
        for i in range(1, len(titles)):
            if rows[0]["on_grid"][i] != rows[0]["on_grid"][i - 1]:
                axes.axvline(i - 0.5, color=drawing.INK, linewidth=1.4)
        if len(titles) > 7:
            axes.tick_params(axis="x", labelsize=7)
        return sheet.svg(figure, label)
