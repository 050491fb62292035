"""The layer-by-layer report behind `summary`, `shapes`, `params`, `flops`, `memory` and `rf`, grouped by blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, takewhile
from typing import Literal

from cnnscope.analysis.cost import bounded, precision
from cnnscope.analysis.summary import Level, Row, Summary
from cnnscope.ir import Graph
from cnnscope.render import numbers, style
from cnnscope.render.columns import FIGURES, LEAVING, MAIN, PRESETS, Context, authored, choose
from cnnscope.render.documents.document import OMITTED, Document
from cnnscope.render.documents.layers import Layer, Layers
from cnnscope.render.documents.network import Conventions, Model, Totals
from cnnscope.render.fields import Exact, extent_text
from cnnscope.render.result import Cell, Result
from cnnscope.render.sorting import hidden, ordered
from cnnscope.render.table import Line, Table

WORK = frozenset({"macs", "flops"})
"""Columns whose totals may have a part that does not depend on the image."""

Verb = Literal["summary", "shapes", "params", "flops", "memory", "rf"]


@dataclass(frozen=True)
class LayerReport(Result):
    """Every layer of a network and the totals, as one verb shows them.

    ``exact`` has the clipped receptive fields by row (`rf` only). ``complete`` is False where a later layer is wrong.
    ``remarks`` qualify the figures.
    ``columns``, ``depth`` and ``top`` shape the table, never the document; ``sort``, the key of a column, orders both.
    ``dtype`` is the precision asked for, if any.
    """

    verb: Verb
    graph: Graph
    source: str
    summary: Summary
    level: Level = "layer"
    batch: int = 1
    dtype: str | None = None
    exact: Mapping[str, Exact] = field(default_factory=dict)
    complete: bool = True
    remarks: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    depth: int | None = None
    sort: str | None = None
    top: int | None = None
    bare: bool = False

    def view(
        self, *, columns: tuple[str, ...] = (), depth: int | None = None, sort: str | None = None,
        top: int | None = None, bare: bool = False,
    ) -> LayerReport:  # fmt: skip
        """The same report with other columns, groups collapsed below ``depth``, or nothing but the table.

        ``sort`` is the key of a column, whose largest figures come first; ``top`` is the number of rows to show, by
        default the largest of the verb's main figure. E402 for a column that there is not.
        """
        by = sort or (MAIN[self.verb] if top else None)
        choose((by,) if by else ())
        return replace(self, columns=choose(columns), depth=depth, sort=by, top=top, bare=bare)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns shown; exact receptive fields only where they were computed."""
        return self.columns or tuple(key for key in PRESETS[self.verb] if key != "rf_exact" or self.exact)

    @property
    def precision(self) -> str:
        """The precision of floating-point bytes: the one that was asked for, or the network's own."""
        return self.dtype or precision(self.graph)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows in the order asked for."""
        return self._sorted(self.summary.rows, self.exact)

    def _sorted(self, rows: Sequence[Row], exact: Mapping[str, Exact]) -> tuple[Row, ...]:
        context = Context(self.graph, self.summary, exact)
        return ordered(rows, FIGURES[self.sort].by(context) if self.sort else None)

    # -- records ------------------------------------------------------------------------------------------------------

    def as_document(self) -> Document:
        return Layers(
            format=f"cnnscope.{self.verb}",
            conventions=Conventions(dtype=self.precision, batch=self.batch),
            model=Model.of(self.graph, self.source),
            level=self.level,
            layers=[Layer.of(row, self.verb, self.exact.get(row.name)) for row in self.rows],
            totals=Totals.of(self.summary),
            unsupported=self.summary.unsupported,
            complete=self.complete,
            remarks=self.remarks or OMITTED,
        )

    def records(self) -> list[dict[str, Cell]]:
        context = Context(self.graph, self.summary, self.exact)
        writers = {key: FIGURES[key].record for key in self.keys}
        return [{key: write(row, context) for key, write in writers.items() if write is not None} for row in self.rows]

    # -- table --------------------------------------------------------------------------------------------------------

    def table(self) -> Table:
        blocks = {
            block: self.exact[row.name]
            for row in self.summary.rows
            for block in enclosing(row.name, self.graph.scopes)
            if row.name in self.exact
        }
        context = Context(self.graph, self.summary, {**self.exact, **blocks})
        figures = [FIGURES[key] for key in self.keys]
        totals = ["" if figure.total is None else figure.total(context) for figure in figures]
        lines, left_out = self._lines(context)
        sums = any(totals)
        said = sums and not totals[0]
        totals[0] = totals[0] or ", ".join(filter(None, ("total", left_out)))
        leaving = () if self.columns else LEAVING[self.verb]
        return Table(
            title="" if self.bare else self._title(),
            columns=tuple(
                figure.column(leaving.index(key) + 1 if key in leaving else 0)
                for key, figure in zip(self.keys, figures, strict=True)
            ),
            lines=lines,
            total=Line(tuple(totals)) if sums else None,
            notes=(*((left_out,) if left_out and not said else ()), *(() if self.bare else self._notes())),
        )

    def _lines(self, context: Context) -> tuple[tuple[Line, ...], str]:
        """The lines that are shown, and how many are not. Sorted rows have their full names and stand in no group."""
        if self.sort is None:
            return tuple(table_lines(self.summary.rows, self.keys, context, self.depth)), ""
        folded = (
            self.summary.rows if self.depth is None else collapsed(self.summary.rows, self.graph.scopes, self.depth)
        )
        rows = self._sorted(tuple(folded), context.exact)
        return tuple(_line(row, self.keys, context) for row in rows[: self.top]), hidden(len(rows), self.top)

    def _title(self) -> str:
        inputs = ", ".join(
            f"{name} {numbers.shape(authored(value, self.graph.layout))}" for name, value in self.graph.inputs.items()
        )
        name = numbers.printable(self.graph.name)
        title = name if name == self.source else f"{name} ({numbers.printable(self.source)})"
        return f"{title}, {inputs}" + ("" if self.complete else ", up to the layer that is wrong")

    def _notes(self) -> list[str]:
        notes = self._overview() if self.verb == "summary" else []
        if self.summary.uncounted:
            names = ", ".join(self.summary.uncounted)
            notes.append(f"operators without a rule, so parameters are lower bounds: {names}")
        if self.summary.unsupported:
            notes.append(f"not supported, so totals are lower bounds: {', '.join(self.summary.unsupported)}")
        transient = self.summary.totals.transient
        if transient and "buffers" in self.keys:
            counted = f"{numbers.count(transient)} of {numbers.count(self.summary.totals.buffers)} in buffers"
            notes.append(f"{counted} are not persistent: in memory, in no state dict or weight file")
        once = self.summary.per_pass
        if once.flops and not WORK.isdisjoint(self.keys):
            macs = f"{numbers.count(once.macs)} MACs and " if once.macs else ""
            work = f"{macs}{numbers.count(once.flops)} FLOPs of the totals"
            notes.append(f"{work} depend on no image (they compute weights): once a pass, whatever the batch")
        notes += self.remarks
        return [*notes, numbers.conventions(self.keys, self.graph.layout, self.precision, self.batch)]

    def _overview(self) -> list[str]:
        costs, lower = self.summary.totals, ">= " if self.summary.unsupported else ""
        count, binary, field = numbers.count, numbers.binary, self.summary.receptive_field
        more, kinds = ">= " if self.summary.uncounted else "", self.summary.stored
        whole = [kind for kind in kinds if not kind.startswith(("float", "bfloat"))]
        types = f"as stored ({numbers.stored(kinds)})" if whole and not self.dtype else f"at {self.precision}"
        return [
            f"parameters   {more}{count(costs.params)} = {more}{binary(costs.param_bytes)} {types}; "
            f"{more}{count(costs.trainable)} trainable, {more}{count(costs.frozen)} frozen; "
            f"{count(costs.buffers)} in buffers"
            + (f" ({count(costs.transient)} not persistent)" if costs.transient else ""),
            f"compute      {lower}{count(costs.macs)} MACs, {lower}{count(costs.flops)} FLOPs an image",
            f"activations  {binary(costs.activation_bytes)}, of which {binary(self.summary.peak_activation_bytes)} "
            f"are alive at the peak (batch {self.batch})",
            f"RF           {extent_text(field)}",
            "",
        ]


def table_lines(rows: Iterable[Row], keys: Sequence[str], context: Context, depth: int | None) -> Iterator[Line]:
    """A line for each row. With names in the first column, blocks have a heading and their rows are indented below it.

    Blocks at nesting level ``depth`` become one line with the sums of their rows.
    """
    scopes = context.graph.scopes
    rows = rows if depth is None else collapsed(rows, scopes, depth)
    if keys[0] != "name":
        yield from (_line(row, keys, context) for row in rows)
        return
    above: tuple[str, ...] = ()
    for row in rows:
        around = enclosing(row.name, scopes)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(above, around, strict=False)))
        for level in range(shared, len(around)):
            name = _local(around[level], around[:level])
            cells = {"name": name, "op": scopes[around[level]]}
            yield Line(tuple(cells.get(key, "") for key in keys), level, style.DIM, style.GROUP)
        yield _line(row, keys, context, around)
        above = around


def enclosing(name: str, scopes: Mapping[str, str]) -> tuple[str, ...]:
    """The blocks a row is in, outermost first."""
    parts = name.split(".")
    paths = (".".join(parts[:n]) for n in range(1, len(parts)))
    return tuple(path for path in paths if path in scopes)


def collapsed(rows: Iterable[Row], scopes: Mapping[str, str], depth: int) -> Iterator[Row]:
    """The rows, where neighbours that are in the same block at level ``depth`` are merged."""

    def owner(row: Row) -> str | None:
        around = enclosing(row.name, scopes)
        return around[depth - 1] if len(around) >= depth else None

    for block, members in groupby(rows, owner):
        if block is None:
            yield from members
        else:
            yield _merged(block, scopes[block], tuple(members))


def _merged(block: str, kind: str, rows: Sequence[Row]) -> Row:
    last = rows[-1]
    inside = {row.name for row in rows}
    reads = {name: value for row in rows for name, value in zip(row.inputs, row.input_values, strict=False)}
    outside = {name: value for name, value in reads.items() if name not in inside}
    peaks = [row.peak_bytes for row in rows if row.peak_bytes is not None]
    return Row(
        name=block, op=kind, category="", label=kind, operation=None, inputs=tuple(outside),
        input_values=tuple(outside.values()), output=last.output, cost=bounded(row.cost for row in rows),
        peak_bytes=max(peaks, default=None), receptive_field=last.receptive_field,
        training_only=all(row.training_only for row in rows),
    )  # fmt: skip


def _line(row: Row, keys: Sequence[str], context: Context, around: tuple[str, ...] = ()) -> Line:
    cells = [FIGURES[key].text(row, context) for key in keys]
    if keys[0] == "name":
        cells[0] = _local(row.name, around)
    return Line(tuple(cells), len(around), name_style=style.CATEGORY.get(row.category, ""))


def _local(name: str, around: Sequence[str]) -> str:
    return name.removeprefix(f"{around[-1]}.") if around else name
