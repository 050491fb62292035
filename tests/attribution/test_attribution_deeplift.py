"""DeepLift: attributions add up to the difference of the scores, exactly; each rule against a derivation of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from attributed import Plain, architecture, image, seeded
from captum.attr import DeepLift
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

import cnnscope
from cnnscope.attribution.engine.canonicalize import canonicalize
from cnnscope.attribution.methods.deeplift import multipliers
from cnnscope.attribution.run import attribute
from cnnscope.nn.ops.base import Call
from cnnscope.nn.ops.pool import max_pool
from cnnscope.ops.pool import MaxPool

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")

QUICK = ("torchvision:resnet18", "torchvision:squeezenet1_1", "torchvision:alexnet", "torchvision:mobilenet_v3_small",
         "torchvision:googlenet")  # fmt: skip
LARGER = ("torchvision:vgg11_bn", "torchvision:densenet121", "torchvision:mobilenet_v2", "torchvision:efficientnet_b0",
          "torchvision:convnext_tiny", "torchvision:shufflenet_v2_x1_0", "alexnet", "xception")  # fmt: skip


@pytest.mark.parametrize("source", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGER)])
def test_it_is_complete_on_architectures(source: str) -> None:
    side = {"alexnet": 227, "xception": 96}.get(source, 64)
    network, x = Plain(architecture(source, side)), image(3, side, side)
    found = attribute(network, x, "deeplift", int(network.logits(x).argmax()))
    assert found.completeness is not None
    assert found.completeness < 1e-6
    assert found.signed


def test_it_is_complete_on_the_trained_digits() -> None:
    network = cnnscope.load("lenet5-digits").trained(dtype="float64")
    for target in range(10):
        found = attribute(network, image(*network.input_shape).abs(), "deeplift", target)
        assert found.completeness is not None
        assert found.completeness < 1e-9


def test_it_is_captums_where_captum_is_right() -> None:
    module = seeded(lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.Softplus(), nn.AvgPool2d(2),
        nn.Sigmoid(), nn.Flatten(), nn.Linear(5, 3),
    ))  # fmt: skip
    x, baseline = image(2, 8, 8), 0.3 * image(2, 8, 8, seed=5)
    theirs = DeepLift(canonicalize(module)).attribute(x, baseline, target=1)
    ours = attribute(Plain(module), x, "deeplift", 1, baseline=baseline)
    torch.testing.assert_close(torch.tensor(ours.raw), theirs[0].detach(), rtol=1e-10, atol=1e-12)


POOLS: list[Callable[[], nn.Module]] = [
    lambda: nn.MaxPool2d(3, 2), lambda: nn.MaxPool2d(3, 1, 1), lambda: nn.MaxPool2d(2, 1, dilation=2),
    lambda: nn.AdaptiveMaxPool2d(3),
    lambda: Call(max_pool, MaxPool((3, 3), (2, 2), ((0, 1), (1, 0)), True, dilation=(1, 1))),
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS)
def test_windows_that_overlap_add_up(pool: Callable[[], nn.Module]) -> None:
    """captum writes over what overlaps: an error of tens of percent here."""
    module = nn.Sequential(nn.Conv2d(1, 3, 3), pool(), nn.Flatten(), nn.LazyLinear(2))
    module(torch.zeros(1, 1, 9, 9))
    module.double().eval()
    found = attribute(Plain(module), image(1, 9, 9), "deeplift", 1)
    assert found.completeness is not None
    assert found.completeness < 1e-12


def test_max_pooling_by_hand() -> None:
    """Shrikumar's rule written as a loop over windows of 3 at stride 1, the score their weighted sum."""
    x, x0, weights = ([float(v) for v in image(1, 1, 7, seed=seed).flatten()] for seed in (1, 2, 3))
    expected = [0.0] * 7
    for start in range(5):
        window = range(start, start + 3)
        first, second = max(window, key=x.__getitem__), max(window, key=x0.__getitem__)
        y, y0 = x[first], x0[second]
        expected[first] += weights[start] * (max(y, y0) - y0)
        expected[second] += weights[start] * (y - max(y, y0))

    head = nn.Linear(5, 1, bias=False)
    head.weight.data = torch.tensor([weights[:5]], dtype=torch.float64)
    module = nn.Sequential(nn.MaxPool2d((1, 3), 1), nn.Flatten(), head).eval()
    pixels, baseline = (torch.tensor(v, dtype=torch.float64).view(1, 1, 1, 7) for v in (x, x0))
    m = multipliers(canonicalize(module), pixels, baseline, 0)
    assert (m * (pixels - baseline)).flatten().tolist() == pytest.approx(expected, abs=1e-12)


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x[:, :1] * x[:, 1:]).flatten(1)


