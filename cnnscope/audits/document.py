"""The documents of an audit and of audits beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from cnnscope.audits.comparison import AuditComparison
from cnnscope.audits.outcomes import Family, TransformRecord
from cnnscope.audits.record import AuditFacts, Verdict
from cnnscope.audits.statistics.curves import Radius, WorstTransform
from cnnscope.audits.statistics.gates import GateResult
from cnnscope.audits.statistics.intervals import CONFIDENCE, RESAMPLES, Estimate
from cnnscope.render.documents.document import INLINE, OMITTED, Count, Document, Hash, Omitted, Ordinal, keywords


@dataclass(frozen=True, kw_only=True)
class AuditIntervals:
    """How intervals are made."""

    confidence: float = CONFIDENCE
    resamples: Ordinal = RESAMPLES


@dataclass(frozen=True, kw_only=True)
class SmallStep:
    """What one small step changes."""

    steps: Ordinal
    change: Estimate
    probability_change: Estimate


@dataclass(frozen=True, kw_only=True)
class ProbeSummary:
    """The figures of a whole family."""

    magnitudes: Count
    transforms: Count
    agreement: Estimate
    kappa: Estimate
    accuracy: Estimate
    consistency: Estimate
    worst: Estimate
    """share of images that no transform changes"""
    worst_accuracy: Estimate
    """share of images that are right as they are and under every transform"""
    worst_of_10: Estimate | None
    worst_transform: WorstTransform | None
    wobble: Estimate
    area: Estimate
    """under kappa over the distance"""
    radius: Sequence[Radius]
    step: SmallStep | None


@dataclass(frozen=True, kw_only=True)
class OtherMetric:
    """A metric of a package or plugin."""

    each: Sequence[Estimate]
    """one entry a magnitude"""
    mean: Estimate
    """over the magnitudes that count in the summary"""


@dataclass(frozen=True, kw_only=True)
class AuditProbe:
    """One family: lists with one entry a magnitude, and the figures of the family as a whole."""

    unit: Literal["px", "x", "deg", ""]
    magnitudes: Sequence[float]
    labels: Sequence[str]
    """as gates name them"""
    titles: Sequence[str]
    on_grid: Sequence[bool]
    averaged: Sequence[bool]
    """whether it counts in the summary"""
    transforms: Sequence[Ordinal]
    agreement: Sequence[Estimate]
    kappa: Sequence[Estimate]
    accuracy: Sequence[Estimate]
    accuracy_drop: Sequence[Estimate]
    divergence: Sequence[Estimate]
    probability_change: Sequence[Estimate]
    summary: ProbeSummary
    others: Mapping[str, OtherMetric] | Omitted = OMITTED
    """metrics of packages and plugins by name"""


@dataclass(frozen=True, kw_only=True)
class AuditTransform:
    """One transform and how many predictions stay under it."""

    transform: TransformRecord = field(metadata=INLINE)
    agreement: Estimate


@dataclass(frozen=True, kw_only=True)
class AuditLayer:
    """How far a layer's maps move under one family."""

    name: str
    probe: Family
    images: Count
    magnitudes: Sequence[float]
    labels: Sequence[str]
    """as gates name them"""
    titles: Sequence[str]
    on_grid: Sequence[bool]
    distance: Sequence[Estimate]
    """0 invariant, 1 as far as another image"""


@dataclass(frozen=True, kw_only=True)
class AuditClass:
    """The images of one class."""

    index: Count
    name: str
    by: Literal["label", "prediction"]
    images: Ordinal
    accuracy: Estimate
    agreement: Mapping[Family, Estimate]


@dataclass(frozen=True, kw_only=True)
class AuditCase:
    """An image of the gallery: what is predicted of it as it is, and after the transform."""

    image: str
    transform: str
    probe: Family
    label: str | None
    clean: str
    confidence_clean: float
    now: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class AuditDocument(Document):
    """All results of an audit: ``cnnscope audit`` and ``cnnscope report``."""

    format: Literal["cnnscope.audit"] = "cnnscope.audit"
    verdict: Verdict
    facts: AuditFacts = field(metadata=INLINE)
    complete: bool
    result_hash: Hash
    """of the stored outcomes, whatever the order and the number of ranks"""
    intervals: AuditIntervals = AuditIntervals()
    accuracy: Estimate
    probes: Mapping[Family, AuditProbe]
    transforms: Sequence[AuditTransform]
    layers: Sequence[AuditLayer]
    classes: Sequence[AuditClass]
    cases: Sequence[AuditCase]
    gates: Sequence[GateResult]
    against: AuditComparison | None


@dataclass(frozen=True, kw_only=True)
class CompareDocument(Document):
    """Audits beside the first of them: ``cnnscope compare``."""

    format: Literal["cnnscope.compare"] = "cnnscope.compare"
    comparisons: Annotated[Sequence[AuditComparison], keywords(minItems=1)]
