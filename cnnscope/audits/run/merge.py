"""From measured pieces to the outcomes of an audit, whoever measured them and in whatever order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from cnnscope.audits.outcomes import Outcomes, concatenate
from cnnscope.audits.run import shards
from cnnscope.audits.run.job import Job
from cnnscope.audits.run.progress import AuditProgress
from cnnscope.audits.run.ranks import Ranks
from cnnscope.audits.run.shards import Measured
from cnnscope.audits.run.work import work
from cnnscope.errors import CnnscopeError
from cnnscope.trained.images import Skipped


@dataclass(frozen=True)
class Merged:
    """All images in the order of their set, and the ``places`` they have there.

    ``batch`` is the smallest that was used, ``seconds`` how long all pieces took together, ``retries`` what had to be
    tried again, in words.
    """

    outcomes: Outcomes
    places: tuple[int, ...]
    skipped: tuple[Skipped, ...]
    enlarged: int
    batch: int
    retries: tuple[str, ...]
    seconds: float

    @property
    def samples(self) -> int:
        """Images x transforms."""
        return int(self.outcomes.top1.size)


def collect(job: Job, folder: Path, progress: AuditProgress) -> Merged:
    """What all pieces hold; one that is damaged is measured again. E462 where no image can be used."""
    found: list[Measured] = []
    for piece in job.pieces:
        path = folder / f"{piece.name}.npz"
        try:
            found.append(shards.load(path, job.digest))
        except CnnscopeError as error:
            progress.note(f"{error.diagnostics[0].message}; it is measured again")
            path.unlink(missing_ok=True)
            work(job, folder, Ranks(), progress)
            found.append(shards.load(path, job.digest))
    merged = _merged(job, found)
    if not merged.places:
        first = merged.skipped[0]
        message = f"none of {len(merged.skipped)} images at `{job.images.path}` can be used"
        raise CnnscopeError.of("E462", f"{message}; `{first.name}`: {first.reason}")
    if 0 < merged.enlarged < len(merged.places):  # all of them: so the set is made
        progress.note(f"{merged.enlarged} of {len(merged.places)} images were smaller than the input and are enlarged")
    return merged


def _merged(job: Job, found: list[Measured]) -> Merged:
    places = np.array(list(chain.from_iterable(part.places for part in found)), dtype=np.intp)
    order = np.argsort(places)
    retries = [
        f"shard {piece.name}: out of memory, measured with a batch of {part.batch}"
        for piece, part in zip(job.pieces, found, strict=True) if part.batch < job.batch
    ]  # fmt: skip
    skipped = (*job.images.skipped, *chain.from_iterable(part.skipped for part in found))
    return Merged(
        concatenate([part.outcomes for part in found]).select(order), tuple(int(place) for place in places[order]),
        tuple(sorted(skipped, key=lambda entry: entry.name)), sum(part.enlarged for part in found),
        min(part.batch for part in found), tuple(retries), sum(part.seconds for part in found),
    )  # fmt: skip
