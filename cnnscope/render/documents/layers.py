"""Documents of layers: that of the six verbs which list them, and that of one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cnnscope.analysis.summary import Level, Row
from cnnscope.render.documents.document import OMITTED, Count, Document, Omitted, Range, Shape, keywords
from cnnscope.render.documents.network import (
    Conventions,
    ExactField,
    Model,
    Paths,
    Rational,
    ReceptiveField,
    Span,
    Totals,
)

_PARAMS = ("params", "trainable_params", "frozen_params", "buffers", "param_bytes", "buffer_bytes")
FIGURES: dict[str, tuple[str, ...]] = {
    "summary": ("input_shapes", "output_shape", *_PARAMS, "macs", "flops", "activation_bytes", "live_bytes",
                "receptive_field"),
    "shapes": ("input_shapes", "output_shape"),
    "params": _PARAMS,
    "flops": ("output_shape", "macs", "flops"),
    "memory": ("output_shape", *_PARAMS, "activation_bytes", "live_bytes"),
    "rf": ("output_shape", "receptive_field"),
}  # fmt: skip
"""The figures of a layer in the document of each verb."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A row: what the layer is, then the figures of the verb."""

    name: str
    path: Annotated[Sequence[str], keywords(minItems=1)]
    op: str
    category: str
    inputs: Sequence[str]
    args: Mapping[str, Any]
    shared: Literal[True] | Omitted = OMITTED
    """its weights were counted further up"""
    unused: Literal[True] | Omitted = OMITTED
    """weights that nothing reads"""
    training_only: Literal[True] | Omitted = OMITTED
    """has parameters, and does not run at inference"""
    input_shapes: Sequence[Shape] | Omitted = OMITTED
    output_shape: Shape | Omitted | None = OMITTED
    params: Count | Omitted = OMITTED
    trainable_params: Count | Omitted = OMITTED
    frozen_params: Count | Omitted = OMITTED
    buffers: Count | Omitted = OMITTED
    transient_buffers: Count | Omitted = OMITTED
    """the part of `buffers` that is not persistent; left out where there is none"""
    param_bytes: Count | Omitted = OMITTED
    buffer_bytes: Count | Omitted = OMITTED
    macs: Count | Omitted | None = OMITTED
    flops: Count | Omitted | None = OMITTED
    lower_bound: Literal[True] | Omitted = OMITTED
    """`macs` and `flops` are what is known: another op of the row has unknown costs"""
    activation_bytes: Count | Omitted = OMITTED
    live_bytes: Count | Omitted | None = OMITTED
    receptive_field: ReceptiveField | Omitted | None = OMITTED
    span: Span | Omitted = OMITTED

    @classmethod
    def of(cls, row: Row, verb: str, exact: Mapping[str, Sequence[int]] | None = None) -> Layer:
        """A row with the figures of ``verb``; ``exact`` has the extremes of its clipped field."""
        costs, field, span = row.cost, row.receptive_field, row.span
        clipped = OMITTED if exact is None else ExactField(min=exact["min"], max=exact["max"])
        figures = {
            "input_shapes": [value.features for value in row.input_values],
            "output_shape": None if row.output is None else row.output.features,
            "params": costs.params, "trainable_params": costs.trainable, "frozen_params": costs.frozen,
            "buffers": costs.buffers, "param_bytes": costs.param_bytes, "buffer_bytes": costs.buffer_bytes,
            "macs": costs.macs, "flops": costs.flops, "activation_bytes": costs.activation_bytes,
            "live_bytes": row.peak_bytes,
            "receptive_field": None if field is None else ReceptiveField.of(field, clipped),
        }  # fmt: skip
        transient = {"transient_buffers": costs.transient} if costs.transient and "buffers" in FIGURES[verb] else {}
        marks = {name: True for name in ("shared", "unused", "training_only") if getattr(row, name)}
        if costs.partial and not {"macs", "flops"}.isdisjoint(FIGURES[verb]):
            marks["lower_bound"] = True
        place = {} if span is None else {"span": Span(file=span.file, line=span.line, column=span.column)}
        chosen: dict[str, Any] = {**marks, **{name: figures[name] for name in FIGURES[verb]}, **transient, **place}
        return cls(
            name=row.name, path=row.name.split("."), op=row.op, category=row.category, inputs=row.inputs,
            args=row.arguments, **chosen,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Layers(Document):
    """All layers with the `FIGURES` of the verb in ``format``, in execution order or that of ``--sort``; the totals."""

    conventions: Conventions
    model: Model
    level: Level
    layers: Sequence[Layer]
    totals: Totals
    unsupported: Sequence[str]
    complete: bool
    """false where a later layer is wrong; the exit code is 2 then"""
    remarks: Sequence[str] | Omitted = OMITTED
    """what qualifies the figures, such as layers that weights of the declared input size no longer fit"""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What one unit sees, per axis."""

    layer: str
    position: Sequence[Count]
    theoretical: Sequence[Range] | None
    """first and last pixel per axis along local paths, padding counted; null without a local path"""
    exact: Sequence[Range] | None
    """the same inside the image"""
    full: Sequence[Range] | None
    """everything the unit depends on, through global reductions as well; null if nothing"""
    via: Paths
    centre: Sequence[Rational] | None


@dataclass(frozen=True, kw_only=True)
class UnitDocument(Document):
    """The receptive field of one unit: ``cnnscope rf --unit``."""

    format: Literal["cnnscope.rf_unit"] = "cnnscope.rf_unit"
    conventions: Conventions
    model: Model
    unit: Unit
