"""Several networks, one line each: those that were asked for, with the totals of a verb, and the models of the zoo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cnnscope.analysis.cost import precision
from cnnscope.render import numbers
from cnnscope.render.columns import choose, inputs_text, outputs_text
from cnnscope.render.documents.document import Count, Document, Shape, keywords
from cnnscope.render.documents.network import Conventions, Model, ReceptiveField, Totals, field_of
from cnnscope.render.fields import known_size
from cnnscope.render.layers import LayerReport
from cnnscope.render.result import Cell, DocumentReport, Result
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

    def cell(self, report: LayerReport) -> str:
        """The figure for people, marked where it is a lower bound."""
        unknown = {"": (), "work": report.summary.unsupported, "weights": report.summary.uncounted}[self.bound]
        lower = ">= " if unknown else ""
        return lower + self.text(self.of(report))


TOTALS: dict[str, Total] = {
    "source": Total("model", lambda r: r.source, numbers.printable, right=False),
    "input": Total("input", lambda r: inputs_text(r.graph), str),
    "output": Total("output", lambda r: outputs_text(r.graph), str),
    "layers": Total("layers", lambda r: len(r.summary.rows)),
    "params": Total("params", lambda r: r.summary.totals.params, bound="weights"),
    "trainable_params": Total("trainable", lambda r: r.summary.totals.trainable, bound="weights"),
    "frozen_params": Total("frozen", lambda r: r.summary.totals.frozen),
    "buffers": Total("buffers", lambda r: r.summary.totals.buffers),
    "param_bytes": Total("size", lambda r: r.summary.totals.param_bytes, numbers.binary, bound="weights"),
    "macs": Total("MACs", lambda r: r.summary.totals.macs, bound="work"),
    "flops": Total("FLOPs", lambda r: r.summary.totals.flops, bound="work"),
    "activation_bytes": Total("activations", lambda r: r.summary.totals.activation_bytes, numbers.binary),
    "peak_activation_bytes": Total("peak", lambda r: r.summary.peak_activation_bytes, numbers.binary),
    "receptive_field": Total(
        "RF", lambda r: known_size(r.summary.receptive_field), lambda text: text or numbers.ABSENT
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
    """The totals of several networks, in the order in which they were given."""

    reports: tuple[LayerReport, ...]
    columns: tuple[str, ...] = ()
    bare: bool = False

    def __post_init__(self) -> None:
        choose(self.columns, TOTALS)

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
            for report in self.reports
        ]  # fmt: skip
        return ComparisonDocument(conventions=Conventions(dtype=self.precision, batch=first.batch), models=models)

    def records(self) -> list[dict[str, Cell]]:
        return [{key: TOTALS[key].of(report) for key in self.keys} for report in self.reports]

    def table(self) -> Table:
        first = self.reports[0]
        shown = [TOTALS[key] for key in self.keys]
        layouts = "/".join(dict.fromkeys(report.graph.layout for report in self.reports))
        columns = tuple(Column(total.heading, total.right) for total in shown)
        lines = tuple(Line(tuple(total.cell(report) for total in shown)) for report in self.reports)
        note = numbers.conventions(self.keys, layouts, self.precision, first.batch)
        return Table("", columns, lines, notes=() if self.bare else (note,))


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


class ZooReport(DocumentReport[ZooDocument]):
    """All models of the zoo in alphabetical order."""

    def records(self) -> list[dict[str, Cell]]:
        return [
            {
                "name": e.name, "title": e.title, "input": e.input_text, "params": e.params, "macs": e.macs,
                "receptive_field": known_size(e.receptive_field), "year": e.year, "source": e.source,
            }
            for e in self.document.models
        ]  # fmt: skip

    def table(self) -> Table:
        headings = (*left("name", "model", "input"), *right("params", "MACs", "RF", "year"), *left("source"))
        note = numbers.conventions(("macs", "input", "receptive_field"))
        return Table("", headings, tuple(map(_line, self.document.models)), notes=() if self.bare else (note,))


def _line(entry: ZooModel) -> Line:
    cells = (
        entry.name, numbers.printable(entry.title), entry.input_text, numbers.count(entry.params),
        numbers.count(entry.macs), known_size(entry.receptive_field) or numbers.ABSENT,
        str(entry.year or numbers.ABSENT), numbers.printable(entry.source or numbers.ABSENT),
    )  # fmt: skip
    return Line(cells)
