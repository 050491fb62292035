"""How well feature maps move with the image, measured on whole maps of a few images.

``E_l(g) = ||M (f_l(T_g x) - T'_g f_l(x))|| / ||M f_l(x)||``, where ``T'_g`` does to the map what ``T_g`` does to the
image: an index shift where that lands on positions, bilinear sampling between them elsewhere. ``M`` keeps the
*interior*, units whose exact receptive field misses the border in both images, or all others that both maps have.

Which pixel a position stands over, and which positions are interior, comes from the graph alone
(`cnnscope.analysis.receptive_field`, `cnnscope.analysis.equivariance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cnnscope.analysis.equivariance import Box, equivariance
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.audits.features import SCORES
from cnnscope.audits.protocol.protocol import Transform, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import Size, inverse, sample, sliceable, window
from cnnscope.audits.record import EquivarianceError, LocalError
from cnnscope.trained.network import TrainedNetwork

Positions = NDArray[np.float64]


@dataclass(frozen=True)
class Lattice:
    """Where the positions of a map lie: ``stride`` pixels apart, the first over pixel ``origin`` (y, x).

    ``interior`` is the first and last position of each axis whose receptive field misses the border, None without such.
    """

    extents: Size
    stride: tuple[float, float]
    origin: tuple[float, float]
    interior: Box | None


def lattices(network: TrainedNetwork, layers: Sequence[str]) -> dict[str, Lattice]:
    """The lattices of those ``layers`` that are maps with positions on an even grid over the image."""
    graph = network.graph
    fields, last = theoretical(graph), {row: members[-1].name for row, members in graph.layers()}
    found = {}
    for motion in equivariance(graph).layers:
        field = fields.get(last[motion.name])
        if motion.name not in layers or motion.axes != (2, 3):
            continue
        if field is None or not field.stride or any(field.jitter or ()):
            continue
        (sy, sx), (oy, ox) = field.stride, field.centre0 or (0, 0)
        rows, columns = (along.extent for along in motion.along)  # a permuted tensor has no `spatial`
        stride, origin = (float(sy), float(sx)), (float(oy), float(ox))
        found[motion.name] = Lattice((rows, columns), stride, origin, motion.interior)
    return found


def map_error(
    layer: str, transform: str, still: Tensor, moved: Tensor, source: Positions, interior: Box | None
) -> EquivarianceError:
    """``E_l(g)`` of one layer from its maps (N, C, H, W) of the images and of the transformed images.

    ``source`` (H, W, 2) has, for each position (y, x) of the moved map, the position of the other that it comes from;
    ``interior`` is the first and last position of each axis whose receptive field misses the border.
    """
    expected, both, inside = _carried(still, source, interior)
    errors = [
        relative_norm((moved - expected)[:, :, mask], expected[:, :, mask]) if bool(mask.any()) else None
        for mask in (inside, both & ~inside)
    ]
    share = int(inside.sum()) / max(int(both.sum()), 1)
    return EquivarianceError(layer, transform, errors[0], errors[1], share)


STEP = 0.1
MOVEMENTS: tuple[tuple[str, Literal["px", "deg", "%"], Any, Any], ...] = (
    ("down", "px", shift(STEP, 0), shift(-STEP, 0)), ("right", "px", shift(0, STEP), shift(0, -STEP)),
    ("turn", "deg", rotate(STEP), rotate(-STEP)), ("zoom", "%", zoom(1 + STEP / 100), zoom(1 / (1 + STEP / 100))),
)  # fmt: skip
"""Each movement's name and unit, with a tenth of the unit forward and back."""


