"""A spec has the pools that torch has: in 3-D it refuses more than in 1-D and 2-D."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.errors import CnnscopeError
from cnnscope.spec import load

POOLS = [
    (tag, rank, size, kernel, stride, pad, ceil)
    for tag, rank in product(("avgpool", "lppool", "maxpool"), (1, 2, 3))
    for size, kernel, stride, pad, ceil in product((2, 3, 5), (2, 3, 4), (1, 2), (0, 1, 2), (False, True))
    if tag != "lppool" or not pad
]


def torch_shape(
    tag: str, rank: int, size: int, kernel: int, stride: int, pad: int, ceil: bool
) -> tuple[int, ...] | None:
    name = {"avgpool": "avg_pool", "lppool": "lp_pool", "maxpool": "max_pool"}[tag]
    x = torch.rand(1, 1, *[size] * rank)
    try:
        function = getattr(F, f"{name}{rank}d")
        y = (
            function(x, 2, kernel, stride, ceil)
            if tag == "lppool"
            else function(x, kernel, stride, pad, ceil_mode=ceil)
        )
    except RuntimeError:
        return None
    return tuple(y.shape[1:])


def spec_shape(
    tag: str, rank: int, size: int, kernel: int, stride: int, pad: int, ceil: bool
) -> tuple[int, ...] | None:
    padded = f", pad: {pad}" if pad else ""
    layer = f"{tag}: {{kernel: {kernel}, stride: {stride}{padded}, ceil: {str(ceil).lower()}}}"
    text = f"cnnscope: 1\ninput: {{shape: {[1, *[size] * rank]}}}\nlayers: [{layer}]"
    try:
        return load("net.yaml", text=text).graph.nodes[-1].output.features
    except CnnscopeError as error:
        return None if error.diagnostics[0].code == "E301" else (-1,)


@pytest.mark.parametrize(("tag", "rank"), sorted({pool[:2] for pool in POOLS}))
def test_specs_refuse_what_torch_refuses(tag: str, rank: int) -> None:
    cases = [pool for pool in POOLS if pool[:2] == (tag, rank)]
    expected = [torch_shape(*pool) for pool in cases]
    assert None in expected
    assert [spec_shape(*pool) for pool in cases] == expected


HEAD = "cnnscope: 1\ninput: {shape: [1, 2, 8, 8]}\nlayers:\n"


def test_it_says_why() -> None:
    with pytest.raises(CnnscopeError) as caught:
        load("net.yaml", text=HEAD + "  - avgpool: {kernel: 3, stride: 1, pad: 1}")
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.message == (
        "torch refuses `avgpool` in 3-D where the input is smaller than the kernel: 2x8x8 for 3x3x3"
    )
    assert diagnostic.hint == "put `- pad` before it"
    assert diagnostic.span is not None


def test_the_hint_helps() -> None:
    graph = load("net.yaml", text=HEAD + "  - pad: 1\n  - avgpool: {kernel: 3, stride: 1}").graph
    assert graph.nodes[-1].output.features == (1, 2, 8, 8)
