"""Values of the image that leave torch and come back (through NumPy, through lists) are not constants."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cnnscope.analysis.summary import Summary, summarize
from cnnscope.ir import Graph
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module


class Between(nn.Module):
    """A function of all values between two convolutions."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.function, self.last = nn.Conv2d(3, 4, 3), function, nn.Conv2d(4, 2, 3)
        self.mean = torch.ones(1, 4, 1, 1)

    def forward(self, x: Tensor) -> Any:
        return self.last(self.function(self.first(x)) - self.mean)


def read(function: Callable[[Tensor], Tensor]) -> tuple[Graph, Summary]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = from_module(Between(function), parse_inputs(["3x12x12"]))
    return graph, summarize(graph)


def doubled_in_place(x: Tensor) -> Tensor:
    values = x.numpy()
    values *= 2
    return torch.from_numpy(values)


CHANGED: dict[str, Callable[[Tensor], Tensor]] = {
    "array": lambda x: torch.from_numpy(x.detach().numpy() * 2),
    "array of an array": lambda x: torch.as_tensor(np.sort(np.asarray(x), axis=-1)),
    "list": lambda x: torch.tensor([[[[2 * v for v in row] for row in m] for m in image] for image in x.tolist()]),
    "in place": doubled_in_place,
    "on the way": lambda x: torch.from_numpy(np.flip((x * 2).cpu().numpy(), 2).copy()) + 1,
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_comes_back_changed_depends_on_what_was_read(name: str) -> None:
    graph, summary = read(CHANGED[name])
    (unknown,) = summary.unsupported
    node = graph.node(unknown)
    assert node.op.tag == "unsupported"
    assert node.inputs
    assert graph.value(graph.outputs[0]).batch_axis == 0
    assert summary.rows[-1].receptive_field is None
    assert summary.rows[-1].cost.macs == 2 * 36 * 64
    assert summary.totals.partial


UNCHANGED: dict[str, Callable[[Tensor], Tensor]] = {
    "array": lambda x: torch.from_numpy(x.numpy()), "list": lambda x: torch.tensor(x.tolist()),
    "copy": lambda x: torch.tensor(np.array(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_comes_back_as_it_was_is_what_was_read(name: str) -> None:
    _, summary = read(UNCHANGED[name])
    _, expected = read(lambda x: x)
    assert summary.unsupported == ()
    assert summary.rows[-1].receptive_field == expected.rows[-1].receptive_field is not None
    assert summary.totals.macs == expected.totals.macs


def test_constants_that_calls_of_torch_make_stay_constants() -> None:
    def shifted(x: Tensor) -> Tensor:
        count = len(x.tolist())
        return x + torch.zeros(count, 4, 1, 1) + torch.arange(10.0)

    _, summary = read(shifted)
    _, expected = read(lambda x: x)
    assert summary.unsupported == ()
    assert summary.rows[-1].receptive_field == expected.rows[-1].receptive_field
