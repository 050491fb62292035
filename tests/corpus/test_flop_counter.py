"""MACs and parameters of published models against torch's FLOP counter on the meta device."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
import torch
from oracles import counted
from sweeps import sweep
from torchvision_published import MODELS

from cnnscope.analysis.cost import known, node_costs
from cnnscope.sources.inputs import InputSize, parse_inputs
from cnnscope.sources.torch.build import build
from cnnscope.sources.torch.models import Recipe
from cnnscope.sources.torch.models import timm as timm_recipe
from cnnscope.sources.torch.models import torchvision as torchvision_recipe
from cnnscope.sources.torch.module import trace

FLOAT = {name: (f"3x{size}x{size}",) for name, (_, _, _, size) in MODELS.items()}
QUANTIZED = [
    "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_large", "resnet18", "resnet50", "resnext101_32x8d",
    "resnext101_64x4d", "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0",
]  # fmt: skip
SEGMENTATION = [
    "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101", "deeplabv3_resnet50", "fcn_resnet101", "fcn_resnet50",
    "lraspp_mobilenet_v3_large",
]  # fmt: skip
TORCHVISION = {
    **FLOAT,
    **{f"quantized_{name}": FLOAT[name] for name in QUANTIZED},
    **dict.fromkeys(SEGMENTATION, ("3x96x64",)),
    **dict.fromkeys(["mc3_18", "r2plus1d_18", "r3d_18", "swin3d_b", "swin3d_s", "swin3d_t"], ("3x8x32x32",)),
    **dict.fromkeys(["mvit_v1_b", "mvit_v2_s", "s3d"], ("3x16x224x224",)),
    **dict.fromkeys(["raft_large", "raft_small"], ("image1=3x128x128", "image2=3x128x128")),
}
"""All models but the detectors, and sizes that they take."""

DETECTORS = {
    "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2", "fcos_resnet50_fpn", "keypointrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2", "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large",
}  # fmt: skip
"""How much these compute depends on the boxes that they find, which no run on the meta device has."""

FEW_TORCHVISION = {"mnasnet0_5", "quantized_resnet18", "shufflenet_v2_x0_5"}
FEW_TIMM = ["convnext_atto", "edgenext_xx_small", "lcnet_035", "pit_ti_224", "resnet10t"]

OF_CONSTANTS = {"gemma4_vit_167m_enc": 48 * 48 * 32}
"""MACs that torch counts and that no image changes: the positions of 48 x 48 patches times 32 inverse frequencies. They
are a table here, as all that is computed from constants alone.
"""

PARTS = 25
"""Every fourth of timm's models, in so many parts that a failure names few and each takes under a minute."""


def compare(recipe: Recipe, sizes: Sequence[InputSize] = ()) -> dict[str, tuple[int, int]]:
    """What is not as torch has it: ours, theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = build(recipe.make)
        sizes = sizes or recipe.sizes(module)
        graph = trace(module, sizes).graph
        params = sum(p.numel() for p in module.parameters())
        tensors = tuple(torch.empty(1, *size.shape, device="meta") for size in sizes)
        macs = counted(module.eval().to("meta").requires_grad_(False), tensors)
    costs = node_costs(graph)
    totals = known(costs.values())
    pairs = {
        "MACs": (totals.macs or 0, macs),
        "parameters": (sum(p.numel for p in graph.params.values() if not p.buffer), params),
        "unknown": (sum(cost.macs is None for cost in costs.values()), 0),
    }
    return {quantity: pair for quantity, pair in pairs.items() if pair[0] != pair[1]}


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", sweep(TORCHVISION, FEW_TORCHVISION))
def test_torchvision(name: str) -> None:
    assert compare(torchvision_recipe(name, {}), parse_inputs(TORCHVISION[name])) == {}


def test_no_model_of_torchvision_is_left_out(torchvision: ModuleType) -> None:
    assert {*TORCHVISION, *DETECTORS} >= set(torchvision.models.list_models())


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", FEW_TIMM)
def test_some_of_timm(name: str) -> None:
    assert compare(timm_recipe(name, {})) == {}


@pytest.mark.slow
@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("part", range(PARTS))
def test_timm(part: int) -> None:
    import timm

    names = timm.list_models()[::4]
    assert len(names) >= 300
    for name in names[part::PARTS]:
        different = compare(timm_recipe(name, {}))
        if name in OF_CONSTANTS:
            ours, theirs = different.pop("MACs")
            assert (name, ours + OF_CONSTANTS[name]) == (name, theirs)
        assert (name, different) == (name, {})
