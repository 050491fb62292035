"""What one unit computes on an image: the ``cnnscope.unit_values`` document, its table, and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import ClassVar, Literal

from cnnscope.ir import Graph
from cnnscope.render import boards, numbers
from cnnscope.render.boards import Board, Scene
from cnnscope.render.documents.document import Count, Document, Shape
from cnnscope.render.documents.network import Model
from cnnscope.render.result import Cell, Result
from cnnscope.render.style import PICTURES, shortened
from cnnscope.render.table import Column, Line, Table

MOST_ROWS, MOST_DRAWN = 12, 4
"""Channels in a table and in a picture, those with the largest contributions; the others are summed in a line."""
_SPELLED = 9
"""Windows of up to this many values are written into the table."""


@dataclass(frozen=True, kw_only=True)
class ChannelValues:
    """A channel that the unit reads. All are in the reading order of the kernel's ``size``.

    ``places`` are where the kernel's numbers meet the channel's map; None where a transposed convolution meets nothing.
    ``inside`` are those that are not padding. ``weights`` is None of pooling.
    """

    channel: int
    places: tuple[tuple[int, ...] | None, ...]
    window: tuple[float, ...]
    inside: tuple[bool, ...]
    weights: tuple[float, ...] | None
    size: tuple[int, ...]

    @property
    def products(self) -> tuple[float, ...]:
        """Weight times value; of pooling the values."""
        return self.window if self.weights is None else tuple(
            weight * value for weight, value in zip(self.weights, self.window, strict=True)
        )  # fmt: skip

    @property
    def sum(self) -> float:
        return sum(self.products)


@dataclass(frozen=True, kw_only=True)
class ChannelDocument:
    """One channel that the unit reads."""

    channel: Count
    window: Sequence[float]
    """the input at the kernel's places, in reading order; zeros padding is 0"""
    inside: Sequence[bool]
    """which of them are not padding"""
    weights: Sequence[float] | None
    """null of pooling"""
    sum: float
    """of the products of both"""


@dataclass(frozen=True, kw_only=True)
class UnitValuesDocument(Document):
    """What one unit computes on an image: ``cnnscope rf --unit --values``."""

    format: Literal["cnnscope.unit_values"] = "cnnscope.unit_values"
    model: Model
    weights: str
    image: str
    layer: str
    op: str
    index: Sequence[Count]
    """the channel, and the position in its map"""
    kernel: Shape
    channels: Sequence[ChannelDocument]
    bias: float | None
    result: float
    """worked out from the channels and the bias; of pooling the maximum or mean"""
    value: float
    """what the network computes there"""
    activated: float | None
    """the same after the layer's norm and activation; null where that cannot be seen"""


