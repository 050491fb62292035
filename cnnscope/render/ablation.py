"""What is left of a network without some of its layers: one line a variant, the intact network first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnscope.analysis.summary import Summary
from cnnscope.ir import Graph
from cnnscope.render import conventions, numbers
from cnnscope.render.columns import authored
from cnnscope.render.fields import field_record, size_text
from cnnscope.render.layers import model_record
from cnnscope.render.numbers import ABSENT
from cnnscope.render.result import Cell, Result, header
from cnnscope.render.table import Column, Line, Table

_COLUMNS = ("params", "macs", "receptive_field", "output_shape")


@dataclass(frozen=True, slots=True)
class Variant:
    """A network without the layers ``removed``, as they were named; the intact one has none."""

    removed: tuple[str, ...]
    graph: Graph
    summary: Summary


@dataclass(frozen=True)
class AblationReport(Result):
    """The ``cnnscope.ablation`` document. ``variants`` starts with the intact network."""

    source: str
    variants: tuple[Variant, ...]
    bare: bool = False

    @property
    def intact(self) -> Variant:
        return self.variants[0]

    def to_dict(self) -> dict[str, Any]:
        return {
            **header("ablation"),
            "conventions": conventions.document(),
            "model": model_record(self.intact.graph, self.source),
            "variants": [self._variant(variant) for variant in self.variants],
        }

    def _variant(self, variant: Variant) -> dict[str, Any]:
        graph, totals, field = variant.graph, variant.summary.totals, variant.summary.receptive_field
        before = self.intact.summary.totals
        return {
            "removed": list(variant.removed), "layers": len(variant.summary.rows), "params": totals.params,
            "macs": totals.macs, "delta": {"params": totals.params - before.params,
                                           "macs": (totals.macs or 0) - (before.macs or 0)},
            "outputs": model_record(graph, self.source)["outputs"],
            "receptive_field": None if field is None else field_record(field),
            "unsupported": list(variant.summary.unsupported), "lower_bound": bool(variant.summary.unsupported),
        }  # fmt: skip

    def records(self) -> list[dict[str, Cell]]:
        return [
            {
                "removed": " ".join(v.removed), "layers": len(v.summary.rows), "params": v.summary.totals.params,
                "macs": v.summary.totals.macs, "receptive_field": _field(v), "output": _outputs(v),
            }
            for v in self.variants
        ]  # fmt: skip

    def table(self) -> Table:
        graph = self.intact.graph
        size = ", ".join(numbers.shape(authored(value, graph.layout)) for value in graph.inputs.values())
        title = f"{numbers.printable(graph.name)} ({numbers.printable(self.source)}), input {size}"
        headings = (Column("removed"), Column("layers", True), Column("params", True), Column("change", True),
                    Column("MACs", True), Column("change", True), Column("RF", True),
                    Column("output", True))  # fmt: skip
        return Table(
            title="" if self.bare else title,
            columns=headings,
            lines=tuple(map(self._line, self.variants)),
            notes=() if self.bare else (conventions.line(_COLUMNS, graph.layout),),
        )

    def _line(self, variant: Variant) -> Line:
        now, before = variant.summary.totals, self.intact.summary.totals
        lower = ">= " if variant.summary.unsupported else ""
        return Line((
            ", ".join(variant.removed) or "nothing", str(len(variant.summary.rows)), numbers.count(now.params),
            _change(now.params, before.params), lower + numbers.count(now.macs), _change(now.macs, before.macs),
            _field(variant) or ABSENT, _outputs(variant),
        ))  # fmt: skip


def _change(now: int | None, before: int | None) -> str:
    """``-27.5 %``; empty where nothing changed or nothing was there.

    As many decimals as it takes not to say that nothing changed, or that nothing is left: ``-0.02 %``, ``-99.99 %``.
    """
    if now is None or not before or now == before:
        return ""
    percent = 100 * (now - before) / before
    texts = (f"{percent:+.{digits}f}" for digits in range(1, 16))
    return next(text for text in texts if float(text) not in (0, -100) or now == 0) + " %"


def _field(variant: Variant) -> str | None:
    field = variant.summary.receptive_field
    return None if field is None else size_text(field)


def _outputs(variant: Variant) -> str:
    values: Sequence[Any] = [variant.graph.value(name) for name in variant.graph.outputs]
    return ", ".join(numbers.shape(authored(value, variant.graph.layout)) for value in values)
