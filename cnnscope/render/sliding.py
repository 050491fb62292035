"""A kernel slid over an input, step by step: the values under it, their products and sum, and the row of the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cnnscope.render.documents.document import Document
from cnnscope.render.kernels import ExampleStep, KernelExample, KernelsDocument, Rows, shown, text
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table

_WIDEST_MATRIX = 36
"""Numbers of an input up to which rows of the matrix are printed."""


@dataclass(frozen=True, slots=True)
class Step:
    """The kernel in one place.

    ``position`` is (y, x) in the output, ``window`` the values under the kernel with padding as 0, ``weights`` those of
    the kernel, both in reading order; ``row`` has the weights at their places in the flattened input.
    """

    position: tuple[int, int]
    window: tuple[Fraction, ...]
    weights: tuple[Fraction, ...]
    row: tuple[Fraction, ...]

    @property
    def products(self) -> tuple[Fraction, ...]:
        return tuple(weight * value for weight, value in zip(self.weights, self.window, strict=True))

    @property
    def total(self) -> Fraction:
        return sum(self.products, Fraction(0))


@dataclass(frozen=True)
class SlideReport(Result):
    """The ``cnnscope.kernels`` document of an example.

    ``output`` has the sums as a grid, ``flipped`` what convolution in the sense of signal processing gives, where the
    kernel is rotated by 180 degrees first.
    """

    kernel: Rows
    input: Rows
    stride: int
    pad: int
    dilation: int
    steps: tuple[Step, ...]
    output: Rows
    flipped: Rows
    bare: bool = False

    @property
    def is_signal(self) -> bool:
        """Whether there is one axis only."""
        return len(self.kernel) == len(self.input) == 1

    def as_document(self) -> Document:
        steps = [
            ExampleStep(
                position=self._position(step), window=_numbers(step.window), products=_numbers(step.products),
                sum=_number(step.total),
            )
            for step in self.steps
        ]  # fmt: skip
        example = KernelExample(
            kernel=_grid(self.kernel), input=_grid(self.input), stride=self.stride, pad=self.pad,
            dilation=self.dilation, steps=steps, output=_grid(self.output), flipped_output=_grid(self.flipped),
            matrix=[_numbers(step.row) for step in self.steps],
        )  # fmt: skip
        return KernelsDocument(kernels=[], image=None, example=example)

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"position": ",".join(map(str, self._position(step))), "window": self._window(step.window),
             "products": _sum_of_products(step), "sum": shown(step.total),
             "matrix_row": " ".join(map(shown, step.row))}
            for step in self.steps
        ]  # fmt: skip

    def table(self) -> Table:
        matrix = self._matrix()
        columns = [Column("at", True), Column("window"), Column("products"), Column("sum", True)]
        if matrix:
            columns.append(Column("row of the matrix", rank=1, fold=False))
        lines = []
        for i, record in enumerate(self.records()):
            cells = [str(record[key]) for key in ("position", "window", "products", "sum")]
            lines.append(Line((*cells, *matrix[i : i + 1])))
        title = f"kernel {text(self.kernel)} over {text(self.input)}"
        return Table(title, tuple(columns), tuple(lines), notes=() if self.bare else self._notes())

    def _notes(self) -> tuple[str, ...]:
        settings = (("stride", self.stride, 1), ("padding", self.pad, 0), ("dilation", self.dilation, 1))
        said = [f"{name} {value}" for name, value, plain in settings if value != plain]
        rows, columns = len(self.steps), len(self.steps[0].row)
        structure = "each row is the one above, moved by " + ("one" if self.stride == 1 else str(self.stride))
        if not self.is_signal:
            structure = "a Toeplitz block for each pair of an output row and an input row"
        elif self.stride == 1:
            structure += ": a Toeplitz matrix"
        full = sum(weight != 0 for step in self.steps for weight in step.row)
        hidden = "" if columns <= _WIDEST_MATRIX else "; `-f json` has it"
        return (
            f"output {text(self.output)}{''.join(f', {part}' for part in said)}",
            f"the {rows}x{columns} matrix times the input is the output; {structure}; {full} of {rows * columns:,} "
            f"entries are not 0{hidden}",
            "as networks do, the kernel is not flipped (cross-correlation); flipped first (convolution in signal "
            f"processing) it would give {text(self.flipped)}",
        )

    def _matrix(self) -> list[str]:
        if len(self.steps[0].row) > _WIDEST_MATRIX:
            return []
        cells = [[shown(weight) for weight in step.row] for step in self.steps]
        width = max(len(cell) for row in cells for cell in row)
        return [" ".join(cell.rjust(width) for cell in row) for row in cells]

    def _position(self, step: Step) -> list[int]:
        return [step.position[1]] if self.is_signal else list(step.position)

    def _window(self, values: Sequence[Fraction]) -> str:
        width = len(self.kernel[0])
        rows = (values[start : start + width] for start in range(0, len(values), width))
        return text(tuple(tuple(row) for row in rows))


def _sum_of_products(step: Step) -> str:
    pairs = zip(step.weights, step.window, strict=True)
    return " + ".join(f"{_factor(weight)}*{_factor(value)}" for weight, value in pairs)


def _factor(number: Fraction) -> str:
    word = shown(number)
    return f"({word})" if "/" in word else word


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def _numbers(values: Sequence[Fraction]) -> list[int | float]:
    return [_number(value) for value in values]


def _grid(rows: Rows) -> list[list[int | float]]:
    return [_numbers(row) for row in rows]