@dataclass(frozen=True, kw_only=True)
class UnitValues(Result):
    """The unit at ``index``, (channel, y, x), of a layer's op, from the channels that it reads to its value."""

    KINDS: ClassVar[Sequence[str]] = PICTURES

    graph: Graph
    source: str
    layer: str
    index: tuple[int, ...]
    op: str
    operation: str
    image: str
    weights: str
    channels: tuple[ChannelValues, ...]
    bias: float | None
    total: float
    value: float
    activated: float | None
    bare: bool = False

    @property
    def at(self) -> str:
        return f"{self.layer}:{','.join(map(str, self.index))}"

    def as_document(self) -> Document:
        channels = [
            ChannelDocument(channel=one.channel, window=one.window, inside=one.inside, weights=one.weights, sum=one.sum)
            for one in self.channels
        ]
        return UnitValuesDocument(
            model=Model.of(self.graph, self.source), weights=self.weights, image=self.image, layer=self.layer,
            op=self.op, index=self.index, kernel=self.channels[0].size, channels=channels, bias=self.bias,
            result=self.total, value=self.value, activated=self.activated,
        )  # fmt: skip

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"channel": one.channel, "window": _text(one.window), "weights": _text(one.weights or ()),
             "sum": f"{one.sum:.6g}"}
            for one in self.channels
        ]  # fmt: skip

    def table(self) -> Table:
        shown, rest = self._largest(MOST_ROWS)
        spelled = prod(self.channels[0].size) <= _SPELLED
        weighted = self.channels[0].weights is not None
        names = ["window", *(["weights"] if weighted else [])] if spelled else ["inputs"]
        columns = [Column("channel", True), *map(Column, names), Column("sum", True)]
        lines = []
        for one in shown:
            cells = {"window": _text(one.window), "weights": _text(one.weights or ()), "inputs": _where(one)}
            lines.append(Line((str(one.channel), *(cells[name] for name in names), f"{one.sum:.4g}")))
        title = f"{numbers.titled(self.graph.name, self.source)}, unit {self.at} ({self.op}) on {self.image}"
        notes = (*([rest] if rest else []), self.equation) if not self.bare else ()
        return Table(title, tuple(columns), tuple(lines), notes=notes)

    @property
    def equation(self) -> str:
        """How the value comes about, in a line."""
        if self.operation == "maxpool":
            words = f"the largest is {self.total:.4g}"
        elif self.operation == "avgpool":
            words = f"the mean is {self.total:.4g}"
        else:
            sums = sum(one.sum for one in self.channels)
            plus = "" if self.bias is None else f" {'-' if self.bias < 0 else '+'} bias {abs(self.bias):.4g}"
            words = f"sum {sums:.4g}{plus} = {self.total:.4g}"
        after = "" if self.activated in (None, self.value) else f"; after norm and activation {self.activated:.4g}"
        return f"{words}; the network computes {self.value:.4g}{after}"

    def _largest(self, most: int) -> tuple[list[ChannelValues], str]:
        """The channels with the largest contributions, in order, and what the others add up to."""
        ranked = sorted(self.channels, key=lambda one: (-abs(one.sum), one.channel))
        shown = sorted(ranked[:most], key=lambda one: one.channel)
        others = ranked[most:]
        noun = "channel adds" if len(others) == 1 else "channels add"
        return shown, f"{len(others)} other {noun} {sum(one.sum for one in others):.4g}" if others else ""

    def drawn(self, kind: str) -> bytes:
        shown, rest = self._largest(MOST_DRAWN)
        parts = [[one.window, one.weights or (), one.products] for one in self.channels]
        largest = [max((abs(v) for part in kind for v in part), default=0.0) for kind in zip(*parts, strict=True)]
        lines = [_line(one, largest) for one in shown]
        words = [*([rest] if rest else []), self.equation]
        title = f"{shortened(self.graph.name, 32)}, {shortened(self.at, 32)} on {shortened(self.image, 32)}"
        scene = Scene(f"{self.op}, which reads {len(self.channels)} channel{'s' * (len(self.channels) > 1)}", lines,
                      Board("the unit", [[self.value]], abs(self.value)), words)  # fmt: skip
        return boards.strip(title, [scene], kind)


def _line(one: ChannelValues, largest: Sequence[float]) -> list[Board | str]:
    width = one.size[-1]
    padding = frozenset(divmod(i, width) for i, inside in enumerate(one.inside) if not inside)
    window = Board(f"channel {one.channel}, {_where(one)}", _rows(one.window, width), largest[0], padding=padding)
    if one.weights is None:
        return [window]
    return [
        window, "×", Board("weights", _rows(one.weights, width), largest[1]), "=",
        Board("products", _rows(one.products, width), largest[2]), f"sum {one.sum:.3g}",
    ]  # fmt: skip


def _rows(values: Sequence[float], width: int) -> list[list[Fraction | float | None]]:
    return [list(values[start : start + width]) for start in range(0, len(values), width)]


def _where(one: ChannelValues) -> str:
    """``y 3 to 7, x -1 to 3``: the places that the kernel meets."""
    met = [place for place in one.places if place]
    if not met:
        return "one number" if one.places and one.places[0] == () else "no place"
    sides = zip("zyx"[-len(met[0]) :], zip(*met, strict=True), strict=True)
    return ", ".join(f"{name} {min(side)} to {max(side)}" for name, side in sides)


def _text(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)
