"""The cases worth looking at: which images fail under the mildest transforms, and what they look like then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnscope.audits.outcomes import FAMILIES, Outcomes, TransformRecord, packed, unpacked
from cnnscope.files import write_bytes


@dataclass(frozen=True, slots=True)
class Case:
    """An image and a transform, as indices into the outcomes."""

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
            from cnnscope.errors import CnnscopeError

            raise CnnscopeError.of("E475", f"`{path}` holds no pictures of an audit: {error}") from None


def distance(transform: TransformRecord) -> float:
    """How far a transform is from leaving the image as it is: px, degrees, octaves; a flip is as far as can be."""
    if transform.family == "translation":
        return abs(transform.magnitude)
    if transform.family == "rotation":
        turn = transform.magnitude % 360
        return min(turn, 360 - turn)
    return abs(float(np.log2(transform.magnitude))) if transform.family == "scale" else np.inf


def worst_cases(outcomes: Outcomes, count: int = 16) -> tuple[Case, ...]:
    """Images whose prediction changes under the mildest transform, the surest new answer first.

    At most one case an image, so that no picture is seen twice; families take turns. Fewer than ``count`` where fewer
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
    """Each image's mildest change in one family, mildest and surest first."""
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
