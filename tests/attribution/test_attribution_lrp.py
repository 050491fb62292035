"""LRP: each rule re-derived with dense matrices and loops, conservation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from attributed import Plain, architecture, image, seeded, stirred
from torch import Tensor, nn

import cnnscope
from cnnscope.attribution.run import attribute


class Residual(nn.Module):
    """A residual block with batch norm, a pool that averages and one that takes the largest, and a linear layer."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.conv, self.second = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3 * 4, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm(self.stem(x)))
        y = torch.relu(self.second(self.conv(y)) + y)
        y = nn.functional.max_pool2d(y, 2)
        return self.fc(nn.functional.avg_pool2d(y, 2).flatten(1))


def dense(step: nn.Module, x: Tensor) -> np.ndarray:
    """The matrix of a step that is linear up to a constant: (outputs, inputs)."""
    jacobian = torch.autograd.functional.jacobian(lambda v: step(v).flatten(), x)
    return jacobian.reshape(jacobian.shape[0], -1).numpy()


def shared(matrix: np.ndarray, x: np.ndarray, output: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Each output's relevance among the contributions of its sign."""
    result = np.zeros_like(x)
    for j, above in enumerate(relevance):
        contributions = matrix[j] * x
        chosen = contributions * (contributions > 0) if output[j] >= 0 else contributions * (contributions < 0)
        if chosen.sum() != 0:
            result += chosen / chosen.sum() * above
    return result


def by_hand(net: Residual, x: Tensor, target: int) -> np.ndarray:
    """The whole composite, step by step: batch norm is merged into the convolution before it."""
    first, second = nn.Sequential(net.stem, net.norm), nn.Sequential(net.conv, net.second)
    a = torch.relu(first(x))
    b = second(a)
    c = torch.relu(b + a)
    d = nn.functional.max_pool2d(c, 2)
    e = nn.functional.avg_pool2d(d, 2).flatten(1)
    score = net.fc(e)

    def flat(v: Tensor) -> np.ndarray:
        return v.flatten().numpy()

    relevance = np.zeros(3)
    relevance[target] = float(score[0, target])
    z = flat(score)
    stabiliser = 1e-6 * np.sqrt((z**2).mean())
    divided = relevance / (z + np.where(z < 0, -stabiliser, stabiliser))
    at_e = flat(e) * (net.fc.weight.numpy().T @ divided)
    average = dense(nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), d)
    at_d = shared(average, flat(d), flat(e), at_e)
    at_c = np.zeros(c.numel())
    _, places = nn.functional.max_pool2d(c, 2, return_indices=True)
    per_channel = c.shape[2] * c.shape[3]
    for k in range(3):
        for above, place in zip(at_d.reshape(3, -1)[k], places[0, k].flatten().tolist(), strict=True):
            at_c[k * per_channel + place] += above
    left, right = flat(b), flat(a)
    at_b, at_a = np.zeros_like(left), np.zeros_like(right)
    for i, above in enumerate(at_c):
        parts = np.array([left[i], right[i]])
        chosen = parts * (parts > 0) if parts.sum() >= 0 else parts * (parts < 0)
        if chosen.sum():
            at_b[i], at_a[i] = chosen / chosen.sum() * above
    at_a += shared(dense(second, a), flat(a), flat(b), at_b)
    return shared(dense(first, x), flat(x), flat(first(x)), at_a)


@pytest.mark.parametrize("seed", range(3))
def test_the_composite_by_hand(seed: int) -> None:
    net = stirred(seeded(Residual, seed))
    net.norm.weight[0] = -0.7  # turns the signs of its channel
    x = image(2, 8, 8, seed=seed)
    for target in range(3):
        found = attribute(Plain(net), x, "lrp", target)
        expected = by_hand(net, x, target)
        np.testing.assert_allclose(found.raw.ravel(), expected, atol=1e-12 * max(np.abs(expected).max(), 1))


def test_without_biases_nothing_is_lost() -> None:
    net = seeded(lambda: Residual(bias=False))
    found = attribute(Plain(net), image(2, 8, 8), "lrp", 1)
    assert found.completeness is not None
    assert found.completeness < 1e-5  # the epsilon of the linear layer
    assert found.signed


@pytest.mark.parametrize("target", range(10))
def test_little_is_lost_on_the_trained_digits(target: int) -> None:
    network = cnnscope.load("lenet5-digits").trained(dtype="float64")
    from cnnscope.trained.images import Sample, open_images

    assert network.data is not None
    sample = next(one for one in open_images(network.data) if isinstance(one, Sample) and one.label == target)
    x = network.input(torch.tensor(network.preprocess.pixels(sample.image))[None])
    found = attribute(network, x, "lrp", target)
    assert found.completeness is not None
    assert found.completeness < 0.25  # what biases of the linear layers keep


def test_it_is_not_input_x_gradient() -> None:
    """captum's default is, and on residual networks that tells nothing."""
    net, x = stirred(seeded(Residual)), image(2, 8, 8)
    ours, theirs = (attribute(Plain(net), x, method, 1).raw.ravel() for method in ("lrp", "input-x-gradient"))
    assert np.corrcoef(ours, theirs)[0, 1] < 0.9


