"""Exact receptive fields against automatic differentiation: no unit of any layer may differ."""

from __future__ import annotations

from typing import Any

import pytest
import rf_oracle
from hypothesis import given, settings
from rf_networks import Net
from rf_random import networks

from cnnscope.analysis.receptive_field.exact import Exact, Range, coverage, exact, influence, touched
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph


def assert_exact(graph: Graph, layers: list[str], *, local: bool) -> None:
    answers = exact(graph)
    for layer in layers:
        for position, box in rf_oracle.fields(graph, layer, local=local).items():
            assert answers.box(layer, position, local=local) == box, (layer, position)


def last_three(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes[-3:]]


@given(networks())
@settings(max_examples=100)
def test_random_networks(graph: Graph) -> None:
    assert_exact(graph, last_three(graph), local=False)


@given(networks())
@settings(max_examples=100)
def test_local_fields_of_random_networks(graph: Graph) -> None:
    assert_exact(graph, last_three(graph), local=True)


@given(networks(most=12))
@settings(max_examples=3000)
@pytest.mark.slow
@pytest.mark.parametrize("local", [False, True])
def test_many_random_networks(local: bool, graph: Graph) -> None:
    assert_exact(graph, last_three(graph), local=local)


# -- networks by hand --------------------------------------------------------------------------------------------------


def residual() -> Net:
    net = Net(3, 13, 17)
    stem = net.conv(4, 3, "x", stride=2, pad=1)
    branch = net.conv(4, 3, net.conv(4, 1, stem), stride=2, pad=1)
    shortcut = net.conv(4, 1, stem, stride=2)
    net.add("relu", net.add("add", branch, shortcut))
    return net


def squeeze_excite() -> Net:
    net = Net(4, 9, 9)
    map_ = net.conv(4, 5, "x", pad=2)
    gate = net.add("sigmoid", net.conv(4, 1, net.conv(2, 1, net.add("globalavgpool", map_))))
    net.add("mul", map_, gate)
    return net


def shuffle_unit() -> Net:
    net = Net(4, 12, 12)
    left, right = net.add("slice", "x", stop=2), net.add("slice", "x", start=2)
    worked = net.conv(2, 3, net.conv(2, 1, right), pad=1, groups=2)
    net.add("shuffle", net.add("concat", left, worked), groups=2)
    left = net.add("slice", net.last, stop=2)
    net.conv(2, 3, left, pad=1)
    return net


def unet() -> Net:
    net = Net(1, 20, 20)
    skip = net.conv(2, 3, net.conv(2, 3, "x"))
    low = net.conv(2, 3, net.conv(2, 3, net.add("maxpool", skip, kernel=2)))
    up = net.add("upconv", low, out=2, kernel=2, stride=2)
    net.conv(2, 3, net.add("concat", net.add("crop", skip, size=8), up))
    return net


def padding_alone() -> Net:
    """Units that see nothing but padding in one axis, joined with units that see something."""
    net = Net(2, 6, 6)
    ring = net.conv(2, 1, "x", pad=[0, 1])
    wide = net.conv(2, [1, 3], "x", pad=[0, 2])
    net.conv(2, 3, net.add("add", ring, wide), pad=1)
    return net


def atrous() -> Net:
    net = Net(2, 9, 9)
    paths = [net.conv(2, 3, "x", pad=rate, dilation=rate) for rate in (2, 4, 12)]
    net.conv(2, 1, net.add("concat", *paths))
    return net


def decoder() -> Net:
    net = Net(2, 12, 12)
    low = net.add("avgpool", net.conv(4, 3, "x", stride=2, pad=1), kernel=2)
    up = net.add("upsample", low, scale=2, mode="bilinear")
    net.conv(2, 3, net.add("upsample", up, size=13, mode="bilinear", align_corners=True), pad=1)
    return net


def vit() -> Net:
    net = Net(1, 12, 8)
    patches = net.add("classtoken", net.add("tokens", net.conv(4, 4, "x", stride=4)))
    net.add("add", patches, net.add("attention", net.add("layernorm", patches), heads=1))
    return net


def grouped() -> Net:
    """Groups that see different things, told apart again behind the grouped convolution."""
    net = Net(2, 9, 9)
    net.conv(4, 1, net.add("concat", "x", net.conv(2, 3, "x", pad=1)), groups=2)
    net.conv(2, 1, net.add("slice", stop=2))
    return net


def dilated_stack() -> Net:
    net = Net(1, 30)
    for rate in (2, 2, 2):
        net.conv(1, 3, net.last, dilation=rate)
    return net


HAND = [residual, squeeze_excite, shuffle_unit, unet, padding_alone, atrous, decoder, vit, grouped, dilated_stack]


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("build", HAND)
def test_networks_by_hand(build: Any, local: bool) -> None:
    graph = build().graph()
    assert_exact(graph, [node.name for node in graph.nodes], local=local)


def test_dense_layer_sees_the_image_and_has_no_local_field() -> None:
    net = Net(1, 8, 8)
    net.add("linear", net.add("flatten", net.conv(2, 3, "x")), out=3, name="fc")
    answers = exact(net.graph())
    assert answers.box("fc", ()) == ((0, 7), (0, 7))
    assert answers.box("fc", (), local=True) is None
    assert answers.range("fc", local=True) is None


