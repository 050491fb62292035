"""Gradients and what is made of them, against linear models, captum, and hooks written here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from attributed import Plain, architecture, image, seeded, stirred
from captum.attr import GuidedBackprop, InputXGradient, NoiseTunnel, Saliency
from torch import Tensor, nn

import cnnscope
from cnnscope.attribution.contract import Attribution, Question
from cnnscope.attribution.methods import paths
from cnnscope.attribution.run import attribute

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")


@pytest.fixture(scope="module")
def linear() -> tuple[Plain, np.ndarray]:
    """A linear classifier of 2x5x6 images and its weights for class 1."""
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 3)))
    return Plain(module), module[1].weight[1].view(2, 5, 6).numpy()


@pytest.fixture(scope="module")
def small() -> nn.Module:
    return seeded(lambda: nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
    ))  # fmt: skip


def test_a_linear_model_has_its_analytic_answers(linear: tuple[Plain, np.ndarray]) -> None:
    network, w = linear
    x = image(2, 5, 6)
    baseline = image(2, 5, 6, seed=9)
    pixels = x[0].numpy()
    difference = (x - baseline)[0].numpy()
    expected = {
        "integrated-gradients": w * difference, "deeplift": w * difference, "input-x-gradient": w * pixels,
        "saliency": w, "smoothgrad": w, "guided-backprop": w, "deconvolution": w,
    }  # fmt: skip
    for method, values in expected.items():
        found = attribute(network, x, method, 1, baseline=baseline)
        np.testing.assert_allclose(found.raw, values, atol=1e-6 * np.abs(values).max(), err_msg=method)
    assert attribute(network, x, "saliency", 1).values == pytest.approx(np.abs(w).max(0))
    assert attribute(network, x, "deeplift", 1, baseline=baseline).values == pytest.approx((w * difference).sum(0))


def test_gradient_shap_is_complete_in_expectation(linear: tuple[Plain, np.ndarray]) -> None:
    network, w = linear
    x = image(2, 5, 6)
    found = attribute(network, x, "gradient-shap", 1)
    assert found.completeness is not None
    assert found.completeness < 1e-9  # a linear score: the samples' baselines have the mean score that is promised
    few, many = (attribute(network, x, "gradient-shap", 1, steps=n, seed=3).raw for n in (20, 2000))
    exact = w * x[0].numpy()
    assert np.abs(many - exact).max() < np.abs(few - exact).max()
    assert np.abs(many - exact).max() < 0.05 * np.abs(exact).max()


def test_saliency_and_input_x_gradient_are_captums(small: nn.Module) -> None:
    x = image(2, 8, 8)
    ours = attribute(Plain(small), x, "saliency", 2).raw
    np.testing.assert_allclose(ours, Saliency(small).attribute(x, target=2, abs=False)[0].numpy(), rtol=1e-12)
    times = attribute(Plain(small), x, "input-x-gradient", 2).raw
    np.testing.assert_allclose(times, InputXGradient(small).attribute(x, target=2)[0].detach().numpy(), rtol=1e-12)


def test_noise_is_relative_to_the_input(small: nn.Module) -> None:
    """The same image in other units, the network's first layer adapted, has the same map in those units."""
    x = image(2, 8, 8)
    first = nn.Conv2d(2, 6, 3).double()
    first.weight.data, first.bias.data = small[0].weight / 255, small[0].bias.clone()
    in_pixels = nn.Sequential(first, *small[1:]).requires_grad_(False)
    ours, theirs = attribute(Plain(small), x, "smoothgrad", 1), attribute(Plain(in_pixels), 255 * x, "smoothgrad", 1)
    np.testing.assert_allclose(ours.raw, 255 * theirs.raw, rtol=1e-9)
    assert ours.notes[0] == "noise of 15% of the input's range"
    deviation = 0.15 * float(x.max() - x.min())
    assert ours.notes[1] == f"its deviation is {deviation:.3g}; 50 samples"


