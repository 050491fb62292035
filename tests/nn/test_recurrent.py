"""Recurrent layers of specs against torch's own modules: results, parameters, MACs, and what a step sees."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from exported import export
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.analysis.receptive_field.exact.boxes import exact
from cnnscope.analysis.receptive_field.exact.support import touched
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import build
from cnnscope.spec import load
from cnnscope.spec.emit import expand

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
OPTIONS: list[dict[str, Any]] = [
    {"layers": layers, "bidirectional": both, "bias": bias}
    for layers, both, bias in product((1, 3), (False, True), (False, True))
]


def graph(*layers: str, shape: str = "[3, 6]") -> Graph:
    return load("net.yaml", text=f"cnnscope: 1\ninput: {{shape: {shape}}}\nlayers: [tokens, {', '.join(layers)}]").graph


def written(tag: str, options: dict[str, Any]) -> str:
    arguments = {"hidden": 5, **options}
    return f"{tag}: {{{', '.join(f'{name}: {str(value).lower()}' for name, value in arguments.items())}}}"


def twin(tag: str, options: dict[str, Any]) -> nn.Module:
    names = {"layers": "num_layers", "projection": "proj_size"}
    return KINDS[tag](3, 5, batch_first=True, **{names.get(name, name): value for name, value in options.items()})


CASES = [
    *(pytest.param(tag, options) for tag in KINDS for options in OPTIONS),
    pytest.param("lstm", {"projection": 2}),
    pytest.param("lstm", {"projection": 4, "layers": 2, "bidirectional": True}),
    pytest.param("rnn", {"nonlinearity": "relu"}),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "options"), CASES)
def test_it_is_torchs_own_layer(tag: str, options: dict[str, Any]) -> None:
    made, layer = graph(written(tag, options)), twin(tag, options).double().eval()
    network, source = build(made).double().eval(), export(made)().double().eval()
    weights = {f"{tag}1.{role}": weight for role, weight in layer.state_dict().items()}
    x = torch.rand(2, 3, 6, dtype=torch.float64)
    expected = layer(x.transpose(1, 2))[0]
    for module in (network, source):
        module.load_state_dict(weights, strict=True)
        torch.testing.assert_close(module(x), expected)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        twin(tag, options).eval()(torch.empty(1, 6, 3))
    totals = summarize(made).totals
    assert (totals.params, 2 * totals.macs) == (
        sum(weight.numel() for weight in weights.values()), counter.get_total_flops(),
    )  # fmt: skip
    assert made.nodes[-1].output.features == tuple(expected.shape[1:])


@pytest.mark.parametrize(("tag", "options"), CASES)
def test_what_is_expanded_is_the_same_network(tag: str, options: dict[str, Any]) -> None:
    spec = load("net.yaml", text=f"cnnscope: 1\ninput: {{shape: [3, 6]}}\nlayers: [tokens, {written(tag, options)}]")
    again = load("again.yaml", text=expand(spec)).graph
    assert [(n.name, n.op, n.output) for n in again.nodes] == [(n.name, n.op, n.output) for n in spec.graph.nodes]


CONV = "conv: {out: 4, kernel: 3, stride: 2, act: relu}"
NETWORKS = {
    "one way": ("tokens", "lstm: 5"),
    "deep": ("tokens", "gru: {hidden: 4, layers: 2}", "rnn: 3"),
    "both ways": ("tokens", "lstm: {hidden: 5, bidirectional: true}"),
    "on features": (CONV, "tokens", "gru: 4", "linear: 2"),
    "one step": (CONV, "tokens", "lstm: 4", "token: 2"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_sees_what_has_a_gradient(name: str) -> None:
    """Steps before it, with both directions all steps; a unit is all features of a step."""
    text = f"cnnscope: 1\ninput: {{shape: [2, 17]}}\nlayers: [{', '.join(NETWORKS[name])}]"
    made = load("net.yaml", text=text).graph
    torch.manual_seed(0)
    network = build(made).double().eval()
    x = torch.rand(1, 2, 17, dtype=torch.float64, requires_grad=True)
    y = network(x)
    y = y if y.dim() == 3 else y[:, None]
    last = made.outputs[0]
    for step in range(y.shape[1]):
        (gradient,) = torch.autograd.grad(y[0, step].abs().sum(), x, retain_graph=True)
        seen = gradient[0].abs().sum(0).nonzero().flatten()
        position = (step,) if made.node(last).output.kind == "tokens" else ()
        assert touched(made, last, position)["input"].nonzero()[0].tolist() == seen.tolist()
        assert exact(made, [last]).box(last, position) == ((int(seen[0]), int(seen[-1])),)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("lstm: 8", "`lstm` needs a tokens input but gets 3x8x8"),
        ("tokens, gru: 0", "`hidden` of `gru`: expected a whole number >= 1 but got `0`"),
        ("tokens, lstm: {hidden: 4, projection: 4}", "projection 4 must be smaller than hidden 4"),
        ("tokens, gru: {hidden: 4, projection: 2}", "`gru` has no argument `projection`"),
        ("tokens, lstm: {units: 4}", "`lstm` has no argument `units`"),
        ("tokens, rnn: {hidden: 4, batch_first: false}",
         "tokens have the batch first; `batch_first: false` is for traces in which time is first"),
    ],
)  # fmt: skip
def test_what_is_refused(layers: str, message: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        load("net.yaml", text=f"cnnscope: 1\ninput: {{shape: [3, 8, 8]}}\nlayers: [{layers}]")
    assert caught.value.diagnostics[0].message == message


class Started(nn.Module):
    """A recurrent layer whose first states are a parameter, constants or computed, the same for all images or not."""

    def __init__(self, kind: type[nn.RNNBase], how: str, **options: Any) -> None:
        super().__init__()
        self.layer, self.how = kind(4, 5, **options), how
        self.first = nn.Parameter(torch.rand(self.layer.num_layers * (2 if self.layer.bidirectional else 1), 1, 5))

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[0]
        ones = torch.ones(len(self.first), n, 5)
        states = {
            "parameter": lambda: self.first.expand(-1, n, -1).contiguous(),
            "constants": lambda: ones * torch.arange(5),
            "computed": lambda: x.mean((1, 2))[None, :, None] * ones,
        }
        state = states[self.how]()
        steps = x if self.layer.batch_first else x.transpose(0, 1)
        result: Tensor = self.layer(steps, (state, state * 2) if isinstance(self.layer, nn.LSTM) else state)[0]
        return result


@pytest.mark.parametrize("how", ["parameter", "constants", "computed"])
@pytest.mark.parametrize("kind", KINDS)
def test_first_states_are_operands(kind: str, how: str) -> None:
    several = how == "parameter"
    module = Started(KINDS[kind], how, batch_first=how != "computed", num_layers=1 + several, bidirectional=several)
    read = cnnscope.load(module.eval(), input=(6, 4)).graph
    row = next(node for node in read.nodes if node.op.tag == kind)
    own = sum(t.numel() for t in module.layer.parameters() if t.dim() == 2)
    assert row.op.macs(read.values(row)) == 6 * own
    network = build(read).eval()
    network.load_state_dict(module.state_dict(), strict=False)
    for images in (1, 2):
        x = torch.rand(images, 6, 4)
        torch.testing.assert_close(network(x), module(x))
