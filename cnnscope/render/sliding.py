"""A kernel slid over an input, step by step: the values under it, their products and sum, and the row of the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from cnnscope.render.documents.document import Document
from cnnscope.render.kernels import ExampleStep, KernelExample, KernelsDocument, Planes, shown, text
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table

_WIDEST_MATRIX = 36
"""Numbers of an input up to which rows of the matrix are printed."""

Number = Fraction | float
"""Exact, but behind an activation that is no ratio of whole numbers."""
Operation = Literal["conv", "upconv", "maxpool", "avgpool"]


@dataclass(frozen=True, slots=True)
class Step:
    """The kernel in one place.

    ``position`` is (y, x) in the output, of a transposed convolution in the input. ``places`` are the (y, x) in the
    input (in the output) that the kernel's numbers meet, in reading order; those outside are padding. ``window`` has
    the values there, channel after channel, padding as 0, and ``weights`` those of the kernel. Max pooling weights the
    largest value with 1 and the others with 0. A transposed convolution meets one value for all of a channel's weights.

    ``row`` has the weights at their places in the flattened input, which is the row of the matrix that makes this
    output; of a transposed convolution it is the column that spreads this input, in the flattened output.
    """

    position: tuple[int, int]
    places: tuple[tuple[int, int], ...]
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

    ``kernel`` and ``input`` have a grid for each channel. ``output`` is a grid of the sums with the bias, after the
    activation; ``flipped`` what convolution in the sense of signal processing gives, where the kernel is rotated by
    180 degrees first. ``chosen`` are the steps that are shown, in their order, counted from 0.
    """

    operation: Operation
    kernel: Planes
    input: Planes
    stride: int
    pad: int
    dilation: int
    bias: Fraction
    activation: str | None
    steps: tuple[Step, ...]
    chosen: tuple[int, ...]
    output: tuple[tuple[Number, ...], ...]
    flipped: tuple[tuple[Number, ...], ...]
    bare: bool = False

    @property
    def is_signal(self) -> bool:
        """Whether there is one axis only."""
        return len(self.kernel[0]) == len(self.input[0]) == 1

    @property
    def matrix(self) -> tuple[tuple[Fraction, ...], ...]:
        """Times the flattened input it is the flattened output, without bias and activation."""
        if self.operation != "upconv":
            return tuple(step.row for step in self.steps)
        outputs = len(self.output) * len(self.output[0])
        columns = [
            step.row[channel * outputs : (channel + 1) * outputs]
            for channel in range(len(self.kernel)) for step in self.steps
        ]  # fmt: skip
        return tuple(zip(*columns, strict=True))

    def result(self, step: Step) -> Number | None:
        """The output that a step makes; None of a transposed convolution, where a step adds to several."""
        return None if self.operation == "upconv" else self.output[step.position[0]][step.position[1]]

    def as_document(self) -> Document:
        steps = [
            ExampleStep(
                position=self.position(step), window=_numbers(step.window), products=_numbers(step.products),
                sum=_number(step.total), output=_known(self.result(step)),
            )
            for step in self._shown()
        ]  # fmt: skip
        example = KernelExample(
            kernel=_stacked(self.kernel), input=_stacked(self.input), stride=self.stride, pad=self.pad,
            dilation=self.dilation, steps=steps, output=_grid(self.output), flipped_output=_grid(self.flipped),
            matrix=_grid(self.matrix), op=self.operation, channels=len(self.input), bias=_number(self.bias),
            activation=self.activation,
        )  # fmt: skip
        return KernelsDocument(kernels=[], image=None, example=example)

    def records(self) -> list[dict[str, Cell]]:
        return [self._record(step) for step in self._shown()]

    def _record(self, step: Step) -> dict[str, Cell]:
        result: dict[str, Cell] = {"output": self._result(step)} if self._is_changed else {}
        return {
            "position": ",".join(map(str, self.position(step))), "window": self._window(step.window),
            "products": self._products(step), "sum": shown(step.total), **result,
            "matrix_row": " ".join(map(shown, step.row)),
        }  # fmt: skip

    def table(self) -> Table:
        matrix = self._matrix()
        columns = [Column("at", True), Column("window"), Column("products"), Column("sum", True)]
        keys = ["position", "window", "products", "sum"]
        if self._is_changed:
            columns.append(Column("output", True))
            keys.append("output")
        if matrix:
            name = "column" if self.operation == "upconv" else "row"
            columns.append(Column(f"{name} of the matrix", rank=1, fold=False))
        lines = []
        for i, record in enumerate(self.records()):
            cells = [str(record[key]) for key in keys]
            lines.append(Line((*cells, *matrix[i : i + 1])))
        return Table(self.title, tuple(columns), tuple(lines), notes=() if self.bare else self._notes())

    @property
    def title(self) -> str:
        over = text(*self.input)
        if self.operation in ("maxpool", "avgpool"):
            rows, columns = len(self.kernel[0]), len(self.kernel[0][0])
            size = str(columns) if self.is_signal else f"{rows}x{columns}"
            return f"{self.operation} {size} over {over}"
        return f"{'kernel' if self.operation == 'conv' else 'transposed kernel'} {text(*self.kernel)} over {over}"

    @property
    def settings(self) -> tuple[str, ...]:
        """What is not as by default, in words: stride, padding, dilation, bias, activation."""
        usual = len(self.kernel[0][0]) if "pool" in self.operation else 1
        settings = (("stride", self.stride, usual), ("padding", self.pad, 0), ("dilation", self.dilation, 1))
        said = [f"{name} {value}" for name, value, plain in settings if value != plain]
        said += [f"bias {shown(self.bias)}"] if self.bias else []
        return (*said, *([self.activation] if self.activation else []))

    @property
    def _is_changed(self) -> bool:
        """Whether outputs are not the sums themselves."""
        return self.operation != "upconv" and (self.bias != 0 or self.activation is not None)

    def _notes(self) -> tuple[str, ...]:
        made = f"output {text(self.output)}{''.join(f', {part}' for part in self.settings)}"
        if self.operation == "upconv":
            return (made, "each input spreads the kernel, scaled by its value, over the output, where overlapping "
                    "numbers add up; the matrix is that of the convolution, transposed")  # fmt: skip
        if self.operation == "maxpool":
            return (made, "each output is the largest number under the window; padding is never the largest")
        if self.operation == "avgpool":
            padding = "; padding counts as 0" if self.pad else ""
            return (made, f"each output is the mean of the numbers under the window{padding}")
        full = sum(weight != 0 for step in self.steps for weight in step.row)
        rows, columns = len(self.steps), len(self.steps[0].row)
        hidden = "" if columns <= _WIDEST_MATRIX else "; `-f json` has it"
        plus = " without bias and activation" if self._is_changed else ""
        return (
            made,
            f"the {rows}x{columns} matrix times the input is the output{plus}; {self._structure()}; {full} of "
            f"{rows * columns:,} entries are not 0{hidden}",
            "as networks do, the kernel is not flipped (cross-correlation); flipped first (convolution in signal "
            f"processing) it would give {text(self.flipped)}",
        )

    def _structure(self) -> str:
        if not self.is_signal:
            return "a Toeplitz block for each pair of an output row and an input row"
        moved = "each row is the one above, moved by " + ("one" if self.stride == 1 else str(self.stride))
        each = " in each channel" if len(self.input) > 1 else ""
        return f"{moved}{each}" + (": a Toeplitz matrix" if self.stride == 1 and not each else "")

    def _shown(self) -> list[Step]:
        return [self.steps[i] for i in self.chosen]

    def _matrix(self) -> list[str]:
        if len(self.steps[0].row) > _WIDEST_MATRIX or (self.operation == "upconv" and len(self.input) > 1):
            return []
        cells = [[shown(weight) for weight in step.row] for step in self._shown()]
        width = max(len(cell) for row in cells for cell in row)
        return [" ".join(cell.rjust(width) for cell in row) for row in cells]

    def position(self, step: Step) -> list[int]:
        """(y, x), or (x) of a signal."""
        return [step.position[1]] if self.is_signal else list(step.position)

    def _result(self, step: Step) -> str:
        found = self.result(step)
        return "" if found is None else shown(found)

    def _window(self, values: Sequence[Fraction]) -> str:
        if self.operation == "upconv":
            size = len(values) // len(self.input)
            return " | ".join(map(shown, values[::size]))
        return text(*self.split(values))

    def split(self, values: Sequence[Fraction]) -> Planes:
        """Values of a window, channel after channel, as a grid for each channel."""
        height, width = len(self.kernel[0]), len(self.kernel[0][0])
        rows = [tuple(values[start : start + width]) for start in range(0, len(values), width)]
        return tuple(tuple(rows[start : start + height]) for start in range(0, len(rows), height))

    def _products(self, step: Step) -> str:
        if self.operation == "upconv":
            return text(*self.split(step.products))
        met = [value for value, inside in zip(step.window, self.inside(step), strict=False) if inside]
        if self.operation == "maxpool":
            return f"max({', '.join(map(shown, met))})"
        if self.operation == "avgpool":
            return f"({' + '.join(map(_term, step.window))}) / {len(step.window)}"
        pairs = zip(step.weights, step.window, strict=True)
        return " + ".join(f"{_factor(weight)}*{_factor(value)}" for weight, value in pairs)

    def inside(self, step: Step) -> tuple[bool, ...]:
        """Which of a step's places are not padding (of a transposed convolution: are not cut off)."""
        rows, columns = _size(self.output if self.operation == "upconv" else self.input[0])
        return tuple(0 <= y < rows and 0 <= x < columns for y, x in step.places)


def _size(rows: Sequence[Sequence[Number]]) -> tuple[int, int]:
    return len(rows), len(rows[0])


def _factor(number: Fraction) -> str:
    word = shown(number)
    return f"({word})" if "/" in word else word


def _term(number: Fraction) -> str:
    return f"({shown(number)})" if number < 0 else shown(number)


def _number(value: Number) -> int | float:
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else float(value)


def _known(value: Number | None) -> int | float | None:
    return None if value is None else _number(value)


def _numbers(values: Sequence[Number]) -> list[int | float]:
    return [_number(value) for value in values]


def _grid(rows: Sequence[Sequence[Number]]) -> list[list[int | float]]:
    return [_numbers(row) for row in rows]


def _stacked(planes: Planes) -> list[list[int | float]]:
    """The rows of all channels, one below the other."""
    return [row for plane in planes for row in _grid(plane)]
