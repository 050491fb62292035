"""The ``cnnscope.audit`` document: everything that a report says, computed from the stored outcomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cnnscope.audits import comparison
from cnnscope.audits import document as forms
from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.record import verdict
from cnnscope.audits.result import DOCUMENT, GALLERY, OUTCOMES, AuditResult
from cnnscope.audits.statistics import METRICS, STATED, curves, gates
from cnnscope.audits.statistics import metrics as statistics
from cnnscope.audits.statistics.groups import TransformGroup, families, group, main_groups
from cnnscope.audits.statistics.intervals import Bootstrap, Estimate, Floats, share
from cnnscope.errors import CnnscopeError
from cnnscope.files import write_text
from cnnscope.render.documents.document import OMITTED, Omitted, plain

Json = dict[str, Any]
_MEANS = {
    "accuracy_drop": statistics.accuracy_drop, "divergence": statistics.divergence,
    "probability_change": statistics.probability_change,
}  # fmt: skip


def document(result: AuditResult) -> Json:
    """The document as plain values for `json.dumps`; unknown values are None.

    Estimates have ``value``, ``low`` and ``high`` (95 %).

    The latest document is kept: treat it as read-only.
    """
    return _document(result, tuple(METRICS))


@lru_cache(maxsize=1)  # it takes half a minute for tens of thousands of images, and every form of a report needs it
def _document(result: AuditResult, metrics: tuple[str, ...]) -> Json:
    """The document with the metrics of these names, which are all that are registered."""
    outcomes, groups = result.outcomes, group(result.outcomes.transforms)
    boot = Bootstrap(len(outcomes))
    chains = result.facts.protocol.get("chains", ())
    members = {family: [g for g in groups if g.family == family] for family in families(groups)}
    against: Any = result.against  # plain values, as they are read from a file
    found: Json = plain(forms.AuditDocument(
        verdict=verdict(result.facts, result.gates),
        facts=result.facts,
        complete=result.facts.complete,
        result_hash=outcomes.result_hash(),
        accuracy=share(statistics.clean_accuracy(outcomes)).rounded(),
        probes={family: _probe(outcomes, some, boot, chains) for family, some in members.items()},
        transforms=[_transform(outcomes, place) for place in range(len(outcomes.transforms))],
        layers=_layers(outcomes, groups, boot),
        classes=_classes(result, groups),
        cases=_cases(result),
        gates=result.gates,
        against=against,
    ))  # fmt: skip
    return found


def save(result: AuditResult, folder: Path) -> None:
    """Writes ``outcomes.npz``, ``gallery.npz`` and, last, ``audit.json`` (the ``cnnscope.audit`` document).

    The document is what makes the folder a result. E405 where a file cannot be written.
    """
    result.outcomes.save(folder / OUTCOMES)
    result.gallery.save(folder / GALLERY)
    text = json.dumps(document(result), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / DOCUMENT, text + "\n")


def judged(
    result: AuditResult, fail_under: Sequence[str] = (), baseline: tuple[str, AuditResult] | None = None,
    max_regression: float | None = None,
) -> AuditResult:  # fmt: skip
    """The result with gates decided and compared with ``baseline`` (its source and its result).

    Gates and comparisons that are not given stay as they were stored. `CnnscopeError`: E476 for a gate that cannot be
    read, E477 for one about what was not measured, E409 for ``max_regression`` without a baseline.
    """
    if max_regression is not None and baseline is None:
        raise CnnscopeError.of("E409", "`--max-regression` is from a `--baseline`", hint="name an audit's folder")
    bootstrap = Bootstrap(len(result.outcomes))
    bounds = [gates.check(gates.parse(text), result.outcomes, bootstrap) for text in fail_under]
    kept = bounds or [gate for gate in result.gates if not gate.difference]
    if baseline is None:
        return replace(result, gates=(*kept, *(gate for gate in result.gates if gate.difference)))
    source, earlier = baseline
    found = comparison.compare(earlier, result)
    falls = () if max_regression is None else comparison.regressions(found, max_regression)
    sides = comparison.side(earlier, source), comparison.side(result, "this audit")
    return replace(result, gates=(*kept, *falls), against=comparison.record(found, *sides))


def _probe(
    outcomes: Outcomes, groups: Sequence[TransformGroup], boot: Bootstrap, chains: Sequence[Sequence[str]]
) -> forms.AuditProbe:
    """One family: lists with one entry per magnitude, and the figures of the whole family."""
    averaged = main_groups(groups, groups[0].family)
    means: dict[str, list[Estimate]] = {
        name: [e.rounded() for e in statistics.means(np.stack([metric(outcomes, g) for g in groups], 1), boot)]
        for name, metric in _MEANS.items()
    }
    unit: Any = groups[0].unit
    return forms.AuditProbe(
        unit=unit, magnitudes=[g.magnitude for g in groups], labels=[g.label for g in groups],
        titles=[g.title for g in groups], on_grid=[g.on_grid for g in groups], averaged=[g in averaged for g in groups],
        transforms=[len(g.members) for g in groups],
        agreement=[share(statistics.agreement(outcomes, g)).rounded() for g in groups],
        kappa=[estimate.rounded() for estimate in statistics.kappa_each(outcomes, groups, boot)],
        accuracy=[share(statistics.accuracy(outcomes, g)).rounded() for g in groups],
        **means, summary=_summary(outcomes, averaged, boot, chains), others=_others(outcomes, groups, averaged, boot),
    )  # fmt: skip


def _others(
    outcomes: Outcomes, groups: Sequence[TransformGroup], averaged: Sequence[TransformGroup], boot: Bootstrap
) -> dict[str, forms.OtherMetric] | Omitted:
    """The metrics of packages and plugins; no key at all where there are none."""
    found = {
        name: forms.OtherMetric(
            each=[metric.of(outcomes, [g], boot).rounded() for g in groups],
            mean=metric.of(outcomes, averaged, boot).rounded(),
        )
        for name, metric in METRICS.items()
        if name not in STATED
    }
    return found or OMITTED


def _summary(
    outcomes: Outcomes, groups: Sequence[TransformGroup], boot: Bootstrap, chains: Sequence[Sequence[str]]
) -> forms.ProbeSummary:
    members = [m for g in groups for m in g.members]
    lowest = curves.worst_transform(outcomes, members)
    of_k = curves.worst_of_k(outcomes, members, boot)
    estimates = [share(statistics.agreement(outcomes, g)) for g in groups]
    return forms.ProbeSummary(
        magnitudes=len(groups), transforms=len(members),
        agreement=share(curves.family_mean(outcomes, groups, statistics.agreement)).rounded(),
        kappa=statistics.kappa(outcomes, groups, boot).rounded(),
        accuracy=share(curves.family_mean(outcomes, groups, statistics.accuracy)).rounded(),
        consistency=share(statistics.consistency(outcomes, members)).rounded(),
        worst=share(curves.always(outcomes, members)).rounded(),
        worst_accuracy=share(curves.always_right(outcomes, members)).rounded(),
        worst_of_10=None if of_k is None else of_k.rounded(),
        worst_transform=None if lowest is None else replace(lowest, agreement=lowest.agreement.rounded()),
        wobble=statistics.wobble(outcomes, members, boot).rounded(),
        area=curves.area(outcomes, groups, boot).rounded(),
        radius=curves.radii(groups, estimates),
        step=_step(outcomes, groups[0].family, boot, chains),
    )  # fmt: skip


def _step(outcomes: Outcomes, family: str, boot: Bootstrap, chains: Sequence[Sequence[str]]) -> forms.SmallStep | None:
    """What one small step changes, over the chains of this family; None if the protocol has no chains."""
    kinds = {transform.name: transform.family for transform in outcomes.transforms}
    own = [chain for chain in chains if all(kinds.get(name, family) == family for name in chain)]
    if not own and (chains or family != "translation"):
        return None
    pairs = statistics.steps(outcomes, own)
    if not pairs:
        return None
    changed, moved = statistics.step_changes(outcomes, pairs)
    return forms.SmallStep(
        steps=len(pairs), change=share(changed).rounded(), probability_change=statistics.mean(moved, boot).rounded()
    )


def _transform(outcomes: Outcomes, place: int) -> forms.AuditTransform:
    same = statistics.agrees(outcomes, [place])[:, 0].astype(np.float64)
    return forms.AuditTransform(transform=outcomes.transforms[place], agreement=share(same).rounded())


def _layers(outcomes: Outcomes, groups: Sequence[TransformGroup], boot: Bootstrap) -> list[forms.AuditLayer]:
    found = []
    for family in families(groups):
        members = [g for g in groups if g.family == family]
        for curve in curves.layer_curves(outcomes, members, boot):
            found.append(forms.AuditLayer(
                name=curve.layer, probe=family, images=curve.images, magnitudes=[g.magnitude for g in members],
                labels=[g.label for g in members], titles=[g.title for g in members],
                on_grid=[g.on_grid for g in members], distance=[estimate.rounded() for estimate in curve.distance],
            ))  # fmt: skip
    return found


def _classes(result: AuditResult, groups: Sequence[TransformGroup]) -> list[forms.AuditClass]:
    """The figures of each class: by label if every image has one, else by the prediction for the untransformed
    image."""
    outcomes = result.outcomes
    labelled = bool(len(outcomes)) and bool((outcomes.label >= 0).all())
    classes = outcomes.label if labelled else outcomes.top1_clean
    kept = {
        family: curves.family_mean(outcomes, main_groups(groups, family), statistics.agreement)
        for family in families(groups)
    }
    right = statistics.clean_accuracy(outcomes)
    return [
        forms.AuditClass(
            index=int(index), name=result.label(int(index)), by="label" if labelled else "prediction",
            images=int((classes == index).sum()), accuracy=_of(right, classes == index),
            agreement={family: _of(values, classes == index) for family, values in kept.items()},
        )
        for index in np.unique(classes)
    ]  # fmt: skip


def _of(values: Floats, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Estimate:
    estimate: Estimate = share(values[chosen])
    return estimate.rounded()


def _cases(result: AuditResult) -> list[forms.AuditCase]:
    outcomes = result.outcomes
    found = []
    for case in result.gallery.cases:
        i, t = case.image, case.transform
        transform, label = outcomes.transforms[t], int(outcomes.label[i])
        found.append(forms.AuditCase(
            image=outcomes.name[i], transform=transform.name, probe=transform.family,
            label=result.label(label) if label >= 0 else None, clean=result.label(int(outcomes.top1_clean[i])),
            confidence_clean=float(outcomes.confidence_clean[i]), now=result.label(int(outcomes.top1[i, t])),
            confidence=float(outcomes.confidence[i, t]),
        ))  # fmt: skip
    return found
