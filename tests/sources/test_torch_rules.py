"""Functions of torch that have rules: shapes as torch finds them, MACs as torch counts them, nothing unsupported. What
their outputs read is compared with the gradient in ``tests/ops/test_traced_reads.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.nn import functional as F  # noqa: N812  # as torch's own examples
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analysis.summary import Summary, summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.ops.norm import LRN
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch import rules
from cnnscope.sources.torch.module import from_module


class Net(nn.Module):
    """A convolution and a function of its 4 maps of 6x6."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.conv(x))


def traced(module: nn.Module) -> tuple[Graph, Summary, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        graph = from_module(module, parse_inputs(["3x8x8"]))
    notes = [str(w.message) for w in caught if "ran for real" in str(w.message)]
    return graph, summarize(graph), notes


def pooled_and_back(x: Tensor) -> Tensor:
    return F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)


def write_half(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :2] = x[:, 2:]
    return y


def clear_diagonal(x: Tensor) -> Tensor:
    y = x * 1
    y.diagonal(dim1=2, dim2=3).fill_(0)
    return y


ALWAYS_SHAPED: dict[str, Callable[[Tensor], Tensor]] = {
    "max unpool": pooled_and_back,
    "max unpool 3d": lambda x: F.max_unpool3d(*F.max_pool3d(x, (1, 2, 2), return_indices=True), (1, 2, 2)),
    "fractional max pool": lambda x: F.fractional_max_pool2d(x, 2, output_size=3),
    "fractional max pool 3d": lambda x: F.fractional_max_pool3d(x[None], 2, output_size=2),
    "distances of many": lambda x: torch.cdist(x.flatten(2).mT, torch.ones(30, 4)),
    "distances of many, with one another": lambda x: torch.cdist(x.flatten(2).mT, x.flatten(2).mT),
    "vectors of limited norm": lambda x: F.embedding(torch.tensor([1, 3]), x[0, :, :, 0] * 1, max_norm=1.0),
    "bags of limited norm": lambda x: F.embedding_bag(torch.tensor([[1, 3]]), x[0, :, :, 0] * 1, max_norm=1.0),
    "everything normalised": lambda x: F.layer_norm(x[0, 0], x[0, 0].shape),
    "a range of one number": lambda x: F.hardtanh(x, 0.0, 0.0),
    "the one place of a number": lambda x: x.sum().index_select(0, torch.tensor([0])),
    "attention to what is broadcast": lambda x: F.scaled_dot_product_attention(
        x.flatten(2), torch.ones(4, 2, 7, 36).transpose(0, 1)[:, :1] * 1, torch.ones(2, 1, 7, 5)
    ),
    "flips": lambda x: x.fliplr() + x.flipud(),
    "vector product": lambda x: torch.addr(x[0, 0], x[0, 0, 0], x[0, 0, 1]),
    "distances": lambda x: torch.cdist(x, x),
    "grid with a constant": lambda x: torch.meshgrid(x[0, 0, 0], torch.arange(4.0), indexing="ij")[1] * x.sum(),
    "list as index": lambda x: x[:, [0, 2]],
    "slice scatter": lambda x: x.slice_scatter(x[:, :1], 1, 2, 3),
    "select scatter": lambda x: x.select_scatter(x[:, 0], 1, 2),
    "diagonal scatter": lambda x: x[0, 0].diagonal_scatter(x[0, 0, 0]),
    "unbatched convolution": lambda x: F.conv2d(x[0], torch.ones(2, 4, 3, 3), stride=2, padding=1),
    "unbatched transposed convolution": lambda x: F.conv_transpose2d(x[0], torch.ones(4, 2, 3, 3), torch.ones(2)),
    "unbatched 3d convolution": lambda x: F.conv3d(x, torch.ones(2, 1, 2, 2, 2)),
    "real transform and back": lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * torch.ones(6, 4)),
    "real part": lambda x: torch.fft.rfft2(x).real,
    "imaginary part": lambda x: torch.fft.rfft(x).imag,
    "complex as real": lambda x: torch.view_as_real(torch.fft.rfft(x)),
    "real as complex": lambda x: torch.view_as_complex(x.unflatten(3, (3, 2))).abs(),
    "conjugate": lambda x: torch.fft.rfft(x).conj().real,
    "polar": lambda x: torch.polar(x, x).abs(),
    "pointwise": lambda x: torch.special.erfcx(x) + torch.ldexp(x, torch.tensor(2)) + x.signbit(),
    "mse": lambda x: F.mse_loss(x, torch.zeros(1, 4, 6, 6)),
    "l1, none": lambda x: F.l1_loss(x, x * 2, reduction="none"),
    "smooth l1": lambda x: F.smooth_l1_loss(x, x * 2, reduction="sum"),
    "huber": lambda x: F.huber_loss(x, x * 2, delta=0.5),
    "binary": lambda x: F.binary_cross_entropy(x.sigmoid(), torch.ones(1, 4, 6, 6)),
    "binary with logits": lambda x: F.binary_cross_entropy_with_logits(x, torch.ones(1, 4, 6, 6)),
    "cross entropy": lambda x: F.cross_entropy(x, torch.zeros(1, 6, 6, dtype=torch.long)),
    "cross entropy, none": lambda x: F.cross_entropy(x[:, :, 0, 0], torch.tensor([1]), reduction="none"),
    "margin": lambda x: F.multi_margin_loss(x[:, :, 0, 0], torch.tensor([1])),
    "label margin": lambda x: F.multilabel_margin_loss(x[:, :, 0, 0], torch.tensor([[1, 0, -1, -1]])),
    "soft margin": lambda x: F.soft_margin_loss(x, torch.ones(1, 4, 6, 6)),
    "divergence": lambda x: F.kl_div(x.log_softmax(1), x.softmax(1), reduction="batchmean"),
    "norm of a difference": lambda x: torch.dist(x, x * 2),
    "softmax of a number": lambda x: x.sum().softmax(0),
    "half written": write_half,
    "diagonal cleared": clear_diagonal,
}


