"""Moves pictures: exactly where every pixel lands on a pixel, by bilinear sampling otherwise.

All functions read a *canvas*, made once: the input with enough pixels beyond its borders for every transform.
Images are (B, C, H, W) tensors that are normalised already; sizes are (H, W).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cnnscope.audits.protocol.protocol import Border, Slot, Transform

Size = tuple[int, int]
Sampler = Callable[[Tensor, Sequence[Transform], Size], Tensor]


@lru_cache(maxsize=4096)
def inverse(t: Transform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(A, b) of the map from where a pixel ends up to where it came from, ``u = A p + b``; (x, y) from the centre."""
    turns, rest = divmod(t.angle, 90)
    if rest == 0:  # exact, where the cosine of pi / 2 is not 0
        cos, sin = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][int(turns) % 4]
    else:
        cos, sin = math.cos(math.radians(t.angle)), math.sin(math.radians(t.angle))
    mirrored = np.diag([-1.0 if t.flip == "horizontal" else 1.0, -1.0 if t.flip == "vertical" else 1.0])
    a = mirrored @ np.array([[cos, -sin], [sin, cos]]) / t.zoom  # y points down: this turns counter-clockwise
    b = -a @ np.array([t.dx, t.dy])
    a.flags.writeable = b.flags.writeable = False  # the result is cached and shared
    return a, b


def reach(slots: Iterable[Slot], size: Size) -> int:
    """The largest distance beyond the input, in pixels, from which any of the results takes a pixel."""
    return max((math.ceil(max(0.0, _beyond(slot, size)) - 1e-9) for slot in slots), default=0)


