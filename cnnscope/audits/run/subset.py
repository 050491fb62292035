"""Some images of an audit again, for what is too dear to measure on all of them, or to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cnnscope.audits.gallery import Gallery, worst_cases
from cnnscope.audits.protocol.draws import resolve
from cnnscope.audits.protocol.transforms import canvas, reach, warp
from cnnscope.audits.run.job import Job
from cnnscope.audits.run.merge import Merged
from cnnscope.audits.run.pieces import spread
from cnnscope.audits.run.prepare import Prepared


def some(job: Job, merged: Merged, most: int) -> Prepared:
    """At most ``most`` of the images that were used, at even distances."""
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
        np.stack([part.pixels[i] for part, i in chosen]), tuple(part.name[i] for part, i in chosen),
        tuple(part.key[i] for part, i in chosen), np.array([part.label[i] for part, i in chosen], np.int32), (), 0,
    )  # fmt: skip


def canvases(job: Job, prepared: Prepared, least: int = 0) -> Tensor:
    """(N, C, H + 2 m, W + 2 m) float32 on the network's device: normalised, with all that the protocol's transforms
    can reach, and at least so many pixels beyond the input."""
    height, width = job.preprocess.size[1:]
    slots = job.protocol.slots
    pixels = torch.from_numpy(prepared.pixels).to(job.network.device)
    black = job.preprocess.normalise(torch.zeros_like(pixels[:1, :, :1, :1])).flatten()
    margin = max(reach(slots, (height, width)), job.protocol.margin, least)
    whole = job.preprocess.normalise(pixels)
    return canvas(whole, (height, width), margin, job.protocol.border, black, job.protocol.margin)


def gallery(job: Job, merged: Merged, count: int = 16) -> Gallery:
    """The cases worth looking at, with pictures of before and after as the network sees them."""
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
    """(N, H, W, C) of inputs (N, C, H, W)."""
    shown = (job.preprocess.shown(x) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(shown.permute(0, 2, 3, 1).cpu().numpy())
