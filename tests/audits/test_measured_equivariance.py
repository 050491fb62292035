"""Equivariance of maps against torch's own moves, and local errors against derivatives worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from small_networks import circular, plain, seeded, trained
from torch import Tensor, nn

from cnnscope.audits.protocol.protocol import Border, Transform, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import canvas
from cnnscope.audits.record import EquivarianceError
from cnnscope.audits.run.equivariance import lattices, local_errors, map_error, maps_of, sources
from cnnscope.trained.network import TrainedNetwork

SIZE = (32, 32)


@torch.inference_mode()
def map_errors(
    network: TrainedNetwork, canvas: Tensor, transforms: Sequence[Transform], layers: Sequence[str]
) -> list[EquivarianceError]:
    """``E_l(g)`` of each layer that has a lattice, for each transform: any of them, turns and scales too."""
    places, errors = lattices(network, layers), []
    still = maps_of(network, canvas, shift(0, 0), list(places))
    for transform in transforms:
        moved = maps_of(network, canvas, transform, list(places))
        for layer, lattice in places.items():
            source = sources(lattice, transform, SIZE)
            errors.append(map_error(layer, transform.name, still[layer], moved[layer], source, lattice.interior))
    return errors


def images(border: Border, side: int = 32, margin: int = 24) -> Tensor:
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    return canvas(x, SIZE, margin, border, torch.zeros(3), room=(side - 32) // 2)


def smooth(border: Border = "circular", period: float = 32) -> Tensor:
    """Waves that fit the image a whole number of times."""
    y, x = (torch.arange(32) * 2 * math.pi / period for _ in range(2))
    wave = torch.sin(y[:, None]) + torch.cos(x[None] + 0.3)
    return canvas(torch.stack([wave, wave.T, -wave])[None], SIZE, 24, border, torch.zeros(3))


def test_positions_lie_over_pixels() -> None:
    found = lattices(trained(plain()), ["0", "2", "5"])
    assert set(found) == {"0", "2"}  # the last has no positions
    assert (found["0"].stride, found["0"].origin, found["0"].extents) == ((2, 2), (0, 0), (16, 16))
    assert found["0"].interior == ((1, 15), (1, 15))  # 3x3, stride 2, padding 1: only the first looks beyond
    assert found["2"].interior == ((2, 14), (2, 14))


@pytest.mark.parametrize("t", [shift(2, 0), shift(-4, 6), shift(8, -8)], ids=lambda t: t.name)
def test_inside_a_padded_network_is_exact_and_the_border_is_not(t: Transform) -> None:
    errors = map_errors(trained(plain()), images("crop", 80), [t], ["0", "2"])
    for error in errors:
        assert error.interior is not None
        assert error.border is not None
        assert error.interior < 1e-6
        assert error.border > 1e-2
        assert error.interior_share is not None
        assert 0 < error.interior_share < 1


def test_between_positions_it_is_not_exact() -> None:
    (error,) = map_errors(trained(plain()), images("crop", 80), [shift(1, 0)], ["2"])
    assert error.interior is not None
    assert error.interior > 1e-2


def test_against_torch_by_hand() -> None:
    """Interior and border of one layer, cut out of torch's own maps."""
    network = trained(plain())
    whole = images("crop", 80)
    (error,) = map_errors(network, whole, [shift(4, -2)], ["2"])
    with torch.inference_mode():
        layers = network.module[:3] if isinstance(network.module, nn.Sequential) else None
        body = layers or nn.Sequential(*list(network.module.children())[:3])
        still, moved = (body(whole[:, :, 24 - dy : 56 - dy, 24 - dx : 56 - dx]) for dy, dx in ((0, 0), (4, -2)))
    there, here = moved[:, :, 2:, :15], still[:, :, :14, 1:]  # two positions down, one to the left
    # what sees no border here (2 to 14) and saw none there (4 to 16 down, 1 to 13 across), counted in the overlap
    inner = (slice(None), slice(None), slice(2, 13), slice(2, 14))
    assert torch.equal(there[inner], here[inner])
    change, size = (there - here).square(), here.square()
    expected = ((change.sum() - change[inner].sum()) / (size.sum() - size[inner].sum())).sqrt()
    assert error.interior == 0
    assert error.border == pytest.approx(float(expected), rel=1e-5)
    assert error.interior_share == pytest.approx(11 * 12 / (14 * 15))


