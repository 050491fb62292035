"""Documents of architectures: two compared, and what one commutes with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cnnscope.analysis.diff import Aspect, Mark
from cnnscope.analysis.equivariance import Verdict
from cnnscope.render.documents.document import INLINE, Count, Document, Ordinal, Shape, Share, keywords
from cnnscope.render.documents.network import Conventions, Model, ReceptiveField, Totals


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


Axis = Literal["z", "y", "x"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is claimed of one transform."""

    claim: Literal["exact", "geometry_only", "not_guaranteed"]
    layer: str | None
    """the first layer that prevents a stronger claim"""
    reason: str | None

    @classmethod
    def of(cls, verdict: Verdict) -> Claim:
        """Of a verdict of the analysis."""
        cause = verdict.cause
        layer, reason = (None, None) if cause is None else (cause.layer, cause.reason)
        return cls(claim=verdict.claim, layer=layer, reason=reason)


@dataclass(frozen=True, kw_only=True)
class PredictedClaim:
    """What is claimed of the network's output."""

    transform: str
    claim: Claim = field(metadata=INLINE)
    multiples_px: Ordinal | None
    """shifts by multiples of it; null where the claim is about all"""


@dataclass(frozen=True, kw_only=True)
class FlipClaim:
    """What is claimed of a layer's map where the image is mirrored along one axis."""

    axis: Axis
    claim: Claim = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class ShiftClaim:
    """What is claimed of a layer's map where the image is shifted by multiples of ``unit_px`` along one axis."""

    axis: Axis
    claim: Claim = field(metadata=INLINE)
    unit_px: Ordinal
    positions: int | None


@dataclass(frozen=True, kw_only=True)
class EquivariantLayer:
    """What one layer commutes with."""

    name: str
    output_shape: Shape
    invariant: bool
    shifts: Sequence[ShiftClaim]
    """per image axis circular shifts by multiples of unit_px, each moving the map by positions"""
    interior: Sequence[tuple[Count, Count]] | None
    """per axis first and last position whose exact receptive field misses the border; null if there is none"""
    interior_fraction: Share | None
    flips: Sequence[FlipClaim]
    quarter_turns: Claim


@dataclass(frozen=True, kw_only=True)
class EquivarianceDocument(Document):
    """What a network and its layers commute with: ``cnnscope equivariance``."""

    format: Literal["cnnscope.equivariance"] = "cnnscope.equivariance"
    conventions: Conventions
    model: Model
    image: Annotated[Sequence[Ordinal], keywords(minItems=1, maxItems=3)]
    """spatial extents in pixels"""
    invariant: bool
    """whether the outputs have no positions, so that claims are about invariance, else about equivariance"""
    predictions: Sequence[PredictedClaim]
    layers: Sequence[EquivariantLayer]
    unsupported: Sequence[str]
    """layers behind an op that no rule covers"""