@pytest.mark.parametrize("source", [
    "torchvision:mobilenet_v3_small", pytest.param("torchvision:densenet121", marks=pytest.mark.slow),
    pytest.param("torchvision:resnet18", marks=pytest.mark.slow),
])  # fmt: skip
def test_architectures_have_finite_relevance(source: str) -> None:
    module = architecture(source)
    found = attribute(Plain(module), image(3, 64, 64), "lrp", int(module(image(3, 64, 64)).argmax()))
    assert np.abs(found.raw).sum() > 0


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(2, 4, 3), nn.LayerNorm([4, 6, 6]), nn.Linear(144, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).flatten(1))


class Bilinear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 8), nn.Conv2d(2, 3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return (self.a(x) * self.b(x)).flatten(1)


class Exponential(Bilinear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(self.a(x)).flatten(1)


@pytest.mark.parametrize(("make", "message"), [
    (Normed, "`lrp` cannot take the LayerNorm at `norm`: it has no rule that conserves relevance"),
    (Bilinear, "`lrp` cannot take the product at `mul`: both factors are signals"),
    (Exponential, "`lrp` cannot take the exp at `exp`: it has no rule that conserves relevance"),
])  # fmt: skip
def test_what_has_no_rule_is_refused_by_name(make: type[nn.Module], message: str) -> None:
    with pytest.raises(cnnscope.CnnscopeError) as caught:
        attribute(Plain(seeded(make)), image(2, 8, 8), "lrp", 1)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == ("E480", message)
    assert diagnostic.hint == "`deeplift` and `integrated-gradients` can"


def test_a_gate_gets_nothing() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.signal, self.gate = nn.Conv2d(2, 3, 8, bias=False), nn.Conv2d(2, 3, 8)

        def forward(self, x: Tensor) -> Tensor:
            return (self.signal(x) * torch.sigmoid(self.gate(x))).flatten(1)

    net, x = seeded(Gated), image(2, 8, 8)
    found = attribute(Plain(net), x, "lrp", 1)
    score, signal = float(net(x)[0, 1]), float(net.signal(x)[0, 1])
    expected = shared(dense(net.signal, x), x.flatten().numpy(), np.array([0, signal, 0]), np.array([0, score, 0]))
    np.testing.assert_allclose(found.raw.ravel(), expected, atol=1e-12)


# -- what it says of a residual network that has learned ---------------------------------------------------------------


def trained_residual() -> tuple[nn.Module, Tensor, Tensor]:
    """Two residual blocks, trained for a few seconds on the bundled digits; images and labels it has not seen."""
    with np.load(Path(cnnscope.__file__).parents[1] / "specs" / "digits" / "digits.npz") as digits:
        images, labels = torch.tensor(digits["images"]).float()[:, None] / 255, torch.tensor(digits["labels"]).long()
    images = nn.functional.interpolate(images, size=(16, 16), mode="bilinear")

    class Block(nn.Module):
        def __init__(self, inner: int, outer: int) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(inner, outer, 3, 2, 1, bias=False), nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
            self.short = nn.Conv2d(inner, outer, 1, 2, bias=False)
            self.norms = nn.ModuleList(nn.BatchNorm2d(outer) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            y = self.norms[1](self.b(torch.relu(self.norms[0](self.a(x)))))
            y += self.norms[2](self.short(x))
            return torch.relu(y)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stem = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
        net = nn.Sequential(*stem, Block(16, 32), Block(32, 64), *head)
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(4):
            for chosen in torch.randperm(1500).split(64):
                loss = nn.functional.cross_entropy(net(images[chosen]), labels[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return net.eval().requires_grad_(False), images[1500:], labels[1500:]


def ranks(values: np.ndarray) -> np.ndarray:
    return values.ravel().argsort().argsort().astype(float)


@pytest.mark.slow
def test_on_a_residual_network_it_ranks_pixels_as_occlusion_does() -> None:
    """captum's default rule has a cosine of about 0 there, so it does no better than input times gradient."""
    net, images, labels = trained_residual()
    assert (net(images).argmax(1) == labels).float().mean() > 0.85
    agreement: dict[str, list[float]] = {"lrp": [], "input-x-gradient": []}
    errors = []
    for i in range(16):
        x, target = images[i : i + 1], int(labels[i])
        occlusion = ranks(attribute(Plain(net), x, "occlusion", target, window=3).values)
        for method, found in agreement.items():
            answer = attribute(Plain(net), x, method, target)
            smooth = nn.functional.avg_pool2d(torch.tensor(answer.values)[None, None], 3, 1, 1)[0, 0].numpy()
            found.append(float(np.corrcoef(occlusion, ranks(smooth))[0, 1]))
            errors += [answer.completeness] if method == "lrp" else []
    assert np.mean(agreement["lrp"]) > 0.5
    assert np.mean(agreement["lrp"]) > np.mean(agreement["input-x-gradient"]) + 0.2
    assert np.median([error for error in errors if error is not None]) < 0.2
