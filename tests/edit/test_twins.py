"""Edits that make one network of a library another: equal in parameters and MACs, and run in torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest
from edited import edit, run, totals
from torch import nn

import cnnscope
from cnnscope.edits import Change, Resize, Scale, Width
from cnnscope.ir import Graph
from cnnscope.sources.torch.user_code import import_with_operators


@dataclass(frozen=True)
class Twin:
    source: str
    changes: tuple[str | Change, ...]
    other: Callable[[], nn.Module]
    size: int = 224


def models() -> ModuleType:
    return import_with_operators(lambda: import_module("torchvision.models"))


def cifar() -> nn.Module:
    network = models().resnet18(weights=None)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return network


def tv(name: str, **arguments: Any) -> Callable[[], nn.Module]:
    return lambda: getattr(models(), name)(weights=None, **arguments)


def resnext() -> nn.Module:
    resnet = models().resnet
    return resnet.ResNet(resnet.Bottleneck, [3, 4, 6, 3], groups=32, width_per_group=8)


CIFAR = ("conv1.stride=1", "conv1.kernel=3", "maxpool=none", Resize({"": (32,)}))
INNER = Scale(2, only=("layer*.conv[12]",))
DILATED = ("layer4.0.conv2.stride=1", "layer4.0.downsample.0.stride=1", "layer4.[12].conv2.dilation=2")
V3 = (Scale(0.75, keep_ratio=False, exclude=("features.4.block.2.fc1",)), Width("features.4.block.2.fc1", 16))
DROP_LAST = Scale(0.5, exclude=("conv_last*",))
SHUFFLE = (Width("stage2.*", 24), Width("stage3.*", 48), Width("stage4.*", 96))

TWINS = {
    "resnet18 for CIFAR": Twin("resnet18", CIFAR, cifar, 32),
    "mobilenet_v2 x0.5": Twin("mobilenet_v2", (DROP_LAST,), tv("mobilenet_v2", width_mult=0.5)),
}
MORE = {
    "torchvision resnet18 for CIFAR": Twin("torchvision:resnet18", CIFAR, cifar, 32),
    "mobilenet_v2 x1.4": Twin("mobilenet_v2", (Scale(1.4),), tv("mobilenet_v2", width_mult=1.4)),
    "torchvision mobilenet_v2 x0.5": Twin("torchvision:mobilenet_v2", (Scale(0.5, exclude=("features.18*",)),),
                                          tv("mobilenet_v2", width_mult=0.5)),
    "wide_resnet50_2": Twin("torchvision:resnet50", (INNER,), tv("wide_resnet50_2")),
    "resnext50 32x8d": Twin("torchvision:resnext50_32x4d", (INNER,), resnext),
    "densenet121 x0.5": Twin("densenet121", (Scale(0.5),),
                             lambda: models().DenseNet(16, (6, 12, 24, 16), 32)),
    "dilated resnet50": Twin("torchvision:resnet50", DILATED,
                             tv("resnet50", replace_stride_with_dilation=[False, False, True])),
    # of the scaled squeezes, torchvision works out this one to be 16 and a width of its own would be 24
    "mobilenet_v3_large x0.75": Twin("torchvision:mobilenet_v3_large", V3, tv("mobilenet_v3_large", width_mult=0.75)),
    "shufflenet x0.5": Twin("torchvision:shufflenet_v2_x1_0", SHUFFLE, tv("shufflenet_v2_x0_5")),
}  # fmt: skip


def made(twin: Twin) -> Graph:
    return edit(cnnscope.load(twin.source).graph, *twin.changes).graph


@pytest.mark.parametrize("name", TWINS)
def test_an_edit_makes_the_network_of_a_library(name: str) -> None:
    twin = TWINS[name]
    graph = made(twin)
    assert totals(graph) == totals(cnnscope.load(twin.other(), input=(3, twin.size, twin.size)).graph)
    run(edit(graph, Resize({"": (32,)})).graph)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_an_edit_makes_more_networks_of_libraries(name: str) -> None:
    twin = MORE[name]
    graph = made(twin)
    assert totals(graph) == totals(cnnscope.load(twin.other(), input=(3, twin.size, twin.size)).graph)
    run(edit(graph, Resize({"": (64,)})).graph)
