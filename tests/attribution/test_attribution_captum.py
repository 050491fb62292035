"""captum against derivations written here: where it is used it is right, and where it is not used there is a reason."""

from __future__ import annotations

from dataclasses import replace

import captum.attr as theirs
import numpy as np
import pytest
import torch
from attributed import Plain, architecture, image, question, seeded
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

import cnnscope
from cnnscope.attribution.engine.canonicalize import canonicalize, forward_shapes, layer_of
from cnnscope.attribution.methods import METHODS, activation_maps
from cnnscope.attribution.run import attribute

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")

QUICK = ("torchvision:squeezenet1_1", "torchvision:mobilenet_v3_small", "timm:convnext_atto")
LARGER = ("torchvision:resnet18", "torchvision:alexnet", "torchvision:vgg11_bn", "torchvision:densenet121",
          "torchvision:googlenet", "torchvision:mobilenet_v2", "torchvision:efficientnet_b0")  # fmt: skip
ALL = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)]


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return seeded(lambda: nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 2), nn.Softplus(), nn.Flatten(),
        nn.Linear(32, 3),
    ))  # fmt: skip


# -- what captum does --------------------------------------------------------------------------------------------------


def test_gradients_are_differences_of_scores(small: nn.Module) -> None:
    """Central differences, pixel by pixel."""
    x, step = image(2, 8, 8), 1e-5
    expected = np.zeros((2, 8, 8))
    for place in np.ndindex(2, 8, 8):
        up, down = x.clone(), x.clone()
        up[0][place] += step
        down[0][place] -= step
        expected[place] = float(small(up)[0, 1] - small(down)[0, 1]) / (2 * step)
    found = attribute(Plain(small), x, "saliency", 1)
    np.testing.assert_allclose(found.raw, expected, atol=1e-8 * np.abs(expected).max())
    times = attribute(Plain(small), x, "input-x-gradient", 1)
    np.testing.assert_allclose(times.raw, x[0].numpy() * expected, atol=1e-8 * np.abs(expected).max())


def plain_gradient(module: nn.Module, x: Tensor, target: int) -> np.ndarray:
    pixels = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(module(pixels).flatten(1)[0, target], pixels)
    return found[0].numpy()


@pytest.mark.parametrize("source", ALL)
def test_gradients_and_grad_cam_on_architectures(source: str) -> None:
    """captum runs the canonical network; here hooks read the original one, or its gradient is taken in plain torch."""
    module, x = architecture(source), image(3, 64, 64)
    target = int(module(x).flatten(1).argmax())
    gradient = plain_gradient(module, x, target)
    largest = np.abs(gradient).max()
    saliency, times = (attribute(Plain(module), x, name, target).raw for name in ("saliency", "input-x-gradient"))
    np.testing.assert_allclose(saliency, gradient, atol=1e-12 * largest)
    np.testing.assert_allclose(times, x[0].numpy() * gradient, atol=1e-12 * np.abs(x[0].numpy() * gradient).max())
    network = canonicalize(module)
    node = activation_maps.last_map(network, forward_shapes(network, x))
    maps, slopes = values_at(network, node, x, target)
    small_map = torch.zeros(maps.shape[1:], dtype=torch.float64)
    for one, slope in zip(maps, slopes, strict=True):
        small_map += float(slope.sum()) / slope.numel() * one
    expected = F.interpolate(small_map.clamp(min=0)[None, None], (64, 64), mode="bilinear")[0, 0].numpy()
    found = attribute(Plain(module), x, "grad-cam", target)
    np.testing.assert_allclose(found.values, expected, atol=1e-10 * np.abs(expected).max())


