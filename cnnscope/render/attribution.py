"""Attributions of one image: a line for each method and network, or for each check of trust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cnnscope.render import numbers
from cnnscope.render.documents.document import OMITTED, Count, Document, Omitted, Share, keywords
from cnnscope.render.result import Cell, DocumentReport
from cnnscope.render.table import Line, Table, left, right


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A network by its name and where it was read from."""

    name: str
    source: str
    trained: bool | Omitted = OMITTED
    """false where weights are random"""


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """How far values are from adding up to what the method promises."""

    relative_error: Annotated[float, keywords(minimum=0)]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check of trust found."""

    title: str
    value: float | None
    """null where unknown; `why` gives the reason"""
    limit: float | None
    """the value has to be beyond it"""
    better: Literal["high", "low"]
    verdict: Literal["pass", "fail", "unknown"]
    controls: Mapping[str, float]
    """what else was measured in the same way"""
    rule: str
    why: str | None
    settings: Mapping[str, Any]
    """how it was measured"""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One attribution: a method, a network and its target."""

    method: str
    weights: str
    weights_sha256: str
    target: Count
    label: str
    probability: Share
    baseline: str | None
    """null where the method takes none"""
    signed: bool
    extreme: float
    """the value of largest magnitude"""
    completeness: Completeness | None
    """how far values are from adding up to what the method promises; null where it promises nothing"""
    notes: Sequence[str]
    array: str | None
    """a .npy file beside the picture, channels x height x width"""
    trust: Annotated[Mapping[str, Finding], keywords(minProperties=1)] | Omitted = OMITTED
    """with --trust: what each check found, by name"""

    @property
    def findings(self) -> Mapping[str, Finding]:
        """What each check found; empty where none was asked for."""
        return {} if self.trust is OMITTED else self.trust


@dataclass(frozen=True, kw_only=True)
class AttributionDocument(Document):
    """Attributions of one image: ``cnnscope attribute``."""

    format: Literal["cnnscope.attribution"] = "cnnscope.attribution"
    model: NamedModel
    image: str
    picture: str | None
    tiles: Annotated[Sequence[Tile], keywords(minItems=1)]


class AttributionReport(DocumentReport[AttributionDocument]):
    """The attributions of one image by several methods or networks."""

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"method": tile.method, "weights": tile.weights, "target": tile.target, "label": tile.label,
             "probability": f"{tile.probability:.6g}", "baseline": tile.baseline, "extreme": f"{tile.extreme:.6g}",
             "relative_error": None if tile.completeness is None else f"{tile.completeness.relative_error:.3g}",
             "notes": "; ".join(tile.notes), "array": tile.array, **trust_record(tile.findings)}
            for tile in self.document.tiles
        ]  # fmt: skip

    def table(self) -> Table:
        several = len({tile.weights_sha256 for tile in self.document.tiles}) > 1
        title = self._title(several)
        if any(tile.findings for tile in self.document.tiles):
            return trust_table(title, self.document.tiles, self.bare)
        names = ("method", "weights", "baseline") if several else ("method", "baseline")
        columns = (*left(*names), *right("extreme", "sum's error"), *left("notes", rank=1))
        notes = () if self.bare else (
            "extreme: the value of largest magnitude; sum's error: how far the values are from adding up to what the "
            "method promises, relative to it", )  # fmt: skip
        lines = (Line(self._cells(tile, several)) for tile in self.document.tiles)
        return Table(title, columns, tuple(lines), notes=notes)

    def _title(self, several: bool) -> str:
        first, model = self.document.tiles[0], self.document.model
        shown = numbers.printable
        title = numbers.titled(model.name, model.source) + (", random weights" if model.trained is False else "")
        title += f", {shown(self.document.image)}, target {shown(first.label)}"
        chances = {tile.weights: tile.probability for tile in self.document.tiles}
        chance = ", ".join(f"{p:.3g} ({shown(name)})" if several else f"{p:.3g}" for name, p in chances.items())
        return f"{title}, probability {chance}"

    def _cells(self, tile: Tile, several: bool) -> tuple[str, ...]:
        error = "" if tile.completeness is None else f"{tile.completeness.relative_error:.1e}"
        weights = (numbers.printable(tile.weights),) if several else ()
        notes = numbers.printable("; ".join(tile.notes))
        return (tile.method, *weights, tile.baseline or "", f"{tile.extreme:.3g}", error, notes)


STYLES = {"pass": "green", "fail": "red", "unknown": "dim"}


def trust_table(title: str, tiles: Sequence[Tile], bare: bool) -> Table:
    """A line for each finding, with its controls. ``bare`` leaves out the rules."""
    several = len({tile.weights_sha256 for tile in tiles}) > 1
    names = ("method", "weights", "check") if several else ("method", "check")
    columns = (*left(*names), *right("value"), *left("passes", "verdict"), *left("beside it", rank=1))
    lines = tuple(line for tile in tiles for line in _lines(tile, several))
    return Table(title, columns, lines, notes=() if bare else tuple(_rules(tiles)), keys=len(names))


def trust_record(trust: Mapping[str, Finding]) -> dict[str, Cell]:
    """The cells of each check: value, limit and verdict."""
    cells: dict[str, Cell] = {}
    for name, found in trust.items():
        cells |= {name: _figure(found.value) or None, f"{name}_limit": _figure(found.limit) or None,
                  f"{name}_verdict": found.verdict}  # fmt: skip
    return cells


def _lines(tile: Tile, several: bool) -> Iterator[Line]:
    first: tuple[str, ...] = (tile.method, *((numbers.printable(tile.weights),) if several else ()))
    for found in tile.findings.values():
        limit = _figure(found.limit)
        passes = f"{'>' if found.better == 'high' else '<'} {limit}" if limit else ""
        yield Line((*first, found.title, _figure(found.value), passes, found.verdict, _beside(found)),
                   style=STYLES[found.verdict])  # fmt: skip
        first = ("",) * len(first)


def _beside(found: Finding) -> str:
    """Why the value is unknown, or the controls and the settings that differ from image to image."""
    settings = found.settings
    controls = [f"{name} {_figure(value)}" for name, value in found.controls.items()]
    left_out = len(settings.get("transforms", ())) - len(settings.get("unchanged", ()))
    if found.why:
        return numbers.printable(found.why)
    said = [f"replaced by {settings['substrate']}"] if "substrate" in settings else []
    said += [f"{left_out} of {len(settings['transforms'])} change the prediction"] if left_out else []
    return "; ".join([part for part in (", ".join(controls), *said) if part])


def _rules(tiles: Sequence[Tile]) -> Iterator[str]:
    """The rule of each check; checks with the same rule share a line."""
    groups: dict[str, list[str]] = {}
    for tile in tiles:
        for found in tile.findings.values():
            titles = groups.setdefault(found.rule, [])
            if found.title not in titles:
                titles.append(found.title)
    yield "A check passes where the value is"
    for rule, titles in groups.items():
        yield f"- {'; '.join(titles)}: {rule}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
