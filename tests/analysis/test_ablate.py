"""Networks without some of their layers: against torch modules written by hand, and traces of modules without them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import cnnscope
from cnnscope.analysis.ablate import ablate
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.build import build
from cnnscope.sources.torch.user_code import import_with_operators
from cnnscope.spec import load as load_spec


def spec(*layers: str, shape: str = "[3, 16, 16]") -> Graph:
    head = ("cnnscope: 1", "name: Net", f"input: {{shape: {shape}}}", "layers:")
    return load_spec("net.yaml", text="\n".join((*head, *(f"  - {layer}" for layer in layers)))).graph


def flops(module: nn.Module, *shape: int) -> tuple[int, int, tuple[int, ...]]:
    """Parameters, MACs by torch's counter, and output shape of a run without values."""
    with torch.device("meta"):
        x = torch.empty(1, *shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        out = module.to("meta").eval()(x)
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2, tuple(out.shape[1:])


def figures(graph: Graph) -> tuple[int, int, tuple[int, ...]]:
    totals = summarize(graph).totals
    assert totals.macs is not None
    return totals.params, totals.macs, graph.value(graph.outputs[0]).features


def refused(graph: Graph, *names: str) -> tuple[str, str, str | None]:
    with pytest.raises(CnnscopeError) as caught:
        ablate(graph, names)
    (found,) = caught.value.diagnostics
    return found.code, found.message, found.hint


# -- the lecture's table -----------------------------------------------------------------------------------------------

_POOL: Callable[[], nn.Module] = partial(nn.MaxPool2d, 3, stride=2)
_EYES: tuple[nn.Module, ...] = (
    nn.Conv2d(3, 96, 11, stride=4), _POOL(), nn.Conv2d(96, 256, 5, padding=2, groups=2), _POOL(),
)  # fmt: skip


def _middle() -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(256, 384, 3, padding=1), nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
    )  # fmt: skip


def _short() -> tuple[nn.Module, ...]:
    return (nn.Conv2d(256, 256, 3, padding=1, groups=2),)


def _classifier(*widths: int) -> tuple[nn.Module, ...]:
    return (_POOL(), nn.Flatten(), *(nn.Linear(a, b) for a, b in pairwise(widths)))


ALEXNET = {
    (): (*_middle(), *_classifier(9216, 4096, 4096, 1000)),
    ("conv3", "conv4"): (*_short(), *_classifier(9216, 4096, 4096, 1000)),
    ("fc7",): (*_middle(), *_classifier(9216, 4096, 1000)),
    ("fc6", "fc7"): (*_middle(), *_classifier(9216, 1000)),
    ("conv3", "conv4", "fc6", "fc7"): (*_short(), *_classifier(9216, 1000)),
}


@pytest.mark.parametrize("removed", ALEXNET, ids=",".join)
def test_alexnet_without_layers_is_what_one_would_write_by_hand(removed: tuple[str, ...]) -> None:
    graph = cnnscope.load("alexnet").graph
    rest = ablate(graph, removed) if removed else graph
    with torch.device("meta"):
        by_hand = nn.Sequential(*_EYES, *ALEXNET[removed])
    assert figures(rest) == flops(by_hand, 3, 227, 227)


def test_the_totals_of_the_lecture_by_arithmetic() -> None:
    graph = cnnscope.load("alexnet").graph
    whole = 60_965_224
    fc6, fc7, fc8 = 9216 * 4096 + 4096, 4096 * 4096 + 4096, 4096 * 1000 + 1000
    conv3, conv4 = 384 * 256 * 9 + 384, 384 * 192 * 9 + 384
    conv5, shorter = 256 * 192 * 9 + 256, 256 * 128 * 9 + 256  # two groups see half of 384 or of 256 maps
    straight = 9216 * 1000 + 1000
    assert figures(ablate(graph, ["fc7"]))[0] == whole - fc7 == 44_183_912
    assert figures(ablate(graph, ["fc6", "fc7"]))[0] == whole - fc6 - fc7 - fc8 + straight == 11_551_080
    without = whole - conv3 - conv4 - conv5 + shorter
    assert figures(ablate(graph, ["conv3", "conv4"]))[0] == without == 59_268_712
    fewest = without - fc6 - fc7 - fc8 + straight
    assert figures(ablate(graph, ["conv3", "conv4", "fc6", "fc7"]))[0] == fewest == 9_854_568


def test_the_receptive_field_shrinks_with_the_convolutions() -> None:
    field = summarize(ablate(cnnscope.load("alexnet").graph, ["conv3", "conv4"])).receptive_field
    assert field is not None
    assert field.size == (195 - 2 * (2 * 16),) * 2  # two 3x3 kernels at a stride of 16 pixels


# -- specs -------------------------------------------------------------------------------------------------------------

