"""Controls of how images are moved: each compares the audit's tools with independent code."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from cnnscope.audits.controls.evidence import Evidence
from cnnscope.audits.features import INPUT
from cnnscope.audits.protocol.protocol import BORDERS, Border, Protocol, Transform, mirror, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import Size
from cnnscope.audits.record import Control

SAMPLER_LIMIT = 1e-4
"""Largest error of bilinear samples at whole pixels, in float32 and normalised units (measured: 0 at 32 px, 4e-5 at 299
px)."""
ROUND_TRIP_LIMIT = 0.1
"""Largest relative change of `_pattern`: two passes of bilinear sampling change it by 0.04, an error of half a pixel by
0.2."""
PERIOD = 16


def slices(e: Evidence) -> Control:
    """Whole shifts, which are slices of the canvas, equal a rolled canvas exactly."""
    return _worst("whole shifts are exact", _slice_errors(e), 0.0, "slices against a rolled canvas")


def samples(e: Evidence) -> Control:
    """The bilinear sampler, used for whole shifts and flips, equals rolling and flipping the canvas."""
    errors = []
    moves = [*_shifts(e.size), mirror("horizontal"), mirror("vertical")]
    x = e.canvas(moves)
    for t in moves:
        expected = _middle(x.roll((int(t.dy), int(t.dx)), (2, 3)) if not t.flip else _flipped(x, t), e.size)
        errors.append(_difference(e.tools.sample(x, [t], e.size)[0], expected))
    detail = "bilinear samples at whole shifts against a rolled canvas"
    return _worst("sampler is exact at pixels", errors, SAMPLER_LIMIT, detail)


def turns(e: Evidence) -> Control | None:
    """Quarter turns equal `torch.rot90`: slices exactly, bilinear samples within rounding."""
    if e.size[0] != e.size[1]:
        return None
    x = e.canvas([rotate(90)])
    middle = _middle(x, e.size)
    expected = [middle.rot90(k, (2, 3)) for k in range(4)]
    sliced = [e.tools.window(x, rotate(90 * k), e.size) for k in range(4)]
    bilinear = [e.tools.sample(x, [rotate(90 * k)], e.size)[0] for k in range(4)]
    exact, sampled = (max(map(_difference, found, expected)) for found in (sliced, bilinear))
    name, limit = "quarter turns are exact", SAMPLER_LIMIT
    detail = f"bilinear samples against torch.rot90; slices, which must not differ at all, by {exact:g}"
    return Control(name, exact == 0 and sampled <= limit, sampled, limit, detail)


def round_trip(e: Evidence) -> Control:
    """A smooth pattern that is transformed and transformed back is unchanged away from the border."""
    x = _pattern(e.size).to(e.network.device)
    errors = {name: _returned(e, x, there, back) for name, there, back in _journeys()}
    worst = max(errors, key=lambda name: errors[name])
    images = e.canvas([rotate(30)])
    blurred = _returned(e, _middle(images, e.size), *_journeys()[0][1:])
    detail = f"worst: a pattern {worst}; the images themselves change by {blurred:.1%} turned by 30 degrees"
    return Control(
        "round trip restores the image", errors[worst] <= ROUND_TRIP_LIMIT, errors[worst], ROUND_TRIP_LIMIT, detail
    )


def borders(e: Evidence) -> Control:
    """The pixels beyond the border are those that the border's name stands for, compared with `numpy.pad`."""
    errors = {border: _border_error(e, border) for border in BORDERS}
    worst = max(errors, key=lambda border: errors[border])
    name, limit = "border fill is as named", 1e-5
    return Control(name, errors[worst] <= limit, errors[worst], limit, f"worst: {worst}, against numpy.pad")


def moves_pixels(e: Evidence) -> Control | None:
    """Every transform changes its image, and the largest of a family changes it at least half as much as the
    smallest."""
    if INPUT not in e.outcomes.layers or not e.outcomes.distance.size:
        return None
    distance = e.outcomes.distance[:, e.outcomes.layers.index(INPUT)].mean(0, dtype=np.float64)
    still = [t.name for t, d in zip(e.protocol.slots, distance, strict=True) if not d > 0]
    back = [family for family in ("translation", "rotation", "scale") if not _grows(e.protocol, distance, family)]
    detail = ", ".join([*(f"`{name}` changes no pixel" for name in still[:3]),
                        *(f"the largest {family} changes fewer than the smallest" for family in back)])  # fmt: skip
    passed, smallest = not still and not back, float(distance.min())
    return Control("transforms change pixels", passed, smallest, None, detail or "the smallest distance in pixel space")


