"""Fields through interpolation, by every way to say how much, and through padding that also cuts, against automatic
differentiation."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import cnnscope
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact import exact

Box = tuple[tuple[int, int], ...]


class Resampled(nn.Module):
    def __init__(self, **named: Any) -> None:
        super().__init__()
        self.named = named

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, **self.named)


def boxes(module: nn.Module, shape: tuple[int, ...]) -> dict[tuple[int, ...], Box | None]:
    """The bounding box of the pixels with a gradient, for every unit. Gradients below 1e-12 are rounding errors."""
    size = module(torch.empty(1, *shape)).shape[2:]
    places = list(product(*map(range, size)))
    x = torch.rand((len(places), *shape), dtype=torch.float64, requires_grad=True)
    y = module.double()(x)
    total = torch.stack([y[(i, slice(None), *place)].sum() for i, place in enumerate(places)]).sum()
    (gradients,) = torch.autograd.grad(total, x)
    found: dict[tuple[int, ...], Box | None] = {}
    for place, gradient in zip(places, gradients, strict=True):
        pixels = (gradient.abs() > 1e-12).any(0).nonzero()
        lows, highs = (pixels.min(0).values, pixels.max(0).values) if len(pixels) else ((), ())
        found[place] = tuple((int(lo), int(hi)) for lo, hi in zip(lows, highs, strict=True)) or None
    return found


def agrees(module: nn.Module, shape: tuple[int, ...], *, bordered: bool = False) -> None:
    """Exact fields are those of autograd, and theoretical ones contain them, unless ``bordered`` padding has pixels of
    the image, which only the exact analysis knows."""
    graph = cnnscope.load(module, input=shape).graph
    (layer,) = graph.outputs
    fields, field = exact(graph), theoretical(graph)[layer]
    for place, box in boxes(module, shape).items():
        assert fields.box(layer, place) == box, place
        reach = field.box(place)
        if box is not None and reach is not None and not bordered:
            inside = (lo <= a and b <= hi for (a, b), (lo, hi) in zip(box, reach, strict=True))
            assert all(inside) or field.position_dependent, (place, box, reach)


SHAPES = {1: (2, 11), 2: (1, 7, 10), 3: (1, 3, 5, 4)}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
FACTORS = (0.3, 0.5, 0.75, 0.9, 1.1, 1.5, 2.0, 2.3, 1 / 3, 2**0.5)
MODES = [
    *((rank, mode, {}) for rank in (1, 2, 3) for mode in ("nearest", "nearest-exact", "area")),
    *((rank, LINEAR[rank], {"align_corners": corners}) for rank in (1, 2, 3) for corners in (False, True)),
    *((2, "bicubic", {"align_corners": corners}) for corners in (False, True)),
    *((2, mode, {"antialias": True}) for mode in ("bilinear", "bicubic")),
]


@pytest.mark.parametrize("recompute", [None, True], ids=["given", "recomputed"])
@pytest.mark.parametrize(("rank", "mode", "named"), MODES, ids=lambda value: str(value))
def test_a_factor_maps_coordinates_as_torch_does(rank: int, mode: str, named: dict[str, Any], recompute: Any) -> None:
    draw = random.Random(f"{rank}{mode}{named}")
    for factors in [draw.sample(FACTORS, rank) for _ in range(8 if rank == 1 else 5)]:
        if all(int(n * s) for n, s in zip(SHAPES[rank][1:], factors, strict=True)):
            module = Resampled(scale_factor=tuple(factors), mode=mode, recompute_scale_factor=recompute, **named)
            agrees(module, SHAPES[rank])


@pytest.mark.parametrize(("rank", "mode", "named"), MODES, ids=lambda value: str(value))
def test_a_size_maps_coordinates_as_torch_does(rank: int, mode: str, named: dict[str, Any]) -> None:
    draw = random.Random(f"{rank}{mode}{named}")
    for _ in range(4):
        size = tuple(draw.randint(1, 2 * n + 1) for n in SHAPES[rank][1:])
        agrees(Resampled(size=size, mode=mode, **named), SHAPES[rank])


class Bordered(nn.Module):
    def __init__(self, sides: tuple[int, ...], mode: str) -> None:
        super().__init__()
        self.sides, self.mode = sides, mode

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sides, self.mode)


@pytest.mark.parametrize("mode", ["circular", "reflect", "replicate", "constant"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_padding_that_also_cuts(rank: int, mode: str) -> None:
    draw, shape = random.Random(f"{rank}{mode}"), {1: (2, 7), 2: (1, 6, 5), 3: (1, 4, 5, 3)}[rank]
    for _ in range(8):
        sides = tuple(side for n in shape[:0:-1] for side in (draw.randint(-1, n - 2), draw.randint(-1, n - 2)))
        agrees(Bordered(sides, mode), shape, bordered=mode != "constant")


@pytest.mark.parametrize("seed", range(20))
def test_padding_cutting_and_resampling_in_a_row(seed: int) -> None:
    draw = random.Random(seed)
    parts: list[nn.Module] = []
    for _ in range(draw.randint(2, 4)):
        match draw.choice(["pad", "factor", "size", "conv"]):
            case "pad":
                sides = tuple(draw.choice([-2, -1, 0, 1, 2]) for _ in range(4))
                parts.append(Bordered(sides, draw.choice(["circular", "replicate", "constant"])))
            case "factor":
                factors = (draw.choice(FACTORS[1:]), draw.choice(FACTORS[1:]))
                parts.append(Resampled(scale_factor=factors, mode=draw.choice(["bilinear", "nearest-exact"])))
            case "size":
                size = (draw.randint(3, 10), draw.randint(3, 10))
                parts.append(Resampled(size=size, mode="bilinear", align_corners=draw.choice([True, False])))
            case "conv":
                conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode=draw.choice(["zeros", "circular", "reflect"]))
                nn.init.uniform_(conv.weight, 0.5, 1.0)
                parts.append(conv)
    module = nn.Sequential(*parts)
    try:
        module(torch.rand(1, 1, 9, 8))
    except RuntimeError:
        pytest.skip("torch refuses")
    agrees(module, (1, 9, 8), bordered=True)
