"""Modules written for one thing each: what rows they become, and what is counted."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analysis.cost import known, node_costs
from cnnscope.analysis.summary import Summary, summarize
from cnnscope.ir import Graph
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.torch.module import from_module


def traced(module: nn.Module, *inputs: str) -> Graph:
    return from_module(module, parse_inputs(inputs or ("3x8x8",)))


def rows(graph: Graph) -> list[str]:
    return [name for name, _ in graph.layers()]


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {row.name: row.output.features for row in summarize(graph).rows if row.output}


def row(summary: Summary, name: str) -> Any:
    (found,) = (r for r in summary.rows if r.name == name)
    return found


def counted(module: nn.Module, *x: Tensor) -> int:
    """MACs by torch."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval().to("meta").requires_grad_(False)(*(t.to("meta") for t in x))
    return int(counter.get_total_flops()) // 2


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 3, padding=1)
        self.conv2 = nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(self.relu(self.conv1(x)))
        y += x
        return self.relu(y)


def test_functions_are_named_after_the_module_that_called_them_and_repeats_are_numbered() -> None:
    graph = traced(nn.Sequential(Block(), nn.Sequential(Block())))
    assert rows(graph)[:5] == ["0.conv1", "0.relu", "0.conv2", "0.add", "0.relu#2"]
    assert rows(graph)[5:] == ["1.0.conv1", "1.0.relu", "1.0.conv2", "1.0.add", "1.0.relu#2"]
    assert graph.scopes == {"0": "Block", "1": "Sequential", "1.0": "Block"}
    assert graph.node("0.add").inputs == ("0.conv2", "input")
    assert graph.outputs == ("1.0.relu#2",)


def test_writing_in_place_takes_no_memory() -> None:
    graph = traced(Block())
    assert [node.name for node in graph.nodes if node.in_place] == ["relu", "add", "relu#2"]
    assert known(node_costs(graph).values()).activation_bytes == 2 * 3 * 8 * 8 * 4
    (peak,) = {row.peak_bytes for row in summarize(graph).rows if row.name == "add"}
    assert peak == 2 * 3 * 8 * 8 * 4  # the input and the sum; conv1's output is dead


class Passing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def test_modules_that_pass_their_input_on_are_rows_without_cost() -> None:
    graph = traced(nn.Sequential(nn.Identity(), nn.Dropout(0.3), Passing(), nn.Dropout2d(), nn.ReLU()))
    assert [(n.name, n.op.tag, n.inputs) for n in graph.nodes] == [
        ("0", "identity", ("input",)), ("1", "dropout", ("0",)), ("2", "identity", ("1",)),
        ("3", "spatialdropout", ("2",)), ("4", "relu", ("3",)),
    ]  # fmt: skip
    assert known(node_costs(graph).values()).activation_bytes == 3 * 8 * 8 * 4  # the last


class Shortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.skip, self.conv = nn.Identity(), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip(x)
        return self.conv(x) + skip


def test_an_identity_beside_a_branch_is_not_on_the_branch() -> None:
    graph = traced(Shortcut())
    assert graph.node("conv").inputs == ("input",)
    assert graph.node("add").inputs == ("conv", "skip")


