"""Claims about shifts, flips and turns against networks run in torch on transformed images.

Every `exact` must hold, and where nothing is guaranteed a random network must show why.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from equivariance_oracle import TURNS, Measured, error, with_weights
from rf_networks import Net
from torch import Tensor

import cnnscope
from cnnscope.analysis.equivariance import Cause, Flip, Shift, Transform, Turn, equivariance
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph

ROUNDING = 1e-10
VISIBLE = 1e-6


def stack(*layers: tuple[str, dict[str, object]], size: tuple[int, int] = (24, 24), channels: int = 3) -> Graph:
    """A network of these layers, one behind the other, whose last is its output."""
    net = Net(channels, *size)
    for tag, args in layers:
        net.add(tag, **args)
    return with_weights(net, net.last)


def conv(kernel: object = 3, pad_mode: str = "circular", pad: object = "half", **args: object) -> tuple[str, dict]:
    return "conv", {"out": 4, "kernel": kernel, "pad": pad, "pad_mode": pad_mode, **args}


POOL: tuple[str, dict[str, object]] = ("maxpool", {"kernel": 2})
HEAD: list[tuple[str, dict[str, object]]] = [("globalavgpool", {}), ("flatten", {}), ("linear", {"out": 5})]


def output_error(graph: Graph, transform: Transform, seed: int = 0) -> float:
    """How far the output is from what equivariance demands."""
    found, measured = equivariance(graph), Measured(graph, seed)
    (motion,), (name,) = found.outputs, graph.outputs
    after = measured.transformed(transform)[name]
    found_error = error(motion, motion.predict(transform), transform, measured.plain[name], after)
    assert found_error is not None
    return found_error


# -- known answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [(4, 0), (0, -4), (8, 12), (1, 0), (2, 0), (0, 3), (6, 4)])
def test_circular_padding_and_global_pooling_are_exact_at_multiples_of_the_stride(by: tuple[int, int]) -> None:
    graph = stack(conv(), ("relu", {}), POOL, conv(), POOL, *HEAD)
    verdict = equivariance(graph).predict(Shift(by)).output
    multiple = all(pixels % 4 == 0 for pixels in by)
    assert verdict.claim == ("exact" if multiple else "not_guaranteed")
    assert (output_error(graph, Shift(by)) < ROUNDING) == multiple
    if not multiple:
        odd = any(pixels % 2 for pixels in by)
        assert verdict.cause == Cause("maxpool2" if odd else "maxpool4", "stride 2", 2 if odd else 4)


@pytest.mark.parametrize("by", [*product((0, 1, 2, 3), (0, 1)), (5, -7), (12, 4)])
def test_adaptive_polyphase_sampling_is_exact_at_every_shift(by: tuple[int, int]) -> None:
    graph = stack(conv(), ("relu", {}), ("aps", {"stride": 2}), conv(), ("aps", {"stride": 3}), *HEAD)
    assert equivariance(graph).predict(Shift(by)).output.claim == "exact"
    assert output_error(graph, Shift(by)) < ROUNDING


def test_polyphase_grids_are_not_divisible_again_by_a_fixed_stride() -> None:
    graph = stack(conv(), ("aps", {"stride": 2}), conv(stride=2), *HEAD)
    verdict = equivariance(graph).predict(Shift((2, 0))).output
    assert verdict.cause
    assert verdict.cause.reason == "stride 2 behind `aps1`, whose grid follows the content"
    assert max(output_error(graph, Shift((by, 0))) for by in range(1, 8)) > VISIBLE


BROKEN: dict[str, tuple[list[tuple[str, dict]], Shift, str, str]] = {
    "zero padding": ([conv(), conv(pad_mode="zeros"), *HEAD], Shift((4, 0)), "conv1", "zero padding"),
    "reflected": ([conv(pad_mode="reflect"), *HEAD], Shift((4, 4)), "conv0", "reflect padding"),
    "no padding": ([conv(pad=0), *HEAD], Shift((0, 4)), "conv0", "24 positions become 22"),
    "dense": ([conv(), ("flatten", {}), ("linear", {"out": 5})], Shift((4, 0)), "linear2",
              "a weight for each position"),
    "odd": ([conv(stride=2), conv(stride=2), conv(stride=2), conv(stride=2), *HEAD], Shift((0, 8)), "conv3",
            "3 positions are not divisible by its stride of 2"),
    "uneven": ([conv(), ("adaptiveavgpool", {"out": 7}), ("flatten", {}), ("linear", {"out": 3})], Shift((0, 1)),
               "adaptiveavgpool1", "7 windows over 24 positions are uneven"),
    "border": ([conv(), ("upsample", {"scale": 2, "mode": "bilinear"}), ("relu", {}), *HEAD], Shift((0, 4)),
               "upsample1", "repeats the edge beyond the border"),
    "cropped": ([conv(), ("crop", {"size": 20}), *HEAD], Shift((2, 4)), "crop1", "24 positions become 20"),
    "weights": ([conv(), ("layernorm", {"over": "all"}), *HEAD], Shift((2, 4)), "layernorm1",
                "a weight for each position"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_shifts_is_named_and_seen(name: str) -> None:
    layers, shift, layer, reason = BROKEN[name]
    graph = stack(*layers)
    verdict = equivariance(graph).predict(shift).output
    assert verdict.claim == "not_guaranteed"
    assert verdict.cause
    assert (verdict.cause.layer, verdict.cause.reason) == (layer, reason)
    assert output_error(graph, shift) > VISIBLE


def test_padding_by_an_op_of_its_own_is_followed() -> None:
    graph = stack(("pad", {"pad": 2, "pad_mode": "circular"}), conv(5, pad=0), POOL, *HEAD)
    assert equivariance(graph).predict(Shift((2, 6))).output.claim == "exact"
    assert output_error(graph, Shift((2, 6))) < ROUNDING
    pooled = stack(("pad", {"pad": 2, "pad_mode": "circular"}), *HEAD)
    verdict = equivariance(pooled).predict(Shift((2, 6))).output
    assert verdict.cause
    assert verdict.cause.reason == "pools the whole map: 28 positions that repeat every 24"
    assert output_error(pooled, Shift((2, 6))) > VISIBLE


def test_axes_are_told_apart() -> None:
    """A panorama wraps round horizontally alone."""
    sides = ("pad", {"pad": [0, 1], "pad_mode": "circular"})
    graph = stack(sides, conv(pad=[1, 0], pad_mode="zeros"), *HEAD)
    found = equivariance(graph)
    assert found.predict(Shift((0, 5))).output.claim == "exact"
    assert found.predict(Shift((5, 0))).output.claim == "not_guaranteed"
    assert output_error(graph, Shift((0, 5))) < ROUNDING < VISIBLE < output_error(graph, Shift((5, 0)))


# -- flips and turns ---------------------------------------------------------------------------------------------------


def symmetrised(weight: Tensor) -> Tensor:
    """The mean of a kernel's eight flips and turns."""
    turns = [weight.rot90(k, (-2, -1)) for k in range(4)]
    return torch.stack([*turns, *(turn.flip(-1) for turn in turns)]).mean(0)