@torch.inference_mode()
def local_errors(network: TrainedNetwork, canvas: Tensor, layers: Sequence[str]) -> tuple[LocalError, ...]:
    """The local equivariance error ``||d/dt T'_-t f_l(T_t x)|| / ||f_l(x)||`` at t = 0, by central differences.

    Gruver et al. 2023, "The Lie derivative for measuring learned equivariance" (ICLR), eq. 4. Bilinear sampling has no
    derivative where it hits a pixel: this is the mean of those from either side.
    """
    places = lattices(network, layers)
    names = tuple(dict.fromkeys((*layers, SCORES)))
    still = maps_of(network, canvas, shift(0, 0), names)
    errors = []
    for movement, unit, there, back in MOVEMENTS:
        ahead, behind = (maps_of(network, canvas, t, names) for t in (there, back))
        for layer in names:
            a, b, f = ahead[layer], behind[layer], still[layer]
            if layer in places:
                steps = ((a, back), (b, there))  # the map moved forward is moved back, and the other way round
                carried = [_carried(m, sources(places[layer], t, _size(network)), None) for m, t in steps]
                both = carried[0][1] & carried[1][1]
                a, b, f = (m[:, :, both] for m in (carried[0][0], carried[1][0], f))
            if a.numel():
                errors.append(LocalError(layer, movement, unit, relative_norm((a - b) / (2 * STEP), f)))
    return tuple(errors)


def _size(network: TrainedNetwork) -> Size:
    height, width = network.input_shape[1:]
    return height, width


def maps_of(network: TrainedNetwork, canvas: Tensor, t: Transform, layers: Sequence[str]) -> dict[str, Tensor]:
    """The layers' outputs for the transformed images, at least in float32."""
    size = _size(network)
    x = window(canvas, t, size) if sliceable(t, size) else sample(canvas, [t], size)[0]
    with network.capture([layer for layer in layers if layer != SCORES]) as captured:
        scores = network.logits(x.to(network.dtype))
    wanted = {**captured, SCORES: scores}
    return {layer: wanted[layer] if wanted[layer].dtype == torch.float64 else wanted[layer].float() for layer in layers}


def positions(extents: Sequence[int]) -> Positions:
    """(H, W, 2): the position (y, x) of each entry of a map."""
    return np.stack(np.meshgrid(*map(np.arange, extents), indexing="ij"), -1).astype(np.float64)


def sources(lattice: Lattice, t: Transform, size: Size) -> Positions:
    """(H', W', 2): for each position (y, x) of the moved map, the position of the unmoved one that it comes from."""
    a, b = inverse(t)
    middle = (np.array(size) - 1) / 2
    stride, origin = np.array(lattice.stride), np.array(lattice.origin)
    pixels = positions(lattice.extents) * stride + origin - middle
    back = pixels @ a[::-1, ::-1].T + b[::-1]  # `inverse` uses (x, y)
    found: NDArray[np.float64] = (back + middle - origin) / stride
    return np.where(np.abs(found - found.round()) < 1e-9, found.round(), found)


def _carried(maps: Tensor, source: Positions, interior: Box | None) -> tuple[Tensor, Tensor, Tensor]:
    """Maps (N, C, H', W') moved by ``T'``; masks of the positions that both maps have, and that are interior in
    both."""
    extents = maps.shape[2:]
    low, high = np.floor(source), np.ceil(source)
    ends = [(0, n - 1) for n in extents]
    both = _within(low, ends) & _within(high, ends)
    inside = both & False
    if interior is not None:
        inside = both & np.logical_and.reduce([_within(p, interior) for p in (positions(extents), low, high)])
    if np.array_equal(low, high):  # every position lands on a position
        index = np.clip(low, 0, np.array(extents) - 1).astype(np.int64)
        y, x = (torch.from_numpy(np.ascontiguousarray(index[..., i])).to(maps.device) for i in (0, 1))
        moved = maps[:, :, y, x]
    else:
        grid = (2 * source[..., ::-1] + 1) / np.array(extents[::-1]) - 1
        grids = torch.as_tensor(np.ascontiguousarray(grid), dtype=maps.dtype, device=maps.device)[None]
        moved = functional.grid_sample(maps.flatten(0, 1)[None], grids, align_corners=False)[0].view_as(maps)
    return moved, torch.from_numpy(both).to(maps.device), torch.from_numpy(inside).to(maps.device)


def _within(positions: NDArray[np.float64], box: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    low, high = np.array(box, dtype=np.float64).T
    result: NDArray[np.bool_] = np.logical_and.reduce((positions >= low) & (positions <= high), axis=-1)
    return result


def relative_norm(change: Tensor, of: Tensor) -> float:
    """The norm of a change divided by the norm of what changes, over all images together; 0 if both are 0."""
    size = float(torch.linalg.vector_norm(of.double()))
    return float(torch.linalg.vector_norm(change.double())) / size if size else float(bool(change.any()))
