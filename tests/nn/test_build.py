"""Graphs built as torch modules: names, weights, ties, several inputs and outputs, and the numbers."""

from __future__ import annotations

import copy
import sys
import weakref
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.nn.build import build
from cnnscope.nn.ops import module_of, torch_op
from cnnscope.nn.ops.base import Module
from cnnscope.ops import REGISTRY, Op
from cnnscope.ops.generic import Elementwise, Scan

IMAGE = Value((1, 3, 8, 8))
Line = tuple[str, str, dict[str, Any], list[str]]


def graph(
    *lines: Line, inputs: dict[str, Value] | None = None, keys: dict[str, str] | None = None, **rest: Any
) -> Graph:
    """A graph from (name, op, arguments, inputs); ``keys`` names the owner of weights that are another node's."""
    inputs = inputs or {"x": IMAGE}
    values, nodes, params = dict(inputs), [], {}
    for name, tag, args, sources in lines:
        x = tuple(values[source] for source in sources)
        op = REGISTRY[tag].read(args, len(x[0].spatial) or None).bind(x)
        values[name] = op.infer(x)
        owner = (keys or {}).get(name, name)
        roles = {}
        for kind, buffer in ((op.weights(x), False), (op.buffers(x), True)):
            for role, shape in kind.items():
                roles[role] = f"{owner}.{role}"
                dtype = "int64" if role == "num_batches_tracked" else "float32"
                params.setdefault(roles[role], Param(shape, dtype, trainable=not buffer, buffer=buffer))
        nodes.append(Node(name, op, tuple(sources), values[name], roles))
    return Graph(**{"name": "test", "inputs": inputs, "nodes": tuple(nodes), "outputs": (nodes[-1].name,),
                    "params": params} | rest)  # fmt: skip


RESIDUAL = (
    ("stem.conv", "conv", {"out": 4, "kernel": 3, "pad": "same", "stride": 2}, ["x"]),
    ("stem.norm", "batchnorm", {}, ["stem.conv"]),
    ("stem.act", "relu", {}, ["stem.norm"]),
    ("block.0.conv", "conv", {"out": 4, "kernel": 3, "pad": 1, "bias": False}, ["stem.act"]),
    ("block.0.add", "add", {}, ["block.0.conv", "stem.act"]),
    ("pool", "globalavgpool", {}, ["block.0.add"]),
    ("flatten", "flatten", {}, ["pool"]),
    ("head", "linear", {"out": 5}, ["flatten"]),
)


def test_names_and_weights_are_the_graphs() -> None:
    plan = graph(*RESIDUAL)
    network = build(plan)
    stated = {key: param.shape for key, param in plan.params.items()}
    assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == stated
    assert set(dict(network.named_parameters())) == {key for key, p in plan.params.items() if not p.buffer}
    for node in plan.nodes:
        assert network.get_submodule(node.name)
    assert isinstance(network.get_submodule("stem.act"), nn.ReLU)
    assert isinstance(network.get_submodule("stem.conv"), nn.Conv2d)


def test_numbers_are_those_of_the_same_network_written_by_hand() -> None:
    network = build(graph(*RESIDUAL)).eval()
    w = network.state_dict()
    image = torch.randn(2, 3, 8, 8)
    x = F.conv2d(F.pad(image, [0, 1, 0, 1]), w["stem.conv.weight"], w["stem.conv.bias"], 2)
    x = F.relu(x / (1 + 1e-5) ** 0.5)
    x = F.conv2d(x, w["block.0.conv.weight"], padding=1) + x
    expected = x.mean((2, 3)) @ w["head.weight"].T + w["head.bias"]
    torch.testing.assert_close(network(image), expected)


def test_frozen_weights_take_no_gradient() -> None:
    plan = graph(*RESIDUAL)
    frozen = {k: Param(p.shape, p.dtype, trainable=False, buffer=p.buffer) if k == "head.weight" else p
              for k, p in plan.params.items()}  # fmt: skip
    network = build(graph(*RESIDUAL, params=frozen))
    assert [key for key, p in network.named_parameters() if not p.requires_grad] == ["head.weight"]


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, same, other = build(graph(*RESIDUAL)), build(graph(*RESIDUAL)), build(graph(*RESIDUAL), seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.state_dict()["head.weight"], same.state_dict()["head.weight"])
    assert not torch.equal(first.state_dict()["head.weight"], other.state_dict()["head.weight"])


def test_on_meta_nothing_is_allocated() -> None:
    with torch.device("meta"):
        network = build(graph(*RESIDUAL))
        assert network(torch.empty(4, 3, 8, 8)).shape == (4, 5)
    assert all(tensor.is_meta for tensor in network.state_dict().values())