def test_turns_of_a_symmetric_kernel() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    seeded(module)
    kernel = module[0].weight.data
    kernel.copy_(sum(kernel.rot90(k, (2, 3)) for k in range(4)) / 4)
    network = trained(module)
    errors = {e.transform: e for e in map_errors(network, images("crop", 80), [rotate(90), rotate(180)], ["0"])}
    for error in errors.values():
        assert error.interior is not None
        assert error.interior < 1e-6
    (between,) = map_errors(network, smooth(), [rotate(20)], ["0"])
    assert between.interior is not None
    assert between.interior < 0.05  # a smooth wave survives sampling, and the kernel is round
    (wrong,) = map_errors(trained(plain()), images("crop", 80), [rotate(90)], ["0"])
    assert wrong.interior is not None
    assert wrong.interior > 0.1


def test_a_map_zooms_with_its_image() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
    errors = map_errors(trained(seeded(module)), smooth(), [zoom(1.25), zoom(0.8)], ["0", "1"])
    assert all(e.interior is not None and e.interior < 0.03 for e in errors), errors


# -- local errors ------------------------------------------------------------------------------------------------------


class Ramp(nn.Module):
    """Brightness times height in the image, then one number an image."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ramp", torch.arange(1.0, 33)[:, None].expand(32, 32).clone())
        self.keep = nn.Conv2d(3, 3, 1, bias=False)
        self.keep.weight.data = torch.eye(3)[:, :, None, None]
        self.head = nn.Linear(3, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.keep(x * self.ramp).mean((2, 3)))


def test_a_map_that_depends_on_its_place() -> None:
    """T_-t f(T_t x) = x (ramp + t): its derivative is x down, here the mean of the neighbours, and 0 to the right."""
    network = trained(Ramp().eval())
    whole = smooth()
    found = {e.movement: e.value for e in local_errors(network, whole, ["keep"]) if e.layer == "keep"}
    x = whole[:, :, 24:56, 24:56]
    ramp = torch.arange(1.0, 33)[:, None]
    kept = slice(1, 31)  # rows with both neighbours
    expected = ((x[:, :, :30] + x[:, :, 2:]) / 2).norm() / (x * ramp)[:, :, kept].norm()
    assert found["down"] == pytest.approx(float(expected), rel=0.01)
    assert found["right"] < 1e-4


def test_scores_by_central_differences() -> None:
    network = trained(plain())
    whole = images("circular")
    found = {e.movement: e for e in local_errors(network, whole, ["0"]) if e.layer == "scores"}
    x = whole[:, :, 24:56, 24:56]
    with torch.inference_mode():
        down, up = (network.logits(0.9 * x + 0.1 * x.roll(step, 2)) for step in (1, -1))
        f = network.logits(x)
    assert found["down"].value == pytest.approx(float((down - up).norm() / 0.2 / f.norm()), rel=1e-3)
    units = {movement: error.unit for movement, error in found.items()}
    assert units == {"down": "px", "right": "px", "turn": "deg", "zoom": "%"}


def test_a_convolution_without_stride_has_no_local_error_inside() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.ReLU(),
                           nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))  # fmt: skip
    found = local_errors(trained(seeded(module)), images("circular"), ["0"])
    assert all(e.value < 1e-4 for e in found if e.unit == "px" and e.layer == "0")
    assert all(e.value > 1e-2 for e in found if e.movement == "turn" and e.layer == "0")


def test_strides_leave_local_errors() -> None:
    found = local_errors(trained(circular()), images("circular"), ["0", "2"])
    assert all(e.value > 1e-2 for e in found if e.unit == "px" and e.layer in ("0", "2"))


class ChannelsLastAndBack(nn.Module):
    """As ConvNeXt's blocks: a layer on (N, H, W, C), whose answer is permuted back and scaled."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mix, self.scores = nn.Conv2d(1, 4, 3, stride=2), nn.Linear(4, 4), nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.full((4, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2) * self.scale
        scores: Tensor = self.scores(mixed.mean((2, 3)))
        return scores


def test_maps_permuted_back_have_their_positions() -> None:
    network = trained(ChannelsLastAndBack().eval(), (1, 17, 21))
    found = lattices(network, network.layer_names())
    assert "mul" in found
    assert {lattice.extents for lattice in found.values()} == {(8, 10)}
