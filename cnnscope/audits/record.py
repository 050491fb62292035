"""What is recorded of an audit besides its outcomes, and the verdict: whether the audit is valid and its gates hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from cnnscope.audits.outcomes import Family
from cnnscope.audits.statistics.gates import GateResult
from cnnscope.render.documents.document import Count, Hash, Omitted, Ordinal

Claim = Literal["exact", "geometry_only", "not_guaranteed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The network. ``trained`` is False where its weights are random; ``stride`` is its total (y, x) stride."""

    name: str
    source: str
    weights: str
    weights_sha256: Hash
    trained: bool
    input_shape: tuple[Ordinal, ...] = ()
    stride: tuple[Ordinal, Ordinal] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """An image that was not used, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """The images: how many were found and used, which were not; ``sha256`` is over the keys of those used."""

    path: str
    images: Count
    used: Count
    skipped: tuple[Skipped, ...]
    sha256: Hash


@dataclass(frozen=True, slots=True)
class Control:
    """The result of a control.

    ``passed`` is None if there are too few images to decide; ``value`` and ``limit`` are None if the control has no
    figure.
    """

    name: str
    passed: bool | None
    """null if there are too few images to decide"""
    value: float | None
    limit: float | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the architecture promises for a transform, and what was measured; ``agrees`` is None if nothing was."""

    transform: str
    claim: Claim
    measured: float | None
    agrees: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EquivarianceError:
    """``E_l(g)`` of a layer over units whose field misses the border, and over all others; None if there are none."""

    layer: str
    transform: str
    interior: float | None
    border: float | None
    interior_share: float | None = None


@dataclass(frozen=True, slots=True)
class LocalError:
    """How fast a layer leaves equivariance, a share of its norm per ``unit`` (px, deg, %) of an infinitesimal movement.

    For a layer without positions, and for the scores, it is how fast it leaves invariance.
    """

    layer: str
    movement: str
    unit: Literal["px", "deg", "%"]
    value: float | None


@dataclass(frozen=True, slots=True)
class BaselinePoint:
    """The figures of one group for a network of the same architecture with random weights."""

    family: Family
    magnitude: float
    on_grid: bool
    name: str
    agreement: float | None
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Wall-clock seconds, and images times transforms per second."""

    wall_s: float | None = None
    samples_per_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class AuditFacts:
    """Everything about an audit but its outcomes.

    ``labels`` are the names of the classes, () where unknown. ``protocol`` has the transforms and settings, and
    ``protocol_hash`` is their hash. ``retries`` says in words what had to be repeated. ``shards_done`` is less than
    ``shards`` in an audit that was interrupted.
    """

    model: ModelFacts
    data: DataFacts
    labels: tuple[str, ...]
    seed: int
    device: str
    dtype: str
    batch_size: Ordinal
    preset: str
    protocol: Mapping[str, Any]
    """what was drawn"""
    protocol_hash: Hash
    versions: Mapping[str, str]
    shards: Count = 1
    shards_done: Count = 1
    controls: tuple[Control, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    equivariance: tuple[EquivarianceError, ...] = ()
    local_equivariance: tuple[LocalError, ...] | Omitted = ()
    """share of a layer's norm that one unit of an infinitesimal movement costs (Gruver et al. 2023)"""
    baseline: tuple[BaselinePoint, ...] = ()
    rates: Rates = Rates()
    retries: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every shard is there."""
        return self.shards_done == self.shards

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> AuditFacts:
        """The facts in a document, which may have more entries; KeyError or TypeError if they are not there."""
        known = {f.name: document[f.name] for f in fields(cls)}
        model, data = dict(known["model"]), dict(known["data"])
        model["input_shape"] = tuple(model["input_shape"])
        model["stride"] = model["stride"] and tuple(model["stride"])
        data["skipped"] = tuple(Skipped(**record) for record in data["skipped"])
        lists = {"controls": Control, "predictions": Prediction, "equivariance": EquivarianceError,
                 "local_equivariance": LocalError, "baseline": BaselinePoint}  # fmt: skip
        known |= {name: tuple(kind(**record) for record in known[name]) for name, kind in lists.items()}
        known |= {name: tuple(known[name]) for name in ("labels", "retries")}
        known |= {"model": ModelFacts(**model), "data": DataFacts(**data), "rates": Rates(**known["rates"])}
        return cls(**known)


PASS: Final = 0
FAILED: Final = 1
INVALID: Final = 4
INCOMPLETE: Final = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """``code`` is the exit code: 0 pass, 1 a gate failed, 4 a control failed, 5 incomplete; ``text`` says why."""

    code: Literal[0, 1, 4, 5]
    word: Literal["pass", "fail", "invalid", "incomplete"]
    text: str


def verdict(facts: AuditFacts, gates: Sequence[GateResult] = ()) -> Verdict:
    """The verdict: first whether the audit is valid, then whether its gates hold.

    An incomplete audit has no verdict on what is missing. A failed control, or a measurement that contradicts an exact
    prediction, means that the audit or the prediction is wrong; then gates mean nothing.
    """
    if not facts.complete:
        text = f"{facts.shards_done} of {facts.shards} shards are there; run the audit again to go on"
        return Verdict(INCOMPLETE, "incomplete", text)
    controls = [control.name for control in facts.controls if control.passed is False]
    alarms = [p.transform for p in facts.predictions if p.claim == "exact" and p.agrees is False]
    if controls or alarms:
        parts = [f"{_count(len(controls), 'control')} failed: {', '.join(controls)}"] if controls else []
        parts += [f"the measurement contradicts the architecture: {', '.join(alarms)}"] if alarms else []
        return Verdict(INVALID, "invalid", "; ".join(parts))
    failed = [gate.expression for gate in gates if not gate.passed]
    if failed:
        return Verdict(FAILED, "fail", f"{_count(len(failed), 'gate')} failed: {', '.join(failed)}")
    passed, run = sum(control.passed is True for control in facts.controls), len(facts.controls)
    checked = f"{passed} of {_count(run, 'control')} passed" if run else "no control was run"
    checked += f", {run - passed} could not tell" if passed < run else ""
    return Verdict(PASS, "pass", f"{checked}; {_count(len(gates), 'gate')} passed" if gates else checked)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
