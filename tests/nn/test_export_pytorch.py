"""Exported PyTorch files: they run alone, compute what the graph computes, and read like code somebody wrote."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from exported import export, run
from torch import Tensor, nn

import cnnscope
from cnnscope import spec
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.nn.build import build
from cnnscope.nn.export.pytorch import pytorch_source
from cnnscope.nn.ops import torch_op
from cnnscope.nn.ops.base import Module
from cnnscope.ops import REGISTRY, Case
from cnnscope.ops.base import Op
from cnnscope.sources import zoo
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module

SIZES: dict[str, tuple[int, ...] | dict[str, tuple[int, ...]]] = {
    "lenet5": (1, 32, 32), "resnet18": (3, 32, 32), "densenet121": (3, 32, 32), "mobilenet_v3_small": (3, 32, 32),
    "efficientnet_b0": (3, 32, 32), "shufflenet_v2_x1_0": (3, 32, 32), "squeezenet1_1": (3, 32, 32),
    "googlenet-torchvision": (3, 32, 32), "convnext_tiny": (3, 32, 32), "vit_tiny": (3, 224, 224),
    "unet": (1, 188, 188), "retinanet_resnet50_fpn": (3, 64, 64), "m5": (1, 8000), "r3d_18": (3, 2, 16, 16),
    "deeplabv3_resnet50": (3, 32, 32), "keras-cnn": (28, 28, 1), "yolov3": (3, 32, 32),
}  # fmt: skip
RUFF = [sys.executable, "-m", "ruff"]


def load(name: str, size: tuple[int, ...] | dict[str, tuple[int, ...]] | None = None) -> Graph:
    return spec.load(zoo.path(name), input=size).graph


def parse(text: str) -> Graph:
    return spec.load("net.yaml", text=text).graph


def same_weights(graph: Graph) -> tuple[nn.Module, nn.Module]:
    """The exported module and the one built from the graph, in eval mode, with one set of weights."""
    reference, module = build(graph, seed=3), export(graph)()
    assert {key: tuple(t.shape) for key, t in module.state_dict().items()} == {
        key: param.shape for key, param in graph.params.items()
    }
    state = {key: tensor.clone() for key, tensor in reference.state_dict().items()}
    for key, tensor in state.items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            tensor.normal_(0, 0.1)
    reference.load_state_dict(state)
    module.load_state_dict(state)
    return module.eval(), reference.eval()


def inputs_of(graph: Graph, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(batch, *value.shape[1:], generator=generator) for value in graph.inputs.values()]


def assert_same(ours: Tensor | dict[str, Tensor], theirs: Tensor | dict[str, Tensor]) -> None:
    if isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert list(ours) == list(theirs)
    pairs = zip(ours.values(), theirs.values(), strict=True) if isinstance(ours, dict) else [(ours, theirs)]
    for a, b in pairs:
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6 * float(b.abs().max()))


# -- every op, every case ----------------------------------------------------------------------------------------------

CASES = [
    pytest.param(op, case, id=f"{tag}-{i}")
    for tag, op in REGISTRY.items() if torch_op(op) or tag == "depthwise"
    for i, case in enumerate(op.cases)
]  # fmt: skip


def single(op: type[Op], case: Case) -> Graph:
    """A graph of one op."""
    x = case.inputs()
    bound = op.read(case.args, len(x[0].spatial) if x[0].kind == "map" else None).bind(x)
    names = tuple(f"x{i}" for i in range(len(x)))
    params = {f"layer.{role}": Param(shape) for role, shape in bound.weights(x).items()}
    buffers = {
        f"layer.{role}": Param(shape, "int64" if role.endswith("tracked") else "float32", False, True)
        for role, shape in bound.buffers(x).items()
    }
    keys = {key.removeprefix("layer."): key for key in params | buffers}
    node = Node("layer", bound, names, bound.infer(x), keys)
    return Graph("one", dict(zip(names, x, strict=True)), (node,), ("layer",), params | buffers)


@pytest.mark.parametrize(("op", "case"), CASES)
def test_every_op_is_written_and_computes_the_same(op: type[Op], case: Case) -> None:
    graph = single(op, case)
    module, reference = same_weights(graph)
    x = inputs_of(graph, batch=1 if case.kind == "tensor" else 2)  # tensors are broadcast from the right
    with torch.no_grad():
        ours = module(*x)
        assert_same(ours, reference(*x))
    assert tuple(ours.shape[1:]) == case.shape


def test_ops_the_table_builds_have_cases() -> None:
    """The test above cannot pass by leaving an op out."""
    written = {op for op, _ in (case.values for case in CASES)}
    assert {op for op in REGISTRY.values() if torch_op(op)} <= written


# -- whole networks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_networks_compute_the_same(name: str) -> None:
    graph = load(name, SIZES[name])
    module, reference = same_weights(graph)
    x = inputs_of(graph)
    with torch.inference_mode():
        assert_same(module(*x), reference(*x))


def facts(graph: Graph) -> tuple[object, ...]:
    """Totals, and the receptive field of every output that inference yields."""
    totals = summarize(graph).totals
    fields = theoretical(graph)
    ends = [name for name in graph.outputs if not graph.node(name).training_only]
    return totals.params, totals.trainable, totals.macs, [fields[name] for name in ends]


def assert_round_trip(name: str) -> None:
    """Spec to code to trace. Heads for training only have parameters, but a trace sees no field of them."""
    graph = load(name)
    with torch.device("meta"):
        module = export(graph)()
    traced = from_module(module, [InputSize(value.shape[1:]) for value in graph.inputs.values()])
    assert facts(traced) == facts(graph)


ROUND_TRIPS = (
    "lenet5", "resnet50", "densenet121", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "inception_v3",
    "googlenet-torchvision", "shufflenet_v2_x1_0", "squeezenet1_0", "convnext_tiny", "vit_tiny", "unet", "yolov3",
    "retinanet_resnet50_fpn", "siamese", "m5", "r3d_18", "xception", "vgg16",
)  # fmt: skip


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_traced_exports_have_the_same_totals_and_fields(name: str) -> None:
    assert_round_trip(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(zoo.names()) - set(ROUND_TRIPS)))
def test_traced_exports_have_the_same_totals_and_fields_whole_zoo(name: str) -> None:
    assert_round_trip(name)


def test_heads_for_training_run_in_training_only() -> None:
    graph = load("inception_v3", (3, 299, 299))
    module, reference = same_weights(graph)
    x = inputs_of(graph)
    with torch.no_grad():
        assert_same(module(*x), reference(*x))
        module.train()
        outputs = module(*x)
    assert list(outputs) == list(graph.outputs)
    assert {name: output.shape for name, output in outputs.items()} == {
        name: output.shape for name, output in reference.train()(*x).items()
    }


FROZEN = """{cnnscope: 1, input: {shape: [3, 8, 8]}, layers: [
    {conv: {out: 4, kernel: 3, name: a, frozen: true}}, {conv: {out: 4, kernel: 3, norm: batch, name: b}}, flatten,
    {linear: {out: 2, name: c}}]%s}"""


@pytest.mark.parametrize("freeze", ["", ", freeze: [b.norm]", ", freeze: ['*']", ", freeze: [c.bias]"])
def test_frozen_weights_stay_frozen(freeze: str) -> None:
    graph = parse(FROZEN % freeze)
    trainable = {key: p.requires_grad for key, p in export(graph)().named_parameters()}
    assert trainable == {key: p.trainable for key, p in graph.params.items() if not p.buffer}


def test_frozen_norms_everywhere() -> None:
    graph = load("retinanet_resnet50_fpn", (3, 128, 128))
    with torch.device("meta"):
        trainable = {key: p.requires_grad for key, p in export(graph)().named_parameters()}
    assert trainable == {key: p.trainable for key, p in graph.params.items() if not p.buffer}
    assert not all(trainable.values())


# -- traced networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x1_0", "mnasnet0_5"])
def test_traced_networks_take_their_own_weights(torchvision: ModuleType, name: str) -> None:
    model = getattr(torchvision.models, name)().eval()
    graph = from_module(model, [InputSize((3, 64, 64))])
    module = export(graph)().eval()
    module.load_state_dict(model.state_dict(), strict=True)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(module(x), model(x))


def test_weights_nothing_uses_are_left_out_and_said_to_be(torchvision: ModuleType) -> None:
    with torch.device("meta"):
        model = torchvision.models.googlenet(init_weights=False)
    graph = from_module(model, [InputSize((3, 64, 64))])
    source = pytorch_source(graph)
    assert "\nLeft out: weights that nothing uses, in `aux1`, `aux2`.\n" in source
    with torch.device("meta"):
        kept = run(source)().state_dict().keys()
    assert kept == {key for key in graph.params if not key.startswith("aux")}


def test_dropout_stays_in_the_chain() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.drop, self.b = nn.Linear(4, 4), nn.Dropout(0.9), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.drop(self.a(x)))

    torch.manual_seed(0)
    module = export(from_module(Net(), [InputSize((4,))]))().train()
    x = torch.ones(8, 4)
    assert not torch.equal(module(x), module(x))


# -- how it reads ------------------------------------------------------------------------------------------------------


def test_lenet5_word_for_word() -> None:
    assert (
        pytorch_source(load("lenet5")).partition('"""\n\n')[2]
        == '''from __future__ import annotations

from torch import nn


class ConvTanh(nn.Sequential):
    """A layer of conv and act."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=5)
        self.act = nn.Tanh()


class LinearTanh(nn.Sequential):
    """A layer of linear and act."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(120, 84)
        self.act = nn.Tanh()


class LeNet5(nn.Sequential):
    """(N, 1, 32, 32) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = ConvTanh(1, 6)
        self.s2 = nn.AvgPool2d(2)
        self.c3 = ConvTanh(6, 16)
        self.s4 = nn.AvgPool2d(2)
        self.c5 = ConvTanh(16, 120)
        self.flatten1 = nn.Flatten()
        self.f6 = LinearTanh()
        self.output = nn.Linear(84, 10)
'''
    )


