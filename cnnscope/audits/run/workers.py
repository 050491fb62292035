"""The threads of one process, each measuring pieces of its own with a copy of the network.

An op of torch that spreads over cores may sum in another order than on one; an audit on any number of cores has to give
the same bits. So every op has one core, and every core its own piece.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cnnscope.audits.run.job import Job
from cnnscope.audits.run.progress import AuditProgress
from cnnscope.audits.run.ranks import Ranks
from cnnscope.audits.run.work import work

MOST = 8
"""Threads of a process at most: each has a batch in memory."""


class Stopped(BaseException):
    """Another thread failed, or the program was interrupted: no error of this thread."""


def employ(job: Job, folder: Path, ranks: Ranks, progress: AuditProgress, many: int) -> None:
    """`work` in ``many`` threads."""
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
    """One a core, unless other ranks have them; for CUDA two, so that one reads while the other computes."""
    if job.network.device.type == "cpu":
        return 1 if ranks.world > 1 else max(1, min(torch.get_num_threads(), len(job.pieces), MOST))
    return min(2, len(job.pieces)) if job.network.device.type == "cuda" else 1


@contextmanager
def one_core_an_op(job: Job) -> Iterator[None]:
    """So it is inside, on processors."""
    before = torch.get_num_threads()
    if job.network.device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _own(job: Job, stop: threading.Event) -> Job:
    """The same job with a network of its own, which computes no more once ``stop`` is set."""
    module = copy.deepcopy(job.network.module)

    def check(module: Any, args: Any) -> None:
        if stop.is_set():
            raise Stopped

    module.register_forward_pre_hook(check)
    return replace(job, network=replace(job.network, module=module))
