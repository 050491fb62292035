"""The filters of layers: figures of each, and how often a random filter reaches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cnnscope.ir import Graph
from cnnscope.render import numbers
from cnnscope.render.documents.document import Document, plain
from cnnscope.render.documents.filters import (
    ChanceFigures,
    FilterData,
    FilteredLayer,
    FilterRow,
    FiltersDocument,
    Percentiles,
)
from cnnscope.render.documents.network import WeightedModel
from cnnscope.render.numbers import ABSENT, UNKNOWN
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table

CHANCE = 0.05
"""A p-value below which a figure counts as more than chance."""


@dataclass(frozen=True, slots=True)
class LayerFilters:
    """The filters of a layer in the order asked for.

    ``shape`` is (filters, input channels of each, height, width), ``largest`` the greatest absolute weight. ``chance``
    has the 50th and 95th percentile of random filters for each figure. ``activation`` names what follows the layer, and
    ``rule`` says when a filter counts as dead.
    """

    name: str
    kind: str
    shape: tuple[int, int, int, int]
    groups: int
    largest: float
    rows: tuple[FilterRow, ...]
    chance: Mapping[str, tuple[float, float] | None]
    rule: str | None = None

    @property
    def dead(self) -> int | None:
        """How many are dead; None where that is not known."""
        known = [row.dead for row in self.rows]
        return None if None in known else sum(map(bool, known))


@dataclass(frozen=True)
class FiltersReport(Result):
    """The ``cnnscope.filters`` document. ``images`` is how many were run to find dead filters, None where none were."""

    graph: Graph
    source: str
    weights: str
    weights_sha256: str
    trained: bool
    sort: Literal["norm", "orientation", "redundancy"]
    layers: tuple[LayerFilters, ...]
    images: int | None = None
    skipped: int = 0
    bare: bool = False

    def as_document(self) -> Document:
        return FiltersDocument(
            model=WeightedModel.with_weights(
                self.graph, self.source, weights=self.weights, sha256=self.weights_sha256, trained=self.trained
            ),
            sort=self.sort,
            data=None if self.images is None else FilterData(images=self.images, skipped=self.skipped),
            layers=[_layer(layer) for layer in self.layers],
        )  # fmt: skip

    def records(self) -> list[dict[str, Cell]]:
        found: list[dict[str, Cell]] = []
        for layer in self.layers:
            for row in layer.rows:
                found.append({"layer": layer.name, **{key: _cell(value) for key, value in plain(row).items()}})
        return found

    def table(self) -> Table:
        several = len(self.layers) > 1
        columns = [Column("filter"), Column("norm", True), Column("angle", True), Column("p", True),
                   Column("octaves", True), Column("nearest kernel"), Column("|cos|", True), Column("p", True),
                   Column("twin", True), Column("|cos|", True), Column("p", True)]  # fmt: skip
        if self.images is not None:
            columns.append(Column("dead"))
        lines = []
        for layer in self.layers:
            if several:
                lines.append(Line((_title(layer), *[""] * (len(columns) - 1)), name_style="bold"))
            lines += [Line(tuple(self._cells(row)), indent=int(several)) for row in layer.rows]
        title = f"{numbers.printable(self.graph.name)} ({numbers.printable(self.source)})"
        if not several:
            title += f", {_title(self.layers[0])}"
        return Table(title, tuple(columns), tuple(lines), notes=() if self.bare else tuple(self._notes()))

    def _cells(self, row: FilterRow) -> list[str]:
        octaves = f"{row.bandwidth:.1f}" if row.bandwidth is not None else row.band or ABSENT
        cells = [str(row.index), f"{row.norm:.3g}", _figure(row.orientation, ".0f"), _figure(row.coherence_p, ".3f"),
                 octaves, row.nearest or ABSENT, _figure(row.similarity, ".2f"), _figure(row.similarity_p, ".3f"),
                 ABSENT if row.twin is None else str(row.twin), _figure(row.redundancy, ".2f"),
                 _figure(row.redundancy_p, ".3f")]  # fmt: skip
        if self.images is not None:
            cells.append({True: "dead", False: "", None: UNKNOWN}[row.dead])
        return cells

    def _notes(self) -> list[str]:
        notes = [f"weights {self.weights}{'' if self.trained else ', which are random: nothing is learned'}"]
        for layer in self.layers:
            notes += _findings(layer, f"{layer.name}: " if len(self.layers) > 1 else "")
        if self.images is not None:
            left = f", {self.skipped} skipped" if self.skipped else ""
            rules = dict.fromkeys(layer.rule for layer in self.layers if layer.rule)
            notes.append(f"dead on {self.images:,} image{'s' * (self.images > 1)}{left}: {'; '.join(map(str, rules))}")
        notes.append(
            "angle of the stripes, 0 horizontal, 90 vertical; p: the share of random filters of this shape that are "
            "at least as clear, as similar to any kernel, as near a twin; octaves between half amplitudes"
        )
        return notes


def _title(layer: LayerFilters) -> str:
    return f"{layer.name}: {sizes(layer)}"


def sizes(layer: LayerFilters) -> str:
    """``64 filters of 3x7x7``."""
    count, channels, height, width = layer.shape
    return f"{count} filter{'s' * (count > 1)} of {channels}x{height}x{width}"


def _findings(layer: LayerFilters, start: str) -> list[str]:
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


def _layer(layer: LayerFilters) -> FilteredLayer:
    chance: dict[str, Any] = {
        name: None if found is None else Percentiles(median=found[0], p95=found[1])
        for name, found in layer.chance.items()
    }
    return FilteredLayer(
        name=layer.name, op=layer.kind, shape=layer.shape, groups=layer.groups, largest_weight=layer.largest,
        chance=ChanceFigures(**chance), dead=layer.dead, dead_rule=layer.rule, filters=layer.rows,
    )  # fmt: skip


def _cell(value: Any) -> Cell:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else value


def _figure(value: float | None, form: str) -> str:
    return ABSENT if value is None else format(value, form)