class Bare(nn.Module):
    """A used and an unused parameter outside of layers, a buffer, a head that is never called, tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.forgotten = nn.Parameter(torch.ones(5), requires_grad=False)
        self.register_buffer("mean", torch.ones(3, 1, 1))
        self.register_buffer("cache", torch.ones(7), persistent=False)
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 8)
        self.b.weight = self.a.weight
        self.aux = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a((x - self.mean) * self.scale))


def test_parameters_outside_of_layers() -> None:
    graph = traced(Bare())
    assert rows(graph) == ["sub", "scale", "mul", "a", "b"]
    assert graph.node("scale").op.tag == "parameter"
    assert dict(graph.node("sub").params) == {"constant0": "mean"}
    assert set(graph.params) == {
        "scale", "forgotten", "mean", "cache", "a.weight", "a.bias", "b.bias", "aux.weight", "aux.bias",
    }  # fmt: skip
    assert dict(graph.node("b").params) == {"weight": "a.weight", "bias": "b.bias"}
    assert set(graph.unused) == {"forgotten", "aux.weight", "aux.bias", "cache"}
    totals = summarize(graph).totals
    assert (totals.trainable, totals.frozen, totals.buffers) == (3 + 64 + 8 + 8 + 16 + 2, 5, 3 + 7)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.abs(self.net(left) - self.net(right))


def test_several_inputs_and_a_network_called_twice() -> None:
    graph = traced(Siamese(), "right=3x8x8", "left=3x8x8")
    assert dict.fromkeys(graph.inputs) == dict.fromkeys(["right", "left"])
    assert rows(graph) == ["net.0", "net.1", "net.0#2", "net.1#2", "sub", "abs"]
    assert graph.node("net.0").inputs == ("left",)
    summary = summarize(graph)
    assert summary.totals.params == 4 * 3 * 9 + 4
    assert row(summary, "net.0#2").shared


Pair = namedtuple("Pair", "first second")  # what many models return


class Cyclic:
    def __init__(self, y: Tensor) -> None:
        self.y, self.me = y, self


@dataclass
class Answer:
    logits: Tensor
    features: dict[str, Tensor]


class Outputs(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv = kind, nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor, flag: bool = True) -> Any:
        y = self.conv(x)
        z = y.mean((2, 3))
        answers = {
            "dict": {"y": y, "z": z, "n": 3}, "tuple": (z, y), "named": Pair(y, z), "dataclass": Answer(z, {"y": y}),
            "nested": [y, (z, None)], "cyclic": Cyclic(z),
        }  # fmt: skip
        return answers[self.kind]


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [("dict", ("conv", "mean")), ("tuple", ("mean", "conv")), ("named", ("conv", "mean")),
     ("dataclass", ("mean", "conv")), ("nested", ("conv", "mean")), ("cyclic", ("mean",))],
)  # fmt: skip
def test_outputs_are_found_in_whatever_they_are_packed_in(kind: str, outputs: tuple[str, ...]) -> None:
    assert traced(Outputs(kind)).outputs == outputs


class Views(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.flatten(2).transpose(1, 2)
        a, b = y.chunk(2, 1)
        return torch.cat([a[..., :2], b.contiguous()[..., 1:]], -1).reshape(1, -1)


def test_views_cost_nothing_and_copies_do() -> None:
    graph = traced(Views())
    names = ["flatten", "transpose", "slice", "slice#2", "slice#3", "clone", "slice#4", "concat", "reshape"]
    assert rows(graph) == names
    bytes_of = {name: cost.activation_bytes for name, cost in node_costs(graph).items()}
    assert {name for name, size in bytes_of.items() if size} == {"clone", "concat"}
    assert {cost.flops for cost in node_costs(graph).values()} == {0}


class Windows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        windows = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        return (windows * 2).view(n, h // 4, w // 4, 4, 4, c)


def test_the_batch_axis_is_followed_and_given_up_where_it_is_folded_away() -> None:
    graph = traced(Windows())
    assert [(node.name, node.output.batch_axis, node.output.features) for node in graph.nodes] == [
        ("view", 0, (3, 2, 4, 2, 4)), ("permute", 0, (2, 2, 4, 4, 3)), ("reshape", None, (4, 16, 3)),
        ("mul", None, (4, 16, 3)), ("view#2", 0, (2, 2, 4, 4, 3)),
    ]  # fmt: skip


class Products(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.ones(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        a = torch.einsum("nchw,ncgw->nchg", x, x)
        b = (a @ self.mix).softmax(-1)
        return torch.baddbmm(b[0], b[0].transpose(1, 2).new_ones(3, 8, 4), b[0][:, :4])


def test_products_are_counted_as_torch_counts_them() -> None:
    module = Products()
    costs = node_costs(traced(module))
    assert sum(cost.macs or 0 for cost in costs.values()) == counted(module, torch.empty(1, 3, 8, 8))
    assert sum(cost.macs or 0 for cost in costs.values()) == 3 * 8 * 8 * 8 + 3 * 8 * 8 * 5 + 3 * 8 * 4 * 5


@pytest.mark.parametrize(
    "module",
    [nn.MultiheadAttention(16, 4, batch_first=True), nn.MultiheadAttention(16, 4, bias=False, kdim=16, vdim=16)],
)
def test_attention_is_seen_through(module: nn.Module) -> None:
    class Self(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = module

        def forward(self, x: Tensor) -> Tensor:
            return self.attention(x, x, x, need_weights=False)[0]

    graph = traced(Self(), "10x16")
    assert "attention.attention" in rows(graph)
    assert [n.name for n in graph.nodes if n.op.tag == "unsupported"] == []
    assert known(node_costs(graph).values()).macs == counted(Self(), torch.empty(1, 10, 16))
    assert graph.unused == ()


@pytest.mark.parametrize("layer", [nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)])
def test_the_fast_path_of_transformers_is_not_taken(layer: nn.Module) -> None:
    graph = traced(layer, "10x16")
    assert known(node_costs(graph).values()).macs == counted(layer, torch.empty(1, 10, 16))


@pytest.mark.parametrize(
    ("layer", "tag"),
    [
        (nn.LSTM(6, 5, num_layers=2, batch_first=True), "lstm 5 x2"),
        (nn.LSTM(6, 5, bidirectional=True, batch_first=True, bias=False), "lstm 5 both"),
        (nn.LSTM(6, 5, proj_size=3, batch_first=True), "lstm 5"),
        (nn.GRU(6, 4, batch_first=True), "gru 4"),
        (nn.RNN(6, 4, nonlinearity="relu", batch_first=True), "rnn 4"),
    ],
)
def test_recurrent_layers_are_one_op(layer: nn.Module, tag: str) -> None:
    graph = traced(nn.Sequential(layer), "7x6")
    (node,) = (n for n in graph.nodes if n.op.tag == tag.partition(" ")[0])
    expected = layer(torch.empty(2, 7, 6))[0].shape[1:]
    assert (f"{node.op.tag} {node.op.label()}", node.output.features) == (tag, expected)
    assert node.op.macs(graph.values(node)) == counted(layer, torch.empty(1, 7, 6))
    assert graph.unused == ()
    weights = {role: tuple(p.shape) for role, p in layer.named_parameters()}
    assert node.op.weights(graph.values(node)) == weights
    assert {role: f"0.{role}" for role in weights} == dict(node.params)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 4), nn.GRU(6, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(x, self.encode(x).mean(1)[None])[0]


@pytest.mark.filterwarnings("error")  # the batch is axis 1 of the state and axis 0 of the input, and no images meet
def test_a_recurrent_layer_starts_at_a_computed_state() -> None:
    graph = traced(Decoder(), "3x6")
    assert [len(n.inputs) for n in graph.nodes if n.op.tag == "gru"] == [2]
    module = Decoder()
    assert known(node_costs(graph).values()).macs == counted(module, torch.empty(1, 3, 6))


def test_indices_are_inputs_too() -> None:
    graph = traced(nn.Sequential(nn.Embedding(50, 6), nn.Linear(6, 2)), "128:int64")
    assert graph.inputs["input"].dtype == "int64"
    assert shapes(graph) == {"0": (128, 6), "1": (128, 2)}
    assert summarize(graph).totals.params == 50 * 6 + 14


class Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.fft.ifft2(torch.fft.fft2(x)).real)


def test_what_no_rule_covers_is_a_row_and_makes_the_totals_lower_bounds() -> None:
    summary = summarize(traced(Fourier()))
    assert len(summary.unsupported) > 0
    assert row(summary, summary.unsupported[0]).op == "unsupported"
    assert row(summary, "conv").receptive_field is None
    assert summary.totals.macs == 3 * 3 * 64


class Spectrum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 3, 3, 3))

    def forward(self, x: Tensor) -> Any:
        return torch.fft.fft2(F.conv2d(x, self.weight, padding=1)).abs()


def test_an_unsupported_call_costs_only_itself_at_every_level() -> None:
    graph = traced(nn.Sequential(Spectrum()))
    layers, ops = summarize(graph), summarize(graph, level="op")
    assert layers.totals == ops.totals
    assert (layers.totals.macs, layers.totals.partial) == (8 * 27 * 64, True)
    (found,) = layers.rows
    assert (found.cost.macs, found.cost.partial) == (8 * 27 * 64, True)
    assert layers.unsupported == ("0",)
    costs = {row.op: row.cost.macs for row in ops.rows}
    assert (costs["conv"], costs["unsupported"]) == (8 * 27 * 64, None)


class Standard(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        weight = F.batch_norm(
            self.weight.reshape(1, self.out_channels, -1), None, None, training=True, momentum=0.0
        ).reshape_as(self.weight)
        return F.conv2d(x, weight, self.bias)


def test_a_leaf_that_computes_its_weight_is_one_row() -> None:
    graph = traced(nn.Sequential(Standard(3, 4, 3)))
    (found,) = summarize(graph).rows
    assert (found.name, found.op, found.label) == ("0", "conv", "3x3 4")
    assert (found.cost.params, found.cost.macs) == (4 * 27 + 4, 6 * 6 * 4 * 27)
    names = ["0.weight", "0.reshape", "0.batchnorm", "0.reshape#2", "0.conv"]
    assert [n.name for n in graph.nodes] == names


@pytest.mark.parametrize(
    "wrap",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm],
)
def test_parametrised_weights(wrap: Any) -> None:
    module = nn.Sequential(wrap(nn.Conv2d(3, 4, 3)), nn.ReLU())
    graph = traced(module)
    assert rows(graph) == ["0", "1"]
    assert row(summarize(graph), "0").cost.macs >= 6 * 6 * 4 * 27
    assert summarize(graph).totals.params == sum(p.numel() for p in module.parameters())


class Mixed(nn.Module):
    """Tensors from everywhere: a plain attribute, made in forward on another device, computed from constants."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = torch.arange(8.0)

    def forward(self, x: Tensor) -> Tensor:
        grid = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij"))
        steps = [int(n) for n in torch.linspace(0, 4, 3).tolist()]
        mask = torch.zeros(8, 8, device=x.device)
        mask[steps[1] :, 1] = 1
        if mask.sum() > 100:
            raise AssertionError("constants have their values")
        return (x + self.offset) * mask + grid.to(x.device).float().mean()


