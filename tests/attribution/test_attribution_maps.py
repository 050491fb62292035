"""Class activation maps, occlusion and ablation, against captum and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from attributed import Plain, image, question, seeded
from captum.attr import LayerGradCam, Occlusion
from torch import Tensor, nn

import cnnscope
from cnnscope.attribution.methods import activation_maps
from cnnscope.attribution.run import attribute

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return seeded(lambda: nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 3),
    ))  # fmt: skip


def enlarged(small_map: Tensor, side: int) -> np.ndarray:
    """Bilinear, pixel centres aligned: written out for one axis after the other."""

    def weights(n: int) -> Tensor:
        matrix = torch.zeros(side, n, dtype=torch.float64)
        for i in range(side):
            at = min(max((i + 0.5) * n / side - 0.5, 0), n - 1)
            low = math.floor(at)
            matrix[i, low] += 1 - (at - low)
            matrix[i, min(low + 1, n - 1)] += at - low
        return matrix

    return (weights(small_map.shape[0]) @ small_map @ weights(small_map.shape[1]).T).numpy()


def test_grad_cam_is_captums_enlarged(small: nn.Module) -> None:
    x = image(2, 12, 12)
    theirs = LayerGradCam(small, small[4]).attribute(x, target=1, relu_attributions=True)[0, 0].detach()
    found = attribute(Plain(small), x, "grad-cam", 1)
    np.testing.assert_allclose(found.values, enlarged(theirs, 12), atol=1e-12)
    assert found.notes == ("4x4 maps of 4, enlarged",)
    assert not found.signed


def at_layer(module: nn.Module, x: Tensor, index: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    maps = module[:index](x).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(module[index:](maps)[0, target], maps)
    return maps[0].detach().numpy(), gradient[0].numpy()


def test_grad_cam_pp_and_layer_cam_by_loops(small: nn.Module) -> None:
    x = image(2, 12, 12, seed=4)
    maps, gradient = at_layer(small, x, 2, 2)
    count, height, width = maps.shape
    plus, layer = np.zeros((height, width)), np.zeros((height, width))
    for k in range(count):
        total, weight = maps[k].sum(), 0.0
        for i in range(height):
            for j in range(width):
                g = gradient[k, i, j]
                below = 2 * g**2 + total * g**3
                weight += (g**2 / below if below else 0.0) * max(g, 0.0)
        for i in range(height):
            for j in range(width):
                plus[i, j] += weight * maps[k, i, j]
                layer[i, j] += max(gradient[k, i, j], 0.0) * maps[k, i, j]
    for method, expected in (("grad-cam-pp", plus), ("layer-cam", layer)):
        found = attribute(Plain(small), x, method, 2, layer="1")
        wanted = enlarged(torch.tensor(np.maximum(expected, 0)), 12)
        np.testing.assert_allclose(found.values, wanted, atol=1e-12, err_msg=method)


def test_guided_grad_cam_is_their_product(small: nn.Module) -> None:
    x = image(2, 12, 12)
    names = ("guided-backprop", "grad-cam", "guided-grad-cam")
    guided, wide, both = (attribute(Plain(small), x, name, 0) for name in names)
    np.testing.assert_allclose(both.raw, guided.raw * wide.values, atol=1e-15)


@pytest.mark.parametrize(("source", "layer"), [
    ("resnet18", "layer4.1.add"), ("alexnet", "conv5"), ("lenet5", "c3"), ("torchvision:densenet121", "relu"),
    ("torchvision:mobilenet_v2", "features.18.2"), ("squeezenet1_1", "conv10"),
])  # fmt: skip
def test_the_default_layer_is_the_last_map(source: str, layer: str) -> None:
    from cnnscope.attribution.engine.canonicalize import canonicalize, forward_shapes, layer_of

    model = cnnscope.load(source, input=(3, 64, 64) if "torchvision" in source else None)
    network = canonicalize(model.module().eval())
    shapes = forward_shapes(network, torch.zeros(1, *next(iter(model.graph.inputs.values())).shape[1:]))
    node = activation_maps.last_map(network, shapes)
    rows = {last: row for row, last in network.meta["rows"].items()}
    assert rows[layer_of(node)].startswith(layer)
    assert min(shapes[node][2:]) > 1


def test_layers_are_named_as_rows_ops_and_groups() -> None:
    network = cnnscope.load("resnet18", input=(3, 64, 64)).trained()
    x = image(3, 64, 64).float()
    row, op, group = (attribute(network, x, "layer-cam", 1, layer=name).raw
                      for name in ("layer2.1.add", "layer2.1.add.act", "layer2"))  # fmt: skip
    assert np.array_equal(row, op)
    assert np.array_equal(row, group)


@pytest.mark.parametrize(("layer", "message", "hint"), [
    ("layer9", "E205: no layer is called `layer9`", "the layers are conv1, maxpool, layer1.0.conv1, "),
    ("fc", "E480: `fc` gives 1000 numbers, not feature maps",
     "name a convolution, or a layer after one: `--layer NAME`"),
])  # fmt: skip
def test_layers_without_maps_are_refused(layer: str, message: str, hint: str) -> None:
    network = cnnscope.load("resnet18", input=(3, 64, 64)).trained()
    with pytest.raises(cnnscope.CnnscopeError) as caught:
        attribute(network, image(3, 64, 64).float(), "grad-cam", 1, layer=layer)
    assert str(caught.value) == message
    assert str(caught.value.diagnostics[0].hint).startswith(hint)


def test_a_network_without_maps_is_refused() -> None:
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)))
    with pytest.raises(cnnscope.CnnscopeError, match="E480: the network has no feature maps to look at"):
        attribute(Plain(module), image(1, 4, 4), "grad-cam", 1)


def test_a_map_of_nothing_is_labelled(small: nn.Module) -> None:
    against = nn.Sequential(*small[:7], nn.Linear(32, 3).double()).requires_grad_(False)
    against[-1].weight.fill_(-1.0)
    found = attribute(Plain(against), image(2, 12, 12), "layer-cam", 1)
    assert found.notes[-1] == "zero everywhere: no pixel contributes"


# -- occlusion and ablation --------------------------------------------------------------------------------------------


def occluded(module: nn.Module, x: Tensor, baseline: Tensor, window: int, stride: int) -> np.ndarray:
    """One image at a time."""
    height, width = x.shape[2:]
    total, count = np.zeros((height, width)), np.zeros((height, width))
    whole = float(module(x)[0, 1])
    for top in range(0, height - window + stride, stride):
        for left in range(0, width - window + stride, stride):
            covered = x.clone()
            area = (..., slice(top, top + window), slice(left, left + window))
            covered[area] = baseline[area]
            total[area] += whole - float(module(covered)[0, 1])
            count[area] += 1
    return total / count


@pytest.mark.parametrize(("shape", "window"), [((2, 12, 12), 4), ((2, 12, 12), 5), ((2, 13, 15), 1), ((2, 12, 12), 12)])
def test_occlusion_by_brute_force(shape: tuple[int, int, int], window: int) -> None:
    module = seeded(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                                          nn.Linear(16, 3)))  # fmt: skip
    x, baseline = image(*shape), 0.5 * image(*shape, seed=3)
    expected = occluded(module, x, baseline, window, max(window // 2, 1))
    for batch in (1, 16, 1000):
        found = attribute(Plain(module), x, "occlusion", 1, baseline=baseline, window=window, batch=batch)
        np.testing.assert_allclose(found.values, expected, atol=1e-12)


def test_occlusion_is_captums(small: nn.Module) -> None:
    x = image(2, 12, 12)
    theirs = Occlusion(small).attribute(x, (2, 4, 4), strides=(2, 2, 2), target=1, perturbations_per_eval=16)[0]
    found = attribute(Plain(small), x, "occlusion", 1, window=4)
    np.testing.assert_allclose(found.values, theirs[0].numpy(), atol=1e-12)


def test_ablation_by_brute_force(small: nn.Module) -> None:
    x = image(2, 12, 12)
    found = attribute(Plain(small), x, "feature-ablation", 1, window=5, batch=3)
    expected = np.zeros((12, 12))
    for top in range(0, 12, 5):
        for left in range(0, 12, 5):
            covered = x.clone()
            covered[..., top : top + 5, left : left + 5] = 0
            expected[top : top + 5, left : left + 5] = float(small(x)[0, 1] - small(covered)[0, 1])
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert found.notes == ("9 cells of 5x5 pixels",)


class Cramped(nn.Module):
    """Runs out of memory above four images."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.largest = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        self.largest = max(self.largest, len(x))
        return self.inner(x)


BATCHED = ("occlusion", "feature-ablation", "integrated-gradients", "smoothgrad", "gradient-shap")


@pytest.mark.parametrize("method", BATCHED)
def test_out_of_memory_halves_the_batch(small: nn.Module, method: str) -> None:
    x, cramped = image(2, 12, 12), Cramped(small)
    roomy = attribute(Plain(small), x, method, 1)
    found = attribute(Plain(cramped), x, method, 1, batch=64)
    np.testing.assert_allclose(found.values, roomy.values, rtol=1e-9, atol=1e-12)
    assert cramped.largest == 4


def test_other_errors_are_not_taken_for_a_lack_of_memory(small: nn.Module) -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        attribute(Plain(small), image(3, 12, 12), "saliency", 1)


def test_question_scores_are_those_of_the_network(small: nn.Module) -> None:
    asked = question(small, image(2, 12, 12))
    assert asked.difference == pytest.approx(float((small(asked.x) - small(asked.baseline))[0, 1]))


def test_maps_as_large_as_the_image_are_not_called_enlarged() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2))
    found = attribute(Plain(net), torch.rand(1, 1, 6, 6), "grad-cam", 0)
    assert found.notes[0] == "6x6 maps of 1"