def test_smoothgrad_agrees_with_captums_noise_tunnel(small: nn.Module) -> None:
    x = image(2, 8, 8)
    ours = attribute(Plain(small), x, "smoothgrad", 1, steps=4000, batch=500).raw
    torch.manual_seed(0)
    tunnel = NoiseTunnel(Saliency(small))
    deviation = 0.15 * float(x.max() - x.min())
    found = tunnel.attribute(x, nt_samples=4000, nt_samples_batch_size=500, stdevs=deviation, target=1, abs=False)
    theirs = found[0].numpy()
    assert np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.995


def test_integrated_gradients_by_a_fine_sum(small: nn.Module) -> None:
    x, n = image(2, 8, 8), 20_000
    points = ((torch.arange(n, dtype=torch.float64) + 0.5) / n).view(-1, 1, 1, 1) * x
    points.requires_grad_()
    (gradient,) = torch.autograd.grad(small(points)[:, 1].sum(), points)
    expected = (gradient.mean(0) * x[0]).numpy()
    found = attribute(Plain(small), x, "integrated-gradients", 1, steps=800)
    np.testing.assert_allclose(found.raw, expected, atol=2e-3 * np.abs(expected).max())


class Cliff(nn.Module):
    """A score that rises within a small part of the way from black."""

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.tensor(0.002))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid((x.mean((1, 2, 3)) - 0.31) / self.width)[:, None].expand(-1, 3)


def test_steps_are_doubled_until_the_sum_is_right_and_that_is_said() -> None:
    network, x = Plain(seeded(Cliff)), image(1, 4, 4).abs() + 0.2
    found = attribute(network, x, "integrated-gradients", 1)
    assert found.completeness is not None
    assert found.completeness <= 0.01
    steps = int(found.notes[0].split()[0])
    assert steps > paths.STEPS
    assert found.notes == (f"{steps} steps, because 50 left an error above 1%",)
    coarse = paths._at(question_of(network, x), 50)[1]
    assert coarse > 0.01


def question_of(network: Plain, x: Tensor) -> Question:
    return Question(network.module, x, 1, torch.zeros_like(x))


def test_the_default_steps_do_on_the_trained_digits() -> None:
    network = cnnscope.load("lenet5-digits").trained()
    x = image(*network.input_shape).abs().float()
    for target in range(10):
        found = attribute(network, x, "integrated-gradients", target)
        assert found.completeness is not None
        assert found.completeness < 0.01
        assert found.notes == ("50 steps",)


@pytest.mark.slow
def test_steps_suffice_on_an_architecture() -> None:
    network, x = Plain(architecture("torchvision:squeezenet1_1")), image(3, 64, 64)
    found = attribute(network, x, "integrated-gradients", int(network.logits(x).argmax()))
    assert found.completeness is not None
    assert found.completeness < 0.01


# -- guided backpropagation --------------------------------------------------------------------------------------------


def test_guided_backprop_is_captums_on_relu(small: nn.Module) -> None:
    x = image(2, 8, 8)
    ours = attribute(Plain(small), x, "guided-backprop", 1)
    np.testing.assert_allclose(ours.raw, GuidedBackprop(small).attribute(x, target=1)[0].numpy(), rtol=1e-12)
    assert ours.notes == ()


SLOPES = {
    "ReLU": lambda x: (x > 0).double(), "ReLU6": lambda x: ((x > 0) & (x < 6)).double(),
    "SiLU": lambda x: torch.sigmoid(x) * (1 + x * (1 - torch.sigmoid(x))),
    "GELU": lambda x: 0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-(x**2) / 2) / (2 * torch.pi) ** 0.5,
}  # fmt: skip


