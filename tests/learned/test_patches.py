"""Patches against brute force, fields against perturbed pixels, projections against a backward pass written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from featured_networks import folder, made, padded, rectified, trained
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import cnnscope
from cnnscope.attribution.engine.canonicalize import canonicalize, up_to
from cnnscope.errors import CnnscopeError
from cnnscope.learned.features.channel import look
from cnnscope.learned.features.channel_page import draw
from cnnscope.learned.features.patches import BINS, RULES, Histogram, activity, project
from cnnscope.learned.layers import Fields, choose
from cnnscope.trained.images import open_images


@pytest.fixture(scope="module")
def digits() -> cnnscope.trained.network.TrainedNetwork:
    return cnnscope.load("lenet5-digits").trained(device="cpu")


@pytest.mark.parametrize(("name", "channel"), [("c1", 2), ("c3", 3), ("c5", 7), ("f6", 3)])
def test_the_nine_are_those_of_brute_force(digits, name: str, channel: int) -> None:
    images = open_images(digits.data)
    ranking = []
    for place, sample in enumerate(images):
        pixels = digits.preprocess.pixels(sample.image)
        with torch.no_grad(), digits.capture([name]) as found:
            digits.module(digits.input(torch.from_numpy(pixels[None])))
        values = found[name][0, channel].numpy()
        best, position = -np.inf, (0, 0)
        for at, value in np.ndenumerate(values):
            if value > best:
                best, position = value, at or (0, 0)
        ranking.append((best, place, sample.name, position))
    (layer,) = choose(digits, [name])
    found = activity(digits, layer, channel, images, 1000)
    assert (found.images, len(found.patches), len({patch.place for patch in found.patches})) == (360, 9, 9)
    np.testing.assert_allclose(found.maxima, [one[0] for one in ranking], atol=1e-6)
    activations = [patch.activation for patch in found.patches]
    assert activations == sorted(activations, reverse=True)
    np.testing.assert_allclose(activations, sorted((one[0] for one in ranking), reverse=True)[:9], atol=1e-6)
    for patch in found.patches:  # those of equal activations up to rounding may swap
        best, place, sample, position = ranking[patch.place]
        assert (patch.sample, patch.position) == (sample, position)
        assert abs(patch.activation - best) < 1e-6


def test_of_equal_activations_the_earlier_image_and_place_win(digits, tmp_path: Path) -> None:
    images = np.full((12, 32, 32), 90, np.uint8)
    images[[3, 7]] = 200
    (layer,) = choose(digits, ["c1"])
    found = activity(digits, layer, 2, open_images(folder(tmp_path / "data", images)), 100)
    assert [patch.place for patch in found.patches] == [3, 7, 0, 1, 2, 4, 5, 6, 8]
    assert {patch.position for patch in found.patches} == {(0, 0)}
    again = activity(digits, layer, 2, open_images(tmp_path / "data"), 100)
    assert [(p.sample, p.activation, p.position) for p in again.patches] == [
        (p.sample, p.activation, p.position) for p in found.patches
    ]


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [(0, 0), (4, 5), (7, 7), (0, 4)])
@pytest.mark.parametrize("layer", ["0", "1", "3", "4"])
def test_a_patch_is_what_changes_the_activation_and_nothing_else(layer: str, position: tuple[int, int]) -> None:
    network = trained(made(padded(), (1, 16, 16)), (1, 16, 16), dtype="float64")
    (chosen,) = choose(network, [layer])
    row, column = (at * size // 8 for at, size in zip(position, chosen.size, strict=True))
    seen = Fields(network.graph, chosen).at((row, column))
    run = up_to(canonicalize(network.module), layer)
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((1, 1, 16, 16), generator=generator, dtype=torch.float64)

    def activation(image: Tensor) -> Tensor:
        return run(image)[0, :, row, column]

    before = activation(x)
    (top, bottom), (left, right) = seen.exact
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[top : bottom + 1, left : right + 1] = True
    outside = torch.where(inside, x, torch.rand(x.shape, generator=generator, dtype=torch.float64))
    assert torch.equal(activation(outside), before)
    tall, wide = slice(top, bottom + 1), slice(left, right + 1)
    edges = [(slice(row, row + 1), wide) for row in (top, bottom)]
    edges += [(tall, slice(column, column + 1)) for column in (left, right)]
    for rows, columns in edges:
        changed = x.clone()
        changed[..., rows, columns] += 0.5
        assert not torch.equal(activation(changed), before)


def test_padding_that_a_unit_reaches_into_is_framed() -> None:
    network = trained(made(padded(), (1, 16, 16)), (1, 16, 16))
    (layer,) = choose(network, ["2"])
    fields = Fields(network.graph, layer)
    corner, middle = fields.at((0, 0)), fields.at((4, 4))
    assert corner.exact == ((0, 5), (0, 5))  # by hand: rows -2, 0, 2 of a map whose row r reads 2 r - 1 to 2 r + 1
    assert corner.frame == ((-4, 5), (-4, 5))  # it reaches to -5, of which a quarter of the image is shown
    assert middle.exact == middle.frame == ((3, 13), (3, 13))


def test_units_behind_dense_layers_see_the_whole_image(digits) -> None:
    (layer,) = choose(digits, ["f6"])
    seen = Fields(digits.graph, layer).at((0, 0))
    assert (seen.exact, seen.frame, seen.whole) == (((0, 31), (0, 31)), ((0, 31), (0, 31)), False)


class Excited(nn.Module):
    """A convolution whose channels are scaled by what the whole map holds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.squeeze, self.head = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = x * torch.sigmoid(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        return self.head(torch.tanh(x).mean((2, 3)))


def test_where_the_rest_of_the_image_matters_it_is_said(tmp_path: Path) -> None:
    network = trained(Excited(), (1, 12, 12))
    (layer,) = choose(network, [next(name for name in network.layer_names() if "mul" in name)])
    assert Fields(network.graph, layer).at((2, 3)).exact == ((2, 4), (3, 5))
    assert Fields(network.graph, layer).at((2, 3)).whole
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 12), dtype=np.uint8)
    assert look(network, layer, 0, open_images(folder(tmp_path / "data", images)), 9, steps=2).via


