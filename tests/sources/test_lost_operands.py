"""Operands of a call that the recorded op lacks are named, and such a network is neither built nor exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import cnnscope
from cnnscope import registry
from cnnscope.errors import CnnscopeError
from cnnscope.nn.export.pytorch import pytorch_source
from cnnscope.ops.activation import ReLU
from cnnscope.sources.torch import rules
from tests.nn.exported import run


class Of(nn.Module):
    """A function of one image as a network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def lost(function: Callable[[Tensor], Tensor]) -> list[str]:
    graph = cnnscope.load(Of(function), input=(3, 8, 8)).graph
    return [name for node in graph.nodes for name in node.lost]


LOST: dict[str, tuple[Callable[[Tensor], Tensor], list[str]]] = {
    "constant statistics": (
        lambda x: F.batch_norm(x, torch.ones(3), torch.full((3,), 2.0)), ["running_mean", "running_var"],
    ),
    "places in the batch": (lambda x: x[torch.tensor([0, 0]), torch.tensor([1, 0])], ["indices"]),
    "random numbers": (lambda x: x + torch.randn(3, 8, 8), ["other"]),
    "random numbers of an image's shape": (lambda x: x + 2 * torch.randn_like(x), ["other"]),
    "random numbers in a part": (lambda x: x + torch.zeros(3, 8, 8).view(192).uniform_().view(3, 8, 8), ["other"]),
    "a random mask": (lambda x: torch.where(torch.rand(8, 8) > 0.5, x, -x), ["condition"]),
    "a random order": (lambda x: x[:, torch.randperm(3)], ["index"]),
}  # fmt: skip


@pytest.mark.parametrize("case", LOST)
def test_what_an_op_lacks_is_named(case: str) -> None:
    function, names = LOST[case]
    assert lost(function) == names


KEPT: dict[str, Callable[[Tensor], Tensor]] = {
    "factors of one": lambda x: torch.add(x, x.relu(), alpha=1),
    "a factor of a sum": lambda x: torch.add(x, x.relu(), alpha=2),
    "a factor of a difference": lambda x: x.sub(x.relu(), alpha=0.5),
    "a factor in place": lambda x: x.clone().add_(x.relu(), alpha=3),
    "factors of a product and a sum": lambda x: torch.baddbmm(x[:, 0], x[:, 1], x[:, 2], beta=0.5, alpha=2),
    "factors in place": lambda x: x[:, 0].clone().baddbmm_(x[:, 1], x[:, 2], beta=0.5, alpha=2) * 2,
    "a bias that is not read": lambda x: torch.baddbmm(x.new_empty(()), x[:, 1], x[:, 2], beta=0, alpha=2),
    "a dtype": lambda x: F.softmax(x, 1, dtype=torch.float64),
    "a dtype of logarithms": lambda x: F.log_softmax(x, -1, dtype=torch.float64),
    "a dtype of a sum": lambda x: x.sum(1, dtype=torch.float64),
    "a value of a border that cuts": lambda x: F.pad(x, (-1, 2), value=3.0),
    "a value of a border of channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 2), value=-1.0),
    "a slope": lambda x: F.softplus(x, 0.5, 1),
    "a divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=2),
    "a divisor below one": lambda x: F.avg_pool2d(x, 3, 2, divisor_override=-2),
    "scales": lambda x: torch.ops.aten.elu(x, 0.5, 2.0, 3.0),
    "an alpha": lambda x: F.celu(x, 0.3) + F.selu(x),
    "random slopes that are off": lambda x: F.rrelu(x, 0.1, 0.4),
    "the dtype that is there": lambda x: F.softmax(x, 1, dtype=torch.float32),
    "a dropout that is off": lambda x: F.dropout(x, 0.5, training=False),
    "a dropout of nothing": lambda x: F.dropout(x, 0.0, training=True),
    "defaults": lambda x: F.softplus(x, 1, 20),
    "a border on one side": lambda x: F.pad(x, (0, 1), value=3.0),
    "bounds": lambda x: x.clamp(0, 1),
    "one bound": lambda x: x.clamp(max=1),
    "a number": lambda x: x * 0.5,
    "a number before the operator": lambda x: 1 - x,
    "a number in place": lambda x: x.clone().add_(2).mul_(x),
    "a constant tensor": lambda x: x + torch.ones(3, 1, 1),
    "a mean and a deviation": lambda x: (x - torch.tensor([[[0.1]], [[0.2]], [[0.3]]])) / torch.full((1, 3, 1, 1), 0.2),
    "a mask": lambda x: x.masked_fill(torch.ones(8, 8).tril() == 0, -1.0),
    "a choice": lambda x: torch.where(x > 0.5, x, torch.zeros(())),
    "places": lambda x: x[:, :, torch.tensor([0, 1]), torch.tensor([1, 0])],
    "running sums": lambda x: x.cumsum(2),
    "the largest": lambda x: x.max(1)[0],
    "a norm": lambda x: x.norm(p=3, dim=1, keepdim=True),
    "images in one axis": lambda x: x.flatten(0, 1).unsqueeze(1).relu().view(x.shape[0], 3, 8, 8).transpose(0, 1)[1],
    "the statistics of the batch": lambda x: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_there_is_built_and_computes_the_same(case: str) -> None:
    function = KEPT[case]
    model = cnnscope.load(Of(function), input=(3, 8, 8))
    assert [node.lost for node in model.graph.nodes if node.lost] == []
    x = torch.randn(2, 3, 8, 8)
    for network in (model.module().eval(), run(pytorch_source(model.graph))().eval()):
        torch.testing.assert_close(network(x), function(x))


ON: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": lambda x: F.dropout(x, 0.5, training=True) + 1,
    "of channels": lambda x: F.dropout2d(x, 0.5, training=True) + 1,
    "for selu": lambda x: F.alpha_dropout(x, 0.5, training=True),
    "in place": lambda x: [F.dropout(y := x + 1, 0.5, training=True, inplace=True), y * 2][1],
    "random slopes": lambda x: F.rrelu(x, 0.1, 0.4, training=True),
}  # fmt: skip


