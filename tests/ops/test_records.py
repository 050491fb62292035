"""Every op answers every question, here and in torch, or says why there is no answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch_reference import bound

from cnnscope.ir import Node, Value
from cnnscope.nn.ops import is_known, make, module_of, records, role_of, torch_op
from cnnscope.nn.ops.base import Call, Function, Lacks
from cnnscope.ops import REGISTRY, Op
from cnnscope.ops.composite import Composite
from cnnscope.ops.conv import Depthwise
from cnnscope.ops.saved import TrainStep
from cnnscope.ops.traced import TRACED
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx.rules import RULES as ONNX
from cnnscope.sources.onnx.rules.pointwise import _PLAIN as PLAIN_ONNX
from cnnscope.sources.torch.module import from_module
from cnnscope.sources.torch.rules import INSTEAD, RECORDS
from cnnscope.sources.torch.rules.pointwise import _PLAIN as PLAIN_ATEN

REPLACED = (Composite, Depthwise)
"""Ops that a spec may have and a graph never does: others stand for them."""
NODES = {tag: op for tag, op in REGISTRY.items() if not issubclass(op, REPLACED)}
ESTIMATED = {"lstm", "gru", "rnn"}
"""Ops of which torch keeps what its kernel for the device needs, a size that no source states."""
QUESTIONS = ("make", "roles", "aten", "onnx")


def cases(op: type[Op]) -> Iterator[tuple[Op, tuple[Value, ...]]]:
    """An op's cases as ops that are bound, with their inputs."""
    for case in op.cases:
        _, ready, x = bound(op, case)
        yield ready, x


@pytest.mark.parametrize("tag", NODES)
def test_training_is_answered_for(tag: str) -> None:
    for op, x in cases(NODES[tag]):
        node = Node(
            "it", op, tuple(f"x{i}" for i in range(len(x))), op.output(x), {role: role for role in op.weights(x)}
        )
        for trains in {False, bool(op.weights(x))}:
            kept = op.saved(TrainStep(node, x, (True,) * len(x), trains))
            assert kept is not None
            assert kept.exact == (tag not in ESTIMATED)


def test_names_of_other_frameworks_are_of_one_op_each_and_of_none_of_ours() -> None:
    names = [name for op in REGISTRY.values() for name in op.foreign]
    assert len(names) == len(set(names))
    assert names == [name.lower().replace("_", "") for name in names]
    assert not set(names) & set(REGISTRY)


@pytest.mark.parametrize("tag", [*NODES, *TRACED])
def test_torch_is_answered_for(tag: str) -> None:
    record = torch_op(NODES.get(tag) or TRACED[tag])
    assert record is not None
    for question in QUESTIONS:
        answer = getattr(record, question)
        assert answer, question
        assert not isinstance(answer, Lacks) or answer.reason


@pytest.mark.parametrize("tag", sorted(REGISTRY.keys() - NODES.keys()))
def test_what_no_graph_has_needs_no_record(tag: str) -> None:
    assert torch_op(REGISTRY[tag]) is None


@pytest.mark.parametrize("tag", NODES)
def test_what_an_op_is_built_of_has_the_role_it_states(tag: str) -> None:
    record = torch_op(NODES[tag])
    assert record is not None
    assert not isinstance(record.roles, Lacks)
    for op, x in cases(NODES[tag]):
        made = make(op, x)
        thing = made.function if isinstance(made, Function) else made.kind
        stated = [
            record.roles[known] for known in record.roles if thing is known or known in getattr(thing, "__mro__", ())
        ]
        module = made.build().eval()
        assert stated
        assert role_of(module) == (stated[0](module) if callable(stated[0]) else stated[0])


def test_classes_of_torch_and_others_are_told_apart() -> None:
    class Mine(nn.ReLU):
        pass

    assert is_known(nn.ReLU())
    assert not is_known(Mine())
    assert role_of(Mine()) == "activation"
    assert role_of(nn.TransformerEncoderLayer(4, 1)) == "other"


# -- names in ATen and ONNX --------------------------------------------------------------------------------------------


def named(question: str) -> dict[str, type[Op]]:
    """Every name that a record states, with the op."""
    found: dict[str, type[Op]] = {}
    for record in records():
        names = getattr(record, question)
        for name in () if isinstance(names, Lacks) else names:
            assert name not in found
            found[name] = record.op
    return found


def test_a_name_has_a_rule_that_makes_the_op() -> None:
    aten, onnx = named("aten"), named("onnx")
    assert aten.keys() <= {*RECORDS, *INSTEAD}
    assert onnx.keys() <= {*ONNX}
    assert {name: aten[name] for name in PLAIN_ATEN} == {name: type(op) for name, op in PLAIN_ATEN.items()}
    assert {name: onnx[name] for name in PLAIN_ONNX} == {name: type(op) for name, op in PLAIN_ONNX.items()}


class Calls(TorchDispatchMode):
    """The names of the ATen functions that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func._schema.name.removeprefix("aten::").removesuffix("_"))
        return func(*args, **(kwargs or {}))


OTHER_MODULES = {
    "relu6": lambda op: Call(torch.ops.aten.relu6.default),  # nn.ReLU6 calls `hardtanh`
    "shuffle": lambda op: nn.ChannelShuffle(op.groups),  # ours takes any number of axes
}


@pytest.mark.parametrize("tag", [tag for tag in NODES if tag in {op.tag for op in named("aten").values()}])
def test_a_function_of_that_name_is_read_as_the_op(tag: str) -> None:
    names = {name for name, op in named("aten").items() if op.tag == tag}
    found: set[type] = set()
    calls = Calls()
    for op, x in cases(NODES[tag]):
        if sum(value.numel for value in x) > 100_000 or x[0].kind == "tensor":
            continue
        module = (OTHER_MODULES[tag](op) if tag in OTHER_MODULES else module_of(op, x)).eval()
        with torch.inference_mode(), calls:
            module(*(torch.rand(value.shape) for value in x))
        graph = from_module(module, [InputSize(value.features) for value in x])
        found |= {type(node.op) for node in graph.nodes}
    assert calls.names & names
    assert NODES[tag] in found