# -- figures -----------------------------------------------------------------------------------------------------------


def test_the_histogram_counts_every_number_whatever_comes_first() -> None:
    generator = np.random.default_rng(0)
    pieces = [generator.normal(0, spread, 1000).astype(np.float32) for spread in (1e-5, 3.0, 1e-2, 40.0)]
    histogram = Histogram()
    for piece in pieces:
        histogram.add(piece)
    values = np.concatenate(pieces).astype(np.float64)
    expected, _ = np.histogram(values, histogram.edges)
    assert histogram.counts.tolist() == expected.tolist()
    assert histogram.counts.sum() == 4000
    assert histogram.reach / 2 <= np.abs(values).max() < histogram.reach
    assert len(histogram.counts) == BINS


def test_a_channel_that_never_answers_is_dead(tmp_path: Path) -> None:
    module = made(rectified(), (1, 20, 20))
    with torch.no_grad():
        module[0].bias[1] = -100.0
    network = trained(module, (1, 20, 20))
    images = open_images(
        folder(tmp_path / "data", np.random.default_rng(0).integers(0, 256, (11, 20, 20), dtype=np.uint8))
    )
    for name in ("1", "0"):  # before its ReLU it varies, and is dead all the same
        (layer,) = choose(network, [name])
        dead, alive = (activity(network, layer, channel, images, 100) for channel in (1, 0))
        assert (dead.dead, dead.above, dead.rule) == (True, 0.0, "never above 0 after relu")
        assert dead.constant == (name == "1")
        assert not alive.dead
    (layer,) = choose(network, ["1"])
    patches = activity(network, layer, 1, images, 100).patches
    assert [(patch.place, patch.position) for patch in patches] == [(i, (0, 0)) for i in range(9)]
    found = look(network, layer, 1, images, 100, steps=2)
    assert found.maximised.reason == "the unit has no gradient on noise, nor on the image that activates it most"
    assert not any(values.any() for values in found.projections.values())
    assert draw(found, "a dead channel", [], "png").startswith(b"\x89PNG")


