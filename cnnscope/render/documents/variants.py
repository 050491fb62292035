"""Documents that compare architectures: two networks layer by layer, and a network without some of its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cnnscope.analysis.diff import Aspect, Mark
from cnnscope.render.documents.document import Count, Document, Shape, keywords
from cnnscope.render.documents.network import Conventions, Model, ReceptiveField, Totals, Value


@dataclass(frozen=True, kw_only=True)
class OpCall:
    """An op with its arguments."""

    op: str
    args: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DiffSide:
    """A layer of one of the two networks, with the norm and activation behind it."""

    name: str
    op: str
    category: str
    label: str
    ops: Sequence[OpCall]
    """the layer with the norm and activation fused behind it; empty for an input"""
    output_shape: Shape
    params: Count
    macs: Count | None
    receptive_field: ReceptiveField | None


@dataclass(frozen=True, kw_only=True)
class DiffDelta:
    """b less a."""

    params: int
    macs: int | None


@dataclass(frozen=True, kw_only=True)
class DiffLayer:
    """A layer of one network beside that of the other."""

    change: Mark
    """only in b, only in a, changed, equal"""
    a: DiffSide | None
    b: DiffSide | None
    changed: Sequence[Aspect]
    delta: DiffDelta


@dataclass(frozen=True, kw_only=True)
class DiffTotals:
    """The totals of both networks."""

    a: Totals
    b: Totals
    delta: Mapping[str, int]
    """b less a"""


@dataclass(frozen=True, kw_only=True)
class DiffDocument(Document):
    """Two networks layer by layer: ``cnnscope diff``."""

    format: Literal["cnnscope.diff"] = "cnnscope.diff"
    conventions: Conventions
    equal: bool
    """the same architecture but for names"""
    a: Model
    b: Model
    layers: Sequence[DiffLayer]
    totals: DiffTotals


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