def canvas(x: Tensor, size: Size, margin: int, border: Border, black: Tensor, room: int = 0) -> Tensor:
    """(B, C, H + 2 margin, W + 2 margin) round the middle (H, W) of ``x`` (B, C, >= H, >= W).

    The first ``room`` pixels beyond it are those of ``x``, where it has them; beyond these ``border`` decides.
    ``black`` (C,) is a black pixel, normalised; the mean is 0.
    """
    rooms = [(have - want) // 2 for have, want in zip(x.shape[2:], size, strict=True)]
    room = min(*rooms, margin, room)
    top, left = (r - room for r in rooms)
    x = x[:, :, top : top + size[0] + 2 * room, left : left + size[1] + 2 * room]
    more = margin - room
    if more == 0:
        return x.contiguous()
    if border in ("zero", "mean"):
        fill = black.view(1, -1, 1, 1) if border == "zero" else torch.zeros_like(black).view(1, -1, 1, 1)
        result = fill.expand(len(x), -1, size[0] + 2 * margin, size[1] + 2 * margin).contiguous()
        result[:, :, more:-more, more:-more] = x
        return result
    rows, columns = (_beyond_borders(n, more, border).to(x.device) for n in x.shape[2:])
    return x.index_select(2, rows).index_select(3, columns)


def window(canvas: Tensor, t: Transform, size: Size) -> Tensor:
    """(B, C, H, W): a transform on the grid, as a slice of the canvas mirrored and turned. No pixel is computed."""
    _, b = inverse(t)
    quarter = round(t.angle / 90) % 4
    h, w = size if quarter % 2 == 0 else size[::-1]
    top, left = (canvas.shape[2] - h) // 2 + round(b[1]), (canvas.shape[3] - w) // 2 + round(b[0])
    result = canvas[:, :, top : top + h, left : left + w]
    if t.flip:
        result = result.flip(3 if t.flip == "horizontal" else 2)
    return result.rot90(quarter, (2, 3)) if quarter else result


def sample(canvas: Tensor, transforms: Sequence[Transform], size: Size) -> Tensor:
    """(K, B, C, H, W): K transforms of all B images by bilinear sampling.

    Images and channels are folded together, so that one grid serves them all.
    """
    b, c, h, w = canvas.shape
    k = len(transforms)
    folded = canvas.reshape(1, b * c, h, w).expand(k, -1, -1, -1)
    return functional.grid_sample(folded, grids(transforms, size, canvas), align_corners=False).view(k, b, c, *size)


def sample_each(canvas: Tensor, transforms: Sequence[Transform], size: Size) -> Tensor:
    """(B, C, H, W): each of the B images under a transform of its own."""
    return functional.grid_sample(canvas, grids(transforms, size, canvas), align_corners=False)


def grids(transforms: Sequence[Transform], size: Size, canvas: Tensor) -> Tensor:
    """(K, H, W, 2) for `grid_sample`: where each pixel of the result lies on the canvas, which goes from -1 to 1.

    What `affine_grid` gives, as the sum of a part by row and one by column: a tenth of its time, and one rounding less.
    """
    by_row, by_column = _parts(tuple(transforms), size, (canvas.shape[2], canvas.shape[3]), canvas.dtype, canvas.device)
    return by_row[:, :, None] + by_column[:, None]


@lru_cache(maxsize=1024)
def _parts(
    transforms: tuple[Transform, ...], size: Size, source: Size, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(K, H, 2) and (K, W, 2), worked out in float64."""
    scale = 2 / np.array(source[::-1], dtype=np.float64)
    y, x = (np.arange(n) - (n - 1) / 2 for n in size)
    maps = [inverse(t) for t in transforms]
    columns = np.stack([np.outer(x, a[:, 0]) * scale for a, _ in maps])
    rows = np.stack([(np.outer(y, a[:, 1]) + b) * scale for a, b in maps])
    return torch.as_tensor(rows, dtype=dtype, device=device), torch.as_tensor(columns, dtype=dtype, device=device)


def sliceable(t: Transform, size: Size) -> bool:
    """Whether `window` applies: the transform is on the grid, and a turned rectangle has the same centre."""
    return t.on_grid and (t.angle % 180 == 0 or (size[0] - size[1]) % 2 == 0)


def warp(out: Tensor, canvas: Tensor, slots: Sequence[Transform | Sequence[Transform]]) -> None:
    """Fills ``out`` (K, B, C, H, W), of any strides and precision, with K slots; a sequence has one an image."""
    size = out.shape[-2], out.shape[-1]
    sampled: dict[int, Transform] = {}
    for k, slot in enumerate(slots):
        if not isinstance(slot, Transform):
            _warp_each(out[k], canvas, slot, size)
        elif sliceable(slot, size):
            out[k] = window(canvas, slot, size)
        else:
            sampled[k] = slot
    if sampled:
        for k, result in zip(sampled, sample(canvas, list(sampled.values()), size), strict=True):
            out[k] = result


def _warp_each(out: Tensor, canvas: Tensor, transforms: Sequence[Transform], size: Size) -> None:
    if all(sliceable(t, size) for t in transforms):
        for i, t in enumerate(transforms):
            out[i] = window(canvas[i : i + 1], t, size)[0]
    else:
        out.copy_(sample_each(canvas, transforms, size))


@lru_cache(maxsize=4096)
def _beyond(slot: Slot, size: Size) -> float:
    if isinstance(slot, Transform):
        a, b = inverse(slot)
        half = (np.array(size[::-1]) - 1) / 2
        return float(np.max(np.abs(a) @ half + np.abs(b) - half))
    turned = slot.angle != (0, 0)
    halves = [math.hypot(*size) / 2] * 2 if turned else [(n - 1) / 2 for n in size]
    steps = [max(map(abs, span)) for span in (slot.dy, slot.dx)]
    furthest = [math.hypot(*steps)] * 2 if turned else steps
    return max((h + s) / slot.zoom[0] - (n - 1) / 2 for h, s, n in zip(halves, furthest, size, strict=True))


def _beyond_borders(n: int, more: int, border: Border) -> Tensor:
    """Indices from -more to n + more - 1 mapped into 0 to n - 1; mirroring does not repeat the border pixel."""
    index = torch.arange(-more, n + more)
    if border == "circular":
        return index % n
    period = max(2 * (n - 1), 1)
    index = index % period
    return torch.where(index < n, index, period - index)
