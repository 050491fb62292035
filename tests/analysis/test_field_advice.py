"""What follows from receptive fields: tiles checked by computing them, limits by the cases they were found in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import rf_oracle
import torch
from rf_networks import Net
from rf_slim import inception_v3

from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.advice import (
    CutWindow,
    Tiling,
    cut_windows,
    resize_offset,
    saturated,
    tiling,
    unproductive,
)
from cnnscope.analysis.receptive_field.exact import unread
from cnnscope.ir import Graph
from cnnscope.spec import load

SPECS = Path(__file__).parents[2] / "specs"


def zoo(name: str, size: int | None = None) -> Graph:
    return load(SPECS / f"{name}.yaml", input=(3, size, size) if size else None).graph


# -- tiles -------------------------------------------------------------------------------------------------------------


def strided(size: int) -> Net:
    net = Net(1, size)
    net.conv(2, 7, net.conv(2, 3, "x", stride=2, pad=1), stride=2, pad=3)
    net.conv(2, 3, pad=2, dilation=2)
    return net


def unet(size: int) -> Net:
    net = Net(1, size)
    skip = net.conv(2, 3, "x", pad=1)
    low = net.conv(2, 3, net.add("maxpool", kernel=2), pad=1)
    deep = net.conv(2, 3, net.add("maxpool", low, kernel=2), pad=1)
    up = net.conv(2, 3, net.add("concat", low, net.add("upsample", deep, scale=2, mode="bilinear")), pad=1)
    net.conv(2, 3, net.add("concat", skip, net.add("upconv", up, out=2, kernel=2, stride=2)), pad=1)
    return net


@pytest.mark.parametrize("build", [strided, unet])
def test_tiles_with_their_halo_give_the_whole_image(build: object) -> None:
    n = 128
    whole = build(n)
    (plan,) = tiling(theoretical(whole.graph())[whole.last])
    stride = theoretical(whole.graph())[whole.last].stride[0]
    torch.manual_seed(1)
    image = torch.rand(1, 1, n, dtype=torch.float64)
    expected = compute(whole, image)
    for start in range(0, n, 2 * plan.step):
        stop = min(start + 2 * plan.step, n)
        first, last = max(start - plan.before, 0), min(stop + plan.after, n)
        tile = compute(build(last - first), image[..., first:last])
        own = slice(int((start - first) / stride), int((stop - first) / stride))
        here = slice(int(start / stride), int(stop / stride))
        assert torch.equal(tile[..., own], expected[..., here]), start
    thin = max(plan.before, plan.after) - plan.step  # one step less is not enough
    first, last = n // 2 - min(thin, plan.before), n // 2 + plan.step + min(thin, plan.after)
    tile = compute(build(last - first), image[..., first:last])
    own = slice(int((n // 2 - first) / stride), int((n // 2 - first + plan.step) / stride))
    assert not torch.equal(tile[..., own], expected[..., int(n / 2 / stride) : int((n // 2 + plan.step) / stride)])


def compute(net: Net, image: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    return rf_oracle.run(net.graph(), image, local=False)[net.last]


def test_no_tiles_where_units_see_the_whole_image() -> None:
    net = Net(4, 16, 16)
    map_ = net.conv(4, 3, "x")
    net.add("mul", map_, net.add("globalavgpool", map_))
    fields = theoretical(net.graph())
    assert tiling(fields[map_]) == (Tiling(1, 0, 2), Tiling(1, 0, 2))
    assert tiling(fields[net.last]) is None


# -- centres -----------------------------------------------------------------------------------------------------------


def test_centres_of_units() -> None:
    resnet, vgg = theoretical(zoo("resnet50"))["layer4.2.conv3.conv"], theoretical(zoo("vgg16"))["conv5_3.conv"]
    assert (resnet.centre0, vgg.centre0) == ((0, 0), (Fraction(15, 2),) * 2)
    assert (resize_offset(resnet), resize_offset(vgg)) == ((Fraction(-31, 2),) * 2, (0, 0))


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("graph", "lost"), [(inception_v3(224), 3), (zoo("alexnet-torchvision", 230), 5)])
def test_pixels_at_the_border_that_nothing_reads(graph: Graph, lost: int) -> None:
    (found,) = unread(graph).values()
    (n, _) = graph.inputs[next(iter(graph.inputs))].spatial
    assert (found.before, found.after) == ((0, 0), (lost, lost))
    assert found.pixels == n * n - (n - lost) ** 2


def test_pixels_between_strides_that_nothing_reads() -> None:
    net = Net(1, 8, 8)
    net.conv(1, 1, "x", stride=2)
    (found,) = unread(net.graph()).values()
    assert (found.before, found.after, found.pixels) == ((0, 0), (1, 1), 48)


def test_dilation_that_fits_nowhere() -> None:
    """Chen et al. 2017 (DeepLabv3), section 3.3: rate 36 at output stride 8."""
    found = cut_windows(zoo("deeplabv3_resnet50", 513))
    assert {(cut.axis, cut.taps, cut.most) for cut in found} == {(0, 3, 2), (1, 3, 2)}
    assert len({cut.layer for cut in found}) == 1
    assert "rate36" in found[0].layer
    assert cut_windows(zoo("deeplabv3_resnet50", 585)) == ()  # 74 positions hold 2 * 36 + 1


def test_window_wider_than_its_map() -> None:
    net = Net(1, 2, 9)
    net.conv(1, 5, "x", pad=2, name="conv")
    assert cut_windows(net.graph()) == (CutWindow("conv", 0, 5, 2),)


def test_unproductive_layers() -> None:
    """A plain network's fields grow with depth; Richter et al. 2021 call a layer unproductive behind the border."""
    net = Net(1, 11, 40)
    for i in range(6):
        net.conv(1, [3, 1], name=f"tall{i}", pad=[1, 0])
    net.conv(1, [1, 3], name="wide")
    assert unproductive(net.graph()) == ("tall5",)
    assert saturated(net.graph()) is None


def test_shortcuts_keep_layers_productive() -> None:
    """ResNet-50 is feasible up from 75 pixels: what the last 3x3 convolution adds to the shortest path."""
    fields = theoretical(zoo("resnet50"))
    assert fields["layer4.2.conv2.conv"].shortest == (75, 75)
    assert unproductive(zoo("resnet50")) == ()
    assert unproductive(zoo("vgg16", 64))[0] == "conv4_3"  # 60 pixels enter conv4_2, 76 the next
    assert saturated(zoo("resnet50")) == "layer3.4.conv2"
    assert saturated(zoo("vgg16")) is None
