"""Checks of trust tell known cases apart: noise, edges, exact answers, maps that stay, networks that see nothing."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from attributed import Plain, image, seeded
from known_maps import findings, method, scene, subject, verdicts
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

import cnnscope
from cnnscope.attribution.run import attribute
from cnnscope.audits.protocol.protocol import shift
from cnnscope.trained.images import open_images
from cnnscope.trust import scene as scenes
from cnnscope.trust.checks import randomisation
from cnnscope.trust.checks.equivariance import alike, moved
from cnnscope.trust.scene import Scene, edges
from cnnscope.trust.session import scene as opened

MOVES = ("shift", "scale", "rotation")
PERTURBED = ("insertion", "deletion")
RANDOM = ("randomisation_signed", "randomisation_absolute")


@cache
def digit() -> Scene:
    """An 8, whose answer stays under small moves."""
    network = cnnscope.load("lenet5-digits").trained()
    sample = next(one for one in open_images(network.data) if one.name == "images[148]")
    return opened(network, sample.image, 8)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_map_fails_everything(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(32, 32))
    found = verdicts(subject(digit(), lambda network, x: noise))
    assert found == dict.fromkeys((*RANDOM, *PERTURBED, *MOVES), "fail") | {
        "completeness": "unknown", "quarter_turn": "unknown",
    }  # fmt: skip


def test_noise_drawn_anew_depends_on_the_weights_but_says_nothing() -> None:
    generator = np.random.default_rng(0)
    found = verdicts(subject(digit(), lambda network, x: generator.normal(size=(32, 32))))
    assert {found[name] for name in RANDOM} == {"pass"}
    assert {found[name] for name in (*PERTURBED, *MOVES)} == {"fail"}


def test_edges_move_with_the_image_but_know_no_weights() -> None:
    found = findings(subject(digit(), lambda network, x: edges(x)))
    for name in RANDOM:
        assert found[name].value == pytest.approx(1)
        assert found[name].verdict == "fail"
    for name in PERTURBED:
        assert found[name].value == pytest.approx(found[name].controls["edges"], abs=0.01)
    for name in MOVES:
        assert found[name].value == found[name].controls["edges"]
        assert found[name].verdict == "pass"


def test_edges_are_the_magnitude_of_sobels_gradient() -> None:
    x = image(3, 6, 7)
    grey = np.pad(x[0].mean(0).numpy(), 1, mode="edge")
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    expected = [
        [np.hypot((grey[i : i + 3, j : j + 3] * kernel).sum(), (grey[i : i + 3, j : j + 3] * kernel.T).sum())
         for j in range(7)] for i in range(6)
    ]  # fmt: skip
    ratio = edges(x) / np.array(expected)
    assert ratio == pytest.approx(ratio[0, 0], rel=1e-12)


def blobs() -> Tensor:
    """(1, 1, 24, 24): regions of about 1 and of about -1."""
    smooth = functional.avg_pool2d(image(1, 34, 34, seed=4), 11, stride=1)
    return smooth.sign() * (1 + 0.05 * image(1, 24, 24, seed=5).sign() * image(1, 24, 24, seed=6).abs().clamp(0, 1))


def linear(weights: Tensor) -> nn.Module:
    module = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(weights.shape[1], len(weights), bias=False)))
    module[1].weight.copy_(weights)
    return module


def redrawn(seed: int) -> nn.Module:
    return linear(torch.randn(2, 576, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def test_integrated_gradients_of_a_linear_network_are_exact_and_pass_everything() -> None:
    """The score of class 0 is the sum of all pixels: each pixel's part is its value, wherever it lies."""
    weights = torch.stack([torch.ones(576), -torch.ones(576)]).double()
    x = blobs() + 0.2
    of = scene(linear(weights), x, 0, redrawn)
    answer = method(of, "integrated-gradients")
    assert answer.attribution.values == pytest.approx(x[0, 0].numpy(), abs=1e-6)
    found = findings(answer)
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, "pass")
    assert found["completeness"].value is not None
    assert found["completeness"].value < 1e-6
    for seed in (2000, 2001):  # and of one with weights that are random
        network = Plain(redrawn(seed))
        weight = network.module[1].weight[0].reshape(24, 24)  # type: ignore[index]
        values = attribute(network, x, "integrated-gradients", 0).values
        assert values == pytest.approx((weight * x[0, 0]).numpy(), abs=1e-6)


