"""What training costs: memory against what autograd saves, MACs against torch's counter; heads, freezing, refusals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node, Value
from cnnscope.nn.build import build
from cnnscope.nn.ops import module_of, torch_op
from cnnscope.ops.base import REGISTRY, Case, Op
from cnnscope.ops.saved import TrainStep
from cnnscope.spec import load as load_spec
from cnnscope.training.cost import keeps, memory, steps, work
from cnnscope.training.plan import Strategy, plan

BATCH = 3


def saved_bytes(module: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Bytes of what autograd saves in a forward pass, weights apart, each storage once."""
    weights = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    found: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in weights and t.numel():
            found[storage.data_ptr()] = storage.nbytes()
            alive.append(t)
        return t

    with saved_tensors_hooks(pack, lambda t: t):
        output = module(*inputs)
    assert output is not None
    return sum(found.values())


# -- one op ------------------------------------------------------------------------------------------------------------


def op_cases() -> Iterator[tuple[str, type[Op], Case]]:
    for tag, op in REGISTRY.items():
        for i, case in enumerate(op.cases):
            small = sum(v.numel for v in case.inputs()) < 400_000
            batched = all(v.kind != "tensor" for v in case.inputs())
            if small and batched:
                yield f"{tag}{i}", op, case


def bound(op: type[Op], case: Case) -> tuple[Op, tuple[Value, ...]]:
    x = case.inputs()
    made = op.read(case.args, len(x[0].spatial) if x[0].kind == "map" else None).bind(x)
    assert isinstance(made, Op)
    return made, x


def cases_with_a_rule() -> list[tuple[str, Op, tuple[Value, ...]]]:
    found = []
    for name, kind, case in op_cases():
        op, x = bound(kind, case)
        if torch_op(type(op)) and keeps(TrainStep(node_of(op, x), x, (True,) * len(x), trains=False)).exact:
            found.append((name, op, x))
    return found


def node_of(op: Op, x: Sequence[Value]) -> Node:
    return Node("it", op, tuple(f"x{i}" for i in range(len(x))), op.output(x), {role: role for role in op.weights(x)})


RULED = cases_with_a_rule()
COMMON = {
    "conv", "linear", "batchnorm", "relu", "maxpool", "avgpool", "globalavgpool", "dropout", "add", "concat", "mul",
    "layernorm", "groupnorm", "lrn", "sigmoid", "tanh", "gelu", "silu", "hardswish", "softmax", "attention", "flatten",
    "upconv", "upsample", "adaptiveavgpool", "relu6", "stochasticdepth", "layerscale",
}  # fmt: skip


def test_the_usual_layers_have_a_rule() -> None:
    assert {op.tag for _, op, _ in RULED} >= COMMON


@pytest.mark.parametrize(("name", "op", "x"), RULED, ids=[name for name, _, _ in RULED])
def test_an_op_keeps_what_autograd_saves(name: str, op: Op, x: tuple[Value, ...]) -> None:
    ways = [(trains, reads) for trains in {False, bool(op.weights(x))} for reads in (True, False) if trains or reads]
    for trains, reads in ways:
        step = TrainStep(node_of(op, x), x, (reads,) * len(x), trains)
        module = module_of(op, x).train(step.training)
        for parameter in module.parameters():
            parameter.requires_grad_(trains)
        inputs = [torch.rand(BATCH, *v.shape[1:]).requires_grad_(reads) for v in x]
        kept = keeps(step)
        stated = sum(4 * inputs[i].numel() for i in kept.inputs) + BATCH * kept.image_bytes + kept.fixed_bytes
        stated += 4 * BATCH * step.y.numel if kept.output else 0
        assert saved_bytes(module, inputs) == stated, (trains, reads)


# -- whole networks ----------------------------------------------------------------------------------------------------