def test_resnet50_word_for_word() -> None:
    source = pytorch_source(load("resnet50"))
    assert source.splitlines()[:9] == [
        f'"""ResNet-50 in PyTorch, written by cnnscope {cnnscope.__version__}.', "",
        "25,557,032 parameters; 4,089,184,256 multiply-accumulates for an input of 3x224x224.", '"""', "",
        "from __future__ import annotations", "", "from torch import Tensor, nn",
        "from torch.nn import functional as F",
    ]  # fmt: skip
    assert (
        source.partition("class Bottleneck(")[2]
        == '''nn.Module):
    """The `bottleneck` block of `layer1.1` and 11 more."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvBatchNormReLU(channels, hidden_channels, 1)
        self.conv2 = ConvBatchNormReLU(hidden_channels, hidden_channels, 3)
        self.conv3 = ConvBatchNorm(hidden_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y = self.conv2(y)
        return F.relu(self.conv3(y) + x)


class BottleneckWithShortcut(nn.Module):
    """The `bottleneck` block of `layer1.0` and 3 more."""

    def __init__(self, in_channels: int, hidden_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvBatchNormReLU(in_channels, hidden_channels, 1)
        self.conv2 = ConvBatchNormReLU(hidden_channels, hidden_channels, 3, stride=stride)
        self.conv3 = ConvBatchNorm(hidden_channels, 4 * hidden_channels)
        self.shortcut = ConvBatchNorm(in_channels, 4 * hidden_channels, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y = self.conv2(y)
        return F.relu(self.conv3(y) + self.shortcut(x))


class ResNet50(nn.Sequential):
    """(N, 3, 224, 224) -> (N, 1000)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = ConvBatchNormReLU(3, 64, 7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(
            BottleneckWithShortcut(64, 64),
            Bottleneck(256, 64),
            Bottleneck(256, 64),
        )
        self.layer2 = nn.Sequential(
            BottleneckWithShortcut(256, 128, stride=2),
            *(Bottleneck(512, 128) for _ in range(3)),
        )
        self.layer3 = nn.Sequential(
            BottleneckWithShortcut(512, 256, stride=2),
            *(Bottleneck(1024, 256) for _ in range(5)),
        )
        self.layer4 = nn.Sequential(
            BottleneckWithShortcut(1024, 512, stride=2),
            Bottleneck(2048, 512),
            Bottleneck(2048, 512),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten1 = nn.Flatten()
        self.fc = nn.Linear(2048, 1000)
'''
    )


