"""torchvision's models against what torchvision publishes, and against torch's own FLOP counter."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from sweeps import sweep
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision_published import MODELS

from cnnscope.analysis.cost import known, node_costs
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError, PartialError
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.resolve import load
from cnnscope.sources.torch.build import build
from cnnscope.sources.torch.models import torchvision as recipe_of
from cnnscope.sources.torch.module import from_module

OTHERS = {
    "fcn_resnet50": ("3x64x64",), "deeplabv3_mobilenet_v3_large": ("3x96x64",),
    "lraspp_mobilenet_v3_large": ("3x64x64",), "r3d_18": ("3x8x32x32",), "mc3_18": ("3x8x32x32",),
    "s3d": ("3x16x224x224",), "mvit_v2_s": ("3x16x224x224",), "swin3d_t": ("3x8x64x64",),
    "raft_small": ("image1=3x128x128", "image2=3x128x128"), "quantized_mobilenet_v2": (),
}  # fmt: skip


# Every family, at its smallest where sizes differ in numbers alone.
FAMILIES = {
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18",
    "resnet50", "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_t", "swin_v2_b", "vgg11", "vgg11_bn",
    "vit_b_16",
}  # fmt: skip


@pytest.mark.parametrize("name", sweep(MODELS, FAMILIES))
@pytest.mark.usefixtures("torchvision")
def test_classification_models(name: str) -> None:
    params, macs, published, size = MODELS[name]
    graph = load(f"torchvision:{name}").graph
    totals = known(node_costs(graph).values())
    assert graph.inputs["input"].features == (3, size, size)
    assert (totals.macs, sum(p.numel for p in graph.params.values() if not p.buffer)) == (macs, params)
    assert round(macs / 1e9, 3) == published
    assert not [node.name for node in graph.nodes if node.op.tag == "unsupported"]
    unused = {key.split(".")[0] for key in graph.unused}
    assert unused == {"googlenet": {"aux1", "aux2"}, "inception_v3": {"AuxLogits"}}.get(name, set())
    assert theoretical(graph).keys() == {*graph.inputs, *(node.name for node in graph.nodes)}  # none is unknown


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.usefixtures("torchvision")
def test_segmentation_video_and_flow(name: str) -> None:
    graph = load(f"torchvision:{name}", inputs=parse_inputs(OTHERS[name])).graph
    assert not [node.name for node in graph.nodes if node.op.tag == "unsupported"]
    module = build(recipe_of(name, {}).make)
    totals = known(node_costs(graph).values())
    assert totals.macs == counted(module, *(value.shape for value in graph.inputs.values()))
    assert sum(p.numel for p in graph.params.values() if not p.buffer) == sum(p.numel() for p in module.parameters())


def counted(module: nn.Module, *shapes: tuple[int, ...]) -> int:
    """MACs by torch, on meta, where it sees attention too."""
    module = module.eval().to("meta").requires_grad_(False)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*(torch.empty(shape, device="meta") for shape in shapes))
    return int(counter.get_total_flops()) // 2


@pytest.mark.usefixtures("torchvision")
def test_rows_of_a_resnet_are_named_as_its_modules() -> None:
    summary = summarize(load("torchvision:resnet18").graph)
    names = [row.name for row in summary.rows]
    assert names[:11] == [
        "conv1", "bn1", "relu", "maxpool", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.relu", "layer1.0.conv2",
        "layer1.0.bn2", "layer1.0.add", "layer1.0.relu#2",
    ]  # fmt: skip
    assert names[-3:] == ["avgpool", "flatten", "fc"]
    assert summary.rows[-4].receptive_field is not None
    assert summary.rows[-4].receptive_field.size == (435, 435)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("name", ["resnet18", "swin_t", "vit_b_32", "lraspp_mobilenet_v3_large"])
def test_weights_are_held_by_their_names_in_the_state_dict(name: str) -> None:
    graph = load(f"torchvision:{name}", inputs=parse_inputs(["3x224x224"])).graph
    state = recipe_of(name, {}).make().state_dict()
    assert {key: param.shape for key, param in graph.params.items()} == {k: tuple(t.shape) for k, t in state.items()}
    assert {key for node in graph.nodes for key in node.params.values()} == state.keys()


@pytest.mark.usefixtures("torchvision")
def test_the_zoo_and_torchvision_agree_on_resnet50() -> None:
    ours, theirs = load("resnet50").graph, load("torchvision:resnet50").graph
    a, b = known(node_costs(ours).values()), known(node_costs(theirs).values())
    assert (a.macs, a.flops, a.params, a.buffers) == (b.macs, b.flops, b.params, b.buffers)
    assert _fields_of_joins(ours) == _fields_of_joins(theirs)


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("name", "every"),
    [("resnet18", 16), ("shufflenet_v2_x0_5", 40), pytest.param("googlenet", 9, marks=pytest.mark.slow)],
)
def test_exact_fields_of_traced_networks_are_autograds(name: str, every: int) -> None:
    module = recipe_of(name, {}).make()
    graph = from_module(module, parse_inputs(["3x64x64"]))
    found = exact(graph)
    layers = dict(_monotone(module).named_modules())
    rows = [row for row, _ in graph.layers() if row in layers and graph.node(row).output.kind == "map"][3::every]
    outputs: dict[str, Tensor] = {}
    for row in rows:
        layers[row].register_forward_hook(lambda m, args, out, row=row: outputs.setdefault(row, out))
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    module(x)
    for row in rows:
        height, width = outputs[row].shape[2:]
        for position in {(0, 0), (height // 2, width // 3), (height - 1, width - 1)}:
            (gradient,) = torch.autograd.grad(outputs[row][0, :, *position].sum(), x, retain_graph=True)
            touched = gradient[0].ne(0).any(0)
            lines = (touched.any(1).nonzero(), touched.any(0).nonzero())
            expected = tuple((int(line.min()), int(line.max())) for line in lines)
            assert found.box(row, position, local=False) == expected, (row, position)


def _monotone(module: nn.Module) -> nn.Module:
    """No path cancels or dies: positive weights, no activations, means for maxima."""
    for m in module.modules():
        if isinstance(m, nn.ReLU):
            m.forward = lambda x: x  # type: ignore[method-assign]  # on purpose
        if isinstance(m, nn.MaxPool2d):
            window = (m.kernel_size, m.stride, m.padding, m.ceil_mode)
            m.forward = partial(_mean, window=window)  # type: ignore[method-assign]  # on purpose
        for parameter in m.parameters(recurse=False):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return module.eval().double()


def _mean(x: Tensor, window: Any) -> Tensor:
    return nn.functional.avg_pool2d(x, *window)


def _fields_of_joins(graph: Any) -> list[Any]:
    fields = theoretical(graph)
    return [(fields[n.name].size, fields[n.name].stride) for n in graph.nodes if n.op.category == "merge"]


@pytest.mark.parametrize(
    ("source", "code", "message", "hint"),
    [
        ("torchvision:resnet51", "E431", "torchvision has no model `resnet51`",
         "did you mean `resnet50` or `resnet18` or `resnet152`?"),
        ("torchvision:resnet18?weights=DEFAULT", "E432",
         "`weights` would download weights, which an architecture does not need", "leave `weights` out"),
        ("torchvision:r3d_18", "E434", "`VideoResNet` takes `x`; no size is given for `x`",
         "for instance `--input 3x224x224`, or `128:int64` for indices"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("torchvision")
def test_what_is_refused(source: str, code: str, message: str, hint: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        load(source)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message, found.hint) == (code, message, hint)


@pytest.mark.usefixtures("torchvision")
def test_keyword_arguments() -> None:
    graph = load("torchvision:resnet18?num_classes=7&width_per_group=64").graph
    assert graph.node("fc").output.features == (7,)
    assert load("torchvision:vit_b_16?image_size=32").graph.inputs["input"].features == (3, 32, 32)
    with pytest.raises(CnnscopeError, match="`resnet18` cannot be made so"):
        load("torchvision:resnet18?nonsense=3")


def non_maximum_suppression(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """torchvision's operator in Python, which here may lack its own."""
    kept: list[int] = []
    for i in scores.argsort(descending=True).tolist():
        low = torch.maximum(boxes[i, :2], boxes[kept, :2])
        high = torch.minimum(boxes[i, 2:], boxes[kept, 2:])
        both = (high - low).clamp(min=0).prod(1)
        area = (boxes[kept, 2:] - boxes[kept, :2]).prod(1) + (boxes[i, 2:] - boxes[i, :2]).prod() - both
        if not (both / area > threshold).any():
            kept.append(i)
    return torch.tensor(kept)


