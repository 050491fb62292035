"""Which layers are watched, and what is kept of them."""

from __future__ import annotations

import pytest
import torch
from small_networks import QuarterTurns, plain, trained
from torch import nn

import cnnscope
from cnnscope.audits.features import default_layers, features, pooled


@pytest.mark.parametrize(("source", "expected"), [
    ("lenet5", ("c1", "s2", "c3", "s4", "c5", "f6", "output")),
    ("resnet18", ("conv1", "layer1.1.add", "layer2.1.add", "layer3.1.add", "layer4.1.add", "avgpool", "fc")),
    ("vgg16", ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3", "pool5", "fc7", "fc8")),
])  # fmt: skip
def test_the_ends_of_stages(source: str, expected: tuple[str, ...]) -> None:
    assert default_layers(_Known(source)) == expected  # type: ignore[arg-type]


SOURCES = ["densenet121", "googlenet", "inception_v3", "mobilenet_v2", "vit_tiny", "convnext_tiny"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_handful_on_the_trunk(source: str) -> None:
    network = _Known(source)
    layers = default_layers(network)  # type: ignore[arg-type]
    assert 5 <= len(layers) <= 8
    last = dict(network.graph.layers())[layers[-1]][-1]
    assert last.name in network.graph.outputs
    order = [name for name, _ in network.graph.layers()]
    assert list(layers) == sorted(layers, key=order.index)


class Softened(nn.Module):
    """Scores that a function makes which cannot be built, so that only the modules inside can be watched."""

    def __init__(self) -> None:
        super().__init__()
        self.body = QuarterTurns(plain())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(self.body(x)).real


def test_scores_where_no_layer_gives_them() -> None:
    layers = default_layers(trained(Softened()))
    assert layers[-1] == "scores"
    assert len(layers) <= 8


class _Known:
    """The graph of a zoo network, all of whose layers can be captured."""

    def __init__(self, source: str) -> None:
        self.graph = cnnscope.load(source).graph

    def layer_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.graph.layers())


@pytest.mark.parametrize("shape", [(2, 3, 8, 12), (2, 3, 7, 7), (2, 3, 1, 1), (2, 3, 2, 5)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_quarters_are_those_of_torch(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    cells = [min(2, n) for n in shape[2:]]
    expected = torch.nn.functional.adaptive_avg_pool2d(maps, cells)
    found = pooled(maps).view(2, *cells, 3).permute(0, 3, 1, 2)
    assert torch.allclose(found, expected, atol=1e-6)


def test_tokens_and_vectors() -> None:
    tokens = torch.randn(2, 5, 4)
    assert torch.equal(pooled(tokens), tokens.mean(1))
    assert torch.equal(pooled(tokens[:, 0]), tokens[:, 0])
    assert pooled(torch.ones(2, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_distances_by_layer() -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(6, 1, 4, 4, generator=random)
    captured = {"map": torch.randn(6, 3, 4, 4, generator=random), "flat": torch.randn(6, 5, generator=random)}
    found = features(x, {name: pooled(output) for name, output in captured.items()}, ["flat", "map"])
    distance = found.distance(found.first(2))
    for row in range(6):
        at = row % 2
        parts = [x, captured["flat"], torch.nn.functional.adaptive_avg_pool2d(captured["map"], 2)]
        expected = torch.stack([(part[row] - part[at]).norm() for part in parts])
        assert torch.allclose(distance[row], expected, atol=1e-5)
    assert features(x, {}, []).distance(features(x, {}, []).first(2)).shape == (6, 1)