REST = [
    ("lenet5", ("f6",)), ("lenet5", ("c3",)), ("lenet5", ("s2", "c5")), ("resnet18", ("layer3",)),
    ("resnet18", ("layer1.0", "layer2.1")), ("mobilenet_v2", ("stage3.inverted1.1", "conv1")),
    ("squeezenet1_1", ("pool1",)), ("googlenet", ("inception_3b",)), ("densenet121", ("denseblock1.2",)),
    ("siamese", ("a.conv3", "b.conv3")), ("vit_tiny", ("encoder.2",)), ("alexnet", ("norm1", "norm2", "drop6")),
]  # fmt: skip


@pytest.mark.parametrize(("source", "removed"), REST, ids=[f"{s}-{','.join(r)}" for s, r in REST])
def test_what_is_left_runs_in_torch_and_has_the_shapes_and_costs_stated(source: str, removed: tuple[str, ...]) -> None:
    graph = cnnscope.load(source).graph
    rest = ablate(graph, removed)
    assert len(rest.nodes) < len(graph.nodes)
    with torch.device("meta"):
        module = build(rest).eval()
        inputs = [torch.empty(value.shape) for value in rest.inputs.values()]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        out = module(*inputs)
    outputs = out if isinstance(out, dict) else {rest.outputs[0]: out}
    seen = {name: tuple(t.shape) for name, t in outputs.items()}
    assert seen == {name: rest.value(name).shape for name in seen}
    assert {key: tuple(t.shape) for key, t in module.state_dict().items()} == {
        key: param.shape for key, param in rest.params.items()
    }
    assert summarize(rest).totals.macs == counter.get_total_flops() // 2


def test_only_what_reads_something_else_changes() -> None:
    graph = cnnscope.load("lenet5").graph
    rest = ablate(graph, ["c3"])
    names = [node.name for node in rest.nodes]
    assert names == [node.name for node in graph.nodes if node.layer != "c3"]
    assert rest.node("c1.conv") == graph.node("c1.conv")
    assert rest.params["c1.conv.weight"] == graph.params["c1.conv.weight"]
    assert rest.node("s4").inputs == ("s2",)
    assert rest.params["c5.conv.weight"].shape == (120, 6, 5, 5)
    assert not any(key.startswith("c3.") for key in rest.params)


def test_frozen_weights_stay_frozen_and_norms_follow_their_input() -> None:
    graph = spec("conv: {out: 8, kernel: 3, name: a}", "conv: {out: 4, kernel: 3, norm: batch, frozen: true, name: b}",
                 "batchnorm: {frozen: true, name: c}", "conv: {out: 2, kernel: 1, name: d}")  # fmt: skip
    rest = ablate(graph, ["b"])
    assert rest.params["c.weight"].shape == rest.params["c.running_mean"].shape == (8,)
    assert not rest.params["c.weight"].trainable
    assert rest.params["c.running_mean"].buffer
    assert rest.params["d.weight"].shape == (2, 8, 1, 1)
    assert rest.params["d.weight"].trainable


def test_tied_weights_stay_tied() -> None:
    rest = ablate(cnnscope.load("siamese").graph, ["a.conv3", "b.conv3"])
    assert rest.node("a.conv4.conv").params == rest.node("b.conv4.conv").params
    assert rest.params["a.conv4.conv.weight"].shape == (256, 128, 4, 4)


def test_a_depthwise_convolution_stays_one() -> None:
    graph = spec("conv: {out: 8, kernel: 1, name: a}", "depthwise: {kernel: 3, multiplier: 2, name: b}")
    rest = ablate(graph, ["a"])
    assert rest.value("b").features == (6, 14, 14)
    assert rest.params["b.weight"].shape == (6, 1, 3, 3)


def test_a_block_goes_as_a_whole_whatever_its_ways() -> None:
    graph = cnnscope.load("googlenet").graph
    rest = ablate(graph, ["inception_3b"])
    reader = next(node for node in rest.nodes if graph.node(node.name).inputs != node.inputs)
    assert rest.value(reader.inputs[0]).features[0] == 256  # what 3a yields: 64 + 128 + 32 + 32 (table 1 of the paper)


# -- traced networks ---------------------------------------------------------------------------------------------------


def torchvision_model(name: str) -> nn.Module:
    models = import_with_operators(lambda: import_module("torchvision.models"))
    with torch.device("meta"):
        module = models.get_model(name)
    assert isinstance(module, nn.Module)
    return module


IDENTITIES = [
    ("resnet18", "layer1.1"), ("resnet18", "layer1.0.conv1"), ("resnet18", "maxpool"), ("alexnet", "features.10"),
    ("vgg11_bn", "features.11"), ("shufflenet_v2_x1_0", "stage2.1"), ("convnext_tiny", "features.3.1"),
    ("mobilenet_v3_small", "features.3"), ("vit_b_32", "encoder.layers.encoder_layer_3"),
    ("squeezenet1_1", "features.2"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "layer"), IDENTITIES)