@pytest.fixture
def operators(torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operator that detectors call, where torchvision lacks its own."""
    library = torch.library.Library("torchvision", "IMPL")
    library.impl("nms", non_maximum_suppression, "CPU", allow_override=True)
    monkeypatch.setattr(torchvision.ops.boxes, "_assert_has_ops", lambda: None)
    yield
    library._destroy()


@pytest.mark.slow
@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "fasterrcnn_mobilenet_v3_large_320_fpn"])
def test_detectors_run_for_real(name: str) -> None:
    loaded = load(f"torchvision:{name}?min_size=128&max_size=128", inputs=parse_inputs(["3x128x128"]))
    assert "copy with random numbers" in loaded.notes[0]
    summary = summarize(loaded.graph)
    assert {row.label for row in summary.rows if row.op == "unsupported"} >= {"torchvision::nms"}
    assert summary.unsupported
    assert loaded.graph.unused == ()


@pytest.mark.usefixtures("torchvision")
def test_a_detector_without_its_operator_is_shown_up_to_there(
    torchvision: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking() -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torchvision.ops.boxes, "_assert_has_ops", lacking)
    torch.manual_seed(7)  # weights drawn from here find nothing to suppress: the copy must have numbers of its own
    with pytest.raises(PartialError) as caught:
        load("torchvision:retinanet_resnet50_fpn?min_size=64&max_size=64", inputs=parse_inputs(["3x64x64"]))
    assert "no such operator" in caught.value.diagnostics[0].message
    assert len(summarize(caught.value.graph).rows) > 200
