"""The steps of a kernel over numbers as pictures: windows, products, sums, and the output as far as it is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import ClassVar

from cnnscope.render import boards
from cnnscope.render.boards import Board, Place, Scene
from cnnscope.render.kernels import Rows, shown
from cnnscope.render.sliding import Number, SlideReport, Step
from cnnscope.render.style import MOVING, check_format, shortened


class Slide(SlideReport):
    """The steps of a kernel over numbers, which can be drawn."""

    KINDS: ClassVar[Sequence[str]] = MOVING

    def drawn(self, kind: str) -> bytes:
        return picture(self, kind)


def picture(report: SlideReport, form: str) -> bytes:
    """A strip of the chosen steps (``svg``, ``png``, ``pdf``), or a ``gif`` with a step a frame.

    E604 for another format, E489 for too many steps.
    """
    check_format(form, report.KINDS)
    scenes = list(_scenes(report))
    title = shortened(_title(report), 80)
    return boards.animation(title, scenes) if form == "gif" else boards.strip(title, scenes, form)


_NAMES = {
    "conv": "convolution",
    "upconv": "transposed convolution",
    "maxpool": "max pooling",
    "avgpool": "mean pooling",
}


def _title(report: SlideReport) -> str:
    size = [len(report.kernel[0]), len(report.kernel[0][0])]
    extent = "x".join(map(str, size[1:] if report.is_signal else size))
    return ", ".join((f"{_NAMES[report.operation].capitalize()} {extent}", *report.settings))


def _scenes(report: SlideReport) -> Iterator[Scene]:
    if report.operation == "upconv":
        yield from _spreading(report)
        return
    limits = [_largest(plane) for plane in (report.input, report.kernel)]
    made = max((abs(float(value)) for row in report.output for value in row), default=0.0)
    products = max((abs(float(product)) for step in report.steps for product in step.products), default=0.0)
    for place in report.chosen:
        step = report.steps[place]
        lines = [
            _line(report, step, channel, limits[0], limits[1], products) for channel in range(len(report.input))
        ]  # fmt: skip
        so_far = [report.steps[i].position for i in range(place + 1)]
        output = [
            [value if (y, x) in so_far else None for x, value in enumerate(row)] for y, row in enumerate(report.output)
        ]
        board = Board("output so far", output, made, framed=frozenset([step.position]))
        yield Scene(_heading(report, place), lines, board, _sums(report, step))


def _heading(report: SlideReport, place: int) -> str:
    at = ",".join(map(str, report.position(report.steps[place])))
    what = "spreads the input at" if report.operation == "upconv" else "makes the output at"
    return f"step {place + 1} of {len(report.steps)} {what} {at}"


def _line(
    report: SlideReport, step: Step, channel: int, most: float, heaviest: float, largest: float
) -> list[Board | str]:
    """The input with the window on it; of a convolution times the kernel, and the products."""
    several = f" channel {channel}" if len(report.input) > 1 else ""
    values, padding, moved = _padded(report, report.input[channel])
    framed = frozenset((y + moved[0], x + moved[1]) for y, x in step.places)
    window, weights, products = (report.split(part)[channel] for part in (step.window, step.weights, step.products))
    if report.operation == "maxpool":
        best = next(i for i, weight in enumerate(step.weights) if weight)
        y, x = step.places[best]
        strong = frozenset([(y + moved[0], x + moved[1])])
        values = [[None if (i, j) in padding else value for j, value in enumerate(row)] for i, row in enumerate(values)]
        return [Board("input", values, most, framed, padding, strong)]
    line: list[Board | str] = [Board(f"input{several}", values, most, framed, padding)]
    if report.operation == "avgpool":
        return line
    outside = frozenset(
        divmod(i, len(window[0])) for i, inside in enumerate(report.inside(step)) if not inside
    )  # fmt: skip
    total = sum((value for row in products for value in row), Fraction(0))
    return [
        *line, "", Board("window", window, most, padding=outside), "×", Board(f"kernel{several}", weights, heaviest),
        "=", Board("products", products, largest), f"sum {shown(total)}",
    ]  # fmt: skip


def _sums(report: SlideReport, step: Step) -> list[str]:
    """How the output comes from the sums, as one line."""
    result = report.result(step)
    assert result is not None
    met = [value for value, inside in zip(step.window, report.inside(step), strict=False) if inside]
    if report.operation == "maxpool":
        return [f"the largest of {', '.join(map(shown, met))} is {shown(result)}"]
    if report.operation == "avgpool":
        terms = " + ".join(_signed(value) for value in step.window)
        return [f"({terms}) / {len(step.window)} = {shown(result)}"]
    parts = [sum((v for row in plane for v in row), Fraction(0)) for plane in report.split(step.products)]
    if len(parts) == 1 and not report.bias and report.activation is None:
        return []
    words = " + ".join(map(_signed, parts))
    before = step.total + report.bias
    if report.bias:
        words += f" + bias {_signed(report.bias)}"
    line = f"{words} = {shown(before)}" if len(parts) > 1 or report.bias else shown(before)
    return [line if report.activation is None else f"{line}, {report.activation} gives {shown(result)}"]


def _spreading(report: SlideReport) -> Iterator[Scene]:
    """A transposed convolution: each input value scales the kernel, and the output adds it up where it lies."""
    most, heaviest = _largest(report.input), _largest(report.kernel)
    largest = max((abs(float(product)) for step in report.steps for product in step.products), default=0.0)
    height, width = len(report.output), len(report.output[0])
    sums = [[Fraction(report.bias)] * width for _ in range(height)]
    made = []
    for step in report.steps:
        for i, added in enumerate(step.products):
            y, x = step.places[i % len(step.places)]
            if 0 <= y < height and 0 <= x < width:
                sums[y][x] += added
        made.append([list(row) for row in sums])
    limit = max(abs(float(value)) for state in made for row in state for value in row)
    for place in report.chosen:
        step = report.steps[place]
        lines: list[list[Board | str]] = []
        columns = len(report.kernel[0][0])
        cut = frozenset(divmod(i, columns) for i, inside in enumerate(report.inside(step)) if not inside)
        for channel, plane in enumerate(report.input):
            several = f" channel {channel}" if len(report.input) > 1 else ""
            scaled = report.split(step.products)[channel]
            lines.append([
                Board(f"input{several}", plane, most, framed=frozenset([step.position])), "",
                Board("value", [[step.window[channel * len(step.places)]]], most), "×",
                Board(f"kernel{several}", report.kernel[channel], heaviest), "=",
                Board("added", scaled, largest, padding=cut),
            ])  # fmt: skip
        landed = frozenset((y, x) for y, x in step.places if 0 <= y < height and 0 <= x < width)
        words = [f"{len(cut)} of {len(step.places)} numbers fall on the padding and are cut off"] if cut else []
        words += [f"every output starts from the bias, {shown(report.bias)}"] if report.bias else []
        yield Scene(_heading(report, place), lines, Board("output so far", made[place], limit, landed), words)


def _padded(
    report: SlideReport, plane: Rows
) -> tuple[Sequence[Sequence[Number | None]], frozenset[Place], tuple[int, int]]:
    """A channel with its padding as cells, which of them are padding, and how far the input moved."""
    above, side = (0 if report.is_signal else report.pad), report.pad
    width = len(plane[0]) + 2 * side
    empty = [[Fraction(0)] * width for _ in range(above)]
    rows = [*empty, *([Fraction(0)] * side + list(row) + [Fraction(0)] * side for row in plane), *empty]
    inside = {(y + above, x + side) for y in range(len(plane)) for x in range(len(plane[0]))}
    padding = frozenset((y, x) for y in range(len(rows)) for x in range(width)) - inside
    return rows, padding, (above, side)


def _largest(planes: Sequence[Rows]) -> float:
    return max((abs(float(value)) for rows in planes for row in rows for value in row), default=0.0)


def _signed(value: Number) -> str:
    return f"({shown(value)})" if value < 0 else shown(value)
