"""Small networks that were once answered wrongly, each with its right answer: from torch, or worked out by hand."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from containers import Locked
from kinds import kind
from oracles import found, read
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by
from torch.nn.utils.parametrizations import weight_norm

import cnnscope
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph


def macs(graph: Graph) -> int:
    return found(graph).macs


def features(graph: Graph) -> tuple[int, ...]:
    return graph.value(graph.outputs[0]).features


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(source, **options)
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.message}; {diagnostic.hint}"


class Configured(nn.Module):
    def __init__(self, *, fail: bool) -> None:
        super().__init__()
        self.config, self.calls, self.conv, self.fail = Locked(width=4), Counter(a=3), nn.Conv2d(3, 4, 1), fail

    def forward(self, x: Tensor) -> Tensor:
        self.calls.update(a=1)
        dict.__setitem__(self.config, "width", 5)
        if self.fail:
            raise ValueError("on purpose")
        return self.conv(x)


@pytest.mark.parametrize("fail", [False, True])
def test_a_configuration_and_a_counter_are_left_alone(fail: bool) -> None:
    module = Configured(fail=fail)
    if fail:
        assert "on purpose" in refusal(module, input="3x8x8")
    else:
        graph = read(module)
        assert (macs(graph), found(graph).params) == (12 * 64, 16)
    assert (dict(module.config), module.calls) == ({"width": 4}, Counter(a=3))
    assert (type(module.config), type(module.calls)) == (Locked, Counter)


def recognised(m: Any, x: Tensor) -> Tensor:
    y = F.adaptive_avg_pool2d(m.conv(x), (6, 20)).flatten(1, 2)
    y.transpose_(1, 2)
    return m.head(m.lstm(y)[0])


def test_a_sequence_that_is_transposed_in_place() -> None:
    make = kind(recognised, conv=lambda: nn.Conv2d(1, 4, 3), lstm=lambda: nn.LSTM(24, 8, batch_first=True),
                head=lambda: nn.Linear(8, 2))  # fmt: skip
    graph = read(make(), "1x8x22")
    convolution, recurrence, head = 4 * 9 * 6 * 20, 20 * 4 * 8 * (24 + 8), 20 * 8 * 2
    assert convolution + recurrence + head == 25_120
    assert (macs(graph), features(graph)) == (25_120, (20, 2))


@pytest.mark.parametrize("batch", [1, 32])
def test_weights_that_are_computed_do_not_grow_with_the_batch(batch: int) -> None:
    graph = read(nn.Sequential(weight_norm(nn.Conv2d(64, 64, 3, padding=1))), "64x4x4")
    weight = 64 * 64 * 9 * 4
    assert summarize(graph, batch=batch).totals.activation_bytes == batch * 64 * 16 * 4 + 2 * weight


def test_a_position_table_counts_and_is_not_stored() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("position", torch.zeros(3, 16, 16), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.position

    graph = read(Table(), "3x16x16")
    assert summarize(graph).totals.buffers == 768
    assert [param.persistent for param in graph.params.values()] == [False]


def test_a_tensor_that_takes_the_size_of_another() -> None:
    make = kind(lambda m, x: m.conv(x.new().resize_as_(x).copy_(x)), conv=lambda: nn.Conv2d(3, 4, 3))
    assert macs(read(make())) == 4 * 27 * 36


def test_functions_without_a_meta_kernel() -> None:
    class Histogram(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.histc(x, bins=4).sum() + torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)

    graph = read(nn.Sequential(nn.Conv2d(3, 4, 3), Histogram()))
    assert (macs(graph), features(graph)) == (4 * 27 * 36, (4, 6, 6))


def test_training_for_quantization_reads_as_the_floats_it_is() -> None:
    import torch.ao.quantization as quantization

    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).train()
    net.qconfig = quantization.get_default_qat_qconfig("x86")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = read(quantization.prepare_qat(net))
    assert (macs(graph), found(graph).params) == (8 * 27 * 36, 224)
