"""Zoo networks as torch modules: MACs by torch's counter, and torchvision's very logits from torchvision's weights."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from sweeps import zoo_sweep
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analysis.cost import node_costs, total
from cnnscope.ir import Graph
from cnnscope.nn.build import build
from cnnscope.sources import zoo
from cnnscope.spec import load


@pytest.mark.parametrize("name", zoo_sweep())
def test_shapes_and_macs(name: str) -> None:
    graph = load(zoo.path(name)).graph
    with torch.device("meta"):
        network = build(graph).eval()
        inputs = [torch.empty(value.shape) for value in graph.inputs.values()]
        with FlopCounterMode(display=False) as counter:
            result = network(*inputs)
    kept = [name for name in graph.outputs if not graph.node(name).training_only]
    outputs = result if isinstance(result, dict) else dict(zip(kept, [result], strict=True))
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {n: graph.value(n).shape for n in kept}
    assert counter.get_total_flops() == 2 * (total(node_costs(graph).values()).macs or 0)


PUBLISHED = [
    ("squeezenet1_1", "squeezenet1_1", 64),
    ("resnet18", "resnet18", 64),
    ("mobilenet_v3_small", "mobilenet_v3_small", 64),
    ("shufflenet_v2_x1_0", "shufflenet_v2_x1_0", 64),
    ("googlenet-torchvision", "googlenet", 64),
    ("convnext_tiny", "convnext_tiny", 64),
    *(pytest.param(name, twin, size, marks=pytest.mark.slow) for name, twin, size in (
        ("alexnet-torchvision", "alexnet", 224), ("vgg11", "vgg11", 224), ("resnet50", "resnet50", 64),
        ("resnext50_32x4d", "resnext50_32x4d", 64), ("wide_resnet50_2", "wide_resnet50_2", 64),
        ("mobilenet_v2", "mobilenet_v2", 64), ("mobilenet_v3_large", "mobilenet_v3_large", 64),
        ("squeezenet1_0", "squeezenet1_0", 64), ("densenet121", "densenet121", 64),
        ("efficientnet_b0", "efficientnet_b0", 64), ("inception_v3", "inception_v3", 299),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("name", "twin", "size"), PUBLISHED)
def test_logits_are_torchvisions(torchvision: ModuleType, name: str, twin: str, size: int) -> None:
    """Weights go over in the order in which modules run, so no table of names is believed."""
    graph: Graph = load(zoo.path(name), input=(3, size, size)).graph
    torch.manual_seed(0)
    extra = {"init_weights": False} if twin in ("googlenet", "inception_v3") else {}
    theirs = torchvision.models.get_model(twin, weights=None, **extra).eval()
    ours, image = build(graph).eval(), torch.randn(2, 3, size, size)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):  # fresh statistics would let a missing norm go unseen
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    for mine, other in zip(executed(ours, image), executed(theirs, image), strict=True):
        for target, source in zip(tensors(mine), tensors(other), strict=True):
            assert squeezed(target) == squeezed(source)
            target.data.copy_(source.data.reshape(target.shape))
    with torch.no_grad():
        logits = theirs(image)
        assert logits.std() > 0
        torch.testing.assert_close(ours(image), logits)


def executed(network: nn.Module, image: Tensor) -> list[nn.Module]:
    """Modules with weights of their own, in the order in which they finish."""
    order: list[nn.Module] = []
    weighty = [module for module in network.modules() if tensors(module)]
    hooks = [module.register_forward_hook(lambda m, args, output: order.append(m)) for module in weighty]
    with torch.no_grad():
        network(image)
    for hook in hooks:
        hook.remove()
    return order


def tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def squeezed(tensor: Tensor) -> list[int]:
    return [n for n in tensor.shape if n != 1]
