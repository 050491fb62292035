"""Receptive fields of zoo models against published ones: size, and where published effective stride and padding."""

from __future__ import annotations

from functools import cache

import pytest

from cnnscope.analysis.summary import Row, summarize
from cnnscope.sources import zoo
from cnnscope.spec import load

Published = dict[str, tuple[int, ...]]

SLIM = "TF-Slim end points, google-research/receptive_field (Araujo, Norris and Sim 2019)"
GIST = "gist samson-wang/a6073c18f2adf16e0ab5fb95b53db3e6 (stride on the 3x3, as torchvision)"

FIGURES: list[tuple[str, str, Published]] = [
    ("alexnet", SLIM, {
        "conv1": (11, 4, 0), "pool1": (19, 8, 0), "conv2": (51, 8, 16), "conv3": (99, 16, 32), "conv4": (131, 16, 48),
        "conv5": (163, 16, 64), "pool5": (195, 32, 64),
    }),
    ("vgg16", SLIM, {
        "conv1_1": (3, 1, 1), "pool1": (6, 2, 2), "conv2_1": (10, 2, 4), "pool2": (16, 4, 6), "conv3_1": (24, 4, 10),
        "conv3_2": (32, 4, 14), "pool3": (44, 8, 18), "conv4_1": (60, 8, 26), "conv4_2": (76, 8, 34),
        "pool4": (100, 16, 42), "conv5_1": (132, 16, 58), "conv5_2": (164, 16, 74), "pool5": (212, 32, 90),
    }),
    ("inception_v3", SLIM, {
        "conv1a": (3, 2, 0), "conv2a": (7, 2, 0), "conv2b": (11, 2, 2), "pool1": (15, 4, 2), "conv3b": (15, 4, 2),
        "conv4a": (23, 4, 2), "pool2": (31, 8, 2), "mixed5b.concat": (63, 8, 18), "mixed5c.concat": (95, 8, 34),
        "mixed5d.concat": (127, 8, 50), "mixed6a.concat": (159, 16, 58), "mixed6b.concat": (351, 16, 154),
        "mixed6c.concat": (543, 16, 250), "mixed6d.concat": (735, 16, 346), "mixed6e.concat": (927, 16, 442),
        "mixed7a.concat": (1055, 32, 490), "mixed7b.concat": (1183, 32, 554), "mixed7c.concat": (1311, 32, 618),
    }),
    # paddings at an odd input size, where TensorFlow's SAME pads both sides alike
    ("mobilenet_v1", SLIM, {
        "conv1": (3, 2, 1), "conv2.pw": (7, 2, 3), "conv3.pw": (11, 4, 5), "conv4.pw": (19, 4, 9),
        "conv5.pw": (27, 8, 13), "conv6.pw": (43, 8, 21), "conv7.pw": (59, 16, 29), "conv8.pw": (91, 16, 45),
        "conv9.pw": (123, 16, 61), "conv10.pw": (155, 16, 77), "conv11.pw": (187, 16, 93), "conv12.pw": (219, 16, 109),
        "conv13.pw": (251, 32, 125), "conv14.pw": (315, 32, 157),
    }),
    ("resnet18", GIST, {
        "conv1": (7,), "maxpool": (11,), "layer1.1.add": (43,), "layer2.1.add": (99,), "layer3.1.add": (211,),
        "layer4.1.add": (435,),
    }),
    ("resnet34", GIST, {
        "layer1.2.add": (59,), "layer2.3.add": (179,), "layer3.5.add": (547,), "layer4.2.add": (899,),
    }),
    ("resnet50", GIST, {
        "layer1.2.add": (35,), "layer2.3.add": (91,), "layer3.5.add": (267,), "layer4.2.add": (427,),
    }),
    ("resnet50", "nashory/DeLF-pytorch issue #15", {
        "layer3.5.conv3": (267, 16, 133), "layer4.2.conv3": (427, 32, 213),
    }),
    ("resnet101", GIST, {"layer3.22.add": (811,), "layer4.2.add": (971,)}),
    # the source prints 364 for 4d, a slip: its own recurrence gives 363
    ("googlenet", "pasumarthi/EVA Session7", {
        "conv1": (7,), "pool1": (11,), "conv2": (19,), "pool2": (27,), "inception_3a.concat": (59,),
        "inception_3b.concat": (91,), "pool3": (107,), "inception_4a.concat": (171,), "inception_4b.concat": (235,),
        "inception_4c.concat": (299,), "inception_4e.concat": (427,), "pool4": (459,), "inception_5a.concat": (587,),
        "inception_5b.concat": (715,),
    }),
    ("yolov3", "daisukekobayashi/darknet-docker issue #3: darknet's layers 44, 45, 47, 48, 51, 54", {
        "c4.res1.2.conv1": (245,), "c4.res1.2.conv2": (277,), "c4.res1.3.conv1": (277,), "c4.res1.3.conv2": (309,),
        "c4.res1.4.conv2": (341,), "c4.res1.5.conv2": (373,),
    }),
    ("efficientnet_b0", "LdwgWffnschmdt/anomaly_detector getRFs.py, by gradients", {
        "stage1": (3, 2), "stage2.mbconv1.0.dw": (7, 2), "stage3.mbconv1.0.dw": (11, 4), "stage3.mbconv1.1.dw": (19, 4),
    }),
]  # fmt: skip


@cache
def rows(name: str) -> dict[str, Row]:
    return {row.name: row for row in summarize(load(zoo.path(name)).graph).rows}


@pytest.mark.parametrize(
    ("name", "published"), [(n, p) for n, _, p in FIGURES], ids=[f"{n}: {s}" for n, s, _ in FIGURES]
)
def test_fields_are_the_published_ones(name: str, published: Published) -> None:
    found: Published = {}
    for layer, figures in published.items():
        field = rows(name)[layer].receptive_field
        assert field is not None
        assert field.size is not None
        assert field.stride is not None
        assert field.padding is not None
        assert len({*field.size}) == len({*field.stride}) == len({*field.padding}) == 1  # square, as published
        found[layer] = (field.size[0], int(field.stride[0]), field.padding[0])[: len(figures)]
    assert found == published
