"""Random edits: the result runs in torch with every shape as predicted, or the edit is refused."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache

import pytest
from edited import edit, run

import cnnscope
from cnnscope.edits import Change, Insert, Remove, Resize, Scale, SetArgs, Swap, Width
from cnnscope.ir import Graph

QUICK = ("resnet18", "mobilenet_v2", "squeezenet1_1")
SLOW = (*QUICK, "googlenet", "densenet121", "efficientnet_b0", "torchvision:shufflenet_v2_x1_0", "torchvision:resnet50",
        "torchvision:mobilenet_v3_small", "torchvision:regnet_y_400mf", "convnext_tiny", "vgg11")  # fmt: skip
ARGUMENTS = ({"kernel": 1}, {"kernel": 5}, {"stride": 1}, {"stride": 2}, {"dilation": 2}, {"pad": "same"},
             {"pad": "valid"}, {"bias": True})  # fmt: skip
SWAPS = (Swap("relu", "gelu"), Swap("batchnorm", "instancenorm"), Swap("maxpool", "avgpool"),
         Swap("maxpool", "blurpool"))  # fmt: skip


@cache
def small(source: str) -> Graph:
    return edit(cnnscope.load(source).graph, Resize({"": (96,)})).graph


def some(draw: random.Random, graph: Graph) -> Change:
    conv = draw.choice([node for node in graph.nodes if node.op.tag == "conv"])
    layers = ("conv", {"out": conv.output.shape[1], "kernel": 3, "pad": "half"}), ("batchnorm", {}), ("blurpool", {})
    return draw.choice((
        SetArgs(conv.name, draw.choice(ARGUMENTS)), Width(conv.layer, draw.choice((24, 40, 96))),
        Scale(draw.choice((0.25, 0.6, 1.3)), draw.choice((1, 8, 16)), draw.random() < 0.5), draw.choice(SWAPS),
        Remove((draw.choice(graph.nodes).layer,)), Insert(conv.layer, *draw.choice(layers)),
        Resize({"": (draw.randrange(64, 140),)}),
    ))  # fmt: skip


def outcomes(sources: Sequence[str], seeds: range) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in seeds:
        draw = random.Random(seed)
        graph = small(draw.choice(sources))
        changes = [some(draw, graph) for _ in range(draw.choice((1, 1, 2)))]
        try:
            edited = edit(graph, *changes)
        except cnnscope.CnnscopeError:
            found["refused"] += 1
            continue
        run(edited.graph)
        found["runs"] += 1
    return found


def test_random_edits_run_as_predicted_or_are_refused() -> None:
    found = outcomes(QUICK, range(12))
    assert found["runs"] >= 6


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_hundreds_of_random_edits(part: int) -> None:
    found = outcomes(SLOW, range(1000 + 60 * part, 1060 + 60 * part))
    assert found["runs"] >= 30
