"""A finished audit: its record, its outcomes and pictures of its worst cases; how it is read from a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnscope.audits.outcomes import FAMILIES, Outcomes, TransformRecord, packed, unpacked
from cnnscope.audits.record import AuditFacts
from cnnscope.audits.statistics.gates import GateResult
from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, read_named, write_bytes

DOCUMENT, OUTCOMES, GALLERY = "audit.json", "outcomes.npz", "gallery.npz"
"""The files of an audit's folder."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the gallery: indices of an image and of a transform in the outcomes."""

    image: int
    transform: int


@dataclass(frozen=True, slots=True)
class Gallery:
    """M cases and their pictures before and after: (M, H, W, C) uint8, with 1 or 3 channels.

    ValueError where the pictures are not of that shape.
    """

    cases: tuple[Case, ...]
    original: NDArray[np.uint8]
    transformed: NDArray[np.uint8]

    def __post_init__(self) -> None:
        for pictures in (self.original, self.transformed):
            if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] not in (1, 3):
                raise ValueError(f"pictures are {pictures.dtype} {pictures.shape}, not uint8 (M, H, W, 1 or 3)")
            if len(pictures) != len(self.cases):
                raise ValueError(f"{len(pictures)} pictures of {len(self.cases)} cases")

    @classmethod
    def empty(cls) -> Gallery:
        """No case."""
        nothing = np.zeros((0, 1, 1, 1), np.uint8)
        return cls((), nothing, nothing)

    def save(self, path: Path) -> None:
        """Writes an .npz completely or not at all; E405 where it cannot be written."""
        header = {"cases": [asdict(case) for case in self.cases]}
        write_bytes(path, packed(header, {"original": self.original, "transformed": self.transformed}))

    @classmethod
    def load(cls, path: Path) -> Gallery:
        """What `save` wrote; an empty gallery where there is no file; E475 where it is damaged."""
        if not path.exists():
            return cls.empty()
        header, arrays = unpacked(path)
        try:
            cases = tuple(Case(**record) for record in header["cases"])
            return cls(cases, arrays["original"], arrays["transformed"])
        except (KeyError, TypeError, ValueError) as error:
            raise CnnscopeError.of("E475", f"`{path}` holds no pictures of an audit: {error}") from None


def distance(transform: TransformRecord) -> float:
    """The distance of a transform from the identity: pixels, degrees or octaves; infinite for a flip."""
    if transform.family == "translation":
        return abs(transform.magnitude)
    if transform.family == "rotation":
        turn = transform.magnitude % 360
        return min(turn, 360 - turn)
    return abs(float(np.log2(transform.magnitude))) if transform.family == "scale" else np.inf


def worst_cases(outcomes: Outcomes, count: int = 16) -> tuple[Case, ...]:
    """Images whose prediction changes under the mildest transforms; at equal distance, the most confident first.

    There is at most one case per image, and families alternate. The result is shorter than ``count`` if fewer
    predictions change.
    """
    queues = [_ranked(outcomes, family) for family in FAMILIES]
    chosen: list[Case] = []
    seen: set[int] = set()
    while len(chosen) < count and any(queues):
        for queue in queues:
            while queue and queue[0].image in seen:
                queue.pop(0)
            if queue and len(chosen) < count:
                case = queue.pop(0)
                chosen.append(case)
                seen.add(case.image)
    return tuple(sorted(chosen, key=lambda case: _place(outcomes.transforms, case)))


def _ranked(outcomes: Outcomes, family: str) -> list[Case]:
    """Each image's mildest change within one family, sorted from mild to strong, then by confidence."""
    members = [t for t, transform in enumerate(outcomes.transforms) if transform.family == family]
    found: list[tuple[float, float, int, int]] = []
    reach = {t: distance(outcomes.transforms[t]) for t in members}
    changed = outcomes.top1 != outcomes.top1_clean[:, None]
    for image in np.flatnonzero(changed[:, members].any(axis=1)) if members else ():
        sure = outcomes.confidence[image]
        found.append(min((reach[t], -float(sure[t]), int(image), t) for t in members if changed[image, t]))
    return [Case(image, t) for _, _, image, t in sorted(found)]


def _place(transforms: Sequence[TransformRecord], case: Case) -> tuple[int, float, int, int]:
    transform = transforms[case.transform]
    return FAMILIES.index(transform.family), distance(transform), case.transform, case.image


@dataclass(frozen=True, eq=False)
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


def load(path: Path) -> AuditResult:
    """The result in a folder, or beside an ``audit.json``; E475 if there is none or it is damaged."""
    file = path / DOCUMENT if path.is_dir() else path
    try:
        document = json.loads(read_named(file))
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
