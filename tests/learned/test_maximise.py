"""Maximised images: a linear unit's is known, others' are at least as good as any image of the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from featured_networks import made, padded, rectified, trained
from torch import nn

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.learned.features.maximise import maximise, total_variation
from cnnscope.learned.features.patches import Patch, activity
from cnnscope.learned.layers import Seen, choose
from cnnscope.trained.images import open_images


def linear(mean: float = 0.0, std: float = 1.0):
    torch.manual_seed(3)
    module = nn.Sequential(nn.Conv2d(1, 3, 5), nn.Flatten(), nn.Linear(3 * 12 * 12, 2))
    network = cnnscope.load(module, input=(1, 16, 16)).trained(device="cpu", preprocess={"mean": mean, "std": std})
    return network, module[0].weight.detach()[1, 0].numpy(), float(module[0].bias.detach()[1])


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.3, 0.2)])
def test_a_linear_unit_wants_white_where_its_weights_are_positive(mean: float, std: float) -> None:
    network, kernel, bias = linear(mean, std)
    (layer,) = choose(network, ["0"])
    found = maximise(network, layer, 1, smoothness=0.0, jitter=0)
    (top, bottom), (left, right) = found.seen.exact
    assert (found.position, bottom - top, right - left) == ((6, 6), 4, 4)
    image = found.pixels[0, top : bottom + 1, left : right + 1]
    np.testing.assert_array_equal(image, (kernel > 0).astype(np.float32))
    best = float((kernel * ((kernel > 0) - mean) / std).sum()) + bias
    assert found.activation == pytest.approx(best, abs=1e-4)
    assert np.diff(found.curve).min() >= -1e-5
    assert found.start < found.curve[-1] <= found.activation + 1e-5


def test_smoothness_trades_activation_for_total_variation() -> None:
    network, kernel, _ = linear()
    (layer,) = choose(network, ["0"])
    rough, smooth = (maximise(network, layer, 1, smoothness=weight, jitter=0) for weight in (0.0, 0.5))
    (top, bottom), (left, right) = smooth.seen.exact
    parts = [found.pixels[:, top : bottom + 1, left : right + 1] for found in (rough, smooth)]
    assert total_variation(torch.from_numpy(parts[1])) < 0.5 * total_variation(torch.from_numpy(parts[0]))
    assert smooth.start < smooth.activation < rough.activation
    centred = parts[1][0] - parts[1][0].mean()
    cosine = (
        (centred * (kernel - kernel.mean())).sum() / np.linalg.norm(centred) / np.linalg.norm(kernel - kernel.mean())
    )
    assert cosine > 0.6


def test_total_variation_by_hand() -> None:
    image = torch.tensor([[[0.0, 1.0], [1.0, 0.5]]])
    assert float(total_variation(image)) == pytest.approx((1 + 0.25 + 1 + 0.25) / 4)


@pytest.mark.parametrize(("name", "channel"), [("c3", 3), ("f6", 3), ("output", 5)])
def test_it_reaches_more_than_any_image(name: str, channel: int) -> None:
    network = cnnscope.load("lenet5-digits").trained(device="cpu")
    (layer,) = choose(network, [name])
    best = activity(network, layer, channel, open_images(network.data), 1000).high
    found = maximise(network, layer, channel)
    assert found.activation > best
    assert (found.pixels.shape, found.pixels.min() >= 0, found.pixels.max() <= 1) == ((1, 32, 32), True, True)
    with torch.no_grad(), network.capture([name]) as outputs:
        network.module(torch.from_numpy(found.pixels[None]))
    value = outputs[name][0, channel]
    assert float(value[found.position] if value.ndim else value) == pytest.approx(found.activation, abs=1e-5)


def test_a_seed_gives_one_image() -> None:
    network = trained(made(padded(), (1, 16, 16)), (1, 16, 16))
    (layer,) = choose(network, ["3"])
    first, second, other = (maximise(network, layer, 0, steps=12, seed=seed, jitter=2) for seed in (0, 0, 1))
    assert np.array_equal(first.pixels, second.pixels)
    assert (first.curve, len(first.curve)) == (second.curve, 12)
    assert not np.array_equal(first.pixels, other.pixels)


def white_lover():
    """A unit that answers only where all nine pixels are all but white."""
    module = made(rectified(), (1, 20, 20))
    with torch.no_grad():
        module[0].weight[:] = 1.0
        module[0].bias[:] = -8.99
    network = trained(module, (1, 20, 20))
    (layer,) = choose(network, ["1"])
    return network, layer


def test_without_a_gradient_on_noise_it_starts_from_the_best_image() -> None:
    network, layer = white_lover()
    assert maximise(network, layer, 0, steps=3).reason == "the unit has no gradient on noise"
    image = np.zeros((1, 20, 20), np.uint8)
    image[:, 4:7, 2:5] = 255
    whole = ((4, 6), (2, 4))
    patch = Patch("white", None, 0, 0.01, (4, 2), image, Seen(whole, whole))
    found = maximise(network, layer, 0, steps=3, patch=patch)
    assert (found.position, found.reason) == ((4, 2), None)
    assert found.start == pytest.approx(0.01, abs=1e-4)
    assert found.activation >= found.start


def test_what_is_not_finite_is_refused() -> None:
    network = trained(made(padded(), (1, 16, 16)), (1, 16, 16))
    (layer,) = choose(network, ["3"])
    with torch.no_grad():
        network.module.get_parameter("0.bias")[:] = torch.nan
    with pytest.raises(CnnscopeError, match="E465: 1 of 1 activations of `3` are not finite"):
        maximise(network, layer, 0, steps=2)
