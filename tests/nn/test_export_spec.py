"""Specs written from graphs: they load to the same network, and fold what repeats."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from sweeps import zoo_sweep
from torch import Tensor, nn

from cnnscope import spec
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.nn.export.spec import spec_source
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module


def load(text: str) -> Graph:
    return spec.load("exported.yaml", text=text).graph


def facts(graph: Graph) -> tuple[object, ...]:
    """Totals, and the receptive field and shape of every output that inference yields."""
    totals = summarize(graph).totals
    fields = theoretical(graph)
    ends = [name for name in graph.outputs if not graph.node(name).training_only]
    return (
        totals.params,
        totals.trainable,
        totals.macs,
        totals.flops,
        [(fields[name], graph.value(name).features) for name in ends],
    )


def assert_round_trip(graph: Graph) -> str:
    written = spec_source(graph)
    assert facts(load(written)) == facts(graph)
    return written


FLAT = {
    "alexnet", "alexnet-torchvision", "conv-200", "deeplabv3_resnet50", "googlenet", "inception_v3", "keras-cnn",
    "lenet5", "lenet5-digits", "lenet5-digits-augmented", "m5", "mlp", "mlp-200", "mlp-426", "retinanet_resnet50_fpn",
    "siamese", "vgg11", "vgg13", "vgg16", "vgg16-conv", "vgg19", "yolov3", "zfnet",
}  # fmt: skip
"""Nothing in them repeats, or they have several ends or shared weights."""


@pytest.mark.parametrize("name", zoo_sweep())
def test_the_zoo_written_again(name: str) -> None:
    graph = spec.load(zoo.path(name)).graph
    written = assert_round_trip(graph)
    assert ("\nblocks:\n" in written) == (name not in FLAT)


TRACED = {
    "resnet18": 24, "resnet50": 25, "mobilenet_v2": 44, "googlenet": 56, "squeezenet1_0": 28, "efficientnet_b0": 65,
    "regnet_y_400mf": 70, "inception_v3": 119, "resnext50_32x4d": 25, "densenet121": 435,
}  # fmt: skip
"""Lines of the spec. A DenseNet of torchvision's lists all earlier maps in every layer, which is no nesting."""


@pytest.mark.parametrize("name", TRACED)
def test_traced_networks_as_specs(torchvision: ModuleType, name: str) -> None:
    quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # a RegNet reads values when it is made
        model = getattr(torchvision.models, name)(**quick)
    graph = from_module(model, [InputSize((3, 224, 224))])
    written = spec_source(graph)
    found, expected = facts(load(written)), facts(graph)
    assert found[2:] == expected[2:]
    unused = sum(graph.params[key].numel for key in graph.unused if not graph.params[key].buffer)
    assert found[0] == expected[0] - unused
    assert len(written.splitlines()) <= TRACED[name]


def test_resnet18_word_for_word(torchvision: ModuleType) -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    assert (
        spec_source(from_module(model, [InputSize((3, 224, 224))]))
        == """\
cnnscope: 1
name: ResNet
input: {shape: [3, 224, 224]}
defaults: {conv: {bias: false, pad: half, norm: batch}}
blocks:
  basic_block:
    params: {out: ~, stride: 1}
    layers:
      - residual:
          act: relu
          shortcut: identity_or_project
          layers:
            - conv: {out: $out, kernel: 3, stride: $stride, act: relu, name: conv1}
            - conv: {out: $out, kernel: 3, name: conv2}
layers:
  - conv: {out: 64, kernel: 7, stride: 2, act: relu, name: conv1}
  - maxpool: {kernel: 3, stride: 2, pad: 1, name: maxpool}
  - use: {block: basic_block, repeat: 2, with: {out: 64}, name: layer1}
  - use: {block: basic_block, repeat: 2, with: {out: 128}, first: {stride: 2}, name: layer2}
  - use: {block: basic_block, repeat: 2, with: {out: 256}, first: {stride: 2}, name: layer3}
  - use: {block: basic_block, repeat: 2, with: {out: 512}, first: {stride: 2}, name: layer4}
  - globalavgpool: {name: avgpool}
  - flatten: {name: flatten}
  - linear: {out: 1000, name: fc}
"""
    )