def test_values_are_freed_after_their_last_use() -> None:
    network = build(graph(*RESIDUAL))
    seen: dict[str, weakref.ref[torch.Tensor]] = {}
    alive: list[set[str]] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: torch.Tensor) -> None:
            seen[name] = weakref.ref(output)
            alive.append({key for key, ref in seen.items() if ref() is not None})

        return hook

    for name in ("stem.conv", "stem.norm", "stem.act", "block.0.conv", "block.0.add"):
        network.get_submodule(name).register_forward_hook(watch(name))
    with torch.no_grad():
        network(torch.randn(1, 3, 8, 8))
    assert alive[2] == {"stem.norm", "stem.act"}
    assert alive[4] == {"stem.act", "block.0.conv", "block.0.add"}


TWINS = (
    ("a", "conv", {"out": 2, "kernel": 3}, ["left"]),
    ("b", "conv", {"out": 2, "kernel": 3}, ["right"]),
    ("both", "sub", {}, ["a", "b"]),
)


def twins(*lines: Line, size: int = 8) -> Graph:
    return graph(*(lines or TWINS), inputs={"left": IMAGE, "right": Value((1, 3, size, size))}, keys={"b": "a"})


def test_nodes_with_the_same_weights_share_a_module() -> None:
    network = build(twins())
    assert list(network.state_dict()) == ["a.weight", "a.bias"]
    image = torch.randn(1, 3, 8, 8)
    assert not network(image, image).any()
    assert torch.equal(network(right=image, left=image), network(image, image))


def test_shared_weights_run_with_other_arguments_and_get_both_gradients() -> None:
    lines = (TWINS[0], ("b", "conv", {"out": 2, "kernel": 3, "stride": 2, "pad": [1, 1]}, ["right"]))
    network = build(twins(*lines, ("both", "add", {}, ["a", "b"]), size=11)).train()
    left, right = torch.randn(1, 3, 8, 8), torch.randn(1, 3, 11, 11)
    weight, bias = network.state_dict()["a.weight"], network.state_dict()["a.bias"]
    assert list(network.state_dict()) == ["a.weight", "a.bias"]
    expected = F.conv2d(left, weight, bias) + F.conv2d(right, weight, bias, 2, 1)
    torch.testing.assert_close(network(left, right), expected)
    network(left, right).sum().backward()
    assert network.get_parameter("a.bias").grad.tolist() == [72.0, 72.0]
    torch.testing.assert_close(copy.deepcopy(network).double()(left.double(), right.double()).float(), expected)


def test_shared_statistics_are_updated_by_every_use() -> None:
    lines = (
        ("a", "batchnorm", {}, ["left"]),
        ("b", "batchnorm", {"momentum": 0.5}, ["right"]),
        ("both", "add", {}, ["a", "b"]),
    )
    network = build(twins(*lines)).train()
    network(torch.full((2, 3, 8, 8), 1.0), torch.full((2, 3, 8, 8), 3.0))
    assert network.state_dict()["a.num_batches_tracked"] == 2
    torch.testing.assert_close(network.state_dict()["a.running_mean"], torch.full((3,), 0.5 * 0.1 + 0.5 * 3))
    before = network.state_dict()["a.running_mean"].clone()
    network.eval()(torch.ones(2, 3, 8, 8), torch.ones(2, 3, 8, 8))
    assert torch.equal(network.state_dict()["a.running_mean"], before)


def test_weights_may_have_keys_of_any_form() -> None:
    plan = graph(("blocks.0", "linear", {"out": 4}, ["x"]), inputs={"x": Value((1, 3), kind="flat")})
    (node,) = plan.nodes
    keys = {"weight": "kernel", "bias": "deep.down.offset"}
    params = {keys[role]: plan.params[key] for role, key in node.params.items()}
    node = Node(node.name, node.op, node.inputs, node.output, keys)
    network = build(Graph("keys", plan.inputs, (node,), ("blocks.0",), params))
    assert network.state_dict().keys() == params.keys()
    x = torch.randn(2, 3)
    expected = F.linear(x, network.get_parameter("kernel"), network.get_parameter("deep.down.offset"))
    torch.testing.assert_close(network(x), expected)
    assert expected.abs().min() > 0


def test_weights_that_no_node_uses_are_kept() -> None:
    plan = graph(*RESIDUAL)
    spare = {"mask.token": Param((1, 4)), "mask.index": Param((3,), "int64", trainable=False, buffer=True)}
    network = build(graph(*RESIDUAL, params={**plan.params, **spare}))
    assert network.get_parameter("mask.token").shape == (1, 4)
    assert network.get_buffer("mask.index").dtype == torch.int64


def test_a_name_may_be_both_a_node_and_a_scope() -> None:
    network = build(graph(("s.conv", "conv", {"out": 2, "kernel": 1}, ["x"]), ("s", "relu", {}, ["s.conv"]),
                          ("s.last", "conv", {"out": 1, "kernel": 1}, ["s"])))  # fmt: skip
    assert isinstance(network.get_submodule("s"), nn.ReLU)
    assert set(network.state_dict()) == {"s.conv.weight", "s.conv.bias", "s.last.weight", "s.last.bias"}
    assert network(torch.randn(1, 3, 8, 8)).shape == (1, 1, 8, 8)


