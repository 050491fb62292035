"""Fields through rearrangements written by hand, against automatic differentiation: channels are no positions."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact import exact, touched
from cnnscope.errors import CnnscopeError

Forward = Callable[[Tensor], Tensor]


class Net(nn.Module):
    def __init__(self, forward: Forward, *behind: nn.Module) -> None:
        super().__init__()
        self.moved, self.behind = forward, nn.Sequential(*behind)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.behind(self.moved(x))
        return y


def space_to_depth(f: int, last: bool = False) -> Forward:
    def forward(x: Tensor) -> Tensor:
        n, c, *size = x.shape
        rank = len(size)
        cells = x.reshape(n, c, *(k for m in size for k in (m // f, f)))
        inner, outer = range(3, 2 * rank + 3, 2), range(2, 2 * rank + 2, 2)
        order = (0, *outer, 1, *inner) if last else (0, 1, *inner, *outer)
        whole = [m // f for m in size]
        return cells.permute(order).reshape(n, *whole, -1) if last else cells.permute(order).reshape(n, -1, *whole)

    return forward


def depth_to_space(f: int) -> Forward:
    def forward(x: Tensor) -> Tensor:
        n, c, *size = x.shape
        rank = len(size)
        cells = x.reshape(n, c // f**rank, *(f,) * rank, *size)
        order = (0, 1, *(k for axis in range(rank) for k in (2 + rank + axis, 2 + axis)))
        return cells.permute(order).reshape(n, c // f**rank, *(m * f for m in size))

    return forward


def patches(f: int) -> Forward:
    """Tokens (N, T, C f^d), as a vision transformer written with reshapes makes them."""
    return lambda x: space_to_depth(f, last=True)(x).flatten(1, -2)


def seen(module: nn.Module, shape: tuple[int, ...], axes: tuple[int, ...]) -> dict[tuple[int, ...], Any]:
    """The box of pixels with a gradient for every unit, whose positions are along these axes of the output."""
    x = torch.rand((1, *shape), dtype=torch.float64, requires_grad=True)
    y = module.double()(x)
    found = {}
    for place in product(*(range(y.shape[axis]) for axis in axes)):
        unit = y
        for axis, at in sorted(zip(axes, place, strict=True), reverse=True):
            unit = unit.select(axis, at)
        (gradient,) = torch.autograd.grad(unit.sum(), x, retain_graph=True)
        pixels = gradient[0].ne(0).any(0).nonzero()
        found[place] = tuple((int(a.min()), int(a.max())) for a in pixels.T) if len(pixels) else None
    return found


def agrees(graph: Any, expected: dict[tuple[int, ...], Any]) -> None:
    (layer,) = graph.outputs
    fields, field = exact(graph), theoretical(graph)[layer]
    for place, box in expected.items():
        assert fields.box(layer, place) == box, place
        reach = field.box(place)
        if box and reach and not field.via:
            assert all(lo <= a and b <= hi for (a, b), (lo, hi) in zip(box, reach, strict=True)), (place, box, reach)


SIZES = {1: [(1,), (3,)], 2: [(1, 1), (1, 3), (2, 1), (2, 3)], 3: [(1, 1, 1), (1, 2, 1), (2, 1, 2)]}
CELLS = [(rank, size, c) for rank in SIZES for size in SIZES[rank] for c in (1, 2)]


@pytest.mark.parametrize(("rank", "size", "channels"), CELLS, ids=str)
def test_channels_of_cells_are_no_positions(rank: int, size: tuple[int, ...], channels: int) -> None:
    whole = tuple(2 * m for m in size)
    there, first = tuple(range(2, rank + 2)), tuple(range(1, rank + 1))
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[rank - 1]
    cases: list[tuple[Forward, tuple[int, ...], tuple[int, ...]]] = [
        (space_to_depth(2), (channels, *whole), there),
        (depth_to_space(2), (channels * 2**rank, *size), there),
    ]
    if min(size) > 1:
        cases += [
            (space_to_depth(2, last=True), (channels, *whole), first),
            (patches(2), (channels, *whole), (1,)),
        ]
    for forward, shape, axes in cases:
        module = Net(forward)
        agrees(cnnscope.load(module, input=shape).graph, seen(module, shape, axes))
    for forward, shape, wide in ((cases[0][0], cases[0][1], channels * 2**rank), (cases[1][0], cases[1][1], channels)):
        module = Net(forward, conv(wide, 2, 3, padding=1))
        agrees(cnnscope.load(module, input=shape).graph, seen(module, shape, there))


@pytest.mark.parametrize("shape", [(1, 2), (2, 8), (1, 2, 4), (4, 1, 1), (1, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("way", ["to depth", "to space"])
def test_channels_of_cells_are_no_positions_in_onnx_either(tmp_path: Path, shape: tuple[int, ...], way: str) -> None:
    onnx = pytest.importorskip("onnx")
    rank, channels = len(shape) - 1, shape[0]
    if way == "to space":
        shape = (channels * 2**rank, *shape[1:])
    elif any(n % 2 for n in shape[1:]):
        pytest.skip("no cells")
    module = Net(space_to_depth(2) if way == "to depth" else depth_to_space(2)).eval()
    file = tmp_path / "cells.onnx"
    torch.onnx.export(module, (torch.rand(1, *shape),), str(file), dynamo=False)
    onnx.checker.check_model(str(file))
    agrees(cnnscope.load(file).graph, seen(module, shape, tuple(range(2, rank + 2))))


def test_a_new_axis_in_front_of_a_signal_is_no_piece_of_it() -> None:
    """A signal read as an image of height 1, and a dense layer over all of it."""
    module = Net(lambda x: x.view(1, 1, 1, x.shape[-1]), nn.Conv2d(1, 2, (1, 3)), nn.Flatten(), nn.Linear(12, 2))
    graph = cnnscope.load(module, input=(1, 8)).graph
    fields = theoretical(graph)
    assert [fields[name].size for name in ("behind.0", "behind.2")] == [(3,), None]
    assert fields["behind.2"].via == ("dense",)


def random_chain(draw: random.Random, rank: int) -> Forward:
    """Splits, merges, permutations, slices, rolls and flips, drawn anew for each shape that they meet."""
    seed = draw.random()

    def forward(x: Tensor) -> Tensor:
        steps = random.Random(seed)
        for _ in range(steps.randint(2, 6)):
            axis = steps.randrange(1, x.dim())
            match steps.choice(
                ("split", "merge", "permute", "permute", "slice", "roll", "flip", "one", "join", "cell")
            ):
                case "split" if x.shape[axis] % 2 == 0 and x.dim() < 7:
                    f = steps.choice([2, x.shape[axis] // 2])
                    x = x.reshape(*x.shape[:axis], x.shape[axis] // f, f, *x.shape[axis + 1 :])
                case "merge" if axis + 1 < x.dim():
                    x = x.flatten(axis, axis + 1)
                case "permute":
                    order = list(range(1, x.dim()))
                    steps.shuffle(order)
                    x = x.permute(0, *order)
                case "slice" if x.shape[axis] > 2:
                    x = x.narrow(axis, 1, x.shape[axis] - 1)
                case "roll":
                    x = x.roll(1, axis)
                case "flip":
                    x = x.flip(axis)
                case "one" if x.dim() < 6:
                    x = x.unsqueeze(axis)
                case "join":
                    x = torch.cat([x, x.flip(axis)], axis) if x.numel() < 300 else x
                case "cell" if x.dim() > 2 and x.shape[-1] % 2 == 0:
                    x = torch.cat([x[..., ::2], x[..., 1::2]], 1)
                case _:
                    pass
        return x

    return forward


@pytest.mark.parametrize("seed", range(60))
def test_any_chain_of_rearrangements(seed: int) -> None:
    draw = random.Random(seed)
    rank = draw.randint(1, 3)
    shape = (draw.choice([1, 2, 3, 4]), *(draw.choice([1, 2, 4, 6] if rank < 3 else [1, 2, 4]) for _ in range(rank)))
    module = Net(random_chain(draw, rank))
    graph = cnnscope.load(module, input=shape).graph
    (layer,) = graph.outputs
    fields = exact(graph)
    units = fields._units(layer)
    assert units is not None
    value = graph.value(layer)
    ways = [axes for axes in subsets(len(value.shape)) if tuple(value.shape[a] for a in axes) == units.extents]
    expected = [seen(module, shape, axes) for axes in ways] if prod(units.extents) <= 400 else []
    found = {place: fields.box(layer, place) for place in product(*map(range, units.extents))} if expected else {}
    assert not expected or found in expected
    for place in list(found)[:3]:
        masks = touched(graph, layer, place)
        assert sum(int(mask.any()) for mask in masks.values()) == (found[place] is not None)
        cnnscope.load(module, input=shape).unit(layer, place).to_dict()


def subsets(rank: int) -> list[tuple[int, ...]]:
    return [tuple(a for a in range(rank) if bits >> a & 1) for bits in range(2**rank)]


def test_a_unit_of_a_group_is_one_of_its_output() -> None:
    block = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Sequential(nn.ReLU(), nn.Conv2d(2, 2, 3, padding=1)))
    model = cnnscope.load(nn.Sequential(block, nn.Conv2d(2, 1, 3)), input=(1, 8, 8))
    assert model.unit("0", (4, 4)).exact == model.unit("0.1.1", (4, 4)).exact == ((2, 6), (2, 6))
    assert model.unit("0.1", (4, 4)).exact == model.unit("0", (4, 4)).exact
    with pytest.raises(CnnscopeError, match="E203"):
        model.unit("0", (4, 9))
