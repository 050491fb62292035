"""Compares two audits: image by image if they have the same images, otherwise as independent samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.result import AuditResult
from cnnscope.audits.statistics import intervals
from cnnscope.audits.statistics.curves import family_mean
from cnnscope.audits.statistics.gates import GateResult
from cnnscope.audits.statistics.groups import TransformGroup, families, group, main_groups
from cnnscope.audits.statistics.intervals import UNKNOWN, Bootstrap, Estimate, Floats, interval, share
from cnnscope.audits.statistics.metrics import accuracy, agreement, clean_accuracy, kappa, kappa_columns, kappas
from cnnscope.render.documents.document import INLINE, Count, Hash, plain

Compared = Literal["clean", "translation", "scale", "rotation", "flip"]
Measure = Literal["agreement", "accuracy", "kappa"]


@dataclass(frozen=True, slots=True)
class Difference:
    """``b - a`` of one metric over one group, or over a family's magnitudes (``label`` None).

    ``p_value`` is that of McNemar's exact test, None where images have more than one outcome or are not the same.
    """

    family: Compared
    label: str | None
    """null for the mean over magnitudes"""
    title: str
    on_grid: bool
    metric: Measure
    a: Estimate
    b: Estimate
    difference: Estimate
    """b - a"""
    p_value: float | None = None
    """McNemar's exact test; null where it does not apply"""


@dataclass(frozen=True)
class Differences:
    """The comparison of audit ``b`` with audit ``a``. ``shared`` is the number of images that both have."""

    paired: bool
    images: tuple[Count, Count]
    shared: Count
    warnings: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, kw_only=True)
class AuditSide:
    """One of the audits in a comparison."""

    source: str
    model: str
    weights: str
    images: Count
    preset: str
    protocol_hash: Hash
    result_hash: Hash


@dataclass(frozen=True, kw_only=True)
class AuditComparison:
    """A comparison in a document."""

    a: AuditSide
    b: AuditSide
    found: Differences = field(metadata=INLINE)


def compare(a: AuditResult, b: AuditResult) -> Differences:
    """Differences of everything that both audits measured, family means first; paired if the images are the same."""
    places = _matched(a.outcomes, b.outcomes)
    first, second = a.outcomes, b.outcomes
    if places is not None:
        first, second = first.select(places[0]), second.select(places[1])
    shared = sum((Counter(first.key) & Counter(second.key)).values())
    groups = {g.name: g for g in group(second.transforms)}
    pairs = [(g, groups[g.name]) for g in group(first.transforms) if g.name in groups]
    warnings = tuple(_warnings(a, b, shared, places is not None, [g for g, _ in pairs]))
    differences = tuple(_differences(first, second, pairs, places is not None))
    return Differences(places is not None, (len(first), len(second)), shared, warnings, differences)


def _matched(a: Outcomes, b: Outcomes) -> tuple[list[int], list[int]] | None:
    """The orders in which both have the same images by content; None if the images differ."""
    first, second = _order(a), _order(b)
    same = [a.key[i] for i in first] == [b.key[i] for i in second]
    return (first, second) if same and len(a) else None


def _warnings(a: AuditResult, b: AuditResult, shared: int, paired: bool, common: Sequence[TransformGroup]) -> list[str]:
    found = []
    if a.facts.protocol_hash != b.facts.protocol_hash:
        found.append("the protocols differ: equal names may stand for other pixels (seed, border, margin or preset)")
    if not paired:
        counts = f"{len(a.outcomes)} and {len(b.outcomes)}, {shared} of them the same"
        found.append(f"the images are not the same ({counts}): compared as independent samples")
    elif _labels(a.outcomes) != _labels(b.outcomes):
        found.append("the same images have other labels: accuracies are not of the same question")
    names = {g.name for g in common}
    alone = [g.name for r in (a, b) for g in group(r.outcomes.transforms) if g.name not in names]
    if alone:
        found.append(f"measured in one only: {', '.join(dict.fromkeys(alone))}")
    for name in ("device", "dtype", "batch_size"):
        one, other = getattr(a.facts, name), getattr(b.facts, name)
        if one != other:
            found.append(f"{name.replace('_', ' ')}: {one} against {other}")
    return found


def _labels(outcomes: Outcomes) -> list[int]:
    """Labels in the order of the images' contents."""
    return [int(outcomes.label[i]) for i in _order(outcomes)]


def _order(outcomes: Outcomes) -> list[int]:
    return sorted(range(len(outcomes)), key=lambda i: (outcomes.key[i], outcomes.name[i]))