def test_several_outputs_come_by_name_and_training_heads_only_in_training() -> None:
    plan = graph(*RESIDUAL, ("aux", "globalmaxpool", {}, ["stem.act"]), outputs=("head", "aux"))
    nodes = tuple(Node(n.name, n.op, n.inputs, n.output, n.params, training_only=n.name == "aux") for n in plan.nodes)
    network = build(Graph("heads", plan.inputs, nodes, plan.outputs, plan.params))
    image = torch.randn(2, 3, 8, 8)
    trained = network(image)
    assert {name: tuple(tensor.shape) for name, tensor in trained.items()} == {"head": (2, 5), "aux": (2, 4, 1, 1)}
    assert network.eval()(image).shape == (2, 5)
    assert set(build(plan).eval()(image)) == {"head", "aux"}


@pytest.mark.parametrize("arguments", [(), (1, 2, 3)])
def test_wrong_number_of_inputs(arguments: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="this network takes left, right, each once"):
        build(twins())(*(torch.randn(1, 3, 8, 8) for _ in arguments))


@pytest.mark.parametrize("name", ["half", "block.type", "float.conv"])
def test_names_torch_needs_itself(name: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        build(graph((name, "relu", {}, ["x"])))
    (diagnostic,) = caught.value.diagnostics
    word = next(word for word in name.split(".") if hasattr(nn.Module(), word))
    assert diagnostic.code == "E429"
    assert diagnostic.message == f"torch keeps the name `{word}` for itself"
    assert diagnostic.hint == f"rename the layer `{name}`"


def test_an_op_without_a_module_is_refused_by_name() -> None:
    with pytest.raises(CnnscopeError, match="E428: `` cannot be run in torch"):
        module_of(Op(), (IMAGE,))


@pytest.mark.parametrize(("op", "hint"), [
    (REGISTRY["se"].read({}), "`se` needs a record for torch: docs/add-an-op.md"),
    (Scan("cumsum", (1,)), "the trace does not have all its operands"),
    (Elementwise("exp"), "the trace does not have all its operands"),
])  # fmt: skip
def test_why_an_op_cannot_be_run(op: Op, hint: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        module_of(op, (IMAGE,))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.hint) == ("E428", hint)


def test_an_op_has_one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    record = torch_op(REGISTRY["relu"])
    module = ModuleType("twice")
    module.TORCH_OPS = (record, record)  # type: ignore[attr-defined]  # as a file of records has it
    monkeypatch.setitem(sys.modules, "twice", module)
    monkeypatch.setattr(REGISTRY["relu"], "in_torch", "twice")
    with pytest.raises(TypeError, match="`twice` has two records of `ReLU`"):
        torch_op(REGISTRY["relu"])


def test_a_record_must_have_the_weights_that_its_op_states(monkeypatch: pytest.MonkeyPatch) -> None:
    record = torch_op(REGISTRY["conv"])
    assert record is not None
    module = ModuleType("strange")
    module.TORCH_OPS = (replace(record, make=lambda op, x: Module(nn.Identity)),)  # type: ignore[attr-defined]  # a file's
    monkeypatch.setitem(sys.modules, "strange", module)
    monkeypatch.setattr(REGISTRY["conv"], "in_torch", "strange")
    with pytest.raises(CnnscopeError) as caught:
        build(graph(*RESIDUAL))
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E428"
    assert diagnostic.message == "the torch module of `conv` has no `weight` of shape [4, 3, 3, 3]"


def test_stochastic_depth_drops_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    op = REGISTRY["stochasticdepth"].read({"p": 0.25})
    module = module_of(op, (IMAGE,))
    out = module.train()(torch.ones(4000, 2, 3))
    rows = out.flatten(1)
    assert torch.equal(rows, rows[:, :1].expand_as(rows))
    torch.testing.assert_close(rows.unique(), torch.tensor([0.0, 4 / 3]))
    assert abs(out.mean().item() - 1) < 0.03
    assert torch.equal(module.eval()(out), out)
    assert not module_of(REGISTRY["stochasticdepth"].read({"p": 1}), (IMAGE,)).train()(out).any()


@pytest.mark.parametrize("tag", ["dropout", "spatialdropout", "alphadropout"])
def test_dropout_is_on_in_training_only(tag: str) -> None:
    module = module_of(REGISTRY[tag].read({"p": 0.5}), (IMAGE,))
    image = torch.ones(4, 16, 8, 8)
    assert torch.equal(module.eval()(image), image)
    changed = module.train()(image)
    assert not torch.equal(changed, image)
    whole_channels = (changed.flatten(2) == changed.flatten(2)[..., :1]).all().item()
    assert whole_channels == (tag == "spatialdropout")
