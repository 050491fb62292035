"""The result of a check, and how it is drawn under a picture.

A strip has a line for each check: the value on a track, the controls beside it, and the zone where a value passes. A
passing value is a blue dot, a failing one an orange cross, an unknown one a question mark, so that shapes differ as
well as colours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from cnnscope.render import attribution as documents
from cnnscope.render import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Better = Literal["high", "low"]
Verdict = Literal["pass", "fail", "unknown"]


@dataclass(frozen=True)
class Finding:
    """A ``value`` of None is unknown for the reason ``why``; otherwise it is compared with ``limit``.

    ``controls`` are figures measured in the same way on something else, by its name. ``better`` is the side of the
    limit on which a value passes (a value equal to the limit does not), ``rule`` explains the limit. ``scale`` is that
    of the picture: from 0 to 1, or powers of ten up to 1. ``settings`` say how it was measured, in plain values.
    """

    name: str
    title: str
    value: float | None
    limit: float | None
    better: Better
    rule: str
    controls: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    scale: Literal["share", "powers"] = "share"

    @property
    def verdict(self) -> Verdict:
        if self.value is None or self.limit is None:
            return "unknown"
        good = self.value > self.limit if self.better == "high" else self.value < self.limit
        return "pass" if good else "fail"

    def document(self) -> documents.Finding:
        """The finding in the document of attributions."""
        return documents.Finding(
            title=self.title, value=self.value, limit=self.limit, better=self.better, verdict=self.verdict,
            controls=self.controls, rule=self.rule, why=self.why or None, settings=self.settings,
        )  # fmt: skip


ROW = 0.14
"""Height of a line in inches."""
TRACK = 0.42, 0.79
"""Start and end of tracks, as shares of the tile's width."""
GOOD, BAD, EDGES = style.LINES[0], style.LINES[1], "#CC79A7"
ZONE = "#D3E8F5"
LOWEST = -8
"""The power of ten at which a track of powers starts."""
LEAST = 0.01
"""Smaller values are written as powers of ten on such a track."""
LEGEND = (
    ("zone", "where a value passes"), ("tick", "controls: chance, random order,"), ("", "a map that stays"),
    ("edges", "the image's edges, blind to weights"), ("pass", "passes"), ("fail", "fails"), ("unknown", "not known"),
)  # fmt: skip


def strip_height(findings: Sequence[Finding]) -> float:
    """The height of a strip in inches, at least that of the legend; 0 without findings."""
    return ROW * (max(len(findings), len(LEGEND)) + 1) if findings else 0.0


def draw_strip(axes: Axes, findings: Sequence[Finding], tall: float) -> None:
    """Draws the lines of one tile, on axes of its width that are ``tall`` inches high."""
    _bare(axes, tall)
    for i, finding in enumerate(findings):
        _line(axes, finding, -(i + 0.5) * ROW)


def draw_legend(axes: Axes, tall: float) -> None:
    """Draws the meaning of the marks, on axes like those of `draw_strip`."""
    _bare(axes, tall)
    for i, (kind, text) in enumerate(LEGEND):
        y = -(i + 0.5) * ROW
        if kind == "zone":
            axes.barh(y, 0.08, height=0.1, left=0.0, color=ZONE)
        elif kind:
            _mark(axes, kind, 0.04, y)
        _text(axes, 0.13, y, text, "left")


def place(value: float, scale: str) -> float:
    """The place of a value on its track, from 0 to 1; values beyond an end are drawn at it."""
    if scale == "powers":
        value = 1 - math.log10(value) / LOWEST if value > 0 else 0.0
    return min(max(value, 0.0), 1.0)


def _bare(axes: Axes, tall: float) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(-tall, 0)


def _line(axes: Axes, finding: Finding, y: float) -> None:
    left, right = TRACK

    def x(value: float) -> float:
        return left + (right - left) * place(value, finding.scale)

    _text(axes, 0.0, y, finding.title, "left")
    axes.plot([left, right], [y, y], color=style.FRAME, linewidth=0.5, zorder=1)
    if finding.limit is not None:
        end = right if finding.better == "high" else left
        axes.barh(y, end - x(finding.limit), height=0.09, left=x(finding.limit), color=ZONE, zorder=0)
    for name, value in finding.controls.items():
        _mark(axes, "edges" if name == "edges" else "tick", x(value), y)
    if finding.value is None:
        _mark(axes, "unknown", 0.97, y)
        return
    _mark(axes, finding.verdict, x(finding.value), y)
    _text(axes, 0.925, y, said(finding.value, finding.scale), "right")
    _mark(axes, finding.verdict, 0.97, y)


def said(value: float, scale: str) -> str:
    """A value as short text."""
    return f"{value:.0e}" if scale == "powers" and value < LEAST else f"{value:.2f}"


def _mark(axes: Axes, kind: str, x: float, y: float) -> None:
    if kind == "unknown":
        _text(axes, x, y, "?", "center")
    elif kind == "tick":
        axes.plot([x, x], [y - 0.045, y + 0.045], color=style.MUTED, linewidth=0.8, zorder=2)
    elif kind == "edges":
        axes.plot(x, y, "d", color=EDGES, markersize=3, markeredgewidth=0, zorder=3)
    elif kind == "pass":
        axes.plot(x, y, "o", color=GOOD, markersize=4, markeredgewidth=0, zorder=4)
    else:
        axes.plot(x, y, "x", color=BAD, markersize=3.8, markeredgewidth=1.2, zorder=4)


def _text(axes: Axes, x: float, y: float, text: str, side: str) -> None:
    axes.text(x, y, text, fontsize=6.3, color=style.MUTED, ha=side, va="center_baseline")
