"""Drawn arguments: shape, MACs and refusal agree with torch, and the module built computes the same numbers."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from torch_reference import random_weights, reference

from cnnscope.errors import ShapeError
from cnnscope.ir import Value
from cnnscope.nn.ops import module_of
from cnnscope.ops import REGISTRY

Drawn = tuple[tuple[int, ...], dict[str, Any]]
few = settings(max_examples=80)


@st.composite
def drawn(draw: st.DrawFn, arguments: dict[str, Any], *, extents: int = 8, ranks: tuple[int, ...] = (1, 2, 3)) -> Drawn:
    """An input shape without batch, and arguments: a strategy for each, ``(low, high)`` for one number per axis."""
    rank = draw(st.sampled_from(ranks))
    channels = draw(st.integers(1, 4))
    size = draw(st.lists(st.integers(1, extents), min_size=rank, max_size=rank))
    args = {}
    for name, bounds in arguments.items():
        per_axis = isinstance(bounds, tuple)
        values = st.lists(st.integers(*bounds), min_size=rank, max_size=rank) if per_axis else bounds
        args[name] = draw(values)
    return (channels, *size), {name: value for name, value in args.items() if value is not None}


def check(tag: str, shape: tuple[int, ...], args: dict[str, Any]) -> None:
    """Both accept with the same result and the same MACs, or both refuse."""
    x = (Value((1, *shape)),)
    read = REGISTRY[tag].read(args, len(shape) - 1)
    torch.manual_seed(0)
    tensor = torch.rand(1, *shape, dtype=torch.float64)
    try:
        op = read.bind(x)
        output = op.infer(x)
    except ShapeError:
        assert torch_refuses(read, x, tensor)
        return
    weights = random_weights(op, x)
    with FlopCounterMode(display=False) as counter:
        expected = reference(read, weights, [tensor], "map")
    assert output.shape == tuple(expected.shape)
    assert 2 * op.macs(x) == counter.get_total_flops()
    module = module_of(op, x).double().eval()
    module.load_state_dict(weights)
    with torch.no_grad():
        torch.testing.assert_close(module(tensor), expected)


def torch_takes(shape: tuple[int, ...], args: dict[str, Any]) -> bool:
    """Unlike its siblings torch's avg_pool3d wants an input no smaller than the kernel even where padding fills it."""
    return len(shape) < 4 or all(n >= k for n, k in zip(shape[1:], args["kernel"], strict=True))


def torch_refuses(op: Any, x: tuple[Value, ...], tensor: torch.Tensor) -> bool:
    try:
        reference(op, random_weights(op, x), [tensor], "map")
    except (RuntimeError, ValueError):
        return True
    return False


number = st.integers
modes = st.sampled_from(["zeros", "reflect", "replicate", "circular"])


@few
@given(drawn({
    "out": number(1, 4), "kernel": (1, 4), "stride": (1, 3), "dilation": (1, 3), "pad": (0, 4), "groups": number(1, 3),
    "bias": st.booleans(), "pad_mode": modes,
}))  # fmt: skip
def test_conv(case: Drawn) -> None:
    check("conv", *case)


@few
@given(drawn({
    "out": number(1, 2), "kernel": (1, 4), "stride": (1, 3), "dilation": (1, 2),
    "pad": st.sampled_from(["same", "half", "full", "valid"]),
}))  # fmt: skip
def test_conv_with_padding_words(case: Drawn) -> None:
    check("conv", *case)


@few
@given(drawn({
    "out": number(1, 4), "kernel": (1, 4), "stride": (1, 3), "dilation": (1, 3), "pad": (0, 3), "out_pad": (0, 3),
    "groups": number(1, 3), "bias": st.booleans(),
}, extents=5))  # fmt: skip
def test_upconv(case: Drawn) -> None:
    check("upconv", *case)


@few
@given(drawn({
    "out": number(1, 2), "kernel": (1, 5), "stride": (1, 4), "dilation": (1, 3),
    "pad": st.sampled_from(["same", "half", "full", "valid"]),
}, extents=5))  # fmt: skip
def test_upconv_with_padding_words(case: Drawn) -> None:
    check("upconv", *case)


@few
@given(drawn({"out": number(1, 2), "kernel": (1, 4), "stride": (1, 3), "low": (0, 2), "high": (0, 2)}, extents=5))
def test_upconv_with_uneven_padding(case: Drawn) -> None:
    shape, args = case
    pads = list(zip(args.pop("low"), args.pop("high"), strict=True))
    check("upconv", shape, args | {"pad": pads})


@few
@given(drawn({"kernel": (1, 4), "stride": (1, 4), "pad": (0, 3), "dilation": (1, 3), "ceil": st.booleans()}))
def test_maxpool(case: Drawn) -> None:
    check("maxpool", *case)


@few
@given(drawn({"kernel": (1, 4), "stride": (1, 4), "pad": (0, 3), "ceil": st.booleans(), "count_pad": st.booleans()}))
def test_avgpool(case: Drawn) -> None:
    assume(torch_takes(*case))
    check("avgpool", *case)


@few
@given(st.sampled_from(["maxpool", "avgpool"]), st.booleans(),
       drawn({"kernel": (2, 4), "stride": (1, 3), "low": (0, 2), "ceil": st.booleans()}))  # fmt: skip
def test_pools_with_uneven_padding(tag: str, count_pad: bool, case: Drawn) -> None:
    (channels, *size), args = case
    most = [kernel // 2 for kernel in args["kernel"]]
    pads = [(low, half - low) if low <= half else (half, 0) for low, half in zip(args.pop("low"), most, strict=True)]
    pads[0] = (0, most[0])
    size = [max(n, kernel) for n, kernel in zip(size, args["kernel"], strict=True)]
    check(tag, (channels, *size), args | {"pad": pads} | ({"count_pad": count_pad} if tag == "avgpool" else {}))


@few
@given(drawn({"kernel": (1, 4), "stride": (1, 4), "ceil": st.booleans(), "p": st.sampled_from([1, 2, 3])}))
def test_lppool(case: Drawn) -> None:
    assume(torch_takes(*case))
    check("lppool", *case)


@few
@given(drawn({"kernel": (1, 5), "stride": (1, 3), "pad": (0, 2), "pad_mode": modes}))
def test_blurpool(case: Drawn) -> None:
    check("blurpool", *case)


@few
@given(st.sampled_from(["adaptiveavgpool", "adaptivemaxpool"]), drawn({"out": (1, 9)}))
def test_adaptive_pools(tag: str, case: Drawn) -> None:
    check(tag, *case)


@few
@given(drawn({"pad": (0, 8), "pad_mode": modes}))
def test_pad(case: Drawn) -> None:
    check("pad", *case)


@few
@given(st.sampled_from(["nearest", "bilinear", "bicubic"]), st.booleans(), drawn({"scale": (1, 4)}))
def test_upsample_by_a_factor(mode: str, corners: bool, case: Drawn) -> None:
    shape, args = case
    check("upsample", shape, args | {"mode": mode, "align_corners": corners and mode != "nearest"})


@few
@given(st.sampled_from(["nearest", "bilinear", "bicubic"]), st.booleans(), drawn({"size": (1, 12)}))
def test_upsample_to_a_size(mode: str, corners: bool, case: Drawn) -> None:
    shape, args = case
    check("upsample", shape, args | {"mode": mode, "align_corners": corners and mode != "nearest"})
