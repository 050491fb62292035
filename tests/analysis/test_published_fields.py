"""Published receptive fields, each with its source, and published mistakes that must not come back.

Not here, because the source does not say what the network is: DeepCAD-RT's 3D U-Net (88, cabooster/DeepCAD-RT#23).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import rf_slim
from rf_networks import Net

from cnnscope.analysis.receptive_field import Field, theoretical
from cnnscope.analysis.receptive_field.exact import effective_size, exact, influence
from cnnscope.ir import Graph
from cnnscope.spec import load

SPECS = Path(__file__).parents[2] / "specs"


@cache
def rows(name: str) -> dict[str, Field]:
    """Fields of a zoo model by row."""
    graph = load(SPECS / f"{name}.yaml").graph
    fields = theoretical(graph)
    return {row: fields[nodes[-1].name] for row, nodes in graph.layers()}


# -- google-research/receptive_field, RECEPTIVE_FIELD_TABLE.md (commit f12ae8e7): TF-Slim end points -------------------

SLIM_TABLE = {
    ("alexnet_v2",): """
        conv1:11/4/0 pool1:19/8/0 conv2:51/8/16 conv3:99/16/32 conv4:131/16/48 conv5:163/16/64 pool5:195/32/64
    """,
    ("vgg_a",): """
        conv1/conv1_1:3/1/1 pool1:4/2/1 conv2/conv2_1:8/2/3 pool2:10/4/3 conv3/conv3_1:18/4/7 conv3/conv3_2:26/4/11
        pool3:30/8/11 conv4/conv4_1:46/8/19 conv4/conv4_2:62/8/27 pool4:70/16/27 conv5/conv5_1:102/16/43
        conv5/conv5_2:134/16/59 pool5:150/32/59
    """,
    ("vgg_16",): """
        conv1/conv1_1:3/1/1 pool1:6/2/2 conv2/conv2_1:10/2/4 pool2:16/4/6 conv3/conv3_1:24/4/10 conv3/conv3_2:32/4/14
        pool3:44/8/18 conv4/conv4_1:60/8/26 conv4/conv4_2:76/8/34 pool4:100/16/42 conv5/conv5_1:132/16/58
        conv5/conv5_2:164/16/74 pool5:212/32/90
    """,
    ("inception_v2", "inception_v2-no-separable-conv"): """
        Conv2d_1a_7x7:7/2/2,3 MaxPool_2a_3x3:11/4/2,5 Conv2d_2b_1x1:11/4/2,5 Conv2d_2c_3x3:19/4/6,9
        MaxPool_3a_3x3:27/8/6,13 Mixed_3b:59/8/22,29 Mixed_3c:91/8/38,45 Mixed_4a:123/16/46,61 Mixed_4b:187/16/78,93
        Mixed_4c:251/16/110,125 Mixed_4d:315/16/142,157 Mixed_4e:379/16/174,189 Mixed_5a:443/32/190,221
        Mixed_5b:571/32/254,285 Mixed_5c:699/32/318,349
    """,
    ("inception_v3",): """
        Conv2d_1a_3x3:3/2/0 Conv2d_2a_3x3:7/2/0 Conv2d_2b_3x3:11/2/2 MaxPool_3a_3x3:15/4/2 Conv2d_3b_1x1:15/4/2
        Conv2d_4a_3x3:23/4/2 MaxPool_5a_3x3:31/8/2 Mixed_5b:63/8/18 Mixed_5c:95/8/34 Mixed_5d:127/8/50
        Mixed_6a:159/16/58 Mixed_6b:351/16/154 Mixed_6c:543/16/250 Mixed_6d:735/16/346 Mixed_6e:927/16/442
        Mixed_7a:1055/32/490 Mixed_7b:1183/32/554 Mixed_7c:1311/32/618
    """,
    ("inception_v4",): """
        Conv2d_1a_3x3:3/2/0 Conv2d_2a_3x3:7/2/0 Conv2d_2b_3x3:11/2/2 Mixed_3a:15/4/2 Mixed_4a:47/4/14 Mixed_5a:55/8/14
        Mixed_5b:87/8/30 Mixed_5c:119/8/46 Mixed_5d:151/8/62 Mixed_5e:183/8/78 Mixed_6a:215/16/86 Mixed_6b:407/16/182
        Mixed_6c:599/16/278 Mixed_6d:791/16/374 Mixed_6e:983/16/470 Mixed_6f:1175/16/566 Mixed_6g:1367/16/662
        Mixed_6h:1559/16/758 Mixed_7a:1687/32/806 Mixed_7b:1815/32/870 Mixed_7c:1943/32/934 Mixed_7d:2071/32/998
    """,
    ("inception_resnet_v2",): """
        Conv2d_1a_3x3:3/2/0 Conv2d_2a_3x3:7/2/0 Conv2d_2b_3x3:11/2/2 MaxPool_3a_3x3:15/4/2 Conv2d_3b_1x1:15/4/2
        Conv2d_4a_3x3:23/4/2 MaxPool_5a_3x3:31/8/2 Mixed_5b:63/8/18 Mixed_6a:415/16/186 PreAuxLogits:2335/16/1146
        Mixed_7a:2399/32/1162 Conv2d_7b_1x1:3039/32/1482
    """,
    ("inception_resnet_v2-same",): """
        Conv2d_1a_3x3:3/2/0,1 Conv2d_2a_3x3:7/2/2,3 Conv2d_2b_3x3:11/2/4,5 MaxPool_3a_3x3:15/4/4,7
        Conv2d_3b_1x1:15/4/4,7 Conv2d_4a_3x3:23/4/8,11 MaxPool_5a_3x3:31/8/8,15 Mixed_5b:63/8/24,31
        Mixed_6a:415/16/192,207 PreAuxLogits:2335/16/1152,1167 Mixed_7a:2399/32/1168,1199
        Conv2d_7b_1x1:3039/32/1488,1519
    """,
    ("mobilenet_v1", "mobilenet_v1_075"): """
        Conv2d_0:3/2/0,1 Conv2d_1_pointwise:7/2/2,3 Conv2d_2_pointwise:11/4/2,5 Conv2d_3_pointwise:19/4/6,9
        Conv2d_4_pointwise:27/8/6,13 Conv2d_5_pointwise:43/8/14,21 Conv2d_6_pointwise:59/16/14,29
        Conv2d_7_pointwise:91/16/30,45 Conv2d_8_pointwise:123/16/46,61 Conv2d_9_pointwise:155/16/62,77
        Conv2d_10_pointwise:187/16/78,93 Conv2d_11_pointwise:219/16/94,109 Conv2d_12_pointwise:251/32/94,125
        Conv2d_13_pointwise:315/32/126,157
    """,
    ("resnet_v1_50", "resnet_v2_50"): """
        block1:35/8/15,17 block2:99/16/47,49 block3:291/32/143,145 block4:483/32/239,241
    """,
    ("resnet_v1_101", "resnet_v2_101"): """
        block1:35/8/15,17 block2:99/16/47,49 block3:835/32/415,417 block4:1027/32/511,513
    """,
    ("resnet_v1_152", "resnet_v2_152"): """
        block1:35/8/15,17 block2:163/16/79,81 block3:1315/32/655,657 block4:1507/32/751,753
    """,
    ("resnet_v1_200", "resnet_v2_200"): """
        block1:35/8/15,17 block2:419/16/207,209 block3:1571/32/783,785 block4:1763/32/879,881
    """,
}
"""END_POINT:RF/effective stride/effective padding; the padding at 224 and at 321 where it depends on the size."""

RESNETS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
SLIM: dict[str, Callable[[int], Graph]] = {
    "alexnet_v2": rf_slim.alexnet_v2,
    "vgg_a": lambda size: rf_slim.vgg(size, 1, 1, 2, 2, 2),
    "vgg_16": lambda size: rf_slim.vgg(size, 2, 2, 3, 3, 3),
    "inception_v2": rf_slim.inception_v2,
    "inception_v3": rf_slim.inception_v3,
    "inception_v4": rf_slim.inception_v4,
    "inception_resnet_v2": lambda size: rf_slim.inception_resnet_v2(size, "valid"),
    "inception_resnet_v2-same": lambda size: rf_slim.inception_resnet_v2(size, "same"),
    "mobilenet_v1": rf_slim.mobilenet_v1,
    **{f"resnet_v1_{n}": lambda size, units=units: rf_slim.resnet(size, *units) for n, units in RESNETS.items()},
}
"""What differs only in depthwise kernels, width or the order of norm and activation has the same entry in the table."""


@pytest.mark.parametrize("size", [224, 321])
@pytest.mark.parametrize("names", SLIM_TABLE, ids="+".join)
def test_tf_slim_end_points(names: tuple[str, ...], size: int) -> None:
    fields = theoretical(SLIM[names[0]](size))
    for entry in SLIM_TABLE[names].split():
        layer, figures = entry.rsplit(":", 1)
        rf, stride, padding = figures.split("/")
        sizes = [int(p) for p in padding.split(",")]
        expected = int(rf), int(stride), sizes[0 if size == 224 else -1]
        found = fields[layer]
        for axis in (0, 1):
            assert (found.size[axis], found.stride[axis], found.padding[axis]) == expected, layer


DISTILL = {
    "alexnet_v2": (195, 32, 64), "vgg_16": (212, 32, 90), "mobilenet_v1": (315, 32, 126),
    "mobilenet_v1_075": (315, 32, 126), "resnet_v1_50": (483, 32, 239), "inception_v2": (699, 32, 318),
    "resnet_v1_101": (1027, 32, 511), "inception_v3": (1311, 32, 618), "resnet_v1_152": (1507, 32, 751),
    "resnet_v1_200": (1763, 32, 879), "inception_v4": (2071, 32, 998), "inception_resnet_v2": (3039, 32, 1482),
}  # fmt: skip
"""Araujo et al. 2019 (Distill), table at the end of "Modern architectures"; padding is that of a 224 input."""


@pytest.mark.parametrize("name", DISTILL)
def test_distill_summary(name: str) -> None:
    fields = theoretical(SLIM[name.removesuffix("_075")](224))
    last = fields[next(reversed(fields))]
    assert (last.size, last.stride, last.padding) == tuple((figure, figure) for figure in DISTILL[name])


# -- the zoo -----------------------------------------------------------------------------------------------------------

ZOO = {
    # samson-wang/a6073c18f2adf16e0ab5fb95b53db3e6 (stride on the 3x3 convolution, as torchvision has it)
    "resnet18": {"conv1": 7, "maxpool": 11, "layer1.1.add": 43, "layer2.1.add": 99, "layer3.1.add": 211,
                 "layer4.1.add": 435},
    "resnet34": {"conv1": 7, "maxpool": 11, "layer1.2.add": 59, "layer2.3.add": 179, "layer3.5.add": 547,
                 "layer4.2.add": 899},
    "resnet50": {"conv1": 7, "maxpool": 11, "layer1.2.add": 35, "layer2.3.add": 91, "layer3.5.add": 267,
                 "layer4.2.add": 427},
    "resnet101": {"conv1": 7, "maxpool": 11, "layer1.2.add": 35, "layer2.3.add": 91, "layer3.22.add": 811,
                  "layer4.2.add": 971},
    "resnet152": {"layer4.2.add": 1451},  # Araujo et al.'s recurrence
    # sksq96/pytorch-summary PR #47
    "vgg16": {"conv1_1": 3, "conv1_2": 5, "pool1": 6, "conv2_1": 10, "conv2_2": 14, "pool2": 16, "pool5": 212},
    # pasumarthi/EVA Session7/Readme.md, for the paper's 5x5 branches; it prints 364 for 4d (see below)
    "googlenet": {"conv1": 7, "pool1": 11, "conv2": 19, "pool2": 27, "inception_3a.concat": 59,
                  "inception_3b.concat": 91, "pool3": 107, "inception_4a.concat": 171, "inception_4b.concat": 235,
                  "inception_4c.concat": 299, "inception_4e.concat": 427, "pool4": 459, "inception_5a.concat": 587,
                  "inception_5b.concat": 715},
    "googlenet-torchvision": {"inception_5b.concat": 379},
    # google-research/receptive_field, RF_Keras_Applications.ipynb: conv2d_85 is the last block's 1x1 branch
    "inception_v3": {"mixed7c.b1x1.conv1": 1183, "mixed7c.concat": 1311},
    # daisukekobayashi/darknet-docker#3 (darknet's show_receptive_field): layers 44, 45, 47, 48, 51, 54
    "yolov3": {"c4.res1.2.conv1": 245, "c4.res1.2.conv2": 277, "c4.res1.3.conv1": 277, "c4.res1.3.conv2": 309,
               "c4.res1.4.conv2": 341, "c4.res1.5.conv2": 373},
    # LdwgWffnschmdt/anomaly_detector getRFs.py (gradients at 528 pixels): stem_conv, block1a, 2a and 2b_dwconv
    "efficientnet_b0": {"stage1": 3, "stage2.mbconv1.0.dw": 7, "stage3.mbconv1.0.dw": 11, "stage3.mbconv1.1.dw": 19,
                        "stage9": 851},
    "densenet121": {"relu1": 2071},
    "mobilenet_v1": {"conv14.pw": 315},
    # weiliu89/caffe#164, the maintainers
    "vgg16-conv": {"fc7": 404},
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name: str) -> None:
    found = {row: rows(name)[row].size for row in ZOO[name]}
    assert found == {row: (size, size) for row, size in ZOO[name].items()}


@pytest.mark.parametrize(
    ("name", "row", "stride", "padding"),
    [
        ("resnet50", "layer3.5.conv3", 16, 133),  # nashory/DeLF-pytorch#15
        ("resnet50", "layer4.2.conv3", 32, 213),
        ("inception_v3", "mixed7c.b1x1.conv1", 32, 554),  # RF_Keras_Applications.ipynb
        ("densenet121", "relu1", 32, 1021),
        ("efficientnet_b0", "stage2.mbconv1.0.dw", 2, 3),  # the stride is getRFs.py's
        ("efficientnet_b0", "stage3.mbconv1.1.dw", 4, 9),
    ],
)
def test_zoo_strides_and_padding(name: str, row: str, stride: int, padding: int) -> None:
    found = rows(name)[row]
    assert (found.stride, found.padding) == ((stride, stride), (padding, padding))


def test_squeeze_excite_names_its_global_path() -> None:
    assert rows("efficientnet_b0")["stage9"].via == ("global-pool",)


@pytest.mark.parametrize(("name", "row", "size"), [("vgg16", "conv5_3", 228), ("zfnet", "conv5", 171)])
def test_region_proposal_network(name: str, row: str, size: int) -> None:
    """Ren et al. 2015 (Faster R-CNN), section 3.1: a 3x3 window on the last map sees 228 (VGG) or 171 pixels (ZF)."""
    field = rows(name)[row]
    assert tuple(s + 2 * stride for s, stride in zip(field.size, field.stride, strict=True)) == (size, size)


def test_feasible_resolution_of_resnet50() -> None:
    """MLRichter/receptive_field_analysis_toolbox, README: from 75 to 427 pixels."""
    found = rows("resnet50")["layer4.2.conv2"]
    assert (found.shortest, found.size) == ((75, 75), (427, 427))


# -- networks of a few lines -------------------------------------------------------------------------------------------


def chain(*kernels_and_strides: tuple[int, int], n: int = 512) -> Field:
    net = Net(1, n)
    for kernel, stride in kernels_and_strides:
        net.conv(1, kernel, stride=stride, pad=kernel // 2)
    return theoretical(net.graph())[net.last]


def test_patchgan() -> None:
    """Isola et al. 2017 (pix2pix), appendix 6.1.2: 70 pixels, stride 8; by depth yenchenlin/pix2pix-tensorflow#11."""
    layers = [(4, 2), (4, 2), (4, 2), (4, 1), (4, 1)]
    assert [chain(*layers[-n:]).size[0] for n in range(1, 6)] == [4, 7, 16, 34, 70]
    assert chain(*layers).stride == (8,)


