"""Calls that change what a tensor of the model is: shapes in place, results in ``out``, replaced data. Shapes are
compared with torch's, MACs with torch's counter."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # as torch's own examples
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analysis.cost import known, node_costs
from cnnscope.analysis.summary import summarize
from cnnscope.ir import Graph
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module


class Net(nn.Module):
    """A function of the image, and a linear layer on what it returns."""

    def __init__(self, function: Callable[[Tensor], Tensor], features: int) -> None:
        super().__init__()
        self.function, self.head = function, nn.Linear(features, 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.function(x))


def check(function: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (4, 6, 8)) -> Graph:
    image = torch.rand(1, *shape)
    net = Net(function, function(image.clone()).shape[-1])
    with warnings.catch_warnings(), FlopCounterMode(display=False) as counter:
        warnings.simplefilter("ignore")
        want = net(image.clone())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = from_module(net, parse_inputs(["x".join(map(str, shape))]))
    (output,) = graph.outputs
    assert graph.value(output).shape == tuple(want.shape)
    costs = known(node_costs(graph).values())
    assert costs.macs == counter.get_total_flops() // 2
    assert not any(node.op.tag == "unsupported" for node in graph.nodes)
    return graph


def changed(name: str, *args: Any) -> Callable[[Tensor], Tensor]:
    def function(x: Tensor) -> Tensor:
        y = x * 2
        getattr(y, name)(*args)
        return y

    return function


@pytest.mark.parametrize(
    "function",
    [
        changed("transpose_", 1, 2), changed("transpose_", 1, -1), changed("swapaxes_", 2, 3),
        changed("swapdims_", 2, 3), changed("unsqueeze_", -1), changed("unsqueeze_", 1), changed("squeeze_"),
        changed("squeeze_", 0), changed("squeeze_", 1), lambda x: x.flatten(1).mul(2).t_().t_(),
        lambda x: (x + 1).resize_(1, 2, 6, 8), lambda x: (x + 1).resize_(2, 96), changed("detach_"),
    ],
)  # fmt: skip
def test_a_shape_that_changes_in_place(function: Callable[[Tensor], Tensor]) -> None:
    check(function)


class Crnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(24, 8, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        y = F.adaptive_avg_pool2d(x, (6, 20)).flatten(1, 2)
        y.transpose_(1, 2)
        return self.lstm(y)[0]


def test_a_recurrent_layer_sees_the_axis_that_was_moved_in_place() -> None:
    graph = from_module(Crnn(), parse_inputs(["4x6x22"]))
    (output,) = graph.outputs
    assert graph.value(output).shape == (1, 20, 8)
    assert known(node_costs(graph).values()).macs == 20 * 4 * 8 * (24 + 8)


def test_a_view_made_before_goes_on_to_show_the_old_shape() -> None:
    def function(x: Tensor) -> Tensor:
        y = x * 2
        first = y[:, 0]
        y.transpose_(1, 3)
        y.mul_(3)
        return y.sum(1) + first.sum(1, keepdim=True).transpose(1, 2)

    check(function, (4, 6, 6))


def test_a_write_to_a_tensor_whose_shape_changed_reaches_its_views() -> None:
    """The bias reaches the output through the view only."""

    def function(x: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        part = y[:, 0]
        y.transpose_(2, 3)
        y.add_(x.transpose(2, 3))
        return part

    graph = check(function)
    read = {name for node in graph.nodes for name in node.inputs}
    assert set(graph.inputs) <= read


def constants_changed(x: Tensor) -> Tensor:
    mask = torch.ones(x.shape[2:])
    row = mask[0]
    mask.unsqueeze_(0).transpose_(1, 2)
    return x * mask.transpose(1, 2) + row


def into_a_view(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    torch.add(x[:, :2], 1, out=y[:, 2:])
    return y


def into_two(x: Tensor) -> Tensor:
    values, indices = torch.empty(0), torch.empty(0, dtype=torch.int64)
    torch.max(x, 1, out=(values, indices))
    return values + indices


def into_another_type(x: Tensor) -> Tensor:
    y = torch.empty(x.shape, dtype=torch.float64)
    torch.add(x, 1, out=y)
    return y.float()


def into(function: Callable[..., Any], *others: Any) -> Callable[[Tensor], Tensor]:
    def call(x: Tensor) -> Tensor:
        y = x.new_empty(0)
        function(x, *others, out=y)
        return y

    return call


@pytest.mark.parametrize(
    "function",
    [
        constants_changed, into_a_view, into_two, into_another_type, into(torch.add, 2.0), into(torch.abs),
        into(torch.softmax, 1), into(torch.matmul, torch.ones(8, 3)), into(torch.sum, 1), into(torch.cumsum, 2),
        lambda x: torch.cat([x, x], 1, out=torch.empty(0)), lambda x: torch.stack([x, x], 1, out=torch.empty(0)),
        into(torch.mul, torch.ones(8)), into(torch.clamp, 0, 1),
    ],
)  # fmt: skip
def test_results_in_out(function: Callable[[Tensor], Tensor]) -> None:
    check(function)


def other_data(x: Tensor) -> Tensor:
    y = x * 2
    y.data = x[:, :, :3, :5].contiguous()
    return y


def resized_like(x: Tensor) -> Tensor:
    y = x.new()
    y.resize_as_(x).copy_(x)
    return y


def set_to(x: Tensor) -> Tensor:
    y = x * 2
    y.set_((x + 1)[:, :2].contiguous())
    return y


@pytest.mark.parametrize("function", [other_data, resized_like, set_to])
def test_another_storage(function: Callable[[Tensor], Tensor]) -> None:
    check(function)


class OwnTensors(nn.Module):
    """Changes its own parameter and buffer while it runs."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name, self.weight = name, nn.Parameter(torch.ones(8, 3))
        self.register_buffer("table", torch.ones(8, 3))

    def forward(self, x: Tensor) -> Any:
        table = getattr(self, self.name)
        table.data = torch.ones(3, 8)
        return x @ table.t()


