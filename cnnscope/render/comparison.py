"""Several networks, one line each: those that were asked for, with the totals of a verb, and the models of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Annotated, Any, Literal

from cnnscope.analysis.cost import precision
from cnnscope.render import numbers
from cnnscope.render.columns import choose, inputs_text, outputs_text
from cnnscope.render.documents.document import Count, Document, Shape, keywords
from cnnscope.render.documents.network import Conventions, Model, ReceptiveField, Totals, field_of
from cnnscope.render.fields import known_size
from cnnscope.render.layers import LayerReport
from cnnscope.render.result import Cell, DocumentReport, Result
from cnnscope.render.sorting import Order, extent, hidden, ordered
from cnnscope.render.table import Column, Line, Table, left, right


@dataclass(frozen=True, slots=True)
class Total:
    """A column: heading, the figure of a network, and how it is written for people."""

    heading: str
    of: Callable[[LayerReport], Cell]
    text: Callable[[Any], str] = numbers.count
    right: bool = True
    bound: Literal["", "work", "weights"] = ""
    """Whether it is a lower bound where a row has unknown costs, or unknown weights."""
    rank: int = 0
    order: Callable[[LayerReport], Order] | None = None
    """What networks are sorted by, if that is not the figure."""

    def cell(self, report: LayerReport) -> str:
        """The figure for people, marked where it is a lower bound."""
        unknown = {"": (), "work": report.summary.unsupported, "weights": report.summary.uncounted}[self.bound]
        lower = ">= " if unknown else ""
        return lower + self.text(self.of(report))


TOTALS: dict[str, Total] = {
    "source": Total("model", lambda r: r.source, numbers.printable, right=False),
    "input": Total("input", lambda r: inputs_text(r.graph), str, rank=3),
    "output": Total("output", lambda r: outputs_text(r.graph), str),
    "layers": Total("layers", lambda r: len(r.summary.rows), rank=4),
    "params": Total("params", lambda r: r.summary.totals.params, bound="weights"),
    "trainable_params": Total("trainable", lambda r: r.summary.totals.trainable, bound="weights"),
    "frozen_params": Total("frozen", lambda r: r.summary.totals.frozen, bound="weights", rank=2),
    "buffers": Total("buffers", lambda r: r.summary.totals.buffers, rank=1),
    "param_bytes": Total("size", lambda r: r.summary.totals.param_bytes, numbers.binary, bound="weights", rank=1),
    "macs": Total("MACs", lambda r: r.summary.totals.macs, bound="work"),
    "flops": Total("FLOPs", lambda r: r.summary.totals.flops, bound="work"),
    "activation_bytes": Total("activations", lambda r: r.summary.totals.activation_bytes, numbers.binary),
    "peak_activation_bytes": Total("peak", lambda r: r.summary.peak_activation_bytes, numbers.binary, rank=1),
    "receptive_field": Total(
        "RF",
        lambda r: known_size(r.summary.receptive_field),
        lambda text: text or numbers.ABSENT,
        order=lambda r: extent(r.summary.receptive_field),
    ),
}
PRESETS: dict[str, tuple[str, ...]] = {
    "summary": ("source", "input", "layers", "params", "macs", "peak_activation_bytes", "receptive_field"),
    "shapes": ("source", "input", "output", "layers"),
    "params": ("source", "params", "trainable_params", "frozen_params", "buffers", "param_bytes"),
    "flops": ("source", "input", "macs", "flops"),
    "memory": ("source", "input", "param_bytes", "activation_bytes", "peak_activation_bytes"),
    "rf": ("source", "input", "layers", "receptive_field"),
}
_MAIN: dict[str, str] = {
    "summary": "macs", "shapes": "layers", "params": "params", "flops": "macs", "memory": "activation_bytes",
    "rf": "receptive_field",
}  # fmt: skip
"""The column that the largest networks of a verb are the largest by."""


@dataclass(frozen=True, kw_only=True)
class ComparedModel(Model):
    """A network of several, with its totals."""

    totals: Totals
    receptive_field: ReceptiveField | None
    unsupported: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class ComparisonDocument(Document):
    """Several networks side by side, by any of the verbs about layers."""

    format: Literal["cnnscope.comparison"] = "cnnscope.comparison"
    conventions: Conventions
    models: Annotated[Sequence[ComparedModel], keywords(minItems=2)]


@dataclass(frozen=True)
class Comparison(Result):
    """The totals of several networks, in the order in which they were given, or the largest ``sort`` first.

    The table shows the ``top`` networks. E402 for a column that there is not.
    """

    reports: tuple[LayerReport, ...]
    columns: tuple[str, ...] = ()
    sort: str | None = None
    top: int | None = None
    bare: bool = False

    def __post_init__(self) -> None:
        choose((*self.columns, *([self.sort] if self.sort else ())), TOTALS)

    @property
    def rows(self) -> tuple[LayerReport, ...]:
        """All networks in the order asked for."""
        by = self.sort or (_MAIN[self.reports[0].verb] if self.top else None)
        return ordered(self.reports, TOTALS[by].order or TOTALS[by].of if by else None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns shown."""
        return self.columns or PRESETS[self.reports[0].verb]

    @property
    def precision(self) -> str:
        """The precision of floating-point bytes: the one that was asked for, or the networks' own."""
        return self.reports[0].dtype or precision(*(report.graph for report in self.reports))

    def as_document(self) -> Document:
        first = self.reports[0]
        models = [
            ComparedModel.of(
                report.graph, report.source, totals=Totals.of(report.summary),
                receptive_field=field_of(report.summary.receptive_field), unsupported=report.summary.unsupported,
            )
            for report in self.rows
        ]  # fmt: skip
        return ComparisonDocument(conventions=Conventions(dtype=self.precision, batch=first.batch), models=models)

    def records(self) -> list[dict[str, Cell]]:
        return [{key: TOTALS[key].of(report) for key in self.keys} for report in self.rows]

    def table(self) -> Table:
        first = self.reports[0]
        shown = [TOTALS[key] for key in self.keys]
        layouts = "/".join(dict.fromkeys(report.graph.layout for report in self.reports))
        columns = tuple(Column(total.heading, total.right, 0 if self.columns else total.rank) for total in shown)
        lines = tuple(Line(tuple(total.cell(report) for total in shown)) for report in self.rows[: self.top])
        left_out = hidden(len(self.reports), self.top, "networks")
        note = () if self.bare else (numbers.conventions(self.keys, layouts, self.precision, first.batch),)
        return Table("", columns, lines, notes=(*([left_out] if left_out else ()), *note))


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """A model of the zoo."""

    name: str
    title: str
    inputs: Sequence[Shape] = field(metadata={"key": "input"})
    params: Count
    macs: Count | None
    receptive_field: ReceptiveField | None
    year: int | None
    source: str | None

    @property
    def input_text(self) -> str:
        return ", ".join(map(numbers.shape, self.inputs))


