"""The columns of a layer table: each figure's key, heading, how it is written, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from cnnscope.analysis.receptive_field import Field
from cnnscope.analysis.summary import Row, Summary
from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Graph, Shape, Value
from cnnscope.registry import Registry
from cnnscope.render import fields, numbers
from cnnscope.render.result import Cell
from cnnscope.render.sorting import Order, extent
from cnnscope.render.table import Column

Layout = Literal["CHW", "HWC"]


@dataclass(frozen=True, slots=True)
class Context:
    """What a cell may depend on beside its row."""

    graph: Graph
    summary: Summary
    exact: Mapping[str, fields.Exact]


@dataclass(frozen=True, slots=True)
class Figure:
    """A column: ``text`` writes a cell for people, ``record`` for CSV and TSV (None: it has no place there).

    ``total`` writes the cell of the last line, if the figure adds up. ``order`` is what rows are sorted by, if that is
    not what `record` has. ``fold`` is as in `Column`.
    """

    heading: str
    about: str
    text: Callable[[Row, Context], str]
    record: Callable[[Row, Context], Cell] | None = None
    total: Callable[[Context], str] | None = None
    right: bool = True
    order: Callable[[Row, Context], Order] | None = None
    fold: bool | None = None

    def column(self, rank: int = 0) -> Column:
        """The column of a table."""
        return Column(self.heading, self.right, rank, self.fold)

    def by(self, context: Context) -> Callable[[Row], Order]:
        """What rows are sorted by."""
        order = self.order or self.record or self.text
        return lambda row: order(row, context)


def authored(value: Value, layout: Layout) -> Shape:
    """A shape without batch as the author of the network writes it."""
    shape = value.features
    return (*shape[1:], shape[0]) if layout == "HWC" and value.kind == "map" else shape


def shapes(values: Iterable[Value], layout: Layout) -> str:
    """Shapes without batch as the author of the network writes them: ``3x224x224, 10``."""
    return ", ".join(numbers.shape(authored(value, layout)) for value in values)


def inputs_text(graph: Graph) -> str:
    """The shapes of all inputs of a network."""
    return shapes(graph.inputs.values(), graph.layout)


def outputs_text(graph: Graph) -> str:
    """The shapes of all outputs of a network."""
    return shapes(map(graph.value, graph.outputs), graph.layout)


def _name(heading: str, about: str, of: Callable[[Row, Context], str]) -> Figure:
    return Figure(heading, about, of, of, right=False)


def _count(heading: str, about: str, of: Callable[[Row], int | None], total: Callable[[Summary], int | None]) -> Figure:
    return Figure(
        heading, about, lambda row, _: numbers.count(of(row)), lambda row, _: of(row),
        lambda c: numbers.count(total(c.summary)),
    )  # fmt: skip


def _work(heading: str, about: str, of: Callable[[Row], int | None], total: Callable[[Summary], int | None]) -> Figure:
    """A count that some rows may not know, or not whole, so that their number and its total are lower bounds."""

    def mark(row: Row) -> str:
        return ">= " if row.cost.partial and of(row) is not None else ""

    def text(row: Row, _: Context) -> str:
        return mark(row) + numbers.count(of(row))

    def record(row: Row, _: Context) -> Cell:
        return f"{mark(row)}{of(row)}" if mark(row) else of(row)

    def at_least(context: Context) -> str:
        return (">= " if context.summary.unsupported else "") + numbers.count(total(context.summary))

    counted = _count(heading, about, of, total)
    return replace(counted, text=text, record=record, total=at_least, order=lambda row, _: of(row))


def _params(heading: str, about: str, of: Callable[[Row], int], total: Callable[[Summary], int]) -> Figure:
    """A count of parameters, of which a row may have more than is known."""

    def at_least(context: Context) -> str:
        return (">= " if context.summary.uncounted else "") + numbers.count(total(context.summary))

    return replace(_count(heading, about, of, total), total=at_least)


def _bytes(heading: str, about: str, of: Callable[[Row], int | None], total: Callable[[Summary], str]) -> Figure:
    return Figure(
        heading, about, lambda row, _: numbers.ABSENT if of(row) is None else numbers.binary(of(row)),
        lambda row, _: of(row), lambda c: total(c.summary),
    )  # fmt: skip


def _share(about: str, of: Callable[[Row], int | None], total: Callable[[Summary], int | None]) -> Figure:
    return Figure("%", about, lambda row, c: numbers.share(of(row), total(c.summary)), order=lambda row, _: of(row))


def _field(
    heading: str, about: str, part: Callable[[Field], str], order: Callable[[Field], Order] | None = None
) -> Figure:
    def of(row: Row, _: Context) -> str:
        return numbers.ABSENT if row.receptive_field is None else part(row.receptive_field)

    def by(row: Row, _: Context) -> Order:
        return None if row.receptive_field is None or order is None else order(row.receptive_field)

    return Figure(heading, about, of, of, order=by if order else None)


def _type(row: Row, _: Context) -> str:
    what = row.label if row.label.split(" ")[0] == row.op else f"{row.op} {row.label}"
    marks = [*row.followers]
    said = ("shared", "unused", "training only")
    marks += [mark for mark in said if getattr(row, mark.replace(" ", "_")) and mark != row.label]
    return ", ".join((what, *marks))


def _output(row: Row, context: Context) -> str:
    return numbers.ABSENT if row.output is None else numbers.shape(authored(row.output, context.graph.layout))


def _inputs(row: Row, context: Context) -> str:
    return shapes(row.input_values, context.graph.layout)


def _elements(values: Iterable[Value]) -> int:
    return sum(prod(value.features) for value in values)


def _place(row: Row, _: Context) -> str:
    return f"{row.span.file}:{row.span.line}" if row.span else numbers.ABSENT


def _exact(row: Row, context: Context) -> str:
    return fields.exact_text(context.exact[row.name]) if row.name in context.exact else numbers.ABSENT


def _exact_pixels(row: Row, context: Context) -> int | None:
    return prod(context.exact[row.name]["max"]) if row.name in context.exact else None


_BUILT_IN = {
    "name": _name("layer", "the layer's name", lambda row, _: row.name),
    "op": Figure(
        "type", "its type, what distinguishes it, and what follows inside the layer", _type, lambda row, _: row.op,
        right=False,
    ),
    "inputs": _name("reads", "the layers it reads", lambda row, _: ", ".join(row.inputs)),
    "input_shapes": Figure(
        "input", "shapes of what it reads, without batch", _inputs, _inputs, fold=True,
        order=lambda row, _: _elements(row.input_values),
    ),
    "output_shape": Figure(
        "output", "shape of what it makes, without batch", _output, _output,
        order=lambda row, _: None if row.output is None else _elements([row.output]),
    ),
    "params": _params("params", "parameters", lambda r: r.cost.params, lambda s: s.totals.params),
    "params_share": _share("share of all parameters", lambda r: r.cost.params, lambda s: s.totals.params),
    "trainable_params": _params(
        "trainable", "parameters that are trained", lambda r: r.cost.trainable, lambda s: s.totals.trainable
    ),
    "frozen_params": _count("frozen", "parameters that are not", lambda r: r.cost.frozen, lambda s: s.totals.frozen),
    "buffers": _count(
        "buffers", "state, such as running statistics", lambda r: r.cost.buffers, lambda s: s.totals.buffers
    ),
    "param_bytes": _bytes(
        "size", "bytes of the parameters", lambda r: r.cost.param_bytes, lambda s: numbers.binary(s.totals.param_bytes)
    ),
    "macs": _work("MACs", "multiply-accumulates an image", lambda r: r.cost.macs, lambda s: s.totals.macs),
    "macs_share": _share("share of all MACs", lambda r: r.cost.macs, lambda s: s.totals.macs),
    "flops": _work(
        "FLOPs", "2 x MACs + elementwise arithmetic, an image", lambda r: r.cost.flops, lambda s: s.totals.flops
    ),
    "activation_bytes": _bytes(
        "activations", "bytes of what it makes", lambda r: r.cost.activation_bytes,
        lambda s: numbers.binary(s.totals.activation_bytes),
    ),
    "live_bytes": _bytes(
        "live", "bytes of all activations alive while it runs", lambda r: r.peak_bytes,
        lambda s: f"peak {numbers.binary(s.peak_activation_bytes)}",
    ),
    "rf": replace(
        _field("RF", "theoretical receptive field in input pixels, padding counted", fields.size_text),
        text=lambda row, _: fields.reach_text(row.receptive_field) if row.receptive_field else numbers.ABSENT,
        order=lambda row, _: extent(row.receptive_field),
    ),
    "rf_stride": _field("stride", "input pixels between neighbouring units",
                         lambda f: fields.per_axis(f.stride), lambda f: prod(f.stride) if f.stride else None),
    "rf_padding": _field("padding", "input pixels before the image that the first unit reads",
                          lambda f: fields.per_axis(f.padding), lambda f: max(f.padding) if f.padding else None),
    "rf_centre": _field("centre", "centre of the first unit's field; pixel 0 has its centre at 0", fields.centre_text),
    "rf_via": replace(_field("global via", "what lets it see the whole image beside its local field",
                              lambda f: ", ".join(f.via)), fold=True),
    "rf_exact": Figure(
        "exact", "smallest and largest field at this input size, clipped to the image", _exact, _exact,
        order=_exact_pixels,
    ),
    "span": _name("where", "file and line", _place),
}  # fmt: skip

FIGURES: Registry[Figure] = Registry(
    "cnnscope.columns", "column", _BUILT_IN, form="cnnscope.render.columns:Figure", code="E402"
)
"""All columns by key, in the order of ``-v``."""

PRESETS: dict[str, tuple[str, ...]] = {
    "summary": ("name", "op", "output_shape", "params", "macs", "rf"),
    "shapes": ("name", "op", "inputs", "input_shapes", "output_shape"),
    "params": ("name", "op", "params", "params_share", "trainable_params", "frozen_params", "buffers", "param_bytes"),
    "flops": ("name", "op", "output_shape", "macs", "macs_share", "flops"),
    "memory": ("name", "op", "output_shape", "param_bytes", "activation_bytes", "live_bytes"),
    "rf": ("name", "op", "output_shape", "rf", "rf_stride", "rf_padding", "rf_centre", "rf_exact", "rf_via"),
}
"""Which columns each verb shows."""

LEAVING: dict[str, tuple[str, ...]] = {
    "summary": ("op", "output_shape", "rf"),
    "shapes": ("op", "inputs"),
    "params": ("op", "param_bytes", "params_share", "trainable_params", "buffers", "frozen_params"),
    "flops": ("op", "macs_share", "output_shape"),
    "memory": ("op", "output_shape"),
    "rf": ("op", "output_shape", "rf_stride", "rf_via", "rf_exact", "rf_padding", "rf_centre"),
}
"""Which columns of a verb a narrow terminal leaves out, the last one first. It keeps the others."""

MAIN: dict[str, str] = {
    "summary": "macs", "shapes": "output_shape", "params": "params", "flops": "macs", "memory": "activation_bytes",
    "rf": "rf",
}  # fmt: skip
"""The column that the largest rows of a verb are the largest by."""


def choose(wanted: Sequence[str], known: Collection[str] = FIGURES) -> tuple[str, ...]:
    """The keys in ``wanted``; E402 for a column that the table does not have, with the nearest ones or all."""
    for key in wanted:
        if key not in known:
            hint = did_you_mean(key, known) or f"columns: {', '.join(known)}"
            raise CnnscopeError.of("E402", f"no column is called `{key}`", hint=hint)
    return tuple(wanted)