def test_imagegan() -> None:
    """phillipi/pix2pix#25: 286 pixels, as printed in the appendix."""
    assert chain(*[(4, 2)] * 5, (4, 1), (4, 1)).size == (286,)


def test_vnet() -> None:
    """Milletari et al. 2016 (V-Net), table 1: 5 and 22 voxels after the first two stages on the left."""
    net = Net(1, 32, 32, 32)
    first = net.conv(1, 5, "x", pad="half")
    net.conv(1, 2, first, stride=2)
    for _ in range(2):
        net.conv(1, 5, pad="half")
    fields = theoretical(net.graph())
    assert (fields[first].size, fields[net.last].size) == ((5,) * 3, (22,) * 3)


@pytest.mark.parametrize(("factor", "size"), [(1, 17), (3, 51)])
def test_deepmedic(factor: int, size: int) -> None:
    """Kamnitsas et al. 2017, section 2.1: eight 3x3x3 layers see 17 voxels, 51 on the path subsampled by 3."""
    net = Net(1, 120)
    net.add("avgpool", kernel=factor)
    for _ in range(8):
        net.conv(1, 3)
    assert theoretical(net.graph())[net.last].size == (size,)


def unet(kernel: int, depth: int, up: str = "nearest", n: int | None = None) -> Net:
    net, skips = Net(1, n or 64 * 2**depth), []
    for level in range(2 * depth + 1):
        if level > depth:
            if up == "transposed":
                net.add("upconv", out=1, kernel=4, stride=2, pad=1)
            else:
                net.add("upsample", scale=2, mode=up)
            net.add("concat", skips.pop(), net.last)
        for _ in range(2):
            net.conv(1, kernel, pad="same")
        if level < depth:
            skips.append(net.last)
            net.add("maxpool", kernel=2)
    return net