def test_branches_and_growing_blocks() -> None:
    inception, densenet = pytorch_source(load("googlenet-torchvision")), pytorch_source(load("densenet121"))
    assert "return torch.cat([self.b1x1(x), self.b3x3(x), self.b5x5(x), self.pool(x)], dim=1)" in inception
    assert "*(Dense(in_channels) for in_channels in range(256, 1024, 32))," in densenet
    assert "        return torch.cat([x, self.new(x)], dim=1)" in densenet


def test_a_network_used_twice_is_written_once() -> None:
    source = pytorch_source(load("siamese"))
    assert "y = (self.a(left) - self.a(right)).abs()" in source
    assert "self.b" not in source


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    for name in zoo.names():
        folder.joinpath(name.replace("-", "_") + ".py").write_text(pytorch_source(load(name)))
    return folder


def test_files_are_formatted_and_clean(files: Path) -> None:
    common = ["--isolated", "--no-cache", "--line-length=100", str(files)]
    formatted = subprocess.run([*RUFF, "format", "--diff", *common], capture_output=True, text=True, check=False)
    assert formatted.returncode == 0, formatted.stdout[:4000]
    rules = "--select=E,F,W,I,B,UP,C4,SIM,RUF,PIE,RET"
    checked = subprocess.run([*RUFF, "check", rules, *common], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout[:4000]


def test_files_import_torch_and_the_standard_library_alone(files: Path) -> None:
    for path in files.iterdir():
        tree = ast.parse(path.read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert {str(module).partition(".")[0] for module in modules} <= {
            "__future__", "collections", "functools", "math", "torch",
        }  # fmt: skip


@pytest.mark.slow
def test_files_pass_a_type_checker(files: Path) -> None:
    chosen = [str(files / f"{name}.py") for name in ("resnet50", "inception_v3", "unet", "vit_tiny", "yolov3")]
    options = ["--config-file=", "--disallow-untyped-defs", "--check-untyped-defs", "--no-error-summary"]
    checked = [
        subprocess.run([sys.executable, "-m", "mypy", *options, file], capture_output=True, text=True, check=False)
        for file in chosen
    ]
    assert [run_.stdout for run_ in checked] == [""] * len(chosen)


# -- what cannot be written --------------------------------------------------------------------------------------------


def refused(graph: Graph) -> tuple[str, list[str], str | None]:
    with pytest.raises(CnnscopeError) as caught:
        pytorch_source(graph)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "E427"
    return diagnostic.message, [note.message for note in diagnostic.notes], diagnostic.hint


def test_ops_that_do_not_say_what_they_compute() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand(3, 1, 1) + nn.functional.batch_norm(x, torch.ones(3), torch.ones(3))

    message, notes, hint = refused(from_module(Scaled(), [InputSize((3, 4, 4))]))
    assert message == "`Scaled` cannot be written as PyTorch: 2 of its ops lack operands"
    assert notes == [
        "`add` is `elementwise` (add) without its operand `other`",
        "`batchnorm` is `batchnorm` without its operands `running_mean` and `running_var`",
    ]
    assert hint == "a traced model's own source is its PyTorch code; `--to json` writes every graph"


def test_numbers_and_constants_are_written() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (1 - x.clamp(0, 0.5) * torch.tensor([1.0, 2.0, 3.0])[:, None, None]) ** 2

    text = pytorch_source(from_module(Scaled(), [InputSize((3, 4, 4))]))
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(run(text)()(x), Scaled()(x))


def test_a_module_that_torch_lacks_and_no_record_defines(monkeypatch: pytest.MonkeyPatch) -> None:
    class DyT(nn.Module):
        pass

    record = torch_op(REGISTRY["tanh"])
    assert record is not None
    module = ModuleType("strange")
    module.TORCH_OPS = (replace(record, make=lambda op, x: Module(DyT)),)  # type: ignore[attr-defined]  # a file's
    monkeypatch.setitem(sys.modules, "strange", module)
    monkeypatch.setattr(REGISTRY["tanh"], "in_torch", "strange")
    message, notes, hint = refused(load("lenet5"))
    assert message == "`LeNet-5` cannot be written as PyTorch: torch.nn has no `DyT`"
    assert notes[0] == "`c1.act` is `tanh`, which is the module `DyT`"
    assert len(notes) == 4
    assert hint == "the record of an op says how a file takes such a module along: docs/add-an-op.md"


def test_an_op_without_a_record_for_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "strange", ModuleType("strange"))
    monkeypatch.setattr(REGISTRY["tanh"], "in_torch", "strange")
    message, notes, hint = refused(load("lenet5"))
    assert message == "`LeNet-5` cannot be written as PyTorch: there is no record for torch of `tanh`"
    assert notes[0] == "`c1.act` is `tanh`"
    assert hint == "the record of an op says how torch computes it: docs/add-an-op.md"


def test_scopes_that_run_in_turns() -> None:
    conv = REGISTRY["conv"].read({"out": 2, "kernel": 1, "bias": False}, 2)
    nodes, last = [], "x"
    for name in ("a.one", "b.one", "a.two", "b.two"):
        nodes.append(Node(name, conv, (last,), Value((1, 2, 4, 4)), {"weight": f"{name}.weight"}))
        last = name
    params = {f"{node.name}.weight": Param((2, 2, 1, 1)) for node in nodes}
    message, _, _ = refused(Graph("net", {"x": Value((1, 2, 4, 4))}, tuple(nodes), (last,), params))
    assert message == "`a` and `b` run in turns, so neither can be written as a module of its own"


def test_weights_kept_elsewhere() -> None:
    conv = REGISTRY["conv"].read({"out": 2, "kernel": 1, "bias": False}, 2)
    first = Node("a.one", conv, ("x",), Value((1, 2, 4, 4)), {"weight": "a.one.weight"})
    again = Node("b.two", conv, ("a.one",), Value((1, 2, 4, 4)), {"weight": "a.one.weight"})
    more = Node("b.three", conv, ("b.two",), Value((1, 2, 4, 4)), {"weight": "b.three.weight"})
    params = {key: Param((2, 2, 1, 1)) for key in ("a.one.weight", "b.three.weight")}
    message, _, _ = refused(Graph("net", {"x": Value((1, 2, 4, 4))}, (first, again, more), ("b.three",), params))
    assert message == "`b.two` uses weights kept elsewhere (`a.one.weight`)"


# -- names that Python or torch would not have -------------------------------------------------------------------------


def test_awkward_names() -> None:
    graph = parse("""{cnnscope: 1, name: "3 x 3 (class)", input: {shape: [3, 8, 8]}, layers: [
        {conv: {out: 4, kernel: 1, name: class}}, {conv: {out: 4, kernel: 1, name: lambda}},
        {add: {from: [class, lambda], name: import}}, flatten, {linear: {out: 2, name: Tensor}}]}""")
    reference, module = build(graph), export(graph)()
    module.load_state_dict(reference.state_dict())
    (x,) = inputs_of(graph)
    assert torch.allclose(module(x), reference(x))
    assert type(module).__name__ == "Net3X3Class"


class Unspoken(nn.Module):
    """Layers, a block and parameters under names that Python cannot write behind a dot."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module("class", nn.ModuleDict({"a-b": nn.Conv2d(3, 4, 1), "0": nn.Conv2d(3, 4, 1)}))
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(4, 1, 1)) for _ in range(2)])
        self.register_parameter("1", nn.Parameter(torch.rand(4, 1, 1)))

    def forward(self, x: Tensor) -> Tensor:
        layers = self.get_submodule("class")
        x = layers["a-b"](x) * self.scales[0] + layers["0"](x) * self.scales[1]  # type: ignore[index]  # a ModuleDict
        return x + self.get_parameter("1")


def test_files_take_the_weights_of_layers_named_by_numbers() -> None:
    chain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU()), nn.Flatten())
    for module in (Unspoken(), chain):
        file = export(from_module(module, [InputSize((3, 8, 8))]))()
        file.load_state_dict(module.state_dict())
        x = torch.rand(2, 3, 8, 8)
        torch.testing.assert_close(file(x), module(x))


TITLES = (
    '"""\nimport os; os.system("touch marker")\n"""', '"""', 'ends with "', "ends with \\", "\\", "\x00 and \x1b[2J",
    "a\rb", "\u2028", "\U000e0001", "\udc80", "é ✓",
)  # fmt: skip


@pytest.mark.parametrize("title", TITLES)
def test_a_title_stays_inside_the_docstring(title: str) -> None:
    graph = replace(from_module(nn.Sequential(nn.Conv2d(3, 4, 3)), [InputSize((3, 8, 8))]), name=title)
    tree = ast.parse(pytorch_source(graph))
    assert [type(part).__name__ for part in tree.body] == ["Expr", "ImportFrom", "ImportFrom", "ClassDef"]
    assert (ast.get_docstring(tree, clean=False) or "").startswith(title)
