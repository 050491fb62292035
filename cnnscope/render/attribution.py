"""What attributions of one image came to: a line for each method and network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cnnscope.render import numbers, trust
from cnnscope.render.documents.document import OMITTED, Document
from cnnscope.render.documents.learned import AttributionDocument, Completeness, Finding, NamedModel, Tile
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table


@dataclass(frozen=True, slots=True)
class TileFigures:
    """One attribution. ``completeness`` is a relative error, None where the method promises no sum.

    ``extreme`` is the value of largest magnitude, ``array`` the file with all of them. ``trust`` has what was measured
    of how far it can be trusted, None where that was not asked for.
    """

    method: str
    weights: str
    weights_sha256: str
    target: int
    label: str
    probability: float
    signed: bool
    extreme: float
    baseline: str | None = None
    completeness: float | None = None
    notes: tuple[str, ...] = ()
    array: str | None = None
    trust: Mapping[str, Finding] | None = None

    def document(self) -> Tile:
        """The tile in the document."""
        error = self.completeness
        return Tile(
            method=self.method, weights=self.weights, weights_sha256=self.weights_sha256, target=self.target,
            label=self.label, probability=self.probability, baseline=self.baseline, signed=self.signed,
            extreme=self.extreme, completeness=None if error is None else Completeness(relative_error=error),
            notes=self.notes, array=self.array, trust=OMITTED if self.trust is None else self.trust,
        )  # fmt: skip


@dataclass(frozen=True)
class AttributionReport(Result):
    """The ``cnnscope.attribution`` document. ``picture`` is the montage's file, None where none was drawn."""

    name: str
    source: str
    image: str
    tiles: tuple[TileFigures, ...]
    picture: str | None = None
    bare: bool = False

    def as_document(self) -> Document:
        return AttributionDocument(
            model=NamedModel(name=self.name, source=self.source), image=self.image, picture=self.picture,
            tiles=[tile.document() for tile in self.tiles],
        )  # fmt: skip

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"method": tile.method, "weights": tile.weights, "target": tile.target, "label": tile.label,
             "probability": f"{tile.probability:.6g}", "baseline": tile.baseline, "extreme": f"{tile.extreme:.6g}",
             "relative_error": None if tile.completeness is None else f"{tile.completeness:.3g}",
             "notes": "; ".join(tile.notes), "array": tile.array, **trust.record(tile.trust or {})}
            for tile in self.tiles
        ]  # fmt: skip

    def table(self) -> Table:
        several = len({tile.weights_sha256 for tile in self.tiles}) > 1
        title = self._title(several)
        if any(tile.trust for tile in self.tiles):
            return trust.table(title, self.tiles, self.bare)
        columns = [Column("method"), *([Column("weights")] if several else []), Column("baseline"),
                   Column("extreme", right=True), Column("sum's error", right=True), Column("notes")]  # fmt: skip
        notes = () if self.bare else (
            "extreme: the value of largest magnitude; sum's error: how far the values are from adding up to what the "
            "method promises, relative to it", )  # fmt: skip
        lines = (Line(self._cells(tile, several)) for tile in self.tiles)
        return Table(title, tuple(columns), tuple(lines), notes=notes)

    def _title(self, several: bool) -> str:
        first = self.tiles[0]
        shown = numbers.printable
        title = f"{shown(self.name)} ({shown(self.source)}), {shown(self.image)}, target {shown(first.label)}"
        chances = {tile.weights: tile.probability for tile in self.tiles}
        chance = ", ".join(f"{p:.3g} ({shown(name)})" if several else f"{p:.3g}" for name, p in chances.items())
        return f"{title}, probability {chance}"

    def _cells(self, tile: TileFigures, several: bool) -> tuple[str, ...]:
        error = "" if tile.completeness is None else f"{tile.completeness:.1e}"
        weights = (numbers.printable(tile.weights),) if several else ()
        notes = numbers.printable("; ".join(tile.notes))
        return (tile.method, *weights, tile.baseline or "", f"{tile.extreme:.3g}", error, notes)