@pytest.mark.parametrize("case", ON)
def test_a_dropout_that_is_on_stays_on(case: str) -> None:
    """It draws the numbers that the function draws in the same state of torch's generator."""
    model = cnnscope.load(Of(ON[case]), input=(3, 8, 8))
    x = torch.randn(2, 3, 8, 8)
    torch.manual_seed(1)
    wanted, other = ON[case](x), ON[case](x)
    assert not torch.equal(wanted, other)
    for network in (model.module().eval(), run(pytorch_source(model.graph))().eval()):
        torch.manual_seed(1)
        torch.testing.assert_close(network(x), wanted)


class WithBuffers(nn.Module):
    """Reads a stored buffer in another shape, one that is not stored, and places."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(3))
        self.register_buffer("scale", torch.rand(3, 1, 1), persistent=False)
        self.register_buffer("places", torch.tensor([2, 0, 1]), persistent=False)
        self.table = nn.Parameter(torch.rand(3, 8))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean.view(1, 3, 1, 1)) * self.scale + self.table[self.places][:, None]


def test_buffers_are_read_by_their_keys() -> None:
    module = WithBuffers()
    model = cnnscope.load(module, input=(3, 8, 8))
    built = model.module().eval()
    x = torch.randn(2, 3, 8, 8)
    other = {"mean": torch.rand(3), "table": torch.rand(3, 8)}
    for network in (module, built):
        network.load_state_dict(other)
    torch.testing.assert_close(built(x), module(x))


def test_json_has_the_operands_of_a_call() -> None:
    model = cnnscope.load(Of(lambda x: 1 - x * torch.tensor([2.0, 3.0])[None, :, None, None]), input=(2, 4, 4))
    first, second = (node["args"]["call"] for node in json.loads(str(model.export("json")))["nodes"])
    assert first["operands"] == [{"input": 0}, {"shape": [1, 2, 1, 1], "dtype": "float32", "values": [2.0, 3.0]}]
    assert second == {"function": "rsub", "operands": [{"input": 0}, 1]}


class Fixed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, torch.ones(4), torch.ones(4))


def test_a_network_without_an_operand_is_refused_by_its_name() -> None:
    model = cnnscope.load(nn.Sequential(nn.Conv2d(3, 4, 3), Fixed(), nn.Dropout()), input=(3, 8, 8))
    what = "`1` is `batchnorm` without its operands `running_mean` and `running_var`"
    with pytest.raises(CnnscopeError) as caught:
        model.module()
    (refused,) = caught.value.diagnostics
    assert (refused.code, refused.message) == ("E428", f"`Sequential` cannot be built: {what}")
    for form, written in (("pytorch", "PyTorch"), ("spec", "a spec")):
        with pytest.raises(CnnscopeError) as caught:
            model.export(form)  # type: ignore[arg-type]  # a word of a literal
        (refused,) = caught.value.diagnostics
        assert refused.code == "E427"
        assert refused.message == f"`Sequential` cannot be written as {written}: 1 of its ops lack operands"
        assert [note.message for note in refused.notes] == [what]
    nodes = {node["name"]: node.get("lost") for node in json.loads(str(model.export("json")))["nodes"]}
    assert nodes == {"0": None, "1": ["running_mean", "running_var"], "2": None}


@pytest.fixture
def scaled() -> Iterator[Callable[[float], Callable[[Tensor], Tensor]]]:
    """``scaled(x, factor)``, which no rule knows; rules that a test adds for it are gone after it."""

    class Undo(Exception):  # noqa: N818  # no error
        pass

    with torch.library._scoped_library("strange", "DEF") as library, suppress(Undo), registry.recording():
        library.define("scaled(Tensor x, float factor=1.0, *, float shift=0.0) -> Tensor")
        library.impl("scaled", lambda x, factor=1.0, *, shift=0.0: x * factor + shift, "CompositeExplicitAutograd")
        yield lambda *args, **kwargs: lambda x: torch.ops.strange.scaled(x, *args, **kwargs)
        raise Undo


def test_a_rule_cannot_leave_an_argument_out(scaled: Any) -> None:
    @rules.records("strange::scaled")
    def rule(trace: rules.Tracer, out: Tensor, x: Tensor, *rest: Any, **kwargs: Any) -> None:
        trace.emit(ReLU(), [x], out)

    assert lost(scaled()) == lost(scaled(1.0, shift=0)) == []
    assert lost(scaled(2.0)) == ["factor"]
    assert lost(scaled(2.0, shift=1)) == ["factor", "shift"]


def test_a_rule_says_what_it_takes_from_the_rest(scaled: Any) -> None:
    @rules.records("strange::scaled", carries=("shift",))
    def rule(trace: rules.Tracer, out: Tensor, x: Tensor, factor: float = 1.0, **kwargs: Any) -> None:
        trace.emit(ReLU(), [x], out)

    assert lost(scaled(2.0, shift=1)) == []


def test_a_rule_cannot_leave_a_tensor_out() -> None:
    class Undo(Exception):  # noqa: N818  # no error
        pass

    with torch.library._scoped_library("strange", "DEF") as library, suppress(Undo), registry.recording():
        library.define("joined(Tensor x, Tensor y) -> Tensor")
        library.impl("joined", lambda x, y: x + y, "CompositeExplicitAutograd")

        @rules.records("strange::joined")
        def rule(trace: rules.Tracer, out: Tensor, x: Tensor, y: Tensor) -> None:
            trace.emit(ReLU(), [x], out)

        assert lost(lambda x: torch.ops.strange.joined(x, x.relu())) == ["y"]
        assert lost(lambda x: torch.ops.strange.joined(x, torch.ones(1))) == ["y"]
        assert lost(lambda x: torch.ops.strange.joined(x, x)) == []
        raise Undo
