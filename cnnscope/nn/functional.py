"""Functions of tensors that torch has in another form or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from cnnscope.ir.steps import Shape
from cnnscope.ops.arguments import Pair

TORCH_PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def add(*x: Tensor) -> Tensor:
    return reduce(torch.add, x)


def mul(*x: Tensor) -> Tensor:
    return reduce(torch.mul, x)


def concat(*x: Tensor, dim: int) -> Tensor:
    return torch.cat(x, dim)


def reshape(x: Tensor, shape: Shape) -> Tensor:
    """Under another shape, the batch apart."""
    return x.reshape(len(x), *shape)


def take(x: Tensor, axis: int, picked: slice) -> Tensor:
    return x[(*(slice(None),) * axis, picked)]


def crop(x: Tensor, offset: Shape, size: Shape) -> Tensor:
    windows = [slice(first, first + n) for first, n in zip(offset, size, strict=True)]
    return x[(slice(None), slice(None), *windows)]


def shuffle(x: Tensor, groups: int) -> Tensor:
    """Channel shuffle (Zhang et al. 2018, section 3.1)."""
    split = x.reshape(len(x), groups, -1, *x.shape[2:])
    return split.transpose(1, 2).reshape(x.shape)


def pixel_shuffle(x: Tensor, factor: int) -> Tensor:
    """As torch's, in any number of spatial axes."""
    n = x.dim() - 2
    cells = x.reshape(len(x), -1, *(factor,) * n, *x.shape[2:])
    pairs = (axis for i in range(n) for axis in (2 + n + i, 2 + i))
    return cells.permute(0, 1, *pairs).reshape(len(x), -1, *(m * factor for m in x.shape[2:]))


def pixel_unshuffle(x: Tensor, factor: int) -> Tensor:
    """The inverse of `pixel_shuffle`."""
    n = x.dim() - 2
    size = [m // factor for m in x.shape[2:]]
    cells = x.reshape(*x.shape[:2], *(part for m in size for part in (m, factor)))
    inner, outer = range(3, 3 + 2 * n, 2), range(2, 2 + 2 * n, 2)
    return cells.permute(0, 1, *inner, *outer).reshape(len(x), -1, *size)


def adaptive_polyphase(x: Tensor, stride: tuple[int, ...], p: float) -> Tensor:
    """Each image on the one of its grids of every ``stride``-th pixel that has the largest norm."""
    places = torch.cartesian_prod(*map(torch.arange, stride)).reshape(-1, len(stride)).tolist()
    windows = [[slice(i, None, s) for i, s in zip(place, stride, strict=True)] for place in places]
    grids = [x[(slice(None), slice(None), *window)] for window in windows]
    norms = torch.stack([grid.abs().pow(p).flatten(1).sum(1) for grid in grids])
    return torch.stack(grids)[norms.argmax(0), torch.arange(len(x), device=x.device)]


def to_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def torch_pads(pads: Sequence[Pair]) -> list[int]:
    """(low, high) per axis in the order of torch's ``pad``: the last axis first."""
    return [side for sides in reversed(pads) for side in sides]