def values_at(network: torch.fx.GraphModule, node: torch.fx.Node, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """The value of a call and the gradient of the score there, the graph walked by hand."""
    values: dict[torch.fx.Node, object] = {}
    for one in network.graph.nodes:
        args = torch.fx.node.map_arg(one.args, values.__getitem__)
        kwargs = torch.fx.node.map_arg(one.kwargs, values.__getitem__)
        if one.op == "placeholder":
            values[one] = x
        elif one.op == "output":
            score = args[0].flatten(1)[0, target]
        elif one.op == "get_attr":
            values[one] = network.get_parameter(one.target)
        elif one.op == "call_module":
            values[one] = network.get_submodule(one.target)(*args, **kwargs)
        elif one.op == "call_method":
            values[one] = getattr(args[0], one.target)(*args[1:], **kwargs)
        else:
            values[one] = one.target(*args, **kwargs)
        if one is node:
            values[one] = values[one].detach().requires_grad_()
    (slopes,) = torch.autograd.grad(score, values[node])
    return values[node][0].detach(), slopes[0]


class Twice(nn.Module):
    """One activation called twice, the second time on a smaller map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.second(self.act(self.first(x)))).mean((2, 3)))


def test_calls_of_one_module_are_hooked_apart() -> None:
    """captum finds values by hooks: a copy that shares its hooks with another would be taken for it."""
    module = seeded(Twice)
    module.act.register_forward_hook(lambda one, args, output: output * 2)  # the author's own hooks stay
    x, network = image(1, 9, 9), canonicalize(module)
    torch.testing.assert_close(network(x), module(x), rtol=0, atol=0)
    calls = {layer_of(node): network.get_submodule(str(node.target)) for node in network.graph.nodes
             if node.op == "call_module"}  # fmt: skip
    seen: list[torch.Size] = []
    calls["act"].register_forward_hook(lambda one, args, output: seen.append(output.shape))
    network(x)
    module(x)
    assert seen == [torch.Size([1, 4, 7, 7])]
    assert attribute(Plain(module), x, "grad-cam", 1, layer="act").notes == ("7x7 maps of act, enlarged",)


# -- why the others are ours -------------------------------------------------------------------------------------------


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest value of ``b``."""
    return float((a - b).abs().max() / b.abs().max())


def test_captum_guides_relu_only() -> None:
    for kind in ("guided-backprop", "deconvolution"):
        captums = theirs.GuidedBackprop if kind == "guided-backprop" else theirs.Deconvolution
        for activation, equal in ((nn.ReLU, True), (nn.ReLU6, False), (nn.SiLU, False), (nn.Tanh, False)):
            module = seeded(lambda activation=activation: nn.Sequential(
                nn.Conv2d(2, 6, 3), activation(), nn.Conv2d(6, 8, 3), activation(), nn.Flatten(), nn.Linear(128, 3)
            ))  # fmt: skip
            x = image(2, 8, 8)
            found = captums(canonicalize(module)).attribute(x, target=1)[0]
            ours = METHODS.find(kind).run(question(module, x)).raw
            plain = torch.tensor(plain_gradient(module, x, 1))
            assert (apart(found, ours) < 1e-12) is equal, (kind, activation)
            assert (apart(found, plain) < 1e-12) is not equal, (kind, activation)


@pytest.mark.parametrize(("source", "error"), [
    ("lenet5-digits", 0.0), ("torchvision:squeezenet1_1", 0.05), ("torchvision:mobilenet_v3_small", 0.01),
    pytest.param("torchvision:vgg11_bn", 0.0, marks=pytest.mark.slow),
    pytest.param("torchvision:resnet18", 0.05, marks=pytest.mark.slow),
    pytest.param("torchvision:alexnet", 0.05, marks=pytest.mark.slow),
])  # fmt: skip
def test_captums_deeplift_is_complete_without_overlapping_pools_and_gates(source: str, error: float) -> None:
    """``error`` is what its sum is off at least by, relative to the difference of the scores; 0 where it is exact."""
    if source == "lenet5-digits":
        network = cnnscope.load(source).trained(dtype="float64")
        module, x = network.module, image(*network.input_shape)
    else:
        module, x = architecture(source), image(3, 64, 64)
    asked = question(module, x, int(module(x).flatten(1).argmax()))
    found = theirs.DeepLift(asked.canonical).attribute(x, asked.baseline, target=asked.target)[0].detach()
    ours = METHODS.find("deeplift").run(asked).raw
    off = abs(float(found.sum()) - asked.difference) / abs(asked.difference)
    assert abs(float(ours.sum()) - asked.difference) / abs(asked.difference) < 1e-6
    assert (apart(found, ours) < 1e-9) is (error == 0)
    assert off < 1e-9 if error == 0 else off > error


def test_captums_occlusion_is_rounded_to_float32(small: nn.Module) -> None:
    x = image(2, 8, 8)
    found = theirs.Occlusion(small).attribute(x, (2, 3, 3), (2, 1, 1), target=1, perturbations_per_eval=16)[0, 0]
    ours = torch.tensor(attribute(Plain(small), x, "occlusion", 1, window=3).values)
    assert found.dtype == torch.float32
    assert 1e-12 < apart(found, ours) < 1e-6


def test_captums_noise_depends_on_the_batch() -> None:
    """An image of 2 x 9 x 9 pixels; torch draws 16 numbers at a time, so the same seed gives other noise."""
    module = seeded(lambda: nn.Sequential(nn.Conv2d(2, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(294, 3)))
    x = image(2, 9, 9)

    def captums(batch: int) -> Tensor:
        torch.manual_seed(0)
        tunnel = theirs.NoiseTunnel(theirs.Saliency(module))
        return tunnel.attribute(x, nt_samples=48, nt_samples_batch_size=batch, stdevs=1.0, target=1, abs=False)

    def ours(batch: int) -> Tensor:
        return METHODS.find("smoothgrad").run(replace(question(module, x), batch=batch)).raw

    assert apart(captums(16), captums(5)) > 0.01
    assert apart(ours(16), ours(5)) < 1e-12


def test_captums_gradient_shap_is_less_exact_at_as_many_samples(small: nn.Module) -> None:
    """It draws points and baselines independently; spread evenly, the same number of them is nearer to the mean."""
    x = image(2, 8, 8)
    asked = question(small, x)
    exact = METHODS.find("gradient-shap").run(replace(asked, steps=20_000, batch=2000, seed=99)).raw
    deviation = 0.1 * float(x.max() - x.min())

    def captums(seed: int) -> Tensor:
        torch.manual_seed(seed)
        np.random.seed(seed)  # captum draws from numpy's global generator
        baselines = deviation * torch.randn(200, 2, 8, 8, dtype=torch.float64)
        return theirs.GradientShap(small).attribute(x, baselines, n_samples=200, target=1)[0].detach()

    def ours(seed: int) -> Tensor:
        return METHODS.find("gradient-shap").run(replace(asked, seed=seed)).raw

    theirs_off, ours_off = (np.mean([float((run(seed) - exact).norm()) for seed in range(10)])
                            for run in (captums, ours))  # fmt: skip
    assert ours_off < theirs_off
