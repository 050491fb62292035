"""Claims about torch modules as they are: constants, computed weights, functions that look at the order of things."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.analysis.equivariance import Equivariance, Shift, equivariance
from cnnscope.ir import Graph, Node, Value
from cnnscope.ops.generic import Scan

SIZE = 16


class Net(nn.Module):
    """A circular convolution, something done to its maps, and the mean of what comes out."""

    def __init__(self, between: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular")
        self.scale = nn.Parameter(torch.rand(8, 1, 1))
        self.places = nn.Parameter(torch.rand(1, 8, SIZE, SIZE))
        self.mix = nn.Parameter(torch.rand(8, 8))
        self.token_mix = nn.Parameter(torch.rand(SIZE * SIZE, SIZE * SIZE))
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.between(self, torch.relu(self.conv(x)))


def tokens(y: Tensor) -> Tensor:
    return y.flatten(2).transpose(1, 2)


def windows(y: Tensor) -> Tensor:
    """Maxima of windows of 4x4 pixels, by reshaping."""
    return y.reshape(len(y), 8, SIZE // 4, 4, SIZE // 4, 4).amax((3, 5)).mean((2, 3))


WAVE = torch.sin(torch.arange(SIZE, dtype=torch.float32))
EVERYWHERE: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "layer scale": lambda net, y: (y * net.scale).mean((2, 3)),
    "a scalar": lambda net, y: (2.5 * y).relu().amax((2, 3)),
    "channels last": lambda net, y: nn.functional.layer_norm(y.permute(0, 2, 3, 1), (8,)).mean((1, 2)),
    "a matrix over channels": lambda net, y: (tokens(y) @ net.mix).relu().mean(1),
    "softmax over positions": lambda net, y: (y.flatten(2).softmax(2) * y.flatten(2)).sum(2),
    "a gate": lambda net, y: (y * y.mean((2, 3), keepdim=True).sigmoid()).amax((2, 3)),
    "rolled": lambda net, y: torch.roll(y, (3, 5), (2, 3)).square().mean((2, 3)),
}
NOWHERE: dict[str, Callable[[Net, Tensor], Tensor]] = {
    "a wave": lambda net, y: (y * WAVE).mean((2, 3)),
    "a parameter for each position": lambda net, y: (y * net.places).mean((2, 3)),
    "the place of the maximum": lambda net, y: y.flatten(2).argmax(2).float(),
    "a running sum": lambda net, y: y.cumsum(3).square().mean((2, 3)),
    "a triangle": lambda net, y: torch.tril(y).mean((2, 3)),
    "a matrix over positions": lambda net, y: (y.flatten(2) @ net.token_mix).relu().amax(2),
    "a row": lambda net, y: y[:, :, 3].mean(2),
}


def measure(net: Net, by: tuple[int, int]) -> float:
    torch.manual_seed(1)
    x = torch.randn(1, 3, SIZE, SIZE)
    with torch.no_grad():
        plain, shifted = net(x), net(torch.roll(x, by, (2, 3)))
    return float((plain - shifted).abs().max() / plain.abs().max())


def analysed(between: Callable[[Net, Tensor], Tensor]) -> tuple[Net, Equivariance]:
    torch.manual_seed(0)
    net = Net(between).eval()
    return net, cnnscope.load(net, input=(3, SIZE, SIZE)).equivariance().found


@pytest.mark.parametrize("name", EVERYWHERE)
def test_what_treats_positions_alike_stays_exact(name: str) -> None:
    net, found = analysed(EVERYWHERE[name])
    assert found.predict(Shift((3, 5))).output.claim == "exact"
    assert measure(net, (3, 5)) < 1e-5


@pytest.mark.parametrize("name", NOWHERE)
def test_what_tells_positions_apart_is_noticed(name: str) -> None:
    net, found = analysed(NOWHERE[name])
    assert found.predict(Shift((3, 5))).output.claim == "not_guaranteed"
    assert measure(net, (3, 5)) > 1e-3


@pytest.mark.parametrize(("by", "exact"), [((4, 8), True), ((2, 0), False), ((0, 3), False)])
def test_windows_by_reshaping_have_a_stride(by: tuple[int, int], exact: bool) -> None:
    net, found = analysed(lambda net, y: windows(y))
    verdict = found.predict(Shift(by)).output
    assert verdict.claim == ("exact" if exact else "not_guaranteed")
    assert (measure(net, by) < 1e-5) == exact


def test_an_op_without_a_rule_makes_what_follows_unknown() -> None:
    def gathered(net: Net, y: Tensor) -> Tensor:
        return nn.functional.grid_sample(y, y.new_zeros(1, 4, 4, 2) + y.mean(), align_corners=False).mean((2, 3))

    _, found = analysed(gathered)
    verdict = found.predict(Shift((1, 0))).output
    assert verdict.claim == "not_guaranteed"
    assert verdict.cause
    assert verdict.cause.reason == "no rule covers it"
    unknown = [motion for motion in found.layers if motion.unknown]
    assert unknown
    assert all(motion.interior is None for motion in unknown)


@pytest.mark.parametrize(("fn", "claim"), [("softmax", "exact"), ("unit norm", "exact"), ("cumsum", "not_guaranteed")])
def test_functions_along_an_axis_by_name(fn: str, claim: str) -> None:
    x = Value((1, 2, 6, 6))
    node = Node("scan", Scan(fn, (2,)), ("x",), x)
    found = equivariance(Graph("net", {"x": x}, (node,), ("scan",)))
    assert found.predict(Shift((1, 1))).output.claim == claim
