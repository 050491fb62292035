"""Gates: lower bounds on an audit's figures, written as ``translation@1.agreement=0.95``, and whether they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isclose, isfinite

from cnnscope.audits.outcomes import FAMILIES, Outcomes, TransformRecord
from cnnscope.audits.statistics import METRICS
from cnnscope.audits.statistics.curves import always, family_mean
from cnnscope.audits.statistics.groups import Metric, TransformGroup, families, group, main_groups
from cnnscope.audits.statistics.intervals import Bootstrap, Estimate, Floats, share
from cnnscope.audits.statistics.metrics import accuracy, agreement, consistency, kappa
from cnnscope.errors import CnnscopeError, did_you_mean

_EXPRESSION = re.compile(r"(?P<family>\w+)(@(?P<label>[\w.+-]+?))?\.(?P<metric>[a-z][a-z0-9_-]*)=(?P<bound>[-+.\deE]+)")
_HINT = "write FAMILY@MAGNITUDE.METRIC=BOUND, as `translation@1.agreement=0.95`, or without @MAGNITUDE for their mean"


def of_images(function: Callable[[Outcomes, TransformGroup], Floats], *, labels: bool = False) -> Metric:
    """A metric from a function that gives each image a share from 0 to 1, shape (N,), NaN where it is not known.

    It is averaged over the groups, then over the images; the interval is that of a share (`intervals.share`).
    """
    return Metric(lambda outcomes, groups, _: share(family_mean(outcomes, groups, function)), labels=labels)


def _of_all(function: Callable[[Outcomes, Sequence[int]], Floats], *, transforms: int = 1) -> Metric:
    """A metric from a function of all transforms of all groups together."""

    def of(outcomes: Outcomes, groups: Sequence[TransformGroup], bootstrap: Bootstrap) -> Estimate:
        return share(function(outcomes, [member for group in groups for member in group.members]))

    return Metric(of, transforms=transforms)


AGREEMENT = of_images(agreement)
KAPPA = Metric(kappa, least=-1, unknown="unknown: the network always predicts the same class")
ACCURACY = of_images(accuracy, labels=True)
CONSISTENCY = _of_all(consistency, transforms=2)
WORST = _of_all(always)


@dataclass(frozen=True, slots=True)
class Gate:
    """The lower confidence bound of ``metric`` must be at least ``bound``; ``label`` None is the mean over
    magnitudes."""

    expression: str
    family: str
    label: str | None
    metric: str
    bound: float


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a gate passed, and ``value`` with its interval. An unknown value is None and never passes.

    ``difference`` where they are of a difference between two audits.
    """

    expression: str
    passed: bool
    value: float | None
    low: float | None
    high: float | None
    bound: float
    detail: str = ""
    difference: bool = False
    """whether the figures are of a difference to an earlier audit"""


def parse(expression: str) -> Gate:
    """The gate that an expression stands for; E476 if it is none."""
    text = expression.replace(" ", "")
    match = _EXPRESSION.fullmatch(text)
    if match is None:
        raise CnnscopeError.of("E476", f"`{expression}` is no gate", hint=_HINT)
    family, label, metric = match["family"], match["label"], match["metric"]
    if family not in FAMILIES:
        hint = did_you_mean(family, FAMILIES) or f"the probes are {', '.join(FAMILIES)}"
        raise CnnscopeError.of("E476", f"`{expression}`: no probe is called `{family}`", hint=hint)
    if metric not in METRICS:
        hint = did_you_mean(metric, METRICS) or f"the metrics are {', '.join(METRICS)}"
        raise CnnscopeError.of("E476", f"`{expression}`: no metric is called `{metric}`", hint=hint)
    bound = _number(match["bound"])
    if bound is None or not METRICS.find(metric).least <= bound <= 1:
        raise CnnscopeError.of("E476", f"`{expression}`: `{match['bound']}` is no share", hint="bounds are from 0 to 1")
    return Gate(expression, family, label, metric, bound)


def groups_of(gate: Gate, transforms: Sequence[TransformRecord]) -> tuple[TransformGroup, ...]:
    """The groups that a gate is about. If the audit has none, E477 says what it measures."""
    found = group(transforms)
    if gate.label is None:
        members = main_groups(found, gate.family)  # type: ignore[arg-type]  # parse checked it
        known = families(found)
        if not members:
            hint = f"it measures {', '.join(known)}" if known else None
            raise CnnscopeError.of("E477", f"`{gate.expression}`: the audit has no {gate.family}", hint=hint)
        return members
    members = tuple(g for g in found if g.family == gate.family and _same(g.label, gate.label))
    if not members:
        known_names = [g.name for g in found if g.family == gate.family]
        hint = f"it has {', '.join(known_names)}" if known_names else f"it measures {', '.join(families(found))}"
        raise CnnscopeError.of("E477", f"`{gate.expression}`: the audit has no {gate.family}@{gate.label}", hint=hint)
    return members


def check_measurable(gates: Iterable[Gate], transforms: Sequence[TransformRecord], labelled: bool) -> None:
    """E477 for the first gate that an audit of these transforms cannot decide. Call it before the audit runs."""
    for gate in gates:
        groups = groups_of(gate, transforms)
        metric = METRICS.find(gate.metric)
        if metric.labels and not labelled:
            raise CnnscopeError.of("E477", f"`{gate.expression}`: the images have no labels")
        if sum(len(g.members) for g in groups) < metric.transforms:
            least = {2: "two"}.get(metric.transforms, str(metric.transforms))
            raise CnnscopeError.of("E477", f"`{gate.expression}`: {gate.metric} is of {least} transforms or more")


def check(gate: Gate, outcomes: Outcomes, bootstrap: Bootstrap) -> GateResult:
    """The result of a gate; E477 if the audit does not measure its figure."""
    check_measurable([gate], outcomes.transforms, bool((outcomes.label >= 0).any()))
    metric = METRICS.find(gate.metric)
    estimate = metric.of(outcomes, groups_of(gate, outcomes.transforms), bootstrap)
    if estimate.value is None or estimate.low is None:
        return GateResult(
            expression=gate.expression, passed=False, value=None, low=None, high=None, bound=gate.bound,
            detail=metric.unknown,
        )  # fmt: skip
    passed = estimate.low >= gate.bound
    return GateResult(
        expression=gate.expression, passed=passed, value=estimate.value, low=estimate.low, high=estimate.high,
        bound=gate.bound,
    )  # fmt: skip


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _same(label: str, wanted: str) -> bool:
    """Whether two labels are the same magnitude: 1.0 is 1, and the sign of an angle does not matter."""
    value, known = _number(wanted), _number(label)
    return label == wanted if value is None or known is None else isclose(known, abs(value))