def test_constants_are_computed_and_are_no_rows() -> None:
    graph = traced(Mixed())
    assert rows(graph) == ["add", "mul", "add#2"]
    assert {cost.flops for cost in node_costs(graph).values()} == {3 * 8 * 8}


class Coordinates(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)], 1)


class ClassToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.position = nn.Parameter(torch.ones(1, 1, 3)), nn.Parameter(torch.ones(1, 65, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)
        return (torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position)[:, 0]


def test_a_weight_has_no_batch_axis_and_what_it_is_joined_with_keeps_its_own() -> None:
    graph = traced(ClassToken())
    assert [(n.name, n.output.features) for n in graph.nodes] == [
        ("flatten", (3, 64)), ("transpose", (64, 3)), ("token", (1, 1, 3)), ("expand", (1, 1, 3)),
        ("concat", (65, 3)), ("position", (1, 65, 3)), ("add", (65, 3)), ("select", (3,)),
    ]  # fmt: skip


def test_a_constant_becomes_a_node_where_it_is_data() -> None:
    graph = traced(Coordinates())
    assert [(n.name, n.op.tag, n.output.shape) for n in graph.nodes] == [
        ("constant", "constant", (1, 1, 8, 8)), ("concat", "join", (1, 4, 8, 8)),
    ]  # fmt: skip


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.counter: Tensor
        self.register_buffer("counter", torch.zeros(()))
        self.register_buffer("history", torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        self.counter += 1
        self.history[0] = 5.0
        self.history.view(2, 2).mul_(2)
        return x * self.counter


def test_buffers_written_in_forward_stay_as_they_were() -> None:
    module = Counting()
    graph = traced(module)
    assert rows(graph) == ["mul"]
    assert (module.counter.item(), module.history.tolist()) == (0.0, [0.0] * 4)


class Trying(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wrong, self.right = nn.Sequential(nn.Linear(5, 5)), nn.Sequential(nn.Conv2d(3, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        try:
            return self.wrong(x)
        except RuntimeError:
            return self.right(x) + 1


def test_a_module_that_catches_the_error_of_another_goes_on_under_its_own_name() -> None:
    assert rows(traced(Trying())) == ["right.0", "add"]


def test_a_model_in_half_precision() -> None:
    graph = traced(nn.Sequential(nn.Conv2d(3, 2, 1)).half())
    assert (graph.inputs["input"].dtype, graph.node("0").output.dtype) == ("float16", "float16")


def test_unbatched_layers_inside() -> None:
    class Unbatched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.pool = nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.pool(self.conv(image)) for image in x])

    module = Unbatched()
    graph = traced(module)
    assert known(node_costs(graph).values()).macs == counted(module, torch.empty(1, 3, 8, 8))
    assert not [n for n in graph.nodes if n.op.tag == "unsupported"]
