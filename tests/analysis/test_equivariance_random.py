"""Claims of equivariance in random networks: every `exact` holds, and what is not guaranteed shows."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import rf_random
from equivariance_oracle import TURNS, Measured, error, with_weights
from rf_networks import Net

from cnnscope.analysis.equivariance import Flip, Shift, Transform, equivariance
from cnnscope.ir import Graph

ROUNDING = 1e-10


ROUND = rf_random.among("circular", "circular", "circular", "zeros", "reflect")
OPS: dict[str, dict[str, Callable[[Random], object]]] = rf_random.OPS | {
    "conv": rf_random.OPS["conv"] | {
        "kernel": rf_random.among(1, 2, 3, 3, 5), "pad": rf_random.among("half", "half", "half", 0, 1, "same"),
        "stride": rf_random.among(1, 1, 1, 2, 2, 3), "pad_mode": ROUND,
    },
    "maxpool": {"kernel": rf_random.among(2, 2, 3), "stride": rf_random.among(1, 2, 2), "pad": rf_random.among(0, 1)},
    "blurpool": {"kernel": rf_random.among(2, 3, 4), "pad_mode": ROUND},
    "pad": {"pad": rf_random.among(0, 1, 2), "pad_mode": ROUND},
    "aps": {"stride": rf_random.among(2, 2, 3)}, "lrn": {"size": rf_random.among(3)}, "batchnorm": {}, "prelu": {},
}  # fmt: skip


def random_network(random: Random, monkeypatch: pytest.MonkeyPatch) -> Graph:
    monkeypatch.setattr(rf_random, "OPS", OPS)
    height = random.choice([4, 6, 8, 9, 12])
    net = Net(random.choice([2, 4]), height, random.choice([height, height, 8]))
    often = (*OPS, *rf_random.HEAVY, "conv", "conv", "conv", "maxpool", "blurpool", "aps")
    for _ in range(random.randint(1, 8)):
        rf_random._grow(net, random, often, 3000)
    if not net.nodes:
        net.add("relu")
    return with_weights(net)


def some_transforms(random: Random, size: tuple[int, ...]) -> list[Transform]:
    shifts = [Shift((random.choice([1, 2, 3, 4, 6, -2]), random.choice([0, 0, 1, 2, -4, 6]))) for _ in range(3)]
    slides = [Shift((random.choice([1, 2, 4]), random.choice([0, 2, -4])), wrap=False) for _ in range(2)]
    turns = TURNS if size[0] == size[1] else TURNS[:3]
    return [*shifts, *slides, *turns]


@pytest.mark.parametrize("seed", range(0, 120, 10))
def test_every_exact_claim_holds_in_random_networks(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = 0
    for one in range(seed, seed + 10):
        random = Random(one)
        graph = random_network(random, monkeypatch)
        found, measured = equivariance(graph), Measured(graph, one)
        for transform in some_transforms(random, measured.size):
            prediction, after = found.predict(transform), measured.transformed(transform)
            for motion in found.layers:
                there = prediction.maps[motion.name]
                if there.verdict.claim == "exact":
                    seen = error(motion, there, transform, measured.plain[motion.name], after[motion.name])
                    claims += seen is not None
                    assert seen is None or seen < 1e-9, (one, transform, motion.name, graph.nodes)
    assert claims > 50


def test_where_nothing_is_guaranteed_random_networks_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the layer that is to blame the violation shows nearly always; coincidences (a crop of one pixel) are few."""
    seen, hidden = 0, 0
    for one in range(1000, 1060):
        random = Random(one)
        graph = random_network(random, monkeypatch)
        found, measured = equivariance(graph), Measured(graph, one)
        for transform in [Shift((1, 2)), Shift((0, 2)), Flip((0,)), Flip((1,))]:
            prediction, after = found.predict(transform), measured.transformed(transform)
            for motion in found.layers:
                there = prediction.maps[motion.name]
                cause = there.verdict.cause
                if there.verdict.claim != "exact" and cause and cause.layer == motion.name:
                    distance = error(motion, there, transform, measured.plain[motion.name], after[motion.name])
                    seen += distance is not None and distance > ROUNDING
                    hidden += distance is not None and distance <= ROUNDING
    assert seen > 100
    assert hidden < 0.05 * seen