def _slice_errors(e: Evidence) -> Iterator[float]:
    moves = _shifts(e.size)
    x = e.canvas(moves)
    for t in moves:
        yield _difference(e.tools.window(x, t, e.size), _middle(x.roll((int(t.dy), int(t.dx)), (2, 3)), e.size))


def _shifts(size: Size) -> list[Transform]:
    far = max(1, min(size) // 4)
    return [shift(*by) for by in ((0, 0), (1, 0), (0, -1), (-3, 2), (far, -far))]


def _flipped(x: Tensor, t: Transform) -> Tensor:
    return x.flip(3 if t.flip == "horizontal" else 2)


def _middle(x: Tensor, size: Size) -> Tensor:
    top, left = ((have - want) // 2 for have, want in zip(x.shape[2:], size, strict=True))
    return x[:, :, top : top + size[0], left : left + size[1]]


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference; infinite where the shapes differ."""
    return float((a - b).abs().max()) if a.shape == b.shape else math.inf


def _worst(name: str, errors: Iterable[float], limit: float, detail: str) -> Control:
    value = max(errors)
    return Control(name, value <= limit, value, limit, detail)


def _pattern(size: Size) -> Tensor:
    """(1, 1, H, W): waves along rows, columns and diagonals with a period of 16 pixels, without symmetry about the
    centre."""
    y, x = (torch.arange(n, dtype=torch.float32) * (2 * math.pi / PERIOD) for n in size)
    return (torch.sin(y[:, None] + 0.4) + torch.cos(x[None] - 0.9) + torch.sin((y[:, None] + x[None]) / 2))[None, None]


def _journeys() -> list[tuple[str, Transform, Transform]]:
    return [
        ("turned by 30 degrees", rotate(30), rotate(-30)), ("scaled by 0.8", zoom(0.8), zoom(1.25)),
        ("moved by half a pixel", shift(0.5, -0.5), shift(-0.5, 0.5)),
    ]  # fmt: skip


def _returned(e: Evidence, x: Tensor, there: Transform, back: Transform) -> float:
    """Relative change inside the disc that stays in the image under every turn."""
    once = e.tools.sample(x, [there], e.size)[0]
    twice = e.tools.sample(once, [back], e.size)[0]
    y, x_ = (torch.arange(n, device=x.device) - (n - 1) / 2 for n in e.size)
    inside = (y[:, None] ** 2 + x_[None] ** 2).sqrt() < 0.4 * min(e.size) - 1
    of = float(x[:, :, inside].norm())
    return float((twice - x)[:, :, inside].norm()) / of if of else 0.0


def _border_error(e: Evidence, border: Border) -> float:
    """Largest difference between a canvas of the first image and its pixels padded by numpy and then normalised."""
    more = 5
    found = e.tools.canvas(e.normalised[:1], e.size, more, border, e.black.to(e.network.device), 0)[0]
    pixels = _middle(e.pixels[:1], e.size)[0].cpu().numpy().astype(np.float32)
    sides = ((0, 0), (more, more), (more, more))
    if border in ("zero", "mean"):
        padded = np.pad(pixels, sides)
        if border == "mean":
            mean = np.broadcast_to(np.asarray(e.network.preprocess.mean, np.float32) * 255, len(pixels))
            outside = np.pad(np.zeros_like(pixels, dtype=bool), sides, constant_values=True)
            padded = np.where(outside, mean[:, None, None], padded)
    else:
        padded = np.pad(pixels, sides, mode="wrap" if border == "circular" else "reflect")
    expected = e.network.preprocess.normalise(torch.from_numpy(padded)[None])[0]
    return _difference(found.cpu(), expected)


def _grows(protocol: Protocol, distance: np.ndarray[tuple[int], np.dtype[np.float64]], family: str) -> bool:
    """Whether the largest transform of a family off the pixel grid changes at least half as much as the smallest."""
    sizes = [
        (abs(math.log(s.magnitude)) if family == "scale" else abs(s.magnitude), float(d))
        for s, d in zip(protocol.slots, distance, strict=True)
        if s.family == family and (family == "translation" or not s.on_grid)
    ]
    return not sizes or max(sizes)[1] >= min(sizes)[1] / 2
