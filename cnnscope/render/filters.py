"""The filters of layers: figures of each, and how often a random filter reaches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cnnscope.render.documents.document import OMITTED, Count, Document, Omitted, Ordinal, Share, keywords, plain
from cnnscope.render.documents.network import WeightedModel
from cnnscope.render.kernels import Pass
from cnnscope.render.numbers import ABSENT, UNKNOWN, figure
from cnnscope.render.result import Cell, DocumentReport
from cnnscope.render.table import Line, Table, left, right

CHANCE = 0.05
"""A p-value below which a figure counts as more than chance."""
Angle = Annotated[float, keywords(minimum=0, exclusiveMaximum=180)]
"""Degrees."""


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One filter. A figure is None where it does not exist: 1x1 kernels and filters of zeros have no orientation.

    ``orientation`` in degrees of the stripes, ``frequency`` in cycles a pixel, ``bandwidth`` in octaves; each ``..._p``
    is how often a random filter of the same shape reaches the figure before it. ``dead`` is None where no images were
    given.
    """

    index: Count = field(metadata={"key": "filter"})
    norm: Annotated[float, keywords(minimum=0)]
    orientation: Angle | None = field(metadata={"key": "orientation_deg"})
    coherence: Share | None
    coherence_p: Share | None
    frequency: float | None = field(metadata={"key": "frequency_cycles_per_pixel"})
    bandwidth: float | None = field(metadata={"key": "bandwidth_octaves"})
    band: Pass | None
    nearest: str | None = field(metadata={"key": "nearest_kernel"})
    similarity: Share | None
    """absolute cosine with the nearest kernel, times the best weight per channel"""
    similarity_p: Share | None
    """how often a random filter is as similar to any kernel"""
    twin: int | None
    """the filter of the layer nearest to this one"""
    redundancy: Share | None
    """absolute cosine with the twin"""
    redundancy_p: Share | None
    dead: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Of a figure over random filters of the same shape."""

    median: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class ChanceFigures:
    """What random filters of the same shape reach."""

    coherence: Percentiles | Omitted | None = OMITTED
    """percentiles of random filters of the same shape; null where there is no such figure"""
    similarity: Percentiles | Omitted | None = OMITTED
    """percentiles of random filters of the same shape; null where there is no such figure"""
    redundancy: Percentiles | Omitted | None = OMITTED
    """percentiles of random filters of the same shape; null where there is no such figure"""


@dataclass(frozen=True, kw_only=True)
class FilteredLayer:
    """The filters of a layer.

    ``filters`` are in the order asked for, ``kind`` is the layer's label, and ``rule`` says when a filter is dead.
    """

    name: str
    kind: str = field(metadata={"key": "op"})
    shape: tuple[int, int, int, int]
    """filters, input channels of each, height, width"""
    groups: int
    largest: Annotated[float, keywords(minimum=0)] = field(metadata={"key": "largest_weight"})
    chance: ChanceFigures
    dead: int | None
    rule: str | None = field(default=None, metadata={"key": "dead_rule"})
    rows: tuple[FilterRow, ...] = field(metadata={"key": "filters"})


@dataclass(frozen=True, kw_only=True)
class FilterData:
    """The images that dead filters were looked for with."""

    images: Ordinal
    skipped: Count


@dataclass(frozen=True, kw_only=True)
class FiltersDocument(Document):
    """The filters of layers with their figures: ``cnnscope filters``."""

    format: Literal["cnnscope.filters"] = "cnnscope.filters"
    model: WeightedModel
    sort: Literal["norm", "orientation", "redundancy"]
    data: FilterData | None
    """what dead filters were looked for with"""
    layers: Annotated[Sequence[FilteredLayer], keywords(minItems=1)]
    picture: str | Omitted = OMITTED
    """in a manifest: the picture beside it"""
    arrays: Mapping[str, str] | Omitted = OMITTED
    """in a manifest: the .npy files beside it"""


class FiltersReport(DocumentReport[FiltersDocument]):
    """The filters of layers with their figures."""

    def records(self) -> list[dict[str, Cell]]:
        found: list[dict[str, Cell]] = []
        for layer in self.document.layers:
            for row in layer.rows:
                found.append({"layer": layer.name, **{key: _cell(value) for key, value in plain(row).items()}})
        return found

    def table(self) -> Table:
        several = len(self.document.layers) > 1
        columns = (*left("filter"), *right("norm", "angle", "p"), *right("octaves", rank=3), *left("nearest kernel"),
                   *right("|cos|", "p"), *right("twin", "|cos|", "p", rank=2))  # fmt: skip
        if self.document.data is not None:
            columns = (*columns, *left("dead"))
        lines = []
        for layer in self.document.layers:
            if several:
                lines.append(Line((_title(layer), *[""] * (len(columns) - 1)), name_style="bold"))
            lines += [Line(tuple(self._cells(row)), indent=int(several)) for row in layer.rows]
        title = self.document.model.title
        if not several:
            title += f", {_title(self.document.layers[0])}"
        return Table(title, columns, tuple(lines), notes=() if self.bare else tuple(self._notes()))

    def _cells(self, row: FilterRow) -> list[str]:
        octaves = f"{row.bandwidth:.1f}" if row.bandwidth is not None else row.band or ABSENT
        cells = [str(row.index), f"{row.norm:.3g}", figure(row.orientation, ".0f"), figure(row.coherence_p, ".3f"),
                 octaves, row.nearest or ABSENT, figure(row.similarity, ".2f"), figure(row.similarity_p, ".3f"),
                 figure(row.twin, "d"), figure(row.redundancy, ".2f"),
                 figure(row.redundancy_p, ".3f")]  # fmt: skip
        if self.document.data is not None:
            cells.append({True: "dead", False: "", None: UNKNOWN}[row.dead])
        return cells

    def _notes(self) -> list[str]:
        notes = [self.document.model.weights_remark]
        for layer in self.document.layers:
            notes += _findings(layer, f"{layer.name}: " if len(self.document.layers) > 1 else "")
        data = self.document.data
        if data is not None:
            skipped = f", {data.skipped} skipped" if data.skipped else ""
            rules = dict.fromkeys(layer.rule for layer in self.document.layers if layer.rule)
            notes.append(
                f"dead on {data.images:,} image{'s' * (data.images > 1)}{skipped}: {'; '.join(map(str, rules))}"
            )
        notes.append(
            "angle of the stripes, 0 horizontal, 90 vertical; p: the share of random filters of this shape that are "
            "at least as clear, as similar to any kernel, as near a twin; octaves between half amplitudes"
        )
        return notes


def _title(layer: FilteredLayer) -> str:
    return f"{layer.name}: {sizes(layer)}"


def sizes(layer: FilteredLayer) -> str:
    """``64 filters of 3x7x7``."""
    count, channels, height, width = layer.shape
    return f"{count} filter{'s' * (count > 1)} of {channels}x{height}x{width}"


def _findings(layer: FilteredLayer, start: str) -> list[str]:
    """How many filters exceed chance, beside the number expected by chance."""
    found = []
    for what, values in (
        ("are oriented", [row.coherence_p for row in layer.rows]),
        ("resemble a kernel", [row.similarity_p for row in layer.rows]),
        ("have a twin", [row.redundancy_p for row in layer.rows]),
    ):
        known = [value for value in values if value is not None]
        if known:
            some = sum(value < CHANCE for value in known)
            found.append(f"{some} of {len(known)} {what} (chance: {CHANCE * len(known):.1f})")
    notes = [f"{start}at p < {CHANCE}, {', '.join(found)}"] if found else []
    height, width = layer.shape[2:]
    if height * width == 1:
        notes.append(f"{start}1x1 kernels mix channels: they have no orientation and resemble no kernel")
    elif min(height, width) < 5:
        notes.append(f"{start}no Gabor functions below 5x5, where they fit noise as well")
    if layer.groups > 1:
        notes.append(f"{start}{layer.groups} groups: filters of different groups read different channels, twins too")
    return notes


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else value