@pytest.mark.parametrize(
    ("size", "kernel", "depth"),
    [(54, 2, 3), (100, 3, 3), (146, 4, 3), (204, 3, 4), (230, 6, 3), (298, 4, 4), (360, 9, 3), (412, 3, 5),
     (486, 6, 4)],
)  # fmt: skip
def test_unet_by_kernel_and_depth(size: int, kernel: int, depth: int) -> None:
    """vinloo/u-net-receptive-field-study, configurations/trf*.json: two convolutions a level."""
    net = unet(kernel, depth)
    assert theoretical(net.graph())[net.last].size == (size,)


@pytest.mark.parametrize(
    ("up", "smallest", "largest"), [("nearest", 188, 204), ("bilinear", 220, 236), ("transposed", 220, 236)]
)
def test_unet_varies_by_position(up: str, smallest: int, largest: int) -> None:
    net = unet(3, 4, up)
    found = theoretical(net.graph())[net.last]
    assert (found.size_min, found.size) == ((smallest,), (largest,))
    if up == "nearest":
        assert found.jitter == (11,)


def test_structural_effective_field_of_vgg16() -> None:
    """Luo et al. 2016: under uniform weights 123 of pool5's 212 pixels carry more than 4.55 % of the peak."""
    graph = rf_slim.vgg(224, 2, 2, 3, 3, 3)
    (flow,) = influence(graph, "pool5", (3, 3)).values()
    assert int(effective_size(flow)) == 123
    assert flow.sum() == pytest.approx(1)