def by_hooks(module: nn.Module, x: Tensor, target: int) -> np.ndarray:
    """Guided backpropagation by hooks on the library's own modules, slopes of activations written out."""
    handles = []
    for child in module.modules():
        slope = SLOPES.get(type(child).__name__)
        if slope is None:
            continue
        child.inplace = False
        seen: list[Tensor] = []
        handles.append(child.register_forward_hook(lambda m, args, out, seen=seen: seen.append(args[0].detach())))
        handles.append(child.register_full_backward_hook(
            lambda m, into, out, seen=seen, slope=slope: ((slope(seen.pop()) * out[0].clamp(min=0)).clamp(min=0),)
        ))  # fmt: skip
    pixels = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(pixels)[0, target], pixels)
    for handle in handles:
        handle.remove()
    return gradient[0].numpy()


@pytest.mark.parametrize(("source", "kinds"), [
    ("torchvision:mobilenet_v2", "ReLU6"), ("torchvision:efficientnet_b0", "SiLU, Sigmoid"),
    ("timm:convnext_atto", "GELU"), pytest.param("torchvision:convnext_tiny", "GELU", marks=pytest.mark.slow),
])  # fmt: skip
def test_guided_backprop_is_guided_whatever_the_activation(source: str, kinds: str) -> None:
    """captum's is the plain gradient on all three, without a word."""
    make = cnnscope.load(source, input=(3, 64, 64)).extras.make
    assert make is not None
    module = lively(seeded(make))
    x = image(3, 64, 64)
    target = int(module(x).argmax())
    ours = attribute(Plain(module), x, "guided-backprop", target)
    plain = attribute(Plain(module), x, "saliency", target).raw
    assert np.abs(ours.raw - plain).max() > 0.1 * np.abs(plain).max()
    assert ours.notes == (f"the rule for ReLU, applied to {kinds}",)
    if kinds != "SiLU, Sigmoid":  # the hooks above know no gates
        np.testing.assert_allclose(ours.raw, by_hooks(module, x, target), atol=1e-9 * np.abs(ours.raw).max())


def lively(module: nn.Module) -> nn.Module:
    for name, parameter in module.named_parameters():
        if name.endswith(("layer_scale", ".gamma")):
            parameter.fill_(0.3)  # 1e-6 at first, so that a fresh ConvNeXt is all but its shortcuts
    return stirred(module)


def test_a_network_without_activations_is_labelled(linear: tuple[Plain, np.ndarray]) -> None:
    network, _ = linear
    for method in ("guided-backprop", "deconvolution"):
        found = attribute(network, image(2, 5, 6), method, 1)
        assert found.notes == ("this is the plain gradient: the network has no activations that the rule could act on",)


def test_a_rule_that_changes_nothing_is_labelled() -> None:
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.ReLU(), nn.Linear(8, 3)))
    module[1].weight.abs_()
    module[3].weight.abs_()
    found = attribute(Plain(module), image(2, 5, 6).abs(), "guided-backprop", 1)
    assert found.notes == ("this equals the plain gradient: the rule at ReLU made no difference",)


def test_deconvolution_ignores_the_forward_pass(small: nn.Module) -> None:
    x = image(2, 8, 8)
    first, _, _, conv, _, _, last = small
    maps = first(x)
    _, places = nn.functional.max_pool2d(maps.clamp(min=0), 2, return_indices=True)
    flat = last.weight[1].view(1, 8, 2, 2).clamp(min=0)
    down = torch.nn.functional.conv_transpose2d(flat, conv.weight)
    up = nn.functional.max_unpool2d(down, places, 2, output_size=maps.shape[2:]).clamp(min=0)
    expected = torch.nn.functional.conv_transpose2d(up, first.weight)[0]
    found = attribute(Plain(small), x, "deconvolution", 1)
    np.testing.assert_allclose(found.raw, expected.numpy(), atol=1e-12)


def test_what_is_signed_says_so(small: nn.Module) -> None:
    def found(method: str) -> Attribution:
        return attribute(Plain(small), image(2, 8, 8), method, 1)

    assert not found("saliency").signed
    assert (found("saliency").values >= 0).all()
    assert found("integrated-gradients").signed
    assert found("integrated-gradients").raw.shape == (2, 8, 8)
