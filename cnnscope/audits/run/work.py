"""Measuring the pieces of an audit, together with whoever else works in the same folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch

from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.run import shards
from cnnscope.audits.run.claims import claimed
from cnnscope.audits.run.job import Job
from cnnscope.audits.run.measure import ROWS, BatchOutcome, measure_batch
from cnnscope.audits.run.pieces import Piece
from cnnscope.audits.run.prepare import Prepared
from cnnscope.audits.run.progress import AuditProgress
from cnnscope.audits.run.ranks import Ranks
from cnnscope.errors import CnnscopeError

PATIENCE = 0.2
"""Seconds between looks at what others are doing."""


@dataclass
class Batch:
    """The batch size that fits: it only ever shrinks."""

    size: int


def work(job: Job, folder: Path, ranks: Ranks, progress: AuditProgress) -> None:
    """Measures what is missing. The leading rank returns when every piece is there, others when no piece is free."""
    identity, batch = job.digest, Batch(job.batch)
    missing = {p.index: p for p in ranks.order(job.pieces) if not (folder / f"{p.name}.npz").exists()}
    progress.begin(job.total, job.total - sum(len(piece.places) for piece in missing.values()))
    while missing:
        before = len(missing)
        for piece in list(missing.values()):
            path, samples = folder / f"{piece.name}.npz", 0
            if not path.exists():
                with claimed(folder / f"{piece.name}.claim") as ours:
                    if not ours:
                        continue
                    if not path.exists():  # or another process finished it just now
                        measured = measure(job, piece, batch, progress)
                        measured.save(path, identity)
                        samples = measured.outcomes.top1.size
            del missing[piece.index]
            progress.done(len(piece.places), samples)
        if missing and not ranks.leads:
            return
        if len(missing) == before:
            time.sleep(PATIENCE)


def measure(job: Job, piece: Piece, batch: Batch, progress: AuditProgress) -> shards.Measured:
    """One piece, read and put through the network."""
    start = time.monotonic()
    prepared, places = job.read(piece)
    outcomes, least = outcomes_of(job, prepared, batch, progress)
    outcomes.shard[:] = piece.index
    seconds = time.monotonic() - start
    return shards.Measured(outcomes, places, prepared.skipped, prepared.enlarged, least, seconds)


def outcomes_of(job: Job, prepared: Prepared, batch: Batch, progress: AuditProgress) -> tuple[Outcomes, int]:
    """Outcomes of prepared images, and the smallest batch that was used.

    Images go through the loop in groups of every n-th, as many as it takes at a time.
    """
    n, least = len(prepared), batch.size
    count = max(1, -(-n // ROWS))
    result = _empty(job, prepared)
    for first in range(count if n else 0):
        rows = np.arange(first, n, count)
        pixels, keys = torch.from_numpy(prepared.pixels[rows]), [prepared.key[i] for i in rows]
        found = _measured(job, pixels, keys, batch, progress)
        least = min(least, batch.size)
        for name in (f.name for f in fields(BatchOutcome) if f.name != "layers"):
            getattr(result, name)[rows] = getattr(found, name)
        progress.advance(len(rows) * len(job.protocol.slots))
    return result, least


def _measured(
    job: Job, pixels: torch.Tensor, keys: Sequence[str], batch: Batch, progress: AuditProgress
) -> BatchOutcome:
    """`measure_batch`, with half the batch until it fits in memory. E474 where not even one sample does."""
    while True:
        try:
            return measure_batch(job.network, pixels, keys, job.protocol, job.seed, job.layers, batch.size)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
        if batch.size == 1:
            raise CnnscopeError.of("E474", f"memory does not suffice for a single sample on `{job.network.device}`",
                                   hint="free some, or take another `--device`") from None  # fmt: skip
        if job.network.device.type == "cuda":
            torch.cuda.empty_cache()
        batch.size //= 2
        progress.note(f"out of memory: going on with a batch of {batch.size}")


def out_of_memory(error: BaseException) -> bool:
    """Whether that is what an error of torch is about; on processors it has no type of its own."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return any(words in text for words in ("not enough memory", "allocate memory", "out of memory"))


def _empty(job: Job, prepared: Prepared) -> Outcomes:
    n, t, layers = len(prepared), len(job.protocol.slots), len(job.watched)
    whole, half = np.int32, np.float16
    return Outcomes(
        job.protocol.records, prepared.name, prepared.key, prepared.label, np.zeros(n, whole), np.zeros(n, whole),
        np.zeros(n, half), np.zeros((n, t), whole), np.zeros((n, t), half), np.zeros((n, t), half),
        np.zeros((n, t), np.float32), job.watched, np.zeros((n, layers, t), np.float32),
        np.zeros((n, layers), np.float32),
    )  # fmt: skip