def test_clipping_the_theoretical_field_is_not_the_exact_one() -> None:
    """Inception v3 at 224: padding inside the network hides pixels that the clipped field still counts."""
    graph = rf_slim.inception_v3(224)
    fields, answers = theoretical(graph), exact(graph)
    differ = total = 0
    for node in graph.nodes:
        for o in range(node.output.shape[2]):
            ((lo, hi), _) = fields[node.name].box((o, 0))
            differ += answers.box(node.name, (o, 0))[0] != (max(lo, 0), min(hi, 223))
            total += 1
    assert (differ, total) == (749, 1993)


# -- known mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row", "claimed", "source"),
    [
        ("vgg16", "pool5", 308, "frgfm/torch-scan PR #33, before the fix"),
        ("vgg16-conv", "fc7", 314, "weiliu89/caffe#164, multiplying sizes"),
        ("yolov3", "small.detect1.conv2", 103, "AlexeyAB/darknet#1206"),
        ("yolov3", "medium.detect1.conv2", 533, "qqwweee/keras-yolo3#385, without the upsampled route"),
        ("yolov3", "small.detect1.conv2", 213, "qqwweee/keras-yolo3#385, without the upsampled route"),
        ("resnet50", "layer4.2.add", 483, "nashory/DeLF-pytorch#15: TF-Slim's figure for torchvision's weights"),
        ("googlenet", "inception_4d.concat", 364, "pasumarthi/EVA Session7/Readme.md, a misprint of 363"),
    ],
)
def test_wrong_claims(name: str, row: str, claimed: int, source: str) -> None:
    size = rows(name)[row].size
    assert size is not None
    assert claimed not in size, source


def test_right_heads_of_yolov3() -> None:
    """The deep head's 917 holds; what it is upsampled into sees at least as much."""
    found = [rows("yolov3")[f"{head}.detect1.conv2"].size for head in ("large", "medium", "small")]
    assert found == [(917, 917), (949, 949), (981, 981)]


def test_clipped_maximum_is_no_theoretical_field() -> None:
    """vinloo's trf570 is 580: 570 is the largest field that fits into its 576 pixels."""
    net = unet(7, 4, n=576)
    assert theoretical(net.graph())[net.last].size == (580,)
    assert exact(net.graph()).range(net.last).max == (570,)


def test_dilation_moves_the_first_centre() -> None:
    """Fangyh09/pytorch-receptive-field#6: kernel 3, dilation 4, no padding starts at 4.5 in pixel edges, not at 1.5."""
    net = Net(1, 20)
    net.conv(1, 3, dilation=4)
    (centre,) = theoretical(net.graph())[net.last].centre0
    assert centre + 0.5 == 4.5