def test_a_product_is_split_evenly() -> None:
    x, baseline = torch.tensor([[[[3.0]], [[5.0]]]]), torch.tensor([[[[1.0]], [[2.0]]]])
    m = multipliers(canonicalize(Product()), x, baseline, 0)
    assert m.flatten().tolist() == pytest.approx([(5 + 2) / 2, (3 + 1) / 2])


ACTIVATIONS = (nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU, nn.Tanh, nn.ELU, nn.LeakyReLU, nn.Mish)
OTHERS: list[Callable[[], nn.Module]] = [
    lambda: nn.LayerNorm([8, 6, 6]), lambda: nn.GroupNorm(2, 8), lambda: nn.LocalResponseNorm(5, alpha=0.5),
    lambda: nn.Softmax(1), lambda: nn.LPPool2d(2, 2), lambda: nn.InstanceNorm2d(8),
]  # fmt: skip


@pytest.mark.parametrize("inner", [*ACTIVATIONS, *OTHERS])
def test_every_rule_is_complete(inner: Callable[[], nn.Module]) -> None:
    module = seeded(lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3), inner(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2)
    ))  # fmt: skip
    found = attribute(Plain(module), image(1, 8, 8), "deeplift", 1)
    assert found.completeness is not None
    assert found.completeness < 1e-6
    averaged = any("averaged on a line" in note for note in found.notes)
    assert averaged == (inner in OTHERS)


def test_units_at_rest_have_the_slope_between() -> None:
    """Where image and baseline agree in a unit, the secant has no slope; the tangent is right."""
    module = nn.Sequential(nn.Softplus(), nn.Flatten()).double()
    x = torch.full((1, 1, 1, 1), 0.7, dtype=torch.float64)
    assert float(multipliers(canonicalize(module), x, x, 0)) == pytest.approx(float(torch.sigmoid(x)), abs=1e-12)


def test_a_function_without_a_rule_is_refused_by_name() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.exp(self.conv(x)).flatten(1)

    with pytest.raises(cnnscope.CnnscopeError) as caught:
        attribute(Plain(seeded(Odd)), image(1, 6, 6), "deeplift", 1)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E480"
    assert diagnostic.message == "`deeplift` has no rule for the function `exp`, called at `exp`"
    assert diagnostic.hint == "`integrated-gradients` promises the same sum and needs no rules"


def test_linear_functions_need_no_rule() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)
            self.scale = nn.Parameter(torch.tensor([2.0, -1.0]).view(2, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.conv(x) * self.scale * 0.5 + 1)
            return y.mean((2, 3)) - y.amax((2, 3)) * 0

    class Sum(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.conv(x) * self.scale * 0.5 + 1).sum((2, 3))

    found = attribute(Plain(seeded(Sum)), image(1, 6, 6), "deeplift", 1)
    assert found.completeness is not None
    assert found.completeness < 1e-12
    with pytest.raises(cnnscope.CnnscopeError, match="`amax`"):
        attribute(Plain(seeded(Linear)), image(1, 6, 6), "deeplift", 1)
