"""What follows the measuring: the shards are merged, the record is written, some images are looked at again.

Some figures cost too much to measure on all images, and pictures are needed of a few only: `some` and `at` read these
images again. `baseline` repeats the audit with random weights: an untrained network may agree with itself on every
image because it always predicts the same class, and kappa shows that.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from cnnscope._version import __version__
from cnnscope.analysis.summary import summarize
from cnnscope.audits import record
from cnnscope.audits.outcomes import Outcomes, concatenate
from cnnscope.audits.protocol.protocol import resolve
from cnnscope.audits.protocol.transforms import canvas, reach, warp
from cnnscope.audits.record import AuditFacts, BaselinePoint, DataFacts, ModelFacts, Rates
from cnnscope.audits.result import Gallery, worst_cases
from cnnscope.audits.run import shards
from cnnscope.audits.run.job import AuditProgress, Job
from cnnscope.audits.run.prepare import Prepared
from cnnscope.audits.run.shards import Measured, Ranks, spread
from cnnscope.audits.run.work import Batch, outcomes_of, work
from cnnscope.audits.statistics.groups import group
from cnnscope.audits.statistics.intervals import Bootstrap
from cnnscope.audits.statistics.metrics import agreement, kappa
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.trained.images import Skipped
from cnnscope.trained.loading import randomised


@dataclass(frozen=True)
class Merged:
    """The outcomes of all images in the order of their set; ``places`` are their places in it.

    ``batch`` is the smallest batch that was used, ``seconds`` the time of all shards together, ``retries`` says in
    words what had to be repeated.
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
        """The number of images times transforms."""
        return int(self.outcomes.top1.size)


def collect(job: Job, folder: Path, progress: AuditProgress) -> Merged:
    """The outcomes of all shards; a damaged one is measured again. E462 if no image can be used."""
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
    if 0 < merged.enlarged < len(merged.places):  # if all are enlarged, the set has small images
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
        outcomes=concatenate([part.outcomes for part in found]).select(order),
        places=tuple(int(place) for place in places[order]),
        skipped=tuple(sorted(skipped, key=lambda entry: entry.name)), enlarged=sum(part.enlarged for part in found),
        batch=min(part.batch for part in found), retries=tuple(retries), seconds=sum(part.seconds for part in found),
    )  # fmt: skip


def some(job: Job, merged: Merged, most: int) -> Prepared:
    """At most ``most`` of the images that were used, evenly spaced."""
    return at(job, [merged.places[i] for i in spread(len(merged.places), most)])


def at(job: Job, places: Sequence[int]) -> Prepared:
    """The images at these places of the whole set, in this order."""
    shards = {piece.first: piece for piece in job.pieces}
    found: dict[int, tuple[Prepared, int]] = {}
    for first, piece in shards.items():
        here = sorted({place - first for place in places if first <= place < first + piece.shard.count})
        if here:
            prepared, used = job.read(piece, here)
            found |= {place: (prepared, i) for i, place in enumerate(used)}
    chosen = [found[place] for place in places]
    return Prepared(
        pixels=np.stack([part.pixels[i] for part, i in chosen]), name=tuple(part.name[i] for part, i in chosen),
        key=tuple(part.key[i] for part, i in chosen),
        label=np.array([part.label[i] for part, i in chosen], np.int32), skipped=(), enlarged=0,
    )  # fmt: skip


def canvases(job: Job, prepared: Prepared, least: int = 0) -> Tensor:
    """(N, C, H + 2 m, W + 2 m) float32 on the network's device: normalised images with all pixels that the
    protocol's transforms can reach, and at least ``least`` pixels beyond the input."""
    height, width = job.preprocess.size[1:]
    slots = job.protocol.slots
    pixels = torch.from_numpy(prepared.pixels).to(job.network.device)
    black = job.preprocess.normalise(torch.zeros_like(pixels[:1, :, :1, :1])).flatten()
    margin = max(reach(slots, (height, width)), job.protocol.margin, least)
    whole = job.preprocess.normalise(pixels)
    return canvas(whole, (height, width), margin, job.protocol.border, black, job.protocol.margin)


