"""What the architecture alone promises (`cnnscope.analysis.equivariance`), measured with these weights.

Of the output: circular shifts by one pixel and by the total stride, flips, a quarter turn. Of every watched map: a
shift by its stride, inside, where receptive fields miss the border, and at the border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cnnscope.analysis.equivariance import (
    Equivariance,
    Flip,
    MapPrediction,
    Motion,
    Shift,
    Transform,
    Turn,
    equivariance,
)
from cnnscope.audits.protocol.protocol import shift
from cnnscope.audits.protocol.transforms import window
from cnnscope.audits.record import EquivarianceError, LocalError, Prediction
from cnnscope.audits.run.equivariance import local_errors
from cnnscope.audits.run.finish import canvases, total_stride
from cnnscope.audits.run.job import Job
from cnnscope.audits.run.prepare import Prepared
from cnnscope.errors import CnnscopeError

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
"""Relative error that rounding may make of what is exact, deep networks included."""
_LOCAL = 4
"""Pixels beyond the input that the smallest movements need."""
IMAGES = 16


@dataclass(frozen=True)
class Checked:
    """Claims beside measurements, errors of maps inside and at the border, and under infinitesimal movements."""

    predictions: tuple[Prediction, ...] = ()
    maps: tuple[EquivarianceError, ...] = ()
    local: tuple[LocalError, ...] = ()


@torch.inference_mode()
def check(job: Job, prepared: Prepared) -> Checked:
    """Measures every claim on some images; nothing for a network that the analysis does not cover."""
    try:
        found = equivariance(job.network.graph)
    except CnnscopeError:
        return Checked()
    motions = [m for m in found.layers if m.name in job.layers and m.axes == (2, 3) and _positions(m)]
    whole = canvases(job, prepared, max((_LOCAL, *(max(_unit(m)) for m in motions))))
    with _full_precision():
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
        error = _relative(after - before, before)
        cause = verdict.cause
        agrees = error <= TOLERANCE[job.network.dtype] if verdict.claim == "exact" else None
        detail = f"{cause.layer}: {cause.reason}" if cause else ""
        yield Prediction(name, verdict.claim, error, agrees, detail)


def _transforms(job: Job, size: tuple[int, int]) -> Iterator[tuple[str, Transform, Callable[[Tensor], Tensor]]]:
    """Name, what the analysis calls it, and what it does to (N, C, H, W)."""
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
    errors, claims = [], []
    for motion in motions:
        by = _unit(motion)
        predicted = motion.predict(Shift(by, wrap=False))
        if predicted.shift is None:
            continue
        error = _error(job, motion, by, predicted, whole)
        errors.append(error)
        if error.interior is not None:
            agrees = error.interior <= TOLERANCE[job.network.dtype]
            text = f"{error.interior_share:.1%} of the map sees no border"
            claims.append(Prediction(f"{error.transform} inside {motion.name}", "exact", error.interior, agrees, text))
    return tuple(errors), tuple(claims)


def _unit(motion: Motion) -> tuple[int, int]:
    """Pixels (y, x) by which the image has to move for the map to move by whole positions."""
    return motion.along[0].unit, motion.along[1].unit


def _positions(motion: Motion) -> bool:
    """Whether a map has positions that remain when it moves."""
    return all(a.extent > 1 and a.unit < a.pixels for a in motion.along)


def _error(job: Job, motion: Motion, by: tuple[int, int], predicted: MapPrediction, whole: Tensor) -> EquivarianceError:
    """``||f(T x) - T' f(x)|| / ||f(x)||`` over the positions that both maps have, inside and elsewhere."""
    height, width = job.preprocess.size[1:]
    transform = shift(*by)
    dy, dx = predicted.shift or (0, 0)
    with job.network.capture([motion.name]) as captured:
        job.network.module(_middle(whole, (height, width)).to(job.network.dtype))
        still = captured[motion.name].float().roll((dy, dx), (2, 3))
        job.network.module(window(whole, transform, (height, width)).to(job.network.dtype))
        moved = captured[motion.name].float()
    common = torch.zeros(moved.shape[2:], dtype=torch.bool, device=moved.device)
    common[max(dy, 0) : common.shape[0] + min(dy, 0), max(dx, 0) : common.shape[1] + min(dx, 0)] = True
    inside = torch.zeros_like(common)
    if predicted.interior and predicted.verdict.claim == "exact":
        (top, bottom), (left, right) = predicted.interior
        inside[top : bottom + 1, left : right + 1] = True
    outside = common & ~inside
    interior, border = (
        _relative((moved - still)[:, :, mask], still[:, :, mask]) if bool(mask.any()) else None
        for mask in (inside, outside)
    )
    return EquivarianceError(motion.name, transform.name, interior, border, float(predicted.fraction))


def _middle(whole: Tensor, size: tuple[int, int]) -> Tensor:
    return window(whole, shift(0, 0), size)


def _relative(change: Tensor, of: Tensor) -> float:
    """The norm of a change by the norm of what changes; 0 where both are 0."""
    size = float(torch.linalg.vector_norm(of.double()))
    return float(torch.linalg.vector_norm(change.double())) / size if size else float(bool(change.any()))


@contextmanager
def _full_precision() -> Iterator[None]:
    """Without the shortened mantissas that GPUs multiply with by default: what is exact has to look exact."""
    cudnn, matmul = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