@cache
def relu_network() -> tuple[nn.Module, Tensor]:
    """Four convolutions with ReLU and two max pools, trained on digits for some seconds; and 8 other digits."""
    pictures = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
    pictures, labels = functional.interpolate(pictures, size=(16, 16), mode="bilinear"), load_digits().target
    with torch.random.fork_rng(devices=[]):
        net = untrained(0)
        optimiser = torch.optim.Adam(net.requires_grad_(True).parameters(), 3e-3)
        for _ in range(120):
            chosen = torch.randint(0, 1400, (64,))
            loss = functional.cross_entropy(net(pictures[chosen]), torch.tensor(labels)[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    net.eval().requires_grad_(False)
    assert (net(pictures[1400:]).argmax(1).numpy() == labels[1400:]).mean() > 0.85
    return net, pictures[1500:1508]


def untrained(seed: int) -> nn.Module:
    torch.manual_seed(seed)

    def block(channels: int) -> list[nn.Module]:
        return [nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
                nn.MaxPool2d(2)]  # fmt: skip

    return nn.Sequential(*block(1), *block(16), nn.Flatten(), nn.Linear(256, 10)).eval().requires_grad_(False)


def test_signed_correlation_exposes_guided_backpropagation() -> None:
    """Its maps come out much the same, sign included, whatever the weights; gradients do not."""
    net, digits = relu_network()
    fails = dict.fromkeys(("guided-backprop", "saliency", "input-x-gradient"), 0)
    for x in digits.split(1):
        of = scene(net, x, int(net(x).argmax()), untrained, "zero")
        for name in fails:
            signed, _ = randomisation.run(method(of, name))
            fails[name] += signed.verdict == "fail"
            assert (signed.settings["draws"], len(signed.settings["each"])) == (5, 5)
    assert fails["guided-backprop"] >= 6
    assert (fails["saliency"], fails["input-x-gradient"]) == (0, 0)


def test_magnitudes_of_integrated_gradients_are_alike_through_the_image() -> None:
    """Where the image is 0 so is every map, and the controls say that this is all there is to it."""
    net, digits = relu_network()
    of = scene(net, digits[:1], int(net(digits[:1]).argmax()), untrained, "zero")
    signed, absolute = randomisation.run(method(of, "integrated-gradients"))
    assert (signed.verdict, absolute.verdict) == ("pass", "fail")
    assert absolute.controls["between random networks"] == pytest.approx(absolute.value, abs=0.1)


def test_a_network_that_sees_nothing_leaves_all_unknown() -> None:
    constant = linear(torch.zeros(2, 576).double())
    found = findings(subject(scene(constant, blobs(), 0, redrawn), lambda network, x: np.zeros((24, 24))))
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, "unknown")
    assert all(one.why for one in found.values())


def test_moves_that_change_the_prediction_are_left_out() -> None:
    """Class 1 where the left column is lit: a shift to the right and turns move it away."""
    weights = torch.zeros(2, 24, 24).double()
    weights[1, :, 0] = 1
    x = 0.1 * image(1, 24, 24).abs()
    x[..., 0] = 1
    module = linear(weights.flatten(1))
    module[1].bias = nn.Parameter(torch.tensor([12.0, 0.0]).double(), requires_grad=False)
    found = findings(subject(scene(module, x, 1, redrawn, "zero"), lambda network, x: x[0, 0].numpy()))
    shift = found["shift"]
    assert shift.settings["unchanged"] == ["shift +1,+0", "shift -1,+0"]
    assert shift.verdict == "pass"
    assert (found["quarter_turn"].value, found["quarter_turn"].verdict) == (None, "unknown")
    assert found["quarter_turn"].why == "the prediction changes under this move"
    assert found["quarter_turn"].settings["on_grid"] is True
    assert found["rotation"].settings["on_grid"] is False


def test_moves_on_the_grid_are_those_of_numpy() -> None:
    before = np.random.default_rng(0).normal(size=(6, 6))
    (turn,) = scenes.MOVES["quarter_turn"]
    assert alike(np.rot90(before), before, turn) == pytest.approx(1, abs=1e-12)
    right, down, *_ = scenes.MOVES["shift"]
    assert alike(np.roll(before, 1, 1), before, right) == pytest.approx(1, abs=1e-12)
    assert alike(np.roll(before, 1, 0), before, down) == pytest.approx(1, abs=1e-12)
    assert alike(np.roll(before, -1, 1), before, right) < 0.9
    (image_moved,) = moved(torch.tensor(before)[None, None], [turn], (6, 6))
    assert np.array_equal(image_moved[0, 0].numpy(), np.rot90(before))


def test_a_map_too_smooth_for_a_move_is_unknown() -> None:
    ramp = np.add.outer(np.arange(32.0), np.arange(32.0) * 1.001)
    found = findings(subject(digit(), lambda network, x: ramp))
    assert found["shift"].verdict == "unknown"
    assert "so smooth" in found["shift"].why


@pytest.mark.parametrize("size", [(300, 400), (301, 399), (256, 256), (200, 260)])
def test_the_canvas_has_the_image_in_its_middle(size: tuple[int, int]) -> None:
    """Halves of a pixel are rounded alike, whatever margin the picture has around the input."""
    network = cnnscope.load("lenet5-digits").trained(preprocess={"resize": 41})
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8))
    found = opened(network, picture, 0)
    (same,) = moved(found.canvas, [shift(0, 0)], found.size)
    assert torch.equal(same, found.x)


def test_an_error_of_the_sum_decides_completeness() -> None:
    x = blobs()
    of = scene(redrawn(0), x, 0, redrawn)
    for error, verdict in ((0.009, "pass"), (0.011, "fail")):
        found = verdicts(subject(of, lambda network, x: x[0, 0].numpy(), error))
        assert found["completeness"] == verdict