@pytest.mark.parametrize("name", ALWAYS_SHAPED)
def test_functions(name: str) -> None:
    net = Net(ALWAYS_SHAPED[name]).eval()
    graph, summary, notes = traced(net)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        want = net(torch.rand(1, 3, 8, 8))
    (output,) = graph.outputs
    value = graph.value(output)
    assert (value.shape, value.dtype) == (tuple(want.shape), str(want.dtype).removeprefix("torch."))
    assert summary.totals.macs == counter.get_total_flops() // 2
    assert not summary.unsupported
    assert not notes


def test_a_bilinear_layer_multiplies_every_pair() -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pairs = nn.Bilinear(8, 8, 5)

        def forward(self, x: Tensor) -> Any:
            return self.pairs(x[:, 0], x[:, 1])

    _, summary, _ = traced(Pairs())
    (row,) = [row for row in summary.rows if row.name == "pairs"]
    assert (row.op, row.output.shape) == ("bilinear", (1, 8, 5))
    assert (row.cost.params, row.cost.macs) == (5 * 8 * 8 + 5, 8 * 5 * 8 * 8)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_normalisation_across_maps_is_one_op_if_its_window_has_a_middle(size: int) -> None:
    graph, summary, _ = traced(nn.Sequential(nn.Conv2d(3, 4, 3), nn.CrossMapLRN2d(size, alpha=0.5, beta=0.7, k=2)))
    assert graph.value(graph.outputs[0]).shape == (1, 4, 6, 6)
    assert not summary.unsupported
    assert (graph.nodes[-1].op == LRN(size, 0.5, 0.7, 2)) == (size % 2 == 1)
    torch.manual_seed(0)
    x = torch.rand(1, 9, 2, 2)
    ours, theirs = nn.LocalResponseNorm(size, 0.5, 0.7, 2)(x), nn.CrossMapLRN2d(size, 0.5, 0.7, 2)(x)
    first = size // 2 + 1  # torch forgets to subtract the first channel from the sums of later ones
    assert torch.allclose(ours[:, :first], theirs[:, :first]) or size % 2 == 0


def test_a_sum_of_products_has_the_macs_of_all_of_them() -> None:
    _, summary, _ = traced(Net(lambda x: torch.addbmm(x[0, 0], x[0], x[0])))
    assert not summary.unsupported
    assert summary.totals.macs == 4 * 27 * 36 + 4 * 6 * 6 * 6


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_of_embeddings(mode: str) -> None:
    graph = from_module(nn.EmbeddingBag(20, 6, mode=mode), parse_inputs(["7:int64"]))
    summary = summarize(graph)
    (output,) = graph.outputs
    assert graph.value(output).shape == (1, 6)
    assert not summary.unsupported
    assert (summary.totals.params, summary.totals.macs, summary.totals.flops) == (120, 0, 42)


