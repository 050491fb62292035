"""Audits compared, as one HTML text: what changed in agreement with intervals, and every figure in a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cnnscope.render import numbers
from cnnscope.render.audit import drawing, plots, words
from cnnscope.render.audit.differences import difference_lines
from cnnscope.render.audit.page import heat, themes
from cnnscope.render.audit.words import Json
from cnnscope.render.html import rendered, text

_SIDES = ("source", "model", "weights", "images", "preset", "protocol_hash", "result_hash")


def page(comparisons: Sequence[Json], *, every: bool = False) -> str:
    """The whole page; with ``every`` it has each metric of each magnitude."""
    sheet = drawing.Sheet()
    parts = [_part(sheet, comparison, every) for comparison in comparisons]
    values = {
        "parts": parts, "first": numbers.printable(comparisons[0]["a"]["source"]), "sides": _SIDES,
        "style": themes() + text("audit", "audit.css") + heat() + sheet.css(), "script": text("audit", "audit.js"),
    }  # fmt: skip
    return rendered("audit", "compare.html.j2", values, {"printable": lambda value: numbers.printable(str(value))})


def _part(sheet: drawing.Sheet, comparison: Json, every: bool) -> dict[str, Any]:
    known = [d for d in comparison["differences"] if d["metric"] == "agreement" and d["difference"]["low"] is not None]
    how = "the same images, paired" if comparison["paired"] else "independent samples"
    return {
        "a": comparison["a"], "b": comparison["b"], "warnings": comparison["warnings"], "how": how,
        "forest": plots.forest(sheet, known, "Differences in agreement; the figures are in the table") if known else "",
        "changes": list(_changes(comparison)),
        "rows": [line.cells for line in difference_lines(comparison, every=every)],
    }  # fmt: skip


def _changes(comparison: Json) -> Iterator[str]:
    """A sentence for each family whose mean agreement surely changed."""
    for d in comparison["differences"]:
        low, high = d["difference"]["low"], d["difference"]["high"]
        if d["label"] is None and d["metric"] == "agreement" and low is not None and (low > 0 or high < 0):
            name = words.PROBES[d["family"]]
            yield f"{name}: mean agreement is {'higher' if low > 0 else 'lower'}, {words.signed(d['difference'])}"