def test_residuals_only_some_blocks_have(torchvision: ModuleType) -> None:
    with torch.device("meta"):
        model = torchvision.models.mobilenet_v2()
    written = spec_source(from_module(model, [InputSize((3, 224, 224))]))
    assert "          shortcut: identity_or_none\n" in written
    assert written.count("  inverted_residual") == 1
    assert "        - [24, 96, 2]\n        - [24, 144, 1]\n" in written


# -- networks that are no nested branches ------------------------------------------------------------------------------


class Ladder(nn.Module):
    """Each layer reads the two before it: no fork encloses a join."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(a + x)
        return self.c(b + a) + b


def test_a_ladder_is_written_flat() -> None:
    graph = from_module(Ladder(), [InputSize((3, 8, 8))])
    written = assert_round_trip(graph)
    assert "from: [b, a]" in written


def test_several_inputs_and_outputs() -> None:
    text = """{cnnscope: 1, inputs: {left: {shape: [3, 8, 8]}, right: {shape: [3, 8, 8]}}, layers: [
        {conv: {out: 4, kernel: 3, from: left, name: a}}, {conv: {out: 4, kernel: 3, from: right, name: b}},
        {concat: {from: [a, b], name: both}}], heads: {one: [{conv: {out: 2, kernel: 1}}], two: {from: a}}}"""
    assert_round_trip(load(text))


def test_ops_that_are_no_layers() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 0.5

    with pytest.raises(CnnscopeError) as caught:
        spec_source(from_module(Scaled(), [InputSize((3, 4, 4))]))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.hint) == (
        "E427", "`Scaled` cannot be written as a spec: 1 of its ops are no layers of the language",
        "`--to json` writes every graph",
    )  # fmt: skip
    assert [note.message for note in diagnostic.notes] == ["`mul` is `elementwise` (mul)"]


# -- small networks ----------------------------------------------------------------------------------------------------

SMALL = {
    "projection with another kernel": """{residual: {shortcut: [{conv: {out: 8, kernel: 3, pad: 1}}],
        layers: [{conv: {out: 8, kernel: 1}}, {conv: {out: 8, kernel: 1}}]}}""",
    "equal branches": "{add: {paths: {a: [{conv: {out: 8, kernel: 1}}], b: [{conv: {out: 8, kernel: 1}}]}}}",
    "gate": "{mul: {paths: {x: [], gate: [globalavgpool, {conv: {out: 4, kernel: 1, act: sigmoid}}]}}}",
    "norm with arguments": "{conv: {out: 8, kernel: 3, norm: {batch: {eps: 1e-3}}, act: {leakyrelu: 0.1}}}",
    "uneven padding": "{conv: {out: 8, kernel: 3, stride: 2, pad: {top: 1, right: 2}}}",
    "frozen": "{conv: {out: 8, kernel: 3, frozen: true}}",
    "norm before activation": "batchnorm, relu, {conv: {out: 8, kernel: 1}}",
    "join in a join": """{concat: {paths: {a: [], b: [{conv: {out: 4, kernel: 1}},
        {residual: {layers: [{conv: {out: 4, kernel: 1}}]}}]}}}""",
}


@pytest.mark.parametrize("layers", SMALL.values(), ids=SMALL)
def test_small_networks(layers: str) -> None:
    graph = load(f"{{cnnscope: 1, input: {{shape: [4, 9, 9]}}, layers: [{layers}]}}")
    assert_round_trip(graph)


BLOCKS = """
cnnscope: 1
name: stages
input: {shape: [3, 32, 32]}
blocks:
  unit:
    params: {out: ~, kernel: 3, stride: 1}
    layers:
      - residual:
          act: relu
          shortcut: identity_or_project
          layers:
            - conv: {out: $out, kernel: $kernel, stride: $stride, pad: half, norm: batch, act: relu}
            - conv: {out: $out, kernel: 3, pad: half, norm: batch}
  stage:
    params: {out: ~, repeat: ~}
    layers:
      - use: {block: unit, repeat: $repeat, with: {out: $out}, first: {stride: 2}}
defaults: {conv: {norm: batch}}
layers:
  - use: {block: stage, each: [[out, repeat], [8, 2], [16, 3], [32, 4]]}
  - use: {block: unit, with: {out: 32, kernel: 5}}
"""


def test_blocks_of_blocks_are_found_again() -> None:
    written = assert_round_trip(load(BLOCKS))
    assert "  unit:\n" in written
    assert "  stage:\n" in written
    assert "  - use: {block: stage, each: [[out, repeat], [8, 2], [16, 3], [32, 4]], name: stage1}\n" in written