@pytest.mark.parametrize("name", ["weight", "table"])
def test_own_tensors_are_changed_in_a_copy_only(name: str) -> None:
    module = OwnTensors(name)
    before = getattr(module, name)
    with pytest.warns(UserWarning, match="it replaces its weights"):
        graph = from_module(module, parse_inputs(["4x6x8"]))
    assert graph.value(graph.outputs[0]).shape == (1, 4, 6, 3)
    assert getattr(module, name) is before
    assert before.shape == (8, 3)


class Reshapes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.ones(3, 8))

    def forward(self, x: Tensor) -> Any:
        self.table.t_()
        return x @ self.table


def test_the_shape_of_an_own_buffer_changes_in_a_copy_only() -> None:
    module = Reshapes()
    with pytest.warns(UserWarning, match="it changes their shapes: `t`"):
        graph = from_module(module, parse_inputs(["4x6x8"]))
    assert graph.value(graph.outputs[0]).shape == (1, 4, 6, 3)
    assert graph.params["table"].shape == (3, 8)
    assert module.table.shape == (3, 8)


class Assigning(nn.Module):
    """A 5x5 convolution, and an assignment to a part of what it makes."""

    def __init__(self, assign: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.assign = nn.Conv2d(3, 4, 5, padding=2), assign

    def forward(self, x: Tensor) -> Any:
        return self.assign(self.conv(x))


def pasted(y: Tensor) -> Tensor:
    z = torch.zeros_like(y)
    z[:, :, 2:6, 2:6] = y[:, :, 2:6, 2:6]
    return z


def masked(y: Tensor) -> Tensor:
    y[y < 0] = 0
    return y


def test_the_field_of_a_convolution_is_kept_behind_a_slice_assignment() -> None:
    row = summarize(from_module(Assigning(pasted), parse_inputs(["3x16x16"]))).rows[-1]
    assert row.receptive_field is not None
    assert row.receptive_field.size == (5, 5)


def test_masked_assignment_has_an_unknown_field_and_the_work_of_the_comparison() -> None:
    graph = from_module(Assigning(masked), parse_inputs(["3x16x16"]))
    (output,) = graph.outputs
    assert (graph.value(output).shape, graph.value(output).batch_axis) == ((1, 4, 16, 16), 0)
    summary = summarize(graph)
    assert summary.rows[-1].receptive_field is None
    assert summary.totals.macs == 4 * 75 * 256
    assert summary.totals.flops == 2 * 4 * 75 * 256 + 1024 + 1024  # products, bias, comparisons
