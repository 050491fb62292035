"""Audits by several processes: the same result, only what is missing measured again, and how fast each part is.

    python benchmarks/audit_ranks.py ranks                # one rank, two, two that are killed and started again
    python benchmarks/audit_ranks.py rates                # images x transforms a second, on one core
    python benchmarks/audit_ranks.py rates --device cuda resnet50
    python benchmarks/audit_ranks.py merge --images 50000 # what the leading rank does once all is measured

`docs/audit.md` makes its capacity plan of these figures.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

import cnnscope
from cnnscope.audits import report
from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.report import save
from cnnscope.audits.result import AuditResult, load
from cnnscope.audits.run.finish import collect, facts
from cnnscope.audits.run.job import AuditProgress, Job, open_job
from cnnscope.audits.run.shards import Measured
from cnnscope.audits.run.work import Batch, measure
from cnnscope.progress import Silent

T = TypeVar("T")
AUDIT = [sys.executable, "-m", "cnnscope", "audit", "-q", "--shard-size", "12"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    parts.add_parser("ranks").set_defaults(run=lambda options: ranks())
    speed = parts.add_parser("rates")
    speed.add_argument("networks", nargs="*", default=["lenet5-digits", "resnet18", "resnet50"])
    speed.add_argument("--device", default="cpu")
    speed.add_argument("--dtype", default="float32")
    speed.set_defaults(run=lambda options: rates(options.networks, options.device, options.dtype))
    last = parts.add_parser("merge")
    last.add_argument("--images", type=int, default=50_000)
    last.set_defaults(run=lambda options: merge(options.images))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run(options)


# -- the same result ---------------------------------------------------------------------------------------------------


def ranks() -> None:
    with TemporaryDirectory() as place:
        folders = {name: Path(place) / name for name in ("one", "two", "killed")}
        finish([start(folders["one"], 0, 1)])
        finish([start(folders["two"], rank, 2) for rank in range(2)])
        processes = [start(folders["killed"], rank, 2) for rank in range(2)]
        while len(written(folders["killed"])) < 10:
            time.sleep(0.01)
        processes[1].send_signal(signal.SIGKILL)
        processes[0].send_signal(signal.SIGKILL)
        for process in processes:
            process.wait()
        before = written(folders["killed"])
        finish([start(folders["killed"], rank, 2) for rank in range(2)])
        after = written(folders["killed"])
        for name, folder in folders.items():
            print(f"{name:8} {load(folder).outcomes.result_hash()}")
        again = sum(after[name] != stamp for name, stamp in before.items())
        print(f"shards: {len(after)}; there when killed: {len(before)}; of these written again: {again}")
        same = len({load(folder).outcomes.result_hash() for folder in folders.values()}) == 1
        sys.exit(0 if same and not again else "the results differ")


def start(folder: Path, rank: int, world: int) -> subprocess.Popen[bytes]:
    environment = {"RANK": str(rank), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*AUDIT, "-o", str(folder)], env=os.environ | environment, stdout=subprocess.DEVNULL)


def finish(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.wait():
            sys.exit(f"a rank ended with {process.returncode}")


def written(folder: Path) -> dict[str, tuple[int, int]]:
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in (folder / "shards").glob("*.npz")}


# -- how fast ----------------------------------------------------------------------------------------------------------


def rates(networks: list[str], device: str, dtype: str) -> None:
    clock = time.process_time if device == "cpu" else time.monotonic
    with TemporaryDirectory() as place:
        random = np.random.default_rng(0)
        for i in range(8 if device == "cpu" else 256):
            noise = Image.fromarray(random.integers(0, 256, (16, 20, 3), dtype=np.uint8)).resize((500, 400))
            noise.save(Path(place) / f"{i}.jpg")
        for name in networks:
            own = name == "lenet5-digits"
            network = cnnscope.load(name).trained(device=device, dtype=dtype, data=None if own else place)
            job = open_job(network, limit=64 if own else None)
            piece = job.pieces[0]
            warm = replace(piece, places=piece.places[:2])
            measure(job, warm, Batch(job.batch), AuditProgress(1, Silent()))
            begin = clock()
            prepared, _ = job.read(piece)
            read = clock() - begin
            measured = measure(job, piece, Batch(job.batch), AuditProgress(1, Silent()))
            seconds = clock() - begin - read
            samples = measured.outcomes.top1.size
            unit = "CPU seconds, one core" if device == "cpu" else "seconds"
            print(
                f"{name} {network.input_shape} {dtype} on {device}: {samples / seconds:,.1f} images x transforms/s "
                f"({samples:,} in {seconds:.1f} {unit}); pictures read: {len(prepared) / read:,.0f}/s",
                flush=True,
            )


# -- the end -----------------------------------------------------------------------------------------------------------


def merge(images: int) -> None:
    """Pieces of random outcomes in place of measured ones: the `full` protocol, ten layers."""
    job = open_job(cnnscope.load("lenet5-digits").trained(), preset="full")
    size = len(job.pieces[0].places)
    with TemporaryDirectory() as place:
        random = np.random.default_rng(0)
        many = -(-images // size)
        job = _with_pieces(job, many)
        timed("pieces written", lambda: [_random(job, i, size, random).save(
            Path(place) / f"{i:05d}.npz", job.digest) for i in range(many)])  # fmt: skip
        merged = timed(
            "pieces read, checked and put in order", lambda: collect(job, Path(place), AuditProgress(1, Silent()))
        )
        result = AuditResult(facts(job, merged), merged.outcomes)
        timed("figures with intervals", lambda: report.document(result))
        timed("result written", lambda: save(result, Path(place)))
        stored = sum(file.stat().st_size for file in Path(place).glob("0*.npz")) / 1e6
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"{len(merged.outcomes):,} images x {len(job.protocol.slots)} transforms x {len(job.watched)} layers: "
              f"{many} pieces of {stored / many:.1f} MB, {peak:.1f} GB at most in memory")  # fmt: skip


def _with_pieces(job: Job, many: int) -> Job:
    made = replace(job, limit=None)
    piece = job.pieces[0]
    made.__dict__["pieces"] = tuple(replace(piece, index=i) for i in range(many))  # in place of the cached ones
    return made


def _random(job: Job, index: int, n: int, random: np.random.Generator) -> Measured:
    t, layers = len(job.protocol.slots), len(job.watched)
    top = random.integers(0, 1000, n, dtype=np.int32)
    moved = np.where(random.random((n, t)) < 0.85, top[:, None], 7).astype(np.int32)
    names = tuple(f"{index}/{i}" for i in range(n))
    half = [random.random((n, t)).astype(np.float16) for _ in range(2)]
    outcomes = Outcomes(
        transforms=job.protocol.records, name=names, key=tuple(f"{index:032x}{i:032x}" for i in range(n)), label=top,
        shard=np.full(n, index, np.int32), top1_clean=top, confidence_clean=random.random(n).astype(np.float16),
        top1=moved, confidence=half[0], clean_class_probability=half[1],
        js=random.random((n, t)).astype(np.float32), layers=job.watched,
        distance=random.random((n, layers, t)).astype(np.float32),
        spread=random.random((n, layers)).astype(np.float32),
    )  # fmt: skip
    return Measured(outcomes, tuple(range(index * n, index * n + n)), batch=job.batch, seconds=1.0)


def timed(what: str, action: Callable[[], T]) -> T:
    begin = time.process_time()
    result = action()
    print(f"{what}: {time.process_time() - begin:.1f} CPU s", flush=True)
    return result


if __name__ == "__main__":
    main()