def gallery(job: Job, merged: Merged, count: int = 16) -> Gallery:
    """The worst cases, with pictures before and after the transform as the network gets them."""
    cases = worst_cases(merged.outcomes, count)
    if not cases:
        return Gallery.empty()
    prepared = at(job, [merged.places[case.image] for case in cases])
    whole = canvases(job, prepared)
    channels, height, width = job.preprocess.size
    top, left = ((have - want) // 2 for have, want in zip(whole.shape[2:], (height, width), strict=True))
    after = torch.empty(len(cases), 1, channels, height, width, device=whole.device)
    for i, case in enumerate(cases):
        transform = resolve(job.protocol.slots[case.transform], job.seed, prepared.key[i])
        warp(after[i : i + 1].transpose(0, 1), whole[i : i + 1], [transform])
    before = whole[:, :, top : top + height, left : left + width]
    return Gallery(cases, *(_pictures(job, x) for x in (before, after[:, 0])))


def _pictures(job: Job, x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """uint8 pictures (N, H, W, C) of normalised inputs (N, C, H, W)."""
    shown = (job.preprocess.shown(x) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(shown.permute(0, 2, 3, 1).cpu().numpy())


def facts(job: Job, merged: Merged) -> AuditFacts:
    """The record without what is measured afterwards: controls, predictions of the architecture, the baseline."""
    network = job.network
    names = network.labels or (job.images.classes if len(job.images.classes) == network.classes else ())
    keys = "".join(f"{key}\n" for key in sorted(merged.outcomes.key))
    data = DataFacts(
        path=str(job.images.path), images=len(merged.places) + len(merged.skipped), used=len(merged.places),
        skipped=tuple(record.Skipped(entry.name, entry.reason) for entry in merged.skipped),
        sha256=hashlib.sha256(keys.encode()).hexdigest(),
    )  # fmt: skip
    model = ModelFacts(
        name=network.graph.name, source=network.source, weights=network.weights,
        weights_sha256=network.weights_sha256, trained=network.trained, input_shape=tuple(network.input_shape),
        stride=total_stride(network.graph),
    )  # fmt: skip
    rate = merged.samples / merged.seconds if merged.seconds else None
    return AuditFacts(
        model=model, data=data, labels=names, seed=job.seed, device=network.device.type,
        dtype=str(network.dtype).removeprefix("torch."), batch_size=job.batch, preset=job.protocol.name,
        protocol=job.protocol.to_dict(), protocol_hash=job.protocol.hash(job.seed), versions=versions(),
        shards=len(job.pieces), shards_done=len(job.pieces), rates=Rates(merged.seconds, rate), retries=merged.retries,
    )  # fmt: skip


def versions() -> dict[str, str]:
    """The versions of all packages that influence the measurement."""
    return {
        "cnnscope": __version__, "python": platform.python_version(), "torch": str(torch.__version__),
        "numpy": np.__version__, "pillow": PIL.__version__,
    }  # fmt: skip


def total_stride(graph: Graph) -> tuple[int, int] | None:
    """Pixels (y, x) between neighbouring positions of the last map with more than one; None if unknown or not whole."""
    for row in reversed(summarize(graph).rows):
        field, value = row.receptive_field, row.output
        if field is not None and value is not None and max(value.spatial, default=1) > 1:
            strides = field.stride or ()
            whole = len(strides) == 2 and all(stride == int(stride) for stride in strides)
            return (int(strides[0]), int(strides[1])) if whole else None
    return None


def baseline(job: Job, prepared: Prepared, progress: AuditProgress) -> tuple[BaselinePoint, ...]:
    """A point for each group of transforms. For a network whose weights cannot be drawn: none, and a note says so."""
    try:
        random = randomised(job.network, job.seed)
    except CnnscopeError as error:
        progress.note(f"no baseline of random weights: {error.diagnostics[0].message}")
        return ()
    outcomes, _ = outcomes_of(replace(job, network=random), prepared, Batch(job.batch), progress)
    boot = Bootstrap(len(outcomes))
    return tuple(
        BaselinePoint(
            family=g.family, magnitude=g.magnitude, on_grid=g.on_grid, name=g.label,
            agreement=float(np.mean(agreement(outcomes, g))), kappa=kappa(outcomes, [g], boot).value,
        )
        for g in group(outcomes.transforms)
    )  # fmt: skip