@dataclass(frozen=True, kw_only=True)
class ZooDocument(Document):
    """The models of the zoo: ``cnnscope zoo``."""

    format: Literal["cnnscope.zoo"] = "cnnscope.zoo"
    conventions: Conventions
    models: Sequence[ZooModel]


_ORDERS: dict[str, Callable[[ZooModel], Order]] = {
    "name": lambda e: e.name, "title": lambda e: e.title, "input": lambda e: sum(map(prod, e.inputs)),
    "params": lambda e: e.params, "macs": lambda e: e.macs, "receptive_field": lambda e: extent(e.receptive_field),
    "year": lambda e: e.year, "source": lambda e: e.source,
}  # fmt: skip
"""What models of the zoo are sorted by, by the column's key."""


@dataclass(frozen=True)
class ZooReport(DocumentReport[ZooDocument]):
    """Models of the zoo, a line each. The table shows the ``top`` of them."""

    top: int | None = None

    def view(self, *, sort: str | None = None, top: int | None = None) -> ZooReport:
        """The same models, those with the largest ``sort`` first; by MACs if there is only a ``top``. E402 for a column
        that there is not."""
        by = sort or ("macs" if top else None)
        choose((by,) if by else (), _ORDERS)
        models = ordered(self.document.models, _ORDERS[by] if by else None)
        return replace(self, document=replace(self.document, models=models), top=top)

    def records(self) -> list[dict[str, Cell]]:
        return [
            {
                "name": e.name, "title": e.title, "input": e.input_text, "params": e.params, "macs": e.macs,
                "receptive_field": known_size(e.receptive_field), "year": e.year, "source": e.source,
            }
            for e in self.document.models
        ]  # fmt: skip

    def table(self) -> Table:
        headings = (
            *left("name", fold=False), *left("model", rank=4, fold=False), *left("input", rank=2, fold=False),
            *right("params", "MACs"), *right("RF", rank=1), *right("year", rank=3), *left("source", rank=5, fold=False),
        )  # fmt: skip
        models = self.document.models
        left_out = hidden(len(models), self.top, "models")
        note = () if self.bare else (numbers.conventions(("macs", "input", "receptive_field")),)
        lines = tuple(map(_line, models[: self.top]))
        return Table("", headings, lines, notes=(*([left_out] if left_out else ()), *note))


def _line(entry: ZooModel) -> Line:
    cells = (
        entry.name, numbers.printable(entry.title), entry.input_text, numbers.count(entry.params),
        numbers.count(entry.macs), known_size(entry.receptive_field) or numbers.ABSENT,
        str(entry.year or numbers.ABSENT), numbers.printable(entry.source or numbers.ABSENT),
    )  # fmt: skip
    return Line(cells)
