"""Grids of numbers side by side, as a strip of scenes or as scenes one after the other: an operation worked out.

Numbers are orange above 0 and blue below it (RdBu's neighbours of ColorBrewer, told apart by the colour-blind), each
kind of grid on a scale of its own. What a window covers has an orange-red frame, padding is grey with dotted lines.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.render import sheet, style

CELL = 0.36
"""Inches of a cell's side."""
SMALL = 0.17
"""Inches of a cell's side below which its number is not written."""
WIDEST = 5.2
"""Inches that a grid may be wide or high; cells of larger ones are smaller."""
MOST_SCENES, MOST_FRAMES = 12, 64
FRAME_MS = 1400
"""Milliseconds that a frame stays; the last twice as long."""

_PADDING = "#DDE1E6"
_DIVERGING = ("#67A9CF", "#F7F7F7", "#F4A582")
_GAP, _SIGN, _LEAD, _MARGIN = 0.16, 0.3, 0.24, 0.25
_LETTER = 0.088
"""Inches of a letter of a line of text."""

Place = tuple[int, int]


@dataclass(frozen=True)
class Board:
    """A grid of numbers under a caption; None is a cell without a number.

    ``limit`` is the magnitude with the strongest colour. ``framed`` are places that the window covers, ``padding``
    those that are none of the input's, ``strong`` places whose number is bold.
    """

    caption: str
    values: Sequence[Sequence[Fraction | float | None]]
    limit: float
    framed: frozenset[Place] = frozenset()
    padding: frozenset[Place] = frozenset()
    strong: frozenset[Place] = frozenset()

    @property
    def cell(self) -> float:
        """Inches of a cell's side."""
        return min(CELL, WIDEST / max(len(self.values), len(self.values[0])))

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) in inches, with the caption."""
        rows, columns = len(self.values), len(self.values[0])
        return max(columns * self.cell, _LETTER * 0.8 * len(self.caption)), rows * self.cell + _LEAD


@dataclass(frozen=True)
class Scene:
    """One step: lines of grids with signs between them, the grid that is made, and what is said about it."""

    title: str
    lines: Sequence[Sequence[Board | str]]
    made: Board | None
    words: Sequence[str] = field(default=())


def strip(title: str, scenes: Sequence[Scene], form: str) -> bytes:
    """All scenes one below the other, as ``svg``, ``png`` or ``pdf``. E489 for more than `MOST_SCENES`."""
    style.check_format(form)
    if len(scenes) > MOST_SCENES:
        what = f"a picture of {len(scenes)} steps is more than anyone follows; {MOST_SCENES} fit"
        raise CnnscopeError.of("E489", what, hint="choose some, `--steps 1,2,5`, or write a .gif, a step a frame")
    sizes = [_extent(scene) for scene in scenes]
    width = max(_MARGIN * 2 + max(wide for wide, _ in sizes), _title_width(title))
    height = 0.75 + sum(tall + 0.3 for _, tall in sizes)

    def paint(page: sheet.Spot) -> None:
        axes = _page(page, width, height)
        page.title(_MARGIN, 0.3, title)
        top = 0.65
        for scene, (_, tall) in zip(scenes, sizes, strict=True):
            _scene(axes, scene, top)
            top += tall + 0.3

    return sheet.drawn(width, height, form, paint)


def animation(title: str, scenes: Sequence[Scene]) -> bytes:
    """A scene a frame, as a GIF that repeats. E489 for more than `MOST_FRAMES`."""
    from PIL import Image

    if len(scenes) > MOST_FRAMES:
        raise CnnscopeError.of("E489", f"{len(scenes)} frames are more than anyone watches; {MOST_FRAMES} fit",
                               hint="choose some: `--steps 1,2,5`")  # fmt: skip
    sizes = [_extent(scene) for scene in scenes]
    width = max(_MARGIN * 2 + max(wide for wide, _ in sizes), _title_width(title))
    height = 0.75 + max(tall for _, tall in sizes)

    def frame(scene: Scene) -> Image.Image:
        def paint(page: sheet.Spot) -> None:
            axes = _page(page, width, height)
            page.title(_MARGIN, 0.3, title)
            _scene(axes, scene, 0.65)

        content = sheet.drawn(width, height, "png", paint, dpi=110)
        return Image.open(io.BytesIO(content)).convert("RGB").quantize(96, dither=Image.Dither.NONE)

    first, *others = [frame(scene) for scene in scenes]
    durations = [FRAME_MS] * len(others) + [2 * FRAME_MS]
    made = io.BytesIO()
    first.save(made, "GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=1)
    return made.getvalue()


def brief(value: Fraction | float) -> str:
    """A number as a cell has room for it: ``12``, ``-.25``, ``1/9``, ``3e-4``."""
    number = float(value)
    if number == round(number) and abs(number) < 10_000:
        return str(round(number))
    if isinstance(value, Fraction) and len(str(value)) <= 4 and value.denominator not in (2, 4, 5, 10):
        return str(value)
    if abs(number) >= 10_000 or abs(number) < 0.005:
        return f"{number:.0e}".replace("e-0", "e-").replace("e+0", "e")
    digits = 0 if abs(number) >= 100 else 1 if abs(number) >= 10 else 2
    word = f"{number:.{digits}f}"
    word = word.rstrip("0").rstrip(".") if digits else word
    return word.replace("0.", ".", 1) if abs(number) < 1 and word.lstrip("-").startswith("0.") else word


def _title_width(title: str) -> float:
    return 2 * _MARGIN + 0.115 * len(title)


def _page(page: sheet.Spot, width: float, height: float) -> Any:
    """Axes over the whole page, in inches from its upper left corner."""
    axes = page.axes(0, 0, width, height)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return axes


def _extent(scene: Scene) -> tuple[float, float]:
    """(width, height) in inches of a scene."""
    wide, tall = _lines_extent(scene.lines)
    if scene.made is not None:
        right, high = scene.made.size
        wide, tall = wide + _SIGN * 1.5 + right, max(tall, high)
    words = max((len(word) * _LETTER for word in scene.words), default=0.0)
    return max(wide, words), _LEAD + tall + _LEAD * len(scene.words)


def _lines_extent(lines: Sequence[Sequence[Board | str]]) -> tuple[float, float]:
    wide = max(sum(_width(part) for part in line) for line in lines)
    return wide, sum(_height(line) + _GAP for line in lines) - _GAP


def _width(part: Board | str) -> float:
    return max(_SIGN, len(part) * _LETTER + _GAP) if isinstance(part, str) else part.size[0]


def _height(line: Sequence[Board | str]) -> float:
    return max(part.size[1] for part in line if isinstance(part, Board))


def _scene(axes: Any, scene: Scene, top: float) -> None:
    """Draws a scene with its upper edge at ``top`` inches."""
    axes.text(_MARGIN, top, scene.title, fontsize=9.5, fontweight="bold", va="center", color=style.INK)
    top += _LEAD
    wide, tall = _lines_extent(scene.lines)
    y = top
    for line in scene.lines:
        x, high = _MARGIN, _height(line)
        for part in line:
            if isinstance(part, str):
                axes.text(x + _width(part) / 2, y + (high + _LEAD) / 2, part, ha="center", va="center", fontsize=10,
                          color=style.INK)  # fmt: skip
            else:
                _board(axes, part, x, y + (high - part.size[1]) / 2)
            x += _width(part)
        y += high + _GAP
    if scene.made is not None:
        x = _MARGIN + wide
        high = scene.made.size[1]
        tall = max(tall, high)
        y = top + (tall - high) / 2
        axes.annotate("", (x + _SIGN * 1.3, top + (tall + _LEAD) / 2), (x + _SIGN * 0.3, top + (tall + _LEAD) / 2),
                      arrowprops={"arrowstyle": "-|>", "color": style.MUTED, "lw": 1.2})  # fmt: skip
        _board(axes, scene.made, x + _SIGN * 1.5, y)
    for i, word in enumerate(scene.words):
        axes.text(_MARGIN, top + tall + _LEAD * (i + 0.65), word, fontsize=9, va="center", color=style.INK)


def _board(axes: Any, board: Board, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle

    axes.text(x, y + _LEAD / 2, board.caption, fontsize=7.5, va="center", color=style.MUTED)
    y += _LEAD
    side = board.cell
    frames = []
    for i, row in enumerate(board.values):
        for j, value in enumerate(row):
            place, corner = (i, j), (x + j * side, y + i * side)
            padded = place in board.padding
            fill = _PADDING if padded else "white" if value is None else _fill(float(value), board.limit)
            axes.add_patch(Rectangle(corner, side, side, facecolor=fill, edgecolor=style.FRAME, linewidth=0.5,
                                     linestyle=":" if padded else "-", zorder=1))  # fmt: skip
            if value is not None and side >= SMALL:
                size = 8.5 * side / CELL * (1 if len(brief(value)) < 5 else 0.8)
                colour = style.MUTED if padded else style.INK
                bold = "bold" if place in board.strong else "normal"
                axes.text(corner[0] + side / 2, corner[1] + side / 2, brief(value), ha="center", va="center_baseline",
                          fontsize=size, color=colour, fontweight=bold, zorder=3)  # fmt: skip
            if place in board.framed:
                frames.append(corner)
    for left, upper in frames:
        axes.add_patch(Rectangle((left, upper), side, side, facecolor="none", edgecolor=style.WINDOW, linewidth=1.8,
                                 zorder=2))  # fmt: skip


def _fill(value: float, limit: float) -> str:
    share = 0.5 if limit == 0 else 0.5 + 0.5 * max(-1.0, min(1.0, value / limit))
    return style.between(_DIVERGING, share)
