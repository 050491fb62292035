"""A network without some of its layers: one line for each variant, the intact network first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from cnnscope.analysis.summary import Summary
from cnnscope.ir import Graph
from cnnscope.render import numbers
from cnnscope.render.columns import inputs_text, outputs_text
from cnnscope.render.documents.document import Count, Document, keywords
from cnnscope.render.documents.network import Conventions, Model, ReceptiveField, Totals, Value, field_of, outputs
from cnnscope.render.fields import known_size
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Line, Table, left, right

_COLUMNS = ("params", "macs", "receptive_field", "output_shape")


@dataclass(frozen=True, slots=True)
class Variant:
    """A network without the layers ``removed``, as they were named; the intact one has none."""

    removed: tuple[str, ...]
    graph: Graph
    summary: Summary


@dataclass(frozen=True, kw_only=True)
class AblationDelta:
    """The figures less those of the intact network."""

    params: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class AblatedNetwork:
    """The network without the layers `removed`."""

    removed: Sequence[str]
    """layers and groups left out together, as they were named"""
    layers: Count
    params: Count
    macs: Count
    """a lower bound where lower_bound is true"""
    delta: AblationDelta
    """less the intact network's"""
    outputs: Sequence[Value]
    receptive_field: ReceptiveField | None
    unsupported: Sequence[str]
    lower_bound: bool


@dataclass(frozen=True, kw_only=True)
class AblationDocument(Document):
    """A network without some of its layers: ``cnnscope ablate``."""

    format: Literal["cnnscope.ablation"] = "cnnscope.ablation"
    conventions: Conventions
    model: Model
    variants: Annotated[Sequence[AblatedNetwork], keywords(minItems=1)]
    """the intact network first"""


@dataclass(frozen=True)
class AblationReport(Result):
    """The ``cnnscope.ablation`` document. ``variants`` starts with the intact network."""

    source: str
    variants: tuple[Variant, ...]
    bare: bool = False

    @property
    def intact(self) -> Variant:
        return self.variants[0]

    def as_document(self) -> Document:
        model = Model.of(self.intact.graph, self.source)
        variants = [self._variant(variant) for variant in self.variants]
        return AblationDocument(conventions=Conventions(), model=model, variants=variants)

    def _variant(self, variant: Variant) -> AblatedNetwork:
        totals, before = Totals.of(variant.summary), Totals.of(self.intact.summary)
        return AblatedNetwork(
            removed=variant.removed, layers=totals.layers, params=totals.params, macs=totals.macs,
            delta=AblationDelta(params=totals.params - before.params, macs=totals.macs - before.macs),
            outputs=outputs(variant.graph), receptive_field=field_of(variant.summary.receptive_field),
            unsupported=variant.summary.unsupported, lower_bound=totals.lower_bound,
        )  # fmt: skip

    def records(self) -> list[dict[str, Cell]]:
        return [
            {
                "removed": " ".join(v.removed), "layers": len(v.summary.rows), "params": v.summary.totals.params,
                "macs": v.summary.totals.macs, "receptive_field": known_size(v.summary.receptive_field),
                "output": outputs_text(v.graph),
            }
            for v in self.variants
        ]  # fmt: skip

    def table(self) -> Table:
        graph = self.intact.graph
        title = f"{numbers.titled(graph.name, self.source)}, input {inputs_text(graph)}"
        headings = (
            *left("removed"), *right("layers", rank=3), *right("params", "change", "MACs", "change"),
            *right("RF", rank=1), *right("output", rank=2, fold=True),
        )  # fmt: skip
        lines = tuple(map(self._line, self.variants))
        if self.bare:
            return Table("", headings, lines)
        return Table(title, headings, lines, notes=(numbers.conventions(_COLUMNS, graph.layout),))

    def _line(self, variant: Variant) -> Line:
        now, before = variant.summary.totals, self.intact.summary.totals
        lower = ">= " if variant.summary.unsupported else ""
        more = ">= " if variant.summary.uncounted else ""
        return Line((
            ", ".join(variant.removed) or "nothing", str(len(variant.summary.rows)), more + numbers.count(now.params),
            _change(now.params, before.params), lower + numbers.count(now.macs), _change(now.macs, before.macs),
            known_size(variant.summary.receptive_field) or numbers.ABSENT, outputs_text(variant.graph),
        ))  # fmt: skip


def _change(now: int | None, before: int | None) -> str:
    """``-27.5 %``; empty where nothing changed or nothing was there.

    It has enough decimals not to read 0 % or -100 % where that is not exact: ``-0.02 %``, ``-99.99 %``.
    """
    if now is None or not before or now == before:
        return ""
    percent = 100 * (now - before) / before
    texts = (f"{percent:+.{digits}f}" for digits in range(1, 16))
    return next(text for text in texts if float(text) not in (0, -100) or now == 0) + " %"