NETWORKS = [
    ("lenet5", None, ("c1", "c3")), ("alexnet", (3, 67, 67), ("conv*",)), ("resnet18", (3, 64, 64), ("layer1",)),
    ("resnet18", (3, 64, 64), ("layer3",)), ("squeezenet1_1", (3, 64, 64), ("fire*",)),
    ("mobilenet_v3_small", (3, 32, 32), None), ("vit_tiny", (3, 32, 32), ("encoder.0",)), ("m5", None, None),
    ("keras-cnn", None, None),
    *(pytest.param(*network, marks=pytest.mark.slow) for network in (
        ("densenet121", (3, 32, 32), ("denseblock1.*",)), ("googlenet-torchvision", (3, 64, 64), None),
        ("convnext_tiny", (3, 32, 32), None), ("mobilenet_v2", (3, 64, 64), ("stage1", "stage2")),
        ("vgg11", (3, 32, 32), None),
    )),
]  # fmt: skip


def ways(source: str, size: tuple[int, ...] | None, freeze: tuple[str, ...] | None) -> tuple[Strategy, ...]:
    graph = cnnscope.load(source, input=size).graph
    return plan(graph, 5, freeze=freeze or (), batch=BATCH).strategies


def in_training(graph: Graph) -> nn.Module:
    """The graph's module on the meta device, frozen and in the modes that the page on transfer states."""
    with torch.device("meta"):
        module = build(graph)
    module.eval()
    for key, parameter in module.named_parameters():
        parameter.requires_grad_(graph.params[key].trainable)
    training = {step.node.name for step in steps(graph) if step.training}
    for node, call in zip(graph.nodes, module.calls, strict=True):
        if isinstance(call, nn.Module):
            call.train(node.name in training)
    return module


@pytest.mark.parametrize(("source", "size", "freeze"), NETWORKS)
def test_a_network_keeps_what_autograd_saves(
    source: str, size: tuple[int, ...] | None, freeze: tuple[str, ...] | None
) -> None:
    for strategy in ways(source, size, freeze):
        module = in_training(strategy.graph).to_empty(device="cpu")
        for tensor in module.state_dict().values():
            tensor.fill_(0)
        inputs = [torch.rand(BATCH, *value.shape[1:]) for value in strategy.graph.inputs.values()]
        assert strategy.memory.estimated == ()
        assert saved_bytes(module, inputs) == strategy.memory.kept, strategy.name
        assert strategy.memory.peak >= strategy.memory.kept


def named(network: Any) -> str:
    """The source of an entry of the table."""
    return str((network.values if hasattr(network, "values") else network)[0])


GROUPED = ("alexnet", "mobilenet_v2", "mobilenet_v3_small", "convnext_tiny")
"""torch's counter takes the gradient of a grouped convolution's weights for a full convolution's."""


@pytest.mark.parametrize(("source", "size", "freeze"), [n for n in NETWORKS if named(n) not in GROUPED])
def test_the_macs_of_a_step_are_torchs(
    source: str, size: tuple[int, ...] | None, freeze: tuple[str, ...] | None
) -> None:
    for strategy in ways(source, size, freeze):
        module = in_training(strategy.graph)
        with torch.device("meta"):
            inputs = [torch.empty(2, *value.shape[1:]) for value in strategy.graph.inputs.values()]
        with FlopCounterMode(display=False) as counter:
            module(*inputs).sum().backward()
        stated = work(strategy.graph)
        assert counter.get_total_flops() == 2 * 2 * (stated.forward + stated.backward), strategy.name


def test_a_frozen_prefix_keeps_nothing_and_costs_nothing_backward() -> None:
    graph = cnnscope.load("lenet5").graph
    whole, part = (plan(graph, 10, freeze=("c1", "c3"), batch=1).strategies[i] for i in (1, 2))
    # c5 reads s4 (400), f6 c5's tanh (120), output f6's (84); each tanh keeps its output, which the next reads
    assert part.memory.kept == 4 * (400 + 120 + 84)
    c5, f6, output = 48_000, 10_080, 840
    assert part.work.backward == c5 + 2 * (f6 + output)
    assert part.work.frozen == 117_600 + 240_000
    assert whole.work.backward == 117_600 + 2 * (240_000 + c5 + f6 + output)


