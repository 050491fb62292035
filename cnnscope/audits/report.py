"""The ``cnnscope.audit`` document: everything a report says, worked out from the stored outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.result import AuditResult
from cnnscope.audits.statistics import curves, worst
from cnnscope.audits.statistics import metrics as statistics
from cnnscope.audits.statistics.groups import Group, families, group, main_groups
from cnnscope.audits.statistics.intervals import CONFIDENCE, RESAMPLES, Bootstrap, Estimate, Floats, share
from cnnscope.audits.verdict import verdict
from cnnscope.render.result import header

Json = dict[str, Any]
_MEANS = {
    "accuracy_drop": statistics.accuracy_drop, "divergence": statistics.divergence,
    "probability_change": statistics.probability_change,
}  # fmt: skip


def document(result: AuditResult) -> Json:
    """Plain values for `json.dumps`; what is unknown is None. Estimates have ``value``, ``low`` and ``high`` (95 %)."""
    outcomes, groups = result.outcomes, group(result.outcomes.transforms)
    boot = Bootstrap(len(outcomes))
    chains = result.facts.protocol.get("chains", ())
    members = {family: [g for g in groups if g.family == family] for family in families(groups)}
    return {
        **header("audit"),
        "verdict": asdict(verdict(result.facts, result.gates)),
        **result.facts.to_dict(),
        "result_hash": outcomes.result_hash(),
        "intervals": {"confidence": CONFIDENCE, "resamples": RESAMPLES},
        "accuracy": share(statistics.clean_accuracy(outcomes)).to_dict(),
        "probes": {family: _probe(outcomes, some, boot, chains) for family, some in members.items()},
        "transforms": [_transform(outcomes, place) for place in range(len(outcomes.transforms))],
        "layers": _layers(outcomes, groups, boot),
        "classes": _classes(result, groups),
        "cases": _cases(result),
        "gates": [asdict(gate) for gate in result.gates],
        "against": result.against,
    }


def _probe(outcomes: Outcomes, groups: Sequence[Group], boot: Bootstrap, chains: Sequence[Sequence[str]]) -> Json:
    """One family: lists with one entry a magnitude, and what is said of the family as a whole."""
    averaged = main_groups(groups, groups[0].family)
    metrics = {
        "agreement": [share(statistics.agreement(outcomes, g)) for g in groups],
        "kappa": statistics.kappa_each(outcomes, groups, boot),
        "accuracy": [share(statistics.accuracy(outcomes, g)) for g in groups],
        **{
            name: statistics.means(np.stack([metric(outcomes, g) for g in groups], 1), boot)
            for name, metric in _MEANS.items()
        },
    }
    return {
        "unit": groups[0].unit, "magnitudes": [g.magnitude for g in groups], "labels": [g.label for g in groups],
        "titles": [g.title for g in groups], "on_grid": [g.on_grid for g in groups],
        "averaged": [g in averaged for g in groups], "transforms": [len(g.members) for g in groups],
        **{name: [estimate.to_dict() for estimate in values] for name, values in metrics.items()},
        "summary": _summary(outcomes, averaged, boot, chains),
    }  # fmt: skip


def _summary(outcomes: Outcomes, groups: Sequence[Group], boot: Bootstrap, chains: Sequence[Sequence[str]]) -> Json:
    members = [m for g in groups for m in g.members]
    lowest = worst.worst_transform(outcomes, members)
    of_k = worst.worst_of_k(outcomes, members, boot)
    estimates = [share(statistics.agreement(outcomes, g)) for g in groups]
    return {
        "magnitudes": len(groups), "transforms": len(members),
        "agreement": share(curves.family_mean(outcomes, groups, statistics.agreement)).to_dict(),
        "kappa": statistics.kappa(outcomes, groups, boot).to_dict(),
        "accuracy": share(curves.family_mean(outcomes, groups, statistics.accuracy)).to_dict(),
        "consistency": share(statistics.consistency(outcomes, members)).to_dict(),
        "worst": share(worst.always(outcomes, members)).to_dict(),
        "worst_accuracy": share(worst.always_right(outcomes, members)).to_dict(),
        "worst_of_10": None if of_k is None else of_k.to_dict(),
        "worst_transform": lowest and {"name": lowest.name, "agreement": lowest.agreement.to_dict()},
        "wobble": statistics.wobble(outcomes, members, boot).to_dict(),
        "area": curves.area(outcomes, groups, boot).to_dict(),
        "radius": [asdict(radius) for radius in curves.radii(groups, estimates)],
        "step": _step(outcomes, groups[0].family, boot, chains),
    }  # fmt: skip


def _step(outcomes: Outcomes, family: str, boot: Bootstrap, chains: Sequence[Sequence[str]]) -> Json | None:
    """What one small step does, over the chains of this family; None where the protocol takes none."""
    kinds = {transform.name: transform.family for transform in outcomes.transforms}
    own = [chain for chain in chains if all(kinds.get(name, family) == family for name in chain)]
    if not own and (chains or family != "translation"):
        return None
    pairs = statistics.steps(outcomes, own)
    if not pairs:
        return None
    changed, moved = statistics.step_changes(outcomes, pairs)
    return {
        "steps": len(pairs), "change": share(changed).to_dict(),
        "probability_change": statistics.mean(moved, boot).to_dict(),
    }  # fmt: skip


def _transform(outcomes: Outcomes, place: int) -> Json:
    same = statistics.agrees(outcomes, [place])[:, 0].astype(np.float64)
    return {**asdict(outcomes.transforms[place]), "agreement": share(same).to_dict()}


def _layers(outcomes: Outcomes, groups: Sequence[Group], boot: Bootstrap) -> list[Json]:
    found = []
    for family in families(groups):
        members = [g for g in groups if g.family == family]
        for curve in curves.layer_curves(outcomes, members, boot):
            found.append({
                "name": curve.layer, "probe": family, "images": curve.images,
                "magnitudes": [g.magnitude for g in members], "labels": [g.label for g in members],
                "titles": [g.title for g in members], "on_grid": [g.on_grid for g in members],
                "distance": [estimate.to_dict() for estimate in curve.distance],
            })  # fmt: skip
    return found


def _classes(result: AuditResult, groups: Sequence[Group]) -> list[Json]:
    """Per class, by label where every image has one, else by the prediction for the image as it is."""
    outcomes = result.outcomes
    labelled = bool(len(outcomes)) and bool((outcomes.label >= 0).all())
    classes = outcomes.label if labelled else outcomes.top1_clean
    kept = {
        family: curves.family_mean(outcomes, main_groups(groups, family), statistics.agreement)
        for family in families(groups)
    }
    right = statistics.clean_accuracy(outcomes)
    return [
        {
            "index": int(index), "name": result.label(int(index)), "by": "label" if labelled else "prediction",
            "images": int((classes == index).sum()), "accuracy": share(right[classes == index]).to_dict(),
            "agreement": {family: _of(values, classes == index) for family, values in kept.items()},
        }
        for index in np.unique(classes)
    ]  # fmt: skip


def _of(values: Floats, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> Json:
    estimate: Estimate = share(values[chosen])
    return dict(estimate.to_dict())


def _cases(result: AuditResult) -> list[Json]:
    outcomes = result.outcomes
    found = []
    for case in result.gallery.cases:
        i, t = case.image, case.transform
        transform, label = outcomes.transforms[t], int(outcomes.label[i])
        found.append({
            "image": outcomes.name[i], "transform": transform.name, "probe": transform.family,
            "label": result.label(label) if label >= 0 else None,
            "clean": result.label(int(outcomes.top1_clean[i])), "confidence_clean": float(outcomes.confidence_clean[i]),
            "now": result.label(int(outcomes.top1[i, t])), "confidence": float(outcomes.confidence[i, t]),
        })  # fmt: skip
    return found