def test_flat_features_keep_their_windows_while_each_is_one_pixel() -> None:
    """LeNet-5: C5 is 1x1, so a layer behind the flatten still has the 32x32 window."""
    net = Net(1, 32, 32)
    for out, kernel in ((6, 5), (16, 5)):
        net.add("avgpool", net.conv(out, kernel, net.last), kernel=2)
    net.add("linear", net.add("flatten", net.conv(120, 5, net.last)), out=84, name="f6")
    assert exact(net.graph()).box("f6", (), local=True) == ((0, 31), (0, 31))


# -- pixel by pixel ----------------------------------------------------------------------------------------------------


@given(networks())
@settings(max_examples=60)
def test_touched_pixels_are_those_with_a_gradient(graph: Graph) -> None:
    for local in (False, True):
        for position, mask in rf_oracle.touched(graph, graph.nodes[-1].name, local=local).items():
            found = touched(graph, graph.nodes[-1].name, position, local=local)["x"]
            assert (found == mask.numpy()).all(), position


@given(networks())
@settings(max_examples=60)
def test_touched_pixels_span_the_box(graph: Graph) -> None:
    answers = exact(graph)
    for layer in last_three(graph):
        position = tuple(n // 2 for n in graph.value(layer).spatial)
        found = coverage(graph, layer, position)
        assert (found["x"].box if found else None) == answers.box(layer, position)


@pytest.mark.parametrize(
    ("rates", "lines", "fraction"), [((2, 2, 2), 7, 49 / 169), ((1, 2, 3), 13, 1.0), ((1, 2, 4), 15, 1.0)]
)
def test_gridding(rates: tuple[int, ...], lines: int, fraction: float) -> None:
    """Wang et al. 2018, section 3.2: equal rates leave holes, a sawtooth of rates does not."""
    net = Net(1, 31, 31)
    for rate in rates:
        net.conv(1, 3, net.last, pad="half", dilation=rate)
    found = coverage(net.graph(), net.last, (15, 15))["x"]
    assert found.lines == (lines, lines)
    assert found.fraction == pytest.approx(fraction)


def test_influence_is_the_gradient_of_averages() -> None:
    """A mean over 3, then a mean over 2 at stride 2: weights 1 2 2 1 of 6."""
    net = Net(1, 12)
    net.conv(1, 2, net.conv(1, 3, "x"), stride=2)
    (flow,) = influence(net.graph(), net.last, (1,)).values()
    assert (flow * 6).round(9).tolist() == [0, 0, 1, 2, 2, 1, 0, 0, 0, 0, 0, 0]


@given(networks())
@settings(max_examples=40)
def test_influence_is_where_pixels_are_touched_and_at_most_one(graph: Graph) -> None:
    layer = graph.nodes[-1].name
    position = tuple(n // 2 for n in graph.value(layer).spatial)
    flow, mask = influence(graph, layer, position), touched(graph, layer, position, local=True)
    assert flow.keys() == mask.keys()
    for name in flow:
        assert ((flow[name] > 0) == mask[name]).all()
        assert flow[name].sum() <= 1 + 1e-9


# -- questions that have no answer -------------------------------------------------------------------------------------


def answers() -> Exact:
    net = Net(1, 6, 6)
    net.conv(1, 3, "x", name="conv1")
    return exact(net.graph())


@pytest.mark.parametrize(
    ("layer", "position", "code", "message"),
    [
        ("conv", (0, 0), "E205", "no layer is called `conv`"),
        ("conv1", (0, 4), "E203", "`conv1` has 4x4 positions, and 0,4 is none of them"),
        ("conv1", (0, -1), "E203", "`conv1` has 4x4 positions, and 0,-1 is none of them"),
        ("conv1", (0,), "E203", "a position in `conv1` takes 2 numbers (4x4), not 1"),
    ],
)
def test_no_such_unit(layer: str, position: tuple[int, ...], code: str, message: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        answers().box(layer, position)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (code, message)


def test_the_nearest_name_is_proposed() -> None:
    with pytest.raises(CnnscopeError) as caught:
        answers().box("conv", (0, 0))
    assert caught.value.diagnostics[0].hint == "did you mean `conv1`?"


def test_range_is_over_positions() -> None:
    net = Net(1, 5, 9)
    net.conv(1, [3, 5], "x", pad=[1, 2])
    assert exact(net.graph()).range(net.last) == Range((2, 3), (3, 5))


def test_an_axis_too_long_to_follow_is_refused_before_memory_is() -> None:
    from cnnscope.analysis.receptive_field.exact import exact
    from cnnscope.errors import CnnscopeError
    from cnnscope.spec import load

    spec = "cnnscope: 1\nname: x\ninput: {shape: [1, 1000000000]}\nlayers: [conv: {out: 1, kernel: 3}]\n"
    with pytest.raises(CnnscopeError, match="E307: `input` has 1,000,000,000 positions along an axis"):
        exact(load("long.yaml", text=spec).graph)
