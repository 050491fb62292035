"""Measuring the shards of an audit, together with whoever else works in the same folder, in threads of one process.

An op of torch that runs on several cores may sum in another order than on one, but an audit has to give the same bits
on any number of cores. So every op has one core, and every thread measures shards of its own with its own copy of the
network.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cnnscope.audits.measure import ROWS, measure_batch
from cnnscope.audits.outcomes import BatchOutcome, Outcomes
from cnnscope.audits.run import shards
from cnnscope.audits.run.claims import claimed
from cnnscope.audits.run.job import AuditProgress, Job
from cnnscope.audits.run.prepare import Prepared
from cnnscope.audits.run.shards import Piece, Ranks
from cnnscope.errors import CnnscopeError, lacks_memory

PATIENCE = 0.2
"""Seconds to wait before looking again at what other processes have finished."""


@dataclass
class Batch:
    """The batch size that fits in memory; it only shrinks."""

    size: int


def work(job: Job, folder: Path, ranks: Ranks, progress: AuditProgress) -> None:
    """Measures the missing shards. The leading rank returns when all are finished, others when none is free."""
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
                    if not path.exists():  # else another process finished it just now
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
    """Reads and measures one shard."""
    start = time.monotonic()
    prepared, places = job.read(piece)
    outcomes, least = outcomes_of(job, prepared, batch, progress)
    outcomes.shard[:] = piece.index
    seconds = time.monotonic() - start
    return shards.Measured(outcomes, places, prepared.skipped, prepared.enlarged, least, seconds)


def outcomes_of(job: Job, prepared: Prepared, batch: Batch, progress: AuditProgress) -> tuple[Outcomes, int]:
    """The outcomes of prepared images, and the smallest batch that was used.

    The loop gets groups of at most `ROWS` images: every n-th image of the shard.
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
    """`measure_batch`, with the batch halved until it fits in memory. E474 if not even one sample fits."""
    while True:
        try:
            return measure_batch(job.network, pixels, keys, job.protocol, job.seed, job.layers, batch.size)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
        if batch.size == 1:
            raise CnnscopeError.of("E474", f"memory does not suffice for a single sample on `{job.network.device}`",
                                   hint="free some, or take another `--device`") from None  # fmt: skip
        if job.network.device.type == "cuda":
            torch.cuda.empty_cache()
        batch.size //= 2
        progress.note(f"out of memory: going on with a batch of {batch.size}")


def _empty(job: Job, prepared: Prepared) -> Outcomes:
    n, t, layers = len(prepared), len(job.protocol.slots), len(job.watched)
    whole, half, single = np.int32, np.float16, np.float32
    return Outcomes(
        transforms=job.protocol.records, name=prepared.name, key=prepared.key, label=prepared.label,
        shard=np.zeros(n, whole), top1_clean=np.zeros(n, whole), confidence_clean=np.zeros(n, half),
        top1=np.zeros((n, t), whole), confidence=np.zeros((n, t), half), clean_class_probability=np.zeros((n, t), half),
        js=np.zeros((n, t), single), layers=job.watched, distance=np.zeros((n, layers, t), single),
        spread=np.zeros((n, layers), single),
    )  # fmt: skip


MOST = 8
"""The largest number of threads of a process: each has a batch in memory."""


class Stopped(BaseException):
    """Ends a thread because another one failed or the program was interrupted."""


def employ(job: Job, folder: Path, ranks: Ranks, progress: AuditProgress, many: int) -> None:
    """Runs `work` in ``many`` threads."""
    if many == 1:
        work(job, folder, ranks, progress)
        return
    stop = threading.Event()
    with ThreadPoolExecutor(many) as pool:
        jobs = [_own(job, stop) for _ in range(many)]
        share = [Ranks(ranks.rank * many + i, ranks.world * many, ranks.local) for i in range(many)]
        futures = [pool.submit(work, *each, progress) for each in zip(jobs, [folder] * many, share, strict=True)]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            stop.set()
            raise


def threads(job: Job, ranks: Ranks) -> int:
    """The number of threads: one per core unless other ranks use the cores; two for CUDA, so that one reads
    meanwhile."""
    if job.network.device.type == "cpu":
        return 1 if ranks.world > 1 else max(1, min(torch.get_num_threads(), len(job.pieces), MOST))
    return min(2, len(job.pieces)) if job.network.device.type == "cuda" else 1


@contextmanager
def one_core_an_op(job: Job) -> Iterator[None]:
    """Inside, every op uses one core if the network runs on the CPU."""
    before = torch.get_num_threads()
    if job.network.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _own(job: Job, stop: threading.Event) -> Job:
    """The same job with its own copy of the network, which raises `Stopped` once ``stop`` is set."""
    module = copy.deepcopy(job.network.module)

    def check(module: Any, args: Any) -> None:
        if stop.is_set():
            raise Stopped

    module.register_forward_pre_hook(check)
    return replace(job, network=replace(job.network, module=module))
