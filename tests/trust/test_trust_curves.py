"""Insertion and deletion: against a loop that moves one pixel at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from attributed import image, seeded
from known_maps import findings, scene, subject
from torch import nn

from cnnscope.attribution.contract import baseline
from cnnscope.trust.checks import faithfulness
from cnnscope.trust.checks.faithfulness import area, descending, shares


def tiny() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 3 * 4, 3)))


def slow(module: nn.Module, order: np.ndarray, start: torch.Tensor, end: torch.Tensor, target: int) -> float:
    """The area with a step a pixel, each image made from the one before."""
    current = start.clone()
    curve = [float(module(current).softmax(1)[0, target])]
    for pixel in order:
        y, x = divmod(int(pixel), start.shape[3])
        current[0, :, y, x] = end[0, :, y, x]
        curve.append(float(module(current).softmax(1)[0, target]))
    return sum((a + b) / 2 for a, b in pairwise(curve)) / len(order)


@pytest.mark.parametrize("batch", [1, 4, 64])
@pytest.mark.parametrize("inserted", [True, False])
def test_areas_are_those_of_a_loop(inserted: bool, batch: int) -> None:
    module, x = tiny(), image(2, 5, 6)
    of = replace(scene(module, x, 1, lambda seed: tiny()), batch=batch)
    blur = baseline("blur", x)
    ends = (blur, x) if inserted else (x, blur)
    order = np.random.default_rng(3).permutation(30)
    assert area(of, order, *ends, 30) == pytest.approx(slow(module, order, *ends, 1), abs=1e-12)
    assert area(of, order, *ends, 1000) == pytest.approx(slow(module, order, *ends, 1), abs=1e-12)


def test_fewer_steps_keep_the_ends() -> None:
    assert shares(30, 4) == [0, 8, 15, 22, 30]
    assert shares(3, 20) == [0, 1, 2, 3]
    module, x = tiny(), image(2, 5, 6)
    of = scene(module, x, 1, lambda seed: tiny())
    ends = [float(module(part).softmax(1)[0, 1]) for part in (x, torch.zeros_like(x))]
    assert area(of, np.arange(30), x, torch.zeros_like(x), 1) == pytest.approx(sum(ends) / 2)


def test_order_is_descending_and_ties_are_drawn() -> None:
    values = np.array([[0.0, 3.0, -1.0], [0.0, 0.0, 2.0]])
    orders = [descending(values, np.random.default_rng(seed)) for seed in range(20)]
    for order in orders:
        assert list(values.ravel()[order]) == [3, 2, 0, 0, 0, -1]
    assert len({tuple(order[2:5]) for order in orders}) == 6


def counted(module: nn.Module) -> tuple[nn.Module, list[int]]:
    calls: list[int] = []
    module.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    return module, calls


def test_controls_are_measured_once_for_all_maps() -> None:
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
    module[1].weight.copy_(torch.stack([torch.ones(64), -torch.ones(64)]))
    module[1].bias.copy_(torch.tensor([-10.0, 10.0]))
    module, calls = counted(module)
    x = image(1, 8, 8).abs()
    of = scene(module, x, 0, lambda seed: module)
    first = faithfulness.finding(subject(of, lambda network, x: x[0, 0].numpy()), "insertion", ("zero",), "high")
    images = sum(calls)
    assert images >= 21 * 21
    second = faithfulness.finding(subject(of, lambda network, x: -x[0, 0].numpy()), "insertion", ("zero",), "high")
    assert sum(calls) - images == 21
    assert first.controls == second.controls
    assert first.limit == max(first.controls["best random"], first.controls["edges"])
    assert (first.verdict, second.verdict) == ("pass", "fail")
    assert first.value is not None
    assert second.value is not None
    assert first.value > first.controls["random"] > second.value


def test_a_score_the_image_has_no_part_in_is_unknown() -> None:
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 3)))
    module[1].weight.zero_()
    found = findings(subject(scene(module, image(1, 8, 8), 0, lambda seed: module), lambda network, x: x[0, 0].numpy()))
    for name in ("insertion", "deletion"):
        assert (found[name].value, found[name].verdict, found[name].controls) == (None, "unknown", {})
        assert "nothing to gain or lose" in found[name].why


def test_what_replaces_pixels_is_the_first_that_takes_half_of_the_probability() -> None:
    """A sum of pixels is as large in their blur and their mean as in the image; zeros have none of it."""
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
    module[1].weight.copy_(torch.stack([torch.ones(64), -torch.ones(64)]))
    module[1].bias.copy_(torch.tensor([-10.0, 10.0]))
    of = scene(module, 1 + 0.01 * image(1, 8, 8), 0, lambda seed: module)
    found = findings(subject(of, lambda network, x: x[0, 0].numpy()))
    assert found["insertion"].settings["substrate"] == "zero"
    assert found["deletion"].settings == {"substrate": "zero", "steps": 20, "random_orders": 19}
