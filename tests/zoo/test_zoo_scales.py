"""The zoo's networks at other widths and depths, against torchvision's and timm's own variants of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import pytest
from zoo_twins import count

from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.sources import zoo
from cnnscope.spec import load

EFFICIENTNETS = {  # Tan and Le's released coefficients; the sizes are those of torchvision's presets
    "b1": (1.0, 1.1, 240), "b2": (1.1, 1.2, 288), "b3": (1.2, 1.4, 300), "b4": (1.4, 1.8, 380), "b5": (1.6, 2.2, 456),
    "b6": (1.8, 2.6, 528), "b7": (2.0, 3.1, 600),
}  # fmt: skip
BOTTLENECKS = {
    "resnext101_32x8d": ("resnet101", 32, 8), "resnext101_64x4d": ("resnet101", 64, 4),
    "wide_resnet101_2": ("resnet101", 1, 128), "resnext50_32x4d": ("resnet50", 32, 4),
    "wide_resnet50_2": ("resnet50", 1, 128),
}  # fmt: skip


def check(name: str, params: Mapping[str, Any], build: Callable[[], Any], size: int = 224) -> None:
    """Parameters, MACs and the shape of every weight are those of the model."""
    import torch

    graph = load(zoo.path(name), set=params, input=(3, size, size)).graph
    totals = summarize(graph).totals
    assert (totals.params, totals.macs) == count(build, ((3, size, size),))
    with torch.device("meta"):
        theirs = Counter(tuple(p.shape) for p in build().parameters())
    assert Counter(param.shape for param in graph.params.values() if not param.buffer) == theirs


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.25, 1.3, 1.4])
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"])
def test_mobilenets_at_other_widths(torchvision: ModuleType, name: str, width: float) -> None:
    option = "width_mult"
    if name == "mobilenet_v2":
        build = partial(torchvision.models.mobilenet_v2, **{option: width})
    else:
        models = torchvision.models.mobilenetv3
        settings = partial(models._mobilenet_v3_conf, name, **{option: width})
        build = lambda: models.MobileNetV3(*settings())  # noqa: E731  # as short as a partial
    check(name, {"width": width}, build)


@pytest.mark.parametrize(("width", "size", "params", "macs"), [
    (0.75, 224, 2.6, 325), (0.5, 224, 1.3, 149), (0.25, 224, 0.5, 41),  # Table 6
    (1, 192, 4.2, 418), (1, 160, 4.2, 290), (1, 128, 4.2, 186),  # Table 7
])  # fmt: skip
def test_mobilenet_v1_at_the_papers_widths_and_sizes(width: float, size: int, params: float, macs: int) -> None:
    """In millions, as the paper has them (Howard et al. 2017)."""
    found = summarize(load(zoo.path("mobilenet_v1"), set={"width": width}, input=(3, size, size)).graph).totals
    assert found.macs is not None
    assert round(found.params / 1e6, 1) == params
    assert macs in (int(found.macs / 1e6), round(found.macs / 1e6))  # the paper cuts some figures and rounds others


def test_mobilenet_v1_at_timms_width(torchvision: ModuleType) -> None:
    import timm

    check("mobilenet_v1", {"width": 1.25}, partial(timm.create_model, "mobilenetv1_125"))


@pytest.mark.parametrize("variant", EFFICIENTNETS)
def test_efficientnets(torchvision: ModuleType, variant: str) -> None:
    width, depth, size = EFFICIENTNETS[variant]
    build = getattr(torchvision.models, f"efficientnet_{variant}")
    check("efficientnet_b0", {"width": width, "depth": depth}, build, size)


@pytest.mark.parametrize("variant", BOTTLENECKS)
def test_bottlenecks_in_groups(torchvision: ModuleType, variant: str) -> None:
    name, groups, width = BOTTLENECKS[variant]
    check(name, {"groups": groups, "width_per_group": width}, getattr(torchvision.models, variant))


def resnet_of_width(models: ModuleType, name: str, width: float) -> Any:
    """torchvision's ResNet with every number of channels multiplied."""
    from torch import nn

    stem = int(64 * width)

    class Scaled(models.ResNet):  # type: ignore[misc,name-defined]  # torchvision is untyped
        def _make_layer(self, block: Any, planes: int, *args: Any, **named: Any) -> nn.Sequential:
            self.inplanes = stem if planes == 64 else self.inplanes
            return super()._make_layer(block, int(planes * width), *args, **named)  # type: ignore[no-any-return]

    kinds = {"resnet18": (models.BasicBlock, [2, 2, 2, 2]), "resnet34": (models.BasicBlock, [3, 4, 6, 3]),
             "resnet50": (models.Bottleneck, [3, 4, 6, 3])}  # fmt: skip
    model = Scaled(*kinds[name])
    model.conv1, model.bn1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem)
    model.fc = nn.Linear(model.inplanes, 1000)
    return model


@pytest.mark.parametrize("width", [0.25, 0.5, 2])
@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnets_at_other_widths(torchvision: ModuleType, name: str, width: float) -> None:
    check(name, {"width": width}, partial(resnet_of_width, torchvision.models.resnet, name, width))


def test_a_width_that_leaves_fractions_of_channels_is_refused() -> None:
    with pytest.raises(CnnscopeError, match=r"E203: `out` of `conv`: expected a whole number >= 1 but got `6\.4`"):
        load(zoo.path("resnet18"), set={"width": 0.1})