def test_memory_is_weights_gradients_state_and_activations() -> None:
    strategy = plan(cnnscope.load("alexnet").graph, 30, batch=1).strategies[0]
    head = 4096 * 30 + 30
    assert strategy.cost.trainable == head == 122_910
    assert strategy.weight_bytes == 4 * (60_965_224 - 4_097_000 + head)
    assert (strategy.gradient_bytes, strategy.sgd_bytes, strategy.adamw_bytes) == (4 * head, 4 * head, 8 * head)
    assert strategy.memory.kept == 4 * 4096
    total = strategy.weight_bytes + 12 * head + strategy.memory.peak
    assert strategy.total_bytes(strategy.adamw_bytes) == total


def test_the_peak_holds_what_is_kept_and_what_is_at_work() -> None:
    graph = load_spec("n.yaml", text="cnnscope: 1\nname: N\ninput: {shape: [1, 4, 4]}\nlayers:\n"
                      "  - conv: {out: 2, kernel: 3, pad: half, bias: false, name: a}\n"
                      "  - conv: {out: 4, kernel: 3, pad: half, bias: false, name: b}\n"
                      "  - conv: {out: 2, kernel: 1, bias: false, name: c}\n").graph  # fmt: skip
    found = memory(graph, 1)
    assert found.kept == 4 * (16 + 32 + 64)  # the input of each
    assert found.peak == 4 * (16 + 32 + 64 + 32)  # and, while c runs, its output
    frozen = {key: replace(param, trainable=key.startswith("c.")) for key, param in graph.params.items()}
    late = memory(replace(graph, params=frozen), 1)
    assert late.kept == 4 * 64
    assert late.peak == 4 * (32 + 64)  # b at work


# -- heads and freezing ------------------------------------------------------------------------------------------------

HEADS = {
    "alexnet": "fc8", "resnet18": "fc", "squeezenet1_1": "conv10", "googlenet": "logits.linear1", "vit_tiny": "head",
    "keras-cnn": "dense_5", "unet": "output", "inception_v3": "logits.fc", "siamese": "same", "xception": "fc",
    "densenet121": "classifier", "vgg16-conv": "fc8",
}  # fmt: skip


@pytest.mark.parametrize("source", HEADS)
def test_the_head_is_found_and_replaced(source: str) -> None:
    before = cnnscope.load(source).graph
    found = plan(before, 7)
    assert found.head == HEADS[source]
    graph = found.graph
    scores = graph.value(graph.outputs[0]).features
    assert 7 in scores
    assert {node.name for node in graph.nodes} == {node.name for node in before.nodes}
    own = set(found.new.params.values())
    unchanged = {key for key, param in graph.params.items() if param.shape == before.params[key].shape}
    aux = {key for key in graph.params if key not in own and key not in unchanged}
    assert all(graph.node(name).training_only for name in graph.outputs[1:])
    assert len(aux) == 2 * (len(graph.outputs) - 1)  # weight and bias of each auxiliary head


def test_the_new_network_is_the_one_with_that_many_classes() -> None:
    for source in ("alexnet", "googlenet", "squeezenet1_1", "vit_tiny"):
        assert plan(cnnscope.load(source).graph, 30).graph.params.keys() == cnnscope.load(source).graph.params.keys()
        wanted = cnnscope.load(source, set={"classes": 30}).graph
        found = plan(cnnscope.load(source).graph, 30).graph
        assert {k: p.shape for k, p in found.params.items()} == {k: p.shape for k, p in wanted.params.items()}
        assert [node.output for node in found.nodes] == [node.output for node in wanted.nodes]


def test_a_traced_network_is_the_one_with_that_many_classes() -> None:
    found = plan(cnnscope.load("torchvision:resnet18").graph, 30).graph
    wanted = cnnscope.load("torchvision:resnet18", set={"num_classes": 30}).graph
    assert found.params == wanted.params
    assert [(n.op, n.output) for n in found.nodes] == [(n.op, n.output) for n in wanted.nodes]


def test_a_head_can_be_named() -> None:
    graph = cnnscope.load("yolov3").graph
    found = plan(graph, 30, head="large.detect1.conv2")
    assert found.graph.value("large.detect1.conv2").features[0] == 30
    assert found.graph.value("small.detect1.conv2") == graph.value("small.detect1.conv2")