def symmetric(graph: Graph) -> Measured:
    measured = Measured(graph)
    for tensor in measured.network.parameters():
        if tensor.dim() == 4:
            tensor.data.copy_(symmetrised(tensor.data))
    measured.plain = measured.run(measured.crop([0] * len(measured.size)))
    return measured


@pytest.mark.parametrize("size", range(29, 41))
@pytest.mark.parametrize("transform", TURNS, ids=str)
def test_a_symmetric_network_turns_where_its_grids_are_centred(size: int, transform: Transform) -> None:
    """Two convolutions 3x3 /2 with zero padding: exact at 29, 33 and 37 pixels alone."""
    zeros = [conv(stride=2, pad_mode="zeros", pad=1), ("relu", {}), conv(stride=2, pad_mode="zeros", pad=1), *HEAD]
    graph = stack(*zeros, size=(size, size))
    (motion,), measured = equivariance(graph).outputs, symmetric(graph)
    prediction = motion.predict(transform)
    got = measured.transformed(transform)[graph.outputs[0]]
    seen = error(motion, prediction, transform, measured.plain[graph.outputs[0]], got)
    assert seen is not None
    assert (prediction.verdict.claim, seen < ROUNDING) in (
        [("geometry_only", True)] if size in (29, 33, 37) else [("not_guaranteed", False)]
    )


@pytest.mark.parametrize("transform", TURNS, ids=str)
def test_weights_decide_where_the_geometry_fits(transform: Transform) -> None:
    graph = stack(conv(3), POOL, *HEAD)
    verdict = equivariance(graph).predict(transform).output
    assert (verdict.claim, verdict.cause) == ("geometry_only", Cause("conv0", "its weights decide", 0))
    assert output_error(graph, transform) > VISIBLE


