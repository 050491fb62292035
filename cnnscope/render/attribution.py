"""Attributions of one image: a line for each method and network, or for each check of trust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.render import numbers
from cnnscope.render.documents.document import OMITTED, Document
from cnnscope.render.documents.features import AttributionDocument, Completeness, Finding, NamedModel, Tile
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
             "notes": "; ".join(tile.notes), "array": tile.array, **trust_record(tile.trust or {})}
            for tile in self.tiles
        ]  # fmt: skip

    def table(self) -> Table:
        several = len({tile.weights_sha256 for tile in self.tiles}) > 1
        title = self._title(several)
        if any(tile.trust for tile in self.tiles):
            return trust_table(title, self.tiles, self.bare)
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


STYLES = {"pass": "green", "fail": "red", "unknown": "dim"}


def trust_table(title: str, tiles: Sequence[TileFigures], bare: bool) -> Table:
    """Every finding beside its controls. ``bare`` leaves the rules out."""
    several = len({tile.weights_sha256 for tile in tiles}) > 1
    names = ("method", "weights", "check") if several else ("method", "check")
    columns = [*map(Column, names), Column("value", right=True), *map(Column, ("passes", "verdict", "beside it"))]
    lines = tuple(line for tile in tiles for line in _lines(tile, several))
    return Table(title, tuple(columns), lines, notes=() if bare else tuple(_rules(tiles)))


def trust_record(trust: Mapping[str, Finding]) -> dict[str, Cell]:
    """Three columns a check."""
    cells: dict[str, Cell] = {}
    for name, found in trust.items():
        cells |= {name: _figure(found.value) or None, f"{name}_limit": _figure(found.limit) or None,
                  f"{name}_verdict": found.verdict}  # fmt: skip
    return cells


def _lines(tile: TileFigures, several: bool) -> Iterator[Line]:
    first: tuple[str, ...] = (tile.method, *((numbers.printable(tile.weights),) if several else ()))
    for found in (tile.trust or {}).values():
        limit = _figure(found.limit)
        passes = f"{'>' if found.better == 'high' else '<'} {limit}" if limit else ""
        yield Line((*first, found.title, _figure(found.value), passes, found.verdict, _beside(found)),
                   style=STYLES[found.verdict])  # fmt: skip
        first = ("",) * len(first)


def _beside(found: Finding) -> str:
    """Why it is not known, or the controls; and how it was measured, where that differs from image to image."""
    settings = found.settings
    controls = [f"{name} {_figure(value)}" for name, value in found.controls.items()]
    left_out = len(settings.get("transforms", ())) - len(settings.get("unchanged", ()))
    if found.why:
        return numbers.printable(found.why)
    said = [f"replaced by {settings['substrate']}"] if "substrate" in settings else []
    said += [f"{left_out} of {len(settings['transforms'])} change the prediction"] if left_out else []
    return "; ".join([part for part in (", ".join(controls), *said) if part])


def _rules(tiles: Sequence[TileFigures]) -> Iterator[str]:
    """The rule of every check, once; checks that follow one another with the same rule together."""
    groups: dict[str, list[str]] = {}
    for tile in tiles:
        for found in (tile.trust or {}).values():
            titles = groups.setdefault(found.rule, [])
            if found.title not in titles:
                titles.append(found.title)
    yield "A check passes where the value is"
    for rule, titles in groups.items():
        yield f"- {'; '.join(titles)}: {rule}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
