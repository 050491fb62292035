"""What the architecture alone promises (`cnnscope.analysis.equivariance`), measured with these weights.

For the output: circular shifts by one pixel and by the total stride, flips, a quarter turn. For every watched map: a
shift by its stride, both inside, where receptive fields miss the border, and at the border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cnnscope.analysis.equivariance import (
    Equivariance,
    Flip,
    Motion,
    Shift,
    Transform,
    Turn,
    equivariance,
)
from cnnscope.audits.protocol.protocol import shift
from cnnscope.audits.protocol.transforms import window
from cnnscope.audits.record import EquivarianceError, LocalError, Prediction
from cnnscope.audits.run.equivariance import local_errors, map_error, maps_of, positions, relative_norm
from cnnscope.audits.run.finish import canvases, total_stride
from cnnscope.audits.run.job import Job
from cnnscope.audits.run.precision import full_precision
from cnnscope.audits.run.prepare import Prepared
from cnnscope.errors import CnnscopeError

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Largest relative error that counts as rounding, in deep networks too."""
_LOCAL = 4
"""Pixels beyond the input that infinitesimal movements need."""
IMAGES = 16


@dataclass(frozen=True)
class Checked:
    """Claims with their measurements, errors of maps inside and at the border, and errors under infinitesimal
    movements."""

    predictions: tuple[Prediction, ...] = ()
    maps: tuple[EquivarianceError, ...] = ()
    local: tuple[LocalError, ...] = ()


@torch.inference_mode()
def check(job: Job, prepared: Prepared) -> Checked:
    """Measures every claim on some images; empty for a network that the analysis does not cover."""
    try:
        found = equivariance(job.network.graph)
    except CnnscopeError:
        return Checked()
    motions = [m for m in found.layers if m.name in job.layers and m.axes == (2, 3) and _positions(m)]
    whole = canvases(job, prepared, max((_LOCAL, *(max(_unit(m)) for m in motions))))
    with full_precision():
        outputs = tuple(_outputs(job, found, whole))
        maps, inside = _maps(job, motions, whole)
        local = local_errors(job.network, whole, [layer for layer in job.layers if layer in job.network.layer_names()])
    return Checked((*outputs, *inside), maps, local)


def _outputs(job: Job, found: Equivariance, whole: Tensor) -> Iterator[Prediction]:
    height, width = job.preprocess.size[1:]
    x = _middle(whole, (height, width))
    before = job.network.logits(x.to(job.network.dtype))
    for name, transform, moved in _transforms(job, (height, width)):
        verdict = found.predict(transform).output
        after = job.network.logits(moved(x).to(job.network.dtype))
        error = relative_norm(after - before, before)
        cause = verdict.cause
        agrees = error <= TOLERANCE[job.network.dtype] if verdict.claim == "exact" else None
        detail = f"{cause.layer}: {cause.reason}" if cause else ""
        yield Prediction(name, verdict.claim, error, agrees, detail)


def _transforms(job: Job, size: tuple[int, int]) -> Iterator[tuple[str, Transform, Callable[[Tensor], Tensor]]]:
    """Yields for each transform its name, its form in the analysis, and a function of images (N, C, H, W)."""
    stride = total_stride(job.network.graph) or (1, 1)
    for by in dict.fromkeys(((1, 1), stride)):
        if by[0] < size[0] and by[1] < size[1]:
            yield f"circular shift {by[0]:+d},{by[1]:+d}", Shift(by), partial(torch.roll, shifts=by, dims=(2, 3))
    yield "flip horizontal", Flip((1,)), lambda x: x.flip(3)
    yield "flip vertical", Flip((0,)), lambda x: x.flip(2)
    if size[0] == size[1]:
        yield "rotate 90", Turn(1), lambda x: x.rot90(1, (2, 3))


def _maps(
    job: Job, motions: Sequence[Motion], whole: Tensor
) -> tuple[tuple[EquivarianceError, ...], tuple[Prediction, ...]]:
    """Errors of maps under the smallest shift that moves them by whole positions, and the exact claims among them."""
    predicted = {motion: motion.predict(Shift(_unit(motion), wrap=False)) for motion in motions}
    predicted = {motion: found for motion, found in predicted.items() if found.shift is not None}
    if not predicted:
        return (), ()
    still = maps_of(job.network, whole, shift(0, 0), [motion.name for motion in predicted])
    errors: dict[Motion, EquivarianceError] = {}
    for by in dict.fromkeys(map(_unit, predicted)):
        group = {motion: found for motion, found in predicted.items() if _unit(motion) == by}
        moved = maps_of(job.network, whole, shift(*by), [motion.name for motion in group])
        for motion, found in group.items():
            before, after = still[motion.name], moved[motion.name]
            source = positions(before.shape[2:]) - np.array(found.shift)
            interior = motion.interior if found.verdict.claim == "exact" else None
            errors[motion] = map_error(motion.name, shift(*by).name, before, after, source, interior)
    ordered = tuple(errors[motion] for motion in predicted)
    tolerance = TOLERANCE[job.network.dtype]
    claims = tuple(
        Prediction(
            f"{error.transform} inside {error.layer}", "exact", error.interior, error.interior <= tolerance,
            f"{error.interior_share:.1%} of the map sees no border",
        )
        for error in ordered if error.interior is not None
    )  # fmt: skip
    return ordered, claims


def _unit(motion: Motion) -> tuple[int, int]:
    """Pixels (y, x) by which the image has to move for the map to move by whole positions."""
    return motion.along[0].unit, motion.along[1].unit


def _positions(motion: Motion) -> bool:
    """Whether some positions of a map remain in it after the shift."""
    return all(a.extent > 1 and a.unit < a.pixels for a in motion.along)


def _middle(whole: Tensor, size: tuple[int, int]) -> Tensor:
    return window(whole, shift(0, 0), size)