@pytest.mark.parametrize("transform", TURNS, ids=str)
def test_pools_and_single_taps_are_symmetric_whatever_the_weights(transform: Transform) -> None:
    graph = stack(conv(1), POOL, ("aps", {"stride": 2}), ("blurpool", {"kernel": 3, "stride": 1, "pad_mode": "zeros"}),
                  ("upsample", {"scale": 2, "mode": "bilinear"}), ("lrn", {"size": 3}), conv(1))  # fmt: skip
    assert equivariance(graph).predict(transform).output.claim == "exact"
    assert output_error(graph, transform) < ROUNDING


def test_kernels_that_are_not_square_do_not_turn() -> None:
    found = equivariance(stack(conv([1, 7]), conv([7, 1]), *HEAD))
    assert found.predict(Flip((0, 1))).output.claim == "geometry_only"
    assert found.predict(Flip((0,))).output.cause == Cause("conv1", "its weights decide", 1)
    assert found.predict(Turn(1)).output.cause == Cause("conv0", "height and width are treated differently", 0)
    assert equivariance(stack(conv(), *HEAD, size=(24, 20))).predict(Turn(3)).output.cause == (
        Cause("x", "24x20 is no square", -1)
    )


# -- the interior ------------------------------------------------------------------------------------------------------


def test_published_shares_of_resnet_18_that_miss_the_border() -> None:
    """Of the positions two maps share, one stride apart: 94.7 %, 64.3 %, 27.8 % and nothing."""
    found = equivariance(cnnscope.load("resnet18").graph)
    layers = {"conv1": 2, "layer1.1.add": 4, "layer2.1.add": 8, "layer3.1.add": 16, "layer4.1.add": 32}
    shares = [found.predict(Shift((px, 0), wrap=False)).maps[layer].fraction for layer, px in layers.items()]
    assert [f"{100 * float(share):.1f}" for share in shares] == ["94.7", "64.3", "27.8", "0.0", "0.0"]
    assert f"{100 * float(found.layers[0].fraction):.1f}" == "94.7"


def test_the_interior_of_resnet_18_is_equal_to_the_last_bit() -> None:
    graph = cnnscope.load("resnet18", input=(3, 160, 160)).graph
    found, module = equivariance(graph), cnnscope.load(graph).module().eval()
    maps: dict[str, Tensor] = {}
    for name in ("conv1", "maxpool", "layer1.1.add", "layer2.0.add"):
        node = next(nodes[-1].name for row, nodes in graph.layers() if row == name)
        module.get_submodule(node).register_forward_hook(lambda *call, name=name: maps.__setitem__(name, call[2]))
    torch.manual_seed(0)
    canvas = torch.randn(1, 3, 176, 160)
    with torch.no_grad():
        module(canvas[:, :, 16:])
        before, maps = maps, {}
        module(canvas[:, :, :160])
    for name, plain in before.items():
        there = found.predict(Shift((16, 0), wrap=False)).maps[name]
        assert there.interior
        assert there.shift
        (top, bottom), (left, right) = there.interior
        inside = maps[name][:, :, top : bottom + 1, left : right + 1]
        up = there.shift[0]
        assert torch.equal(inside, plain[:, :, top - up : bottom + 1 - up, left : right + 1])
        moved = plain[:, :, : plain.shape[2] - up]
        assert (maps[name][:, :, up:] != moved).any(), "the border should differ"


# -- edges -------------------------------------------------------------------------------------------------------------


def test_no_image_is_refused() -> None:
    net = Net(7, kind="flat")
    net.add("linear", out=3)
    with pytest.raises(CnnscopeError, match="E308: `net` takes no image, so there is nothing to shift, flip or turn"):
        equivariance(net.graph())


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (Shift((1,)), "a shift of 1 axes for an image of 2"),
        (Flip((2,)), r"an image of 2 axes cannot be flipped along \(2,\)"),
    ],
)
def test_transforms_that_do_not_fit_are_refused(transform: Transform, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        equivariance(stack(conv())).predict(transform)


def test_sound_is_not_turned() -> None:
    net = Net(1, 30)
    net.add("conv", out=2, kernel=3)
    found = equivariance(net.graph())
    assert found.layers[0].quarter.claim == "not_guaranteed"
    with pytest.raises(ValueError, match="an image of one axis cannot be turned"):
        found.predict(Turn(1))


def test_no_shift_at_all_and_all_the_way_round_change_nothing() -> None:
    found = equivariance(stack(conv(pad_mode="zeros"), *HEAD))
    assert {found.predict(Shift(by)).output.claim for by in [(0, 0), (24, 0), (-24, 48)]} == {"exact"}