def test_a_traced_network_is_as_if_the_layer_were_an_identity(name: str, layer: str) -> None:
    module = torchvision_model(name)
    rest = ablate(cnnscope.load(module, input=(3, 224, 224)).graph, [layer])
    scope, _, last = layer.rpartition(".")
    setattr(module.get_submodule(scope), last, nn.Identity())
    by_torch = cnnscope.load(module, input=(3, 224, 224)).graph
    rows = [(n.op, n.output) for n in by_torch.nodes if n.layer != layer]
    assert [(n.op, n.output) for n in rest.nodes] == rows
    assert list(rest.params.items()) == list(by_torch.params.items())


class Reshapes(nn.Module):
    """Shapes taken off its input, as a careful author writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(self.conv(x)) * self.scale
        n, c, h, w = y.shape
        a, b = y.reshape(n, 2, c // 2, h, w).permute(0, 2, 1, 3, 4).reshape(n, c, h, w).chunk(2, dim=1)
        joined = torch.cat((a, b, b - a.mean((2, 3), keepdim=True)), dim=1)
        return torch.softmax(joined.flatten(2).transpose(1, 2), dim=-1).unsqueeze(1)


def test_shapes_of_a_trace_are_carried_over() -> None:
    module = Reshapes()
    rest = ablate(cnnscope.load(module, input=(4, 8, 8)).graph, ["pool"])
    module.pool = nn.Identity()  # type: ignore[assignment]  # the oracle: the same module without it
    by_torch = cnnscope.load(module, input=(4, 8, 8)).graph
    assert [(n.op, n.output) for n in rest.nodes] == [(n.op, n.output) for n in by_torch.nodes if n.layer != "pool"]


def test_shapes_of_a_trace_that_do_not_follow_are_refused() -> None:
    assert refused(cnnscope.load(Reshapes(), input=(4, 8, 8)).graph, "conv") == (
        "E491", "without `conv`, `mul` cannot join `pool` (4x4x4) and `scale` (8x1x1)", None,
    )  # fmt: skip
    shuffle = torchvision_model("shufflenet_v2_x1_0")
    graph = cnnscope.load(shuffle, input=(3, 224, 224)).graph
    assert refused(graph, "stage2.0.branch1.2") == (
        "E492", "without `stage2.0.branch1.2`, `stage2.1.slice` cannot read `stage2.0.view#2` (82x28x28): it picks "
        "positions that were counted when it was traced, which cannot be carried over to other shapes", None,
    )  # fmt: skip


# -- what cannot be removed --------------------------------------------------------------------------------------------

REFUSED = [
    ("alexnet", ("conv9",), "E205", "no layer is called `conv9`", "did you mean `conv5` or `conv4` or `conv3`?"),
    ("alexnet", ("input",), "E205", "`input` is an input of the network, not a layer", None),
    ("conv-200", ("hidden",), "E490", "removing `hidden` leaves no layer between input and output", None),
    ("resnet18", ("layer1.0.add",), "E490", "removing `layer1.0.add` leaves 2 values in its place: `layer1.0.conv2` "
     "(64x56x56) and `maxpool` (64x56x56)", "remove the whole block, `layer1.0`"),
    ("resnet18", ("layer2.0",), "E491", "without `layer2.0`, `layer2.1.add` cannot join `layer2.1.conv2` (128x56x56) "
     "and `layer1.1.add` (64x56x56)", "remove the block `layer2.1` too, or layers that keep the size"),
    ("resnet18", ("layer2.0.conv1",), "E491", "without `layer2.0.conv1`, `layer2.0.add` cannot join `layer2.0.conv2` "
     "(128x56x56) and `layer2.0.shortcut` (128x28x28)",
     "remove the block `layer2.0` too, or layers that keep the size"),
    ("lenet5", ("flatten1",), "E491", "without `flatten1`, `f6` cannot read `c5` (120x1x1): `linear` needs a flat or "
     "tokens input but gets 120x1x1", None),
    ("siamese", ("a.conv3",), "E304", "without `a.conv3`, layers share `a.linear1.linear.weight`, which would have to "
     "be 4096x12544 and 4096x9216", None),
]  # fmt: skip


@pytest.mark.parametrize(("source", "names", "code", "message", "hint"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_removal_that_cannot_be_says_why(
    source: str, names: tuple[str, ...], code: str, message: str, hint: str | None
) -> None:
    assert refused(cnnscope.load(source).graph, *names) == (code, message, hint)


def test_a_hint_names_a_group_that_is_not_gone_already() -> None:
    graph = cnnscope.load("torchvision:densenet121").graph
    with pytest.raises(CnnscopeError) as caught:
        ablate(graph, ["features.denseblock1.denselayer3"])
    assert caught.value.diagnostics[0].hint == "remove the whole block, `features.denseblock1`"
    ablate(graph, ["features.denseblock1"])  # which works