def test_writing_into_a_slice_takes_no_memory() -> None:
    _, summary, _ = traced(Net(write_half))
    assert summary.totals.activation_bytes == 2 * 4 * 6 * 6 * 4  # of the convolution, and the zeros


# -- functions that torch cannot run without values --------------------------------------------------------------------


@torch.library.custom_op("cnnscope_tests::double", mutates_args=())
def double(x: Tensor) -> Tensor:
    return x * 2


def quantized(x: Tensor) -> Tensor:
    return torch.quantize_per_tensor(x, 0.1, 0, torch.quint8).dequantize()


def quantized_by_channel(x: Tensor) -> Tensor:
    return torch.quantize_per_channel(x, torch.full((4,), 0.1), torch.zeros(4), 1, torch.qint8).dequantize()


def rounded_by_channel(x: Tensor) -> Tensor:
    return torch.fake_quantize_per_channel_affine(x, torch.full((4,), 0.1), torch.zeros(4), 1, 0, 255)


WITHOUT_SHAPES: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "fake quantize": (lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127), True),
    "fake quantize by channel": (rounded_by_channel, True),
    "quantize": (quantized, True),
    "quantize by channel": (quantized_by_channel, True),
    "sparse": (lambda x: x.to_sparse().to_dense(), False),
    "histogram": (lambda x: torch.histogram(x, 4)[0], False),
    "custom operator": (lambda x: double(x), False),
    "places": (lambda x: (x * 0 + 1).nonzero(), True),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", WITHOUT_SHAPES)
def test_what_has_no_shape_without_values_runs_for_real(name: str) -> None:
    function, known = WITHOUT_SHAPES[name]
    net = Net(function).eval()
    graph, summary, notes = traced(net)
    assert notes
    assert "ran for real, on a copy with random numbers" in notes[0]
    with torch.no_grad():
        assert graph.value(graph.outputs[0]).shape == tuple(net(torch.rand(1, 3, 8, 8)).shape)
    assert summary.totals.macs == 4 * 27 * 36
    assert (not summary.unsupported) == known


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_network_in_quantisation_aware_training_reads_as_its_float_ops() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).train()
    net.qconfig = quantization.get_default_qat_qconfig("x86")  # type: ignore[assignment]
    _, summary, _ = traced(quantization.prepare_qat(net))
    assert [row.op for row in summary.rows if row.cost.macs or row.op == "relu"] == ["conv", "relu"]
    assert (summary.totals.macs, summary.totals.params) == (8 * 27 * 36, 8 * 27 + 8)
    assert not summary.unsupported


def test_checks_of_values_are_no_part_of_the_network() -> None:
    def probabilities(x: Tensor) -> Any:
        return torch.distributions.Categorical(logits=x.flatten(1)).logits

    _, summary, _ = traced(Net(probabilities))
    assert not summary.unsupported
    assert summary.totals.macs == 4 * 27 * 36


# -- faults of cnnscope ------------------------------------------------------------------------------------------------


def test_a_rule_that_fails_costs_only_its_own_call(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = rules.lowering(torch.ops.aten.relu.default)

    def broken(trace: rules.Tracer, out: Tensor, x: Tensor) -> None:
        rule.record(trace, x, x)  # type: ignore[misc]  # something is recorded before the fault
        rules.each_of_nothing  # type: ignore[attr-defined]  # noqa: B018

    monkeypatch.setattr("cnnscope.sources.torch.trace.is_own", lambda error: isinstance(error, AttributeError))
    key = (torch.ops.aten.relu.default, rules.RECORDS.version, rules.INSTEAD.version)
    monkeypatch.setitem(rules._KNOWN, key, replace(rule, record=broken))
    graph, summary, _ = traced(Net(F.relu))
    assert [node.op.tag for node in graph.nodes] == ["conv", "unsupported"]
    assert summary.totals.macs == 4 * 27 * 36


def test_what_torch_refuses_is_refused_with_its_words() -> None:
    with pytest.raises(CnnscopeError, match=r"E435: .* the run stops in `Net`: .*"):
        traced(Net(lambda x: x.view(7, 7)))
