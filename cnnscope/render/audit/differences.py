"""The differences of two audits as lines of a table, which every form of a report has."""

from __future__ import annotations

from cnnscope.render import style
from cnnscope.render.audit import words
from cnnscope.render.audit.words import Json
from cnnscope.render.table import Line


def difference_lines(comparison: Json, *, every: bool = False) -> list[Line]:
    """One line a difference: probe, metric, both figures, the difference, p. Means first, then agreement by magnitude.

    With ``every`` each metric of each magnitude.
    """
    lines = []
    before = None
    for d in comparison["differences"]:
        if not (every or d["label"] is None or d["metric"] == "agreement"):
            continue
        place = d["title"] if d["family"] == "clean" else f"{d['family']} {d['title']}"
        p = "" if d["p_value"] is None else f"{d['p_value']:.3f}" if d["p_value"] >= 0.001 else "<0.001"
        cells = (
            place if place != before else "", d["metric"], words.share(d["a"]["value"]), words.share(d["b"]["value"]),
            words.signed(d["difference"]) + (" *" if sure(d["difference"]) else "  "), p,
        )  # fmt: skip
        before = place
        lines.append(Line(cells, style=style.TOTAL if d["label"] is None else ""))
    return lines


def sure(difference: Json) -> bool:
    """Whether the interval of a difference excludes 0."""
    low, high = difference["low"], difference["high"]
    return low is not None and high is not None and (low > 0 or high < 0)