def test_images_that_cannot_be_read_are_counted(digits, tmp_path: Path) -> None:
    path = folder(tmp_path / "data", np.full((2, 32, 32), 90, np.uint8))
    (path / "broken.png").write_bytes(b"no image")
    (layer,) = choose(digits, ["c1"])
    found = activity(digits, layer, 0, open_images(path), 100)
    assert (found.images, found.skipped, len(found.patches)) == (2, 1, 2)
    for file in path.glob("0*.png"):
        file.unlink()
    with pytest.raises(CnnscopeError, match=r"E460: there are no images in `.*` that can be read"):
        activity(digits, layer, 0, open_images(path), 100)


# -- projections -------------------------------------------------------------------------------------------------------


def by_hand(module: nn.Sequential, x: Tensor, channel: int, place: tuple[int, int], rule: str) -> Tensor:
    """One unit of the last ReLU sent back layer by layer, without autograd."""
    first, _, _, second, *_ = module
    a1 = F.conv2d(x, first.weight, first.bias)
    pooled, switches = F.max_pool2d(a1.clamp(min=0), 2, return_indices=True)
    a2 = F.conv2d(pooled, second.weight, second.bias)
    back = torch.zeros_like(a2)
    back[0, channel, place[0], place[1]] = a2[0, channel, place[0], place[1]].clamp(min=0)
    back = back.clamp(min=0) if rule == "deconvolution" else back.clamp(min=0) * (a2 > 0)
    back = F.conv_transpose2d(back, second.weight)
    back = F.max_unpool2d(back, switches, 2, output_size=a1.shape[2:])
    back = back.clamp(min=0) if rule == "deconvolution" else back.clamp(min=0) * (a1 > 0)
    return F.conv_transpose2d(back, first.weight)


@pytest.mark.parametrize("rule", RULES)
def test_projections_are_those_of_a_backward_pass_by_hand(rule: str) -> None:
    module = made(rectified(), (1, 20, 20))
    with torch.no_grad():
        module[3].bias += 0.5  # so that every unit below answers
    network = trained(module, (1, 20, 20), dtype="float64")
    module.double()
    x = torch.rand((3, 1, 20, 20), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    places = [(0, 0), (3, 4), (6, 1)]
    part = up_to(canonicalize(network.module), "4")
    for channel in range(5):
        found = project(part, (0, 1, 2, 3), x, channel, places, RULES[rule])
        with torch.no_grad():
            expected = torch.cat([by_hand(module, x[[i]], channel, place, rule) for i, place in enumerate(places)])
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
        assert expected.flatten(1).any(dim=1).all()
    plain = x.clone().requires_grad_()
    unit = module[:5](plain)[0, 4, 0, 0]
    (gradient,) = torch.autograd.grad(unit * unit.detach(), plain)
    assert not torch.allclose(project(part, (0, 1, 2, 3), x, 4, places, RULES[rule])[0], gradient[0])


@pytest.mark.parametrize("rule", RULES)
def test_projections_are_zero_beyond_what_is_seen(digits, rule: str) -> None:
    (layer,) = choose(digits, ["c3"])
    found = look(digits, layer, 3, open_images(digits.data), 40, steps=1)
    for patch, values in zip(found.activity.patches, found.projections[rule], strict=True):
        outside = values.copy()
        patch.cut(outside)[:] = 0
        assert not outside.any()
        assert values.any()
    assert found.notes == ("deconvolution and guided backpropagation, made for ReLU, act on Tanh here",)


def test_what_cannot_be_had_is_said_not_made_up(digits) -> None:
    (layer,) = choose(digits, ["s2"])
    found = look(digits, layer, 1, None, 9, steps=1)
    assert (found.kernel, found.activity, found.projections) == (None, None, {})
    assert found.missing == (
        "no kernel: s2 is avgpool 2x2 /2, which has no filters",
        "no patches, no distribution, unknown whether it is dead: there are no images, name some with `--data`",
    )
