"""Audits beside the first of them: the ``cnnscope.compare`` document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cnnscope.render import style
from cnnscope.render.audit import words
from cnnscope.render.documents.document import Document, plain
from cnnscope.render.numbers import printable
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table

Json = Mapping[str, Any]


@dataclass(frozen=True)
class CompareReport(Result):
    """Each audit's comparison with the first; at least one."""

    comparisons: tuple[Json, ...]
    bare: bool = False
    verbose: bool = False

    def as_document(self) -> Mapping[str, Any]:
        return {**plain(Document(format="cnnscope.compare")), "comparisons": self.comparisons}

    def records(self) -> list[dict[str, Cell]]:
        rows: list[dict[str, Cell]] = []
        for comparison in self.comparisons:
            for d in comparison["differences"]:
                row: dict[str, Cell] = {
                    "a": comparison["a"]["source"], "b": comparison["b"]["source"], "probe": d["family"],
                    "magnitude": d["label"] or d["title"], "metric": d["metric"],
                }  # fmt: skip
                for name in ("a", "b", "difference"):
                    for end in ("value", "low", "high"):
                        value = d[name][end]
                        row[f"{name}_{end}"] = None if value is None else f"{value:.6g}"
                row["p_value"] = None if d["p_value"] is None else f"{d['p_value']:.3g}"
                rows.append(row)
        return rows

    def table(self) -> Table:
        first = self.comparisons[0]["a"]
        columns = (Column("probe"), Column("metric"), *(Column(h, right=True) for h in ("a", "b", "b - a", "p")))
        lines: list[Line] = []
        for comparison in self.comparisons:
            if len(self.comparisons) > 1:
                name = f"b: {printable(comparison['b']['source'])}"
                lines.append(Line((name, "", "", "", "", ""), name_style=style.TITLE))
            lines += difference_lines(comparison, every=self.verbose)
        others = ", ".join(printable(c["b"]["source"]) for c in self.comparisons)
        title = f"{others} (b) against {printable(first['source'])} (a)"
        return Table(title, columns, tuple(lines), notes=() if self.bare else tuple(self._notes()))

    def _notes(self) -> Iterator[str]:
        for comparison in self.comparisons:
            name = f"{printable(comparison['b']['source'])}: " if len(self.comparisons) > 1 else ""
            for warning in comparison["warnings"]:
                yield f"{name}warning: {printable(warning)}"
            how = "the same images, paired" if comparison["paired"] else "independent samples"
            yield f"{name}{' and '.join(f'{n:,}' for n in comparison['images'])} images, {how}"
        yield "95 % intervals; * where they do not hold 0; p is McNemar's exact test, where an image has one outcome"


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
    """Whether the interval of a difference does not hold 0."""
    low, high = difference["low"], difference["high"]
    return low is not None and high is not None and (low > 0 or high < 0)
