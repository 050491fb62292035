"""A finished audit: what was measured on what and how, beside its outcomes; a folder that reports are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from cnnscope.audits.gallery import Gallery
from cnnscope.audits.outcomes import Family, Outcomes
from cnnscope.audits.statistics.gates import GateResult
from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, write_bytes
from cnnscope.render.documents.document import Count, Hash, Omitted, Ordinal

Claim = Literal["exact", "geometry_only", "not_guaranteed"]
DOCUMENT, OUTCOMES, GALLERY = "audit.json", "outcomes.npz", "gallery.npz"


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class DataFacts:
    """The images: how many were found and used, which were not; ``sha256`` is over the keys of those used."""

    path: str
    images: Count
    used: Count
    skipped: tuple[Skipped, ...]
    sha256: Hash


@dataclass(frozen=True, slots=True)
class Control:
    """A check of the audit itself; ``passed`` is None where there is too little to tell, ``value`` and ``limit`` are
    None where it is no matter of a figure."""

    name: str
    passed: bool | None
    """null where there is too little to tell"""
    value: float | None
    limit: float | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the architecture alone says of a transform, beside what was measured; ``agrees`` is None if not measured."""

    transform: str
    claim: Claim
    measured: float | None
    agrees: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EquivarianceError:
    """``E_l(g)`` of a layer, over units whose field misses the border and over all others; None where none are."""

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
    """How a network of the same architecture with random weights does."""

    family: Family
    magnitude: float
    on_grid: bool
    name: str
    agreement: float | None
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Seconds on the clock, and images times transforms a second."""

    wall_s: float | None = None
    samples_per_s: float | None = None


@dataclass(frozen=True)
class AuditFacts:
    """Everything about an audit but its outcomes.

    ``labels`` are the names of the classes, () where unknown. ``protocol`` says what was drawn, ``protocol_hash`` is
    over it. ``retries`` says in words what had to be tried again. ``shards_done`` is less than ``shards`` in an
    audit that was interrupted.
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
        """From a document, whatever else it has; KeyError, TypeError where it is something else."""
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


@dataclass(frozen=True)
class AuditResult:
    """A finished audit. ``gates`` are those that were asked for; ``against`` is the comparison with an earlier audit,
    an entry of a ``cnnscope.compare`` document, None where there was none."""

    facts: AuditFacts
    outcomes: Outcomes
    gallery: Gallery = field(default_factory=Gallery.empty)
    gates: tuple[GateResult, ...] = ()
    against: Mapping[str, Any] | None = None

    def label(self, index: int) -> str:
        """The name of a class, or its number where classes have no names."""
        return self.facts.labels[index] if 0 <= index < len(self.facts.labels) else str(index)

    @cached_property
    def document(self) -> dict[str, Any]:
        """The ``cnnscope.audit`` document: half a minute of work for tens of thousands of images."""
        from cnnscope.audits.report import document

        return document(self)

    def save(self, folder: Path) -> None:
        """Writes ``outcomes.npz``, ``gallery.npz`` and, last, ``audit.json`` (the ``cnnscope.audit`` document).

        The document is what makes the folder a result. E405 where a file cannot be written.
        """
        self.outcomes.save(folder / OUTCOMES)
        self.gallery.save(folder / GALLERY)
        text = json.dumps(self.document, indent=2, ensure_ascii=False, allow_nan=False)
        write_bytes(folder / DOCUMENT, (text + "\n").encode())


def load(path: Path) -> AuditResult:
    """A result from its folder or the ``audit.json`` in it; E475 where there is none, or it is damaged."""
    file = path / DOCUMENT if path.is_dir() else path
    try:
        document = json.loads(file.read_bytes())
    except FileNotFoundError:
        hint = None if path.is_dir() else "name the folder that an audit wrote to"
        reason = f"there is no `{DOCUMENT}` in it" if path.is_dir() else "there is no such file"
        raise _refused(path, reason, hint) from None
    except OSError as error:
        raise _refused(path, os_reason(error)) from None
    except ValueError:
        raise _refused(path, f"`{file.name}` is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != "cnnscope.audit":
        raise _refused(path, f"`{file.name}` is no `cnnscope.audit` document")
    try:
        facts = AuditFacts.from_dict(document)
        gates = tuple(GateResult(**record) for record in document["gates"])
        against = document["against"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(path, f"`{file.name}` lacks what is known of the audit ({error})") from None
    if not file.with_name(OUTCOMES).exists():
        hint = "a report is not enough: name the folder that the audit wrote to"
        raise _refused(path, f"there is no `{OUTCOMES}` beside `{file.name}`", hint)
    outcomes, gallery = Outcomes.load(file.with_name(OUTCOMES)), Gallery.load(file.with_name(GALLERY))
    result = AuditResult(facts, outcomes, gallery, gates, against)
    if result.outcomes.result_hash() != document.get("result_hash"):
        raise _refused(path, f"`{OUTCOMES}` is not what `{file.name}` was written with")
    n, t = result.outcomes.top1.shape
    if not all(0 <= case.image < n and 0 <= case.transform < t for case in result.gallery.cases):
        raise _refused(path, f"`{GALLERY}` shows what is not in `{OUTCOMES}`")
    return result


def _refused(path: Path, reason: str, hint: str | None = None) -> CnnscopeError:
    return CnnscopeError.of("E475", f"`{path}` holds no result of an audit: {reason}", hint=hint)