def _differences(
    a: Outcomes, b: Outcomes, pairs: Sequence[tuple[TransformGroup, TransformGroup]], paired: bool
) -> list[Difference]:
    boots = Bootstrap(len(a)), Bootstrap(len(b), seed=0 if paired else 1)
    known = bool((a.label >= 0).any() and (b.label >= 0).any())
    found = []
    if known:
        values = clean_accuracy(a), clean_accuracy(b)
        found.append(_row("clean", None, "clean", True, "accuracy", *values, paired))
    metrics: dict[Measure, Callable[[Outcomes, TransformGroup], Floats]] = {"agreement": agreement}
    metrics |= {"accuracy": accuracy} if known else {}
    of_a, of_b = [g for g, _ in pairs], [g for _, g in pairs]
    for family in families(of_a):
        both = main_groups(of_a, family), main_groups(of_b, family)
        for name, metric in metrics.items():
            values = family_mean(a, both[0], metric), family_mean(b, both[1], metric)
            found.append(_row(family, None, "mean", both[0][0].on_grid, name, *values, paired))
        found.append(_kappa_row(a, b, both, boots, "mean", None))
        for one, other in ((g, h) for g, h in pairs if g.family == family):
            for name, metric in metrics.items():
                values = metric(a, one), metric(b, other)
                found.append(_row(family, one.label, one.title, one.on_grid, name, *values, paired))
            found.append(_kappa_row(a, b, ((one,), (other,)), boots, one.title, one.label))
    return found


def _row(
    family: Compared, label: str | None, title: str, on_grid: bool, metric: Measure, a: Floats, b: Floats, paired: bool
) -> Difference:
    change = intervals.paired_difference(b - a) if paired else intervals.independent_difference(share(a), share(b))
    p_value = intervals.mcnemar(b - a) if paired else None
    return Difference(
        family=family, label=label, title=title, on_grid=on_grid, metric=metric, a=share(a), b=share(b),
        difference=change, p_value=p_value,
    )  # fmt: skip


def _kappa_row(
    a: Outcomes, b: Outcomes, groups: tuple[Sequence[TransformGroup], Sequence[TransformGroup]],
    boots: tuple[Bootstrap, Bootstrap], title: str, label: str | None,
) -> Difference:  # fmt: skip
    estimates = [kappa(o, g, boot) for o, g, boot in zip((a, b), groups, boots, strict=True)]
    change = UNKNOWN
    if estimates[0].value is not None and estimates[1].value is not None:
        resampled = []
        for o, members, boot in zip((a, b), groups, boots, strict=True):
            columns = np.concatenate([kappa_columns(o, g) for g in members], 1)
            resampled.append(kappas(boot.means(columns)).mean(-1))
        change = interval(estimates[1].value - estimates[0].value, resampled[1] - resampled[0])
    first = groups[0][0]
    return Difference(
        family=first.family, label=label, title=title, on_grid=first.on_grid, metric="kappa", a=estimates[0],
        b=estimates[1], difference=change,
    )  # fmt: skip


def regressions(comparison: Differences, most: float) -> tuple[GateResult, ...]:
    """A gate for each family: the lower bound of the change of mean agreement from ``a`` to ``b`` is at least
    ``-most``."""
    found = []
    for d in comparison.differences:
        if d.label is None and d.metric == "agreement":
            low = d.difference.low
            expression = f"{d.family}.agreement: no more than {most:g} below the baseline"
            detail = "paired" if comparison.paired else "independent samples"
            passed = low is not None and low >= -most - 1e-12
            change = d.difference
            result = GateResult(
                expression=expression, passed=passed, value=change.value, low=low, high=change.high, bound=-most,
                detail=detail, difference=True,
            )  # fmt: skip
            found.append(result)
    return tuple(found)


def side(result: AuditResult, source: str) -> AuditSide:
    """The entry of one audit in a comparison; ``source`` is where it was read from."""
    facts = result.facts
    return AuditSide(
        source=source, model=facts.model.name, weights=facts.model.weights, images=len(result.outcomes),
        preset=facts.preset, protocol_hash=facts.protocol_hash, result_hash=result.outcomes.result_hash(),
    )  # fmt: skip


def record(comparison: Differences, a: AuditSide, b: AuditSide) -> dict[str, Any]:
    """A comparison as plain values: an entry of the ``cnnscope.compare`` document, with both its `side`s."""
    rounded = [
        replace(d, a=d.a.rounded(), b=d.b.rounded(), difference=d.difference.rounded()) for d in comparison.differences
    ]
    found: dict[str, Any] = plain(AuditComparison(a=a, b=b, found=replace(comparison, differences=tuple(rounded))))
    return found
