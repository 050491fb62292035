"""Models that replace functions of torch: the numbers are those of what runs. Afterwards a function is as the model
left it, and a method of tensors that a run watches for sizes (``view``) is as it was before.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # as torch's own examples

from cnnscope.analysis.cost import known, node_costs
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module

PLACES: dict[str, tuple[Any, str]] = {
    "function": (torch, "relu"), "layer's function": (F, "conv2d"), "call": (nn.Module, "__call__"),
    "method": (Tensor, "view"),
}  # fmt: skip


class Patching(nn.Module):
    """Replaces a function of torch during its forward pass, by one that calls it."""

    def __init__(self, place: str, *, puts_back: bool = False) -> None:
        super().__init__()
        self.conv, self.place, self.puts_back = nn.Conv2d(3, 4, 3, padding=1), place, puts_back

    def forward(self, x: Tensor) -> Tensor:
        owner, name = PLACES[self.place]
        before = getattr(owner, name)
        setattr(owner, name, passing(before))
        y = torch.relu(self.conv(x)).view(x.shape[0], 4, -1)
        if self.puts_back:
            setattr(owner, name, before)
        return y


def passing(function: Callable[..., Any]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def macs_and_tags(module: nn.Module) -> tuple[int | None, list[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = from_module(module, parse_inputs(["3x8x8"]))
    return known(node_costs(graph).values()).macs, [node.op.tag for node in graph.nodes]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("puts_back", [True, False])
def test_what_a_model_replaces_during_its_run(place: str, puts_back: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name = PLACES[place]
    before = getattr(owner, name)
    monkeypatch.setattr(owner, name, before)  # puts it back after the test
    assert macs_and_tags(Patching(place, puts_back=puts_back)) == (4 * 27 * 64, ["conv", "relu", "view"])
    assert (getattr(owner, name) is before) == (puts_back or place == "method")


@pytest.mark.parametrize("place", PLACES)
def test_what_was_replaced_before_stays_replaced(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name = PLACES[place]
    replaced = passing(getattr(owner, name))
    monkeypatch.setattr(owner, name, replaced)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten())
    assert macs_and_tags(module)[0] == 4 * 27 * 64
    assert getattr(owner, name) is replaced