def test_patterns_freeze_layers_and_groups_and_leave_the_head() -> None:
    graph = cnnscope.load("resnet18").graph
    strategy = plan(graph, 5, freeze=("conv1", "layer[12]", "*.shortcut")).strategies[2]
    parts = strategy.layers
    assert {parts[layer] for layer in ("conv1", "layer1.0.conv1", "layer2.1.conv2", "layer3.0.shortcut")} == {"frozen"}
    assert parts["layer3.0.conv1"] == parts["layer4.1.conv2"] == "trained"
    assert parts["fc"] == "new"
    everything = plan(graph, 5, freeze=("*",)).strategies
    assert everything[2].layers == everything[0].layers


def test_what_the_author_froze_is_trained_when_everything_is() -> None:
    text = "cnnscope: 1\nname: N\ninput: {shape: [1, 8, 8]}\nlayers:\n  - conv: {out: 2, kernel: 3, frozen: true}\n"
    graph = load_spec("n.yaml", text=text + "  - flatten\n  - linear: {out: 3, frozen: true}\n").graph
    features, everything = plan(graph, 4).strategies
    assert features.layers == {"conv1": "frozen", "linear1": "new"}
    assert everything.layers == {"conv1": "trained", "linear1": "new"}
    assert features.cost.trainable == 72 * 4 + 4


REFUSED = [
    ("lenet5", {"classes": 1}, "E495", "a classifier tells 2 classes or more apart, not 1", None),
    ("yolov3", {}, "E493", "the network has 3 outputs (`large.detect1.conv2`, `medium.detect1.conv2`, "
     "`small.detect1.conv2`), so no single head", "name the layer that gives the classes: `--head NAME`"),
    ("lenet5", {"head": "s2"}, "E493", "`s2` cannot be the head: it is no linear layer or convolution with weights of "
     "its own", None),
    ("lenet5", {"head": "c1"}, "E493", "`c1` cannot be the head: `c3` comes after it",
     "name the layer that gives the classes"),
    ("resnet18", {"head": "layer1"}, "E493", "`layer1` cannot be the head: it holds 4 linear layers and convolutions "
     "with weights of its own", None),
    ("lenet5", {"head": "outputs"}, "E205", "no layer is called `outputs`", "did you mean `output`?"),
    ("alexnet", {"freeze": ["conv9"]}, "E494", "`--freeze conv9` matches no layer",
     "did you mean `conv5` or `conv4` or `conv3`?"),
    ("alexnet", {"freeze": ["pool*"]}, "E494", "`--freeze pool*` freezes nothing: `pool1`, `pool2`, `pool5` have no "
     "weights", None),
    ("alexnet", {"freeze": ["fc8"]}, "E494", "`--freeze fc8` freezes nothing: the new head `fc8` is always trained",
     None),
]  # fmt: skip


@pytest.mark.parametrize(("source", "options", "code", "message", "hint"), REFUSED)
def test_a_plan_that_cannot_be_says_why(
    source: str, options: dict[str, object], code: str, message: str, hint: str | None
) -> None:
    with pytest.raises(CnnscopeError) as caught:
        plan(cnnscope.load(source).graph, **{"classes": 30, **options})  # type: ignore[arg-type]  # from the table
    (found,) = caught.value.diagnostics
    assert (found.code, found.message, found.hint) == (code, message, hint)


HEADLESS = {
    "pool": ("the network has no head to replace: it has no weights between image and output", "globalavgpool"),
    "norm": ("the network has no head to replace: its last layer with weights, `last`, is a `batchnorm`",
             "conv: {out: 4, kernel: 3}", "batchnorm: {name: last}"),
    "add": ("the network has no head to replace: `both` joins 2 ways", "conv: {out: 4, kernel: 1, name: a}",
            "conv: {out: 4, kernel: 1, name: b}", "add: {from: [a, b], name: both}"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADLESS)
def test_a_network_without_a_head_says_why(name: str) -> None:
    message, *layers = HEADLESS[name]
    text = "cnnscope: 1\nname: N\ninput: {shape: [3, 8, 8]}\nlayers:\n" + "".join(f"  - {layer}\n" for layer in layers)
    with pytest.raises(CnnscopeError) as caught:
        plan(load_spec("n.yaml", text=text).graph, 5)
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].message) == ("E493", message)
