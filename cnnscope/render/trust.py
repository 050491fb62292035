"""What checks of attributions found, for people: a line for each check of each attribution, and the rules below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cnnscope.render import numbers
from cnnscope.render.documents.learned import Finding
from cnnscope.render.result import Cell
from cnnscope.render.table import Column, Line, Table

if TYPE_CHECKING:
    from cnnscope.render.attribution import TileFigures

STYLES = {"pass": "green", "fail": "red", "unknown": "dim"}


def table(title: str, tiles: Sequence[TileFigures], bare: bool) -> Table:
    """Every finding beside its controls. ``bare`` leaves the rules out."""
    several = len({tile.weights_sha256 for tile in tiles}) > 1
    names = ("method", "weights", "check") if several else ("method", "check")
    columns = [*map(Column, names), Column("value", right=True), *map(Column, ("passes", "verdict", "beside it"))]
    lines = tuple(line for tile in tiles for line in _lines(tile, several))
    return Table(title, tuple(columns), lines, notes=() if bare else tuple(_rules(tiles)))


def record(trust: Mapping[str, Finding]) -> dict[str, Cell]:
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
