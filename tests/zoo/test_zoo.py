"""The zoo against what is published, against torch, and against the names and shapes of the papers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from zoo_published import KERAS_SUMMARY, TIMM, TORCHVISION
from zoo_twins import M5, TWINS, GoogLeNet, count

from cnnscope.analysis.summary import Row, Summary, summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources import zoo
from cnnscope.spec import Spec, load

NAMES = (
    "alexnet", "alexnet-torchvision", "conv-200", "convnext_tiny", "deeplabv3_resnet50", "densenet121", "densenet201",
    "efficientnet_b0", "googlenet", "googlenet-torchvision", "inception_v3", "keras-cnn", "lenet5",
    "lenet5-digits", "lenet5-digits-augmented", "m5", "mlp",
    "mlp-200", "mlp-426", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "r3d_18",
    "resnet101", "resnet152", "resnet18", "resnet34", "resnet50", "resnext50_32x4d", "retinanet_resnet50_fpn",
    "shufflenet_v2_x1_0", "siamese", "squeezenet1_0", "squeezenet1_1", "unet", "vgg11", "vgg13", "vgg16", "vgg16-conv",
    "vgg19", "vit_tiny", "wide_resnet50_2", "xception", "yolov3", "zfnet",
)  # fmt: skip


@cache
def spec(name: str) -> Spec:
    return load(zoo.path(name))


@cache
def summary(name: str) -> Summary:
    return summarize(spec(name).graph)


def row(name: str, layer: str) -> Row:
    return next(row for row in summary(name).rows if row.name == layer)


def features(name: str, layer: str) -> tuple[int, ...]:
    output = row(name, layer).output
    assert output is not None
    return output.features


def totals(name: str) -> tuple[int, int | None]:
    return summary(name).totals.params, summary(name).totals.macs


def weight_shapes(graph: Graph) -> Counter[tuple[int, ...]]:
    return Counter(param.shape for param in graph.params.values() if not param.buffer)


def test_the_zoo_is_complete() -> None:
    assert zoo.names() == tuple(sorted(NAMES))


def test_every_model_has_an_independent_figure() -> None:
    assert set(NAMES) == {*TORCHVISION, *TIMM, *TWINS}


@pytest.mark.parametrize("name", NAMES)
def test_totals_equal_the_reference(name: str) -> None:
    reference = spec(name).reference
    assert totals(name) == (reference["params"], reference["macs"])
    assert summary(name).unsupported == ()
    assert reference["source"]


@pytest.mark.parametrize("name", NAMES)
def test_specs_are_short_and_say_where_they_come_from(name: str) -> None:
    about = spec(name).about
    assert 1980 <= about["year"] <= 2030
    assert about["source"]
    lines = Path(zoo.path(name)).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", TORCHVISION)
def test_totals_equal_torchvisions(name: str) -> None:
    _, params, macs = TORCHVISION[name]
    found = summary(name).totals
    assert (found.trainable, found.macs) == (params, macs)


def test_the_table_is_what_torchvision_publishes(torchvision: ModuleType) -> None:
    for full_name, params, macs in TORCHVISION.values():
        meta = torchvision.models.get_model_weights(full_name.rpartition(".")[2]).DEFAULT.meta
        assert (params, f"{macs / 1e9:.3f}") == (meta["num_params"], f"{meta['_ops']:.3f}"), full_name


def torchvision_builder(torchvision: ModuleType, full_name: str) -> Callable[[], Any]:
    package, _, function = full_name.rpartition(".")
    home = getattr(torchvision.models, package) if package else torchvision.models
    options: dict[str, Any] = {"weights": None}
    if package in ("segmentation", "detection"):
        options["weights_backbone"] = None
    if function in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": function == "inception_v3"}
    if function == "deeplabv3_resnet50":
        options["aux_loss"] = True
    return partial(getattr(home, function), **options)


@pytest.mark.parametrize("name", TORCHVISION)
def test_weights_have_torchvisions_shapes(name: str, torchvision: ModuleType) -> None:
    """Totals alone could agree by accident: every single weight has its counterpart."""
    import torch

    with torch.device("meta"):
        model = torchvision_builder(torchvision, TORCHVISION[name][0])()
    ours = weight_shapes(spec(name).graph)
    theirs = Counter(tuple(p.shape) for p in model.parameters())
    if name == "convnext_tiny":  # there a 1x1 convolution is a linear layer between two permutes
        ours, theirs = (Counter(s[:-2] if s[-2:] == (1, 1) else s for s in c.elements()) for c in (ours, theirs))
    assert ours == theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_macs_equal_torchvisions_counted_now(name: str, torchvision: ModuleType) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    (value, *_) = spec(name).graph.inputs.values()
    with torch.device("meta"):
        model = torchvision_builder(torchvision, TORCHVISION[name][0])().eval()
        x = torch.empty(value.shape)
    with FlopCounterMode(display=False) as counter:
        if name == "retinanet_resnet50_fpn":  # without anchors, box decoding and suppression
            model.head(list(model.backbone(x).values()))
        else:
            model(x)
    assert counter.get_total_flops() // 2 == summary(name).totals.macs


@pytest.mark.parametrize("name", TIMM)
def test_totals_and_weights_equal_timms(name: str, torchvision: ModuleType) -> None:
    import timm
    import torch

    full_name, size = TIMM[name]
    build = partial(timm.create_model, full_name)
    assert totals(name) == count(build, ((3, size, size),))
    with torch.device("meta"):
        model = build()
    assert weight_shapes(spec(name).graph) == Counter(tuple(p.shape) for p in model.parameters())


@pytest.mark.parametrize("name", TWINS)
def test_totals_equal_the_torch_twins(name: str) -> None:
    assert totals(name) == count(*TWINS[name])


def test_vgg_conv_is_the_twin_of_vgg16() -> None:
    assert totals("vgg16-conv") == totals("vgg16")
    larger = load(zoo.path("vgg16-conv"), input=(3, 384, 384)).graph
    assert larger.nodes[-1].output.features == (1000, 6, 6)


def test_googlenet_without_its_training_heads() -> None:
    inference = sum(row.cost.params for row in summary("googlenet").rows if not row.training_only)
    assert (inference, summary("googlenet").totals.macs) == count(partial(GoogLeNet, aux=False), ((3, 224, 224),))
    assert inference == 6_998_552


def test_m5_widths_are_a_parameter() -> None:
    narrow = summarize(load(zoo.path("m5"), set={"w": 64, "classes": 35}, input=(1, 16000)).graph).totals
    assert (narrow.params, narrow.macs) == count(partial(M5, w=64, classes=35), ((1, 16000),))


def test_keras_summary_row_by_row() -> None:
    wanted = re.findall(r"(\w+) \((\w+)\) +\(None, ([\d, ]+)\) +([\d,]+)", KERAS_SUMMARY)
    assert len(wanted) == 14
    kinds = {"Conv2D": "conv", "MaxPooling2D": "maxpool", "Flatten": "flatten", "Dense": "linear", "Dropout": "dropout"}
    found = []
    for r in summary("keras-cnn").rows:
        assert r.output is not None
        shape = r.output.features
        last = shape[1:] + shape[:1]  # Keras writes channels last
        found.append((r.name, r.op, ", ".join(map(str, last)), f"{r.cost.params:,}"))
    assert found == [(name, kinds[kind], shape, params) for name, kind, shape, params in wanted]
    total = summary("keras-cnn").totals
    assert (total.params, total.trainable, total.frozen) == (1_413_834, 1_413_834, 0)
    assert f"{total.param_bytes / 2**20:.2f} MB" == "5.39 MB"  # Keras says MB for 2^20 bytes


def test_alexnet_rows_are_the_papers() -> None:
    rows = {"conv1": (96, 55, 55), "norm1": (96, 55, 55), "pool1": (96, 27, 27), "conv2": (256, 27, 27),
            "norm2": (256, 27, 27), "pool2": (256, 13, 13), "conv3": (384, 13, 13), "conv4": (384, 13, 13),
            "conv5": (256, 13, 13), "pool5": (256, 6, 6), "fc6": (4096,), "fc7": (4096,), "fc8": (1000,)}  # fmt: skip
    assert {layer: features("alexnet", layer) for layer in rows} == rows
    graph = spec("alexnet").graph
    # figure 2 of the paper: kernels of the second, fourth and fifth layer see one GPU's half of the maps
    assert [graph.params[f"conv{i}.conv.weight"].shape for i in range(1, 6)] == [
        (96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3),
    ]  # fmt: skip
    lrn = graph.node("norm1").op.arguments()
    assert (lrn["k"], lrn["size"], lrn["alpha"] / lrn["size"], lrn["beta"]) == (2, 5, 1e-4, 0.75)  # section 3.3
    pool = graph.node("pool1").op.arguments()
    assert (pool["kernel"], pool["stride"]) == ([3, 3], [2, 2])  # section 3.4, overlapping


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("lenet5", "c3", (16, 10, 10)), ("lenet5", "s4", (16, 5, 5)), ("lenet5", "c5", (120, 1, 1)),
        ("zfnet", "conv1", (96, 110, 110)), ("zfnet", "pool1", (96, 55, 55)), ("zfnet", "conv2", (256, 26, 26)),
        ("zfnet", "pool2", (256, 13, 13)), ("zfnet", "pool5", (256, 6, 6)),  # Figure 3
        ("vgg16", "conv1_2", (64, 224, 224)), ("vgg16", "pool5", (512, 7, 7)),
        ("googlenet", "inception_3a.concat", (256, 28, 28)), ("googlenet", "inception_4e.concat", (832, 14, 14)),
        ("googlenet", "inception_5b.concat", (1024, 7, 7)), ("googlenet", "loss1.aux1.avgpool1", (512, 4, 4)),
        ("googlenet", "loss2.aux1.avgpool1", (528, 4, 4)),  # Table 1 and section 5
        ("inception_v3", "mixed5d.concat", (288, 35, 35)), ("inception_v3", "mixed6e.concat", (768, 17, 17)),
        ("inception_v3", "mixed7c.concat", (2048, 8, 8)),  # Table 1
        ("resnet50", "layer1.2.add", (256, 56, 56)), ("resnet50", "layer4.2.add", (2048, 7, 7)),
        ("densenet121", "denseblock4.15.concat", (1024, 7, 7)), ("squeezenet1_0", "fire9.concat", (512, 13, 13)),
        ("mobilenet_v1", "conv14.pw", (1024, 7, 7)), ("shufflenet_v2_x1_0", "conv5", (1024, 7, 7)),
        ("efficientnet_b0", "stage8.mbconv1.0.project", (320, 7, 7)), ("unet", "output", (2, 388, 388)),
        ("xception", "exit2.pointwise", (2048, 10, 10)), ("yolov3", "small.detect1.conv2", (255, 52, 52)),
        ("retinanet_resnet50_fpn", "p7.conv1", (256, 7, 7)), ("m5", "pool4", (512, 32)),
        ("siamese", "a.conv4", (256, 6, 6)), ("vit_tiny", "position1", (197, 192)),
        ("conv-200", "hidden", (20, 204, 204)),
    ],
)  # fmt: skip
def test_shapes_of_the_papers(name: str, layer: str, shape: tuple[int, ...]) -> None:
    assert features(name, layer) == shape


def test_a_convolution_shares_what_an_mlp_cannot() -> None:
    """200 x 200 x 3: 4.8 billion weights for 40,000 hidden units, 1,500 for 832,320."""
    assert totals("mlp-200")[0] == 4_800_000_000
    assert features("mlp-200", "hidden") == (40_000,)
    assert totals("conv-200")[0] == 1_500
    units = spec("conv-200").graph.nodes[-1].output.numel
    assert units == 832_320


def test_the_siamese_towers_share_their_weights() -> None:
    assert [row("siamese", f"{tower}.conv4").shared for tower in "ab"] == [False, True]
    assert row("siamese", "b.conv4").cost.macs == row("siamese", "a.conv4").cost.macs


def test_the_page_lists_what_is_there() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| \[`(.+?)`\]\(\.\./specs/(.+?)\.yaml\) \| .+ \| ([\d,]+) \| ([\d,]+) \| (\w+) \|$", page, re.M
    )
    kind = {**dict.fromkeys(TORCHVISION, "torchvision"), **dict.fromkeys(TIMM, "timm"), **dict.fromkeys(TWINS, "twin")}
    assert rows == [(n, n, f"{totals(n)[0]:,}", f"{totals(n)[1]:,}", kind[n]) for n in zoo.names()]


def test_inception_without_its_training_head(torchvision: ModuleType) -> None:
    build = partial(torchvision.models.inception_v3, weights=None, aux_logits=False, init_weights=False)
    inference = sum(row.cost.params for row in summary("inception_v3").rows if not row.training_only)
    assert (inference, summary("inception_v3").totals.macs) == count(build, ((3, 299, 299),))
    assert inference == 23_834_568


@pytest.mark.parametrize(("name", "shape"), [("lenet5", (1, 29, 29)), ("vgg16-conv", (3, 128, 128))])
def test_sizes_that_leave_less_than_a_kernel_are_refused(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(CnnscopeError, match=r"E301: kernel \d does not fit into 4 \+ 2\*0"):
        load(zoo.path(name), input=shape)
