"""Networks of Darknet, written here from their papers, against the sizes of the weight files that Darknet published."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import cnnscope
from cnnscope.errors import CnnscopeError


def net(size: int) -> str:
    return f"[net]\n# testing\nbatch=1\nwidth={size}\nheight={size}\nchannels=3\n\n"


def conv(filters: int, size: int, stride: int = 1, act: str = "leaky", normed: bool = True) -> str:
    batch = "batch_normalize=1\n" if normed else ""
    return f"[convolutional]\n{batch}filters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation={act}\n\n"


def route(*layers: int) -> str:
    return f"[route]\nlayers = {', '.join(map(str, layers))}\n\n"


def maxpool(size: int, stride: int) -> str:
    return f"[maxpool]\nsize={size}\nstride={stride}\n\n"


SHORTCUT = "[shortcut]\nfrom=-3\nactivation=linear\n\n"
UPSAMPLE = "[upsample]\nstride=2\n\n"
YOLO = conv(255, 1, 1, "linear", False) + "[yolo]\nmask = 0,1,2\nclasses=80\n\n"


def yolov3() -> str:
    """Redmon & Farhadi 2018."""
    text = net(416) + conv(32, 3)
    for filters, times in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        text += conv(filters, 3, 2) + (conv(filters // 2, 1) + conv(filters, 3) + SHORTCUT) * times

    def head(w: int) -> str:
        return (conv(w, 1) + conv(2 * w, 3)) * 3 + YOLO

    text += head(512) + route(-4) + conv(256, 1) + UPSAMPLE + route(-1, 61)
    return text + head(256) + route(-4) + conv(128, 1) + UPSAMPLE + route(-1, 36) + head(128)


def yolov3_tiny() -> str:
    text = net(416) + "".join(conv(filters, 3) + maxpool(2, 2) for filters in (16, 32, 64, 128, 256))
    text += conv(512, 3) + maxpool(2, 1) + conv(1024, 3) + conv(256, 1) + conv(512, 3) + YOLO
    return text + route(-4) + conv(128, 1) + UPSAMPLE + route(-1, 8) + conv(256, 3) + YOLO


def yolov2() -> str:
    """Redmon & Farhadi 2017: Darknet-19, and the passthrough layer."""

    def stage(wide: int, narrow: int, times: int) -> str:
        return conv(wide, 3) + (conv(narrow, 1) + conv(wide, 3)) * times

    text = net(416) + conv(32, 3) + maxpool(2, 2) + conv(64, 3) + maxpool(2, 2) + stage(128, 64, 1) + maxpool(2, 2)
    text += stage(256, 128, 1) + maxpool(2, 2) + stage(512, 256, 2) + maxpool(2, 2) + stage(1024, 512, 2)
    text += conv(1024, 3) * 2 + route(-9) + conv(64, 1) + "[reorg]\nstride=2\n\n" + route(-1, -4) + conv(1024, 3)
    return text + conv(425, 1, 1, "linear", False) + "[region]\nclasses=80\n"


def yolov4_tiny() -> str:
    """Bochkovskiy et al. 2020; Wang et al. 2021."""

    def partial(filters: int) -> str:
        half = "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n\n"
        inner = conv(filters // 2, 3) * 2 + route(-1, -2)
        return conv(filters, 3) + half + inner + conv(filters, 1) + route(-6, -1) + maxpool(2, 2)

    text = net(416) + conv(32, 3, 2) + conv(64, 3, 2) + partial(64) + partial(128) + partial(256)
    text += conv(512, 3) + conv(256, 1) + conv(512, 3) + YOLO
    return text + route(-4) + conv(128, 1) + UPSAMPLE + route(-1, 23) + conv(256, 3) + YOLO


PUBLISHED = [
    (yolov3, 248_007_048, 20, 65.86),
    (yolov3_tiny, 35_434_956, 20, 5.56),
    (yolov2, 203_934_260, 16, 29.46),
    (yolov4_tiny, 24_251_276, 20, 6.91),
]
"""A weight file of Darknet has a header (16 bytes, 20 since 2018) and float32 numbers: weights, and statistics of batch
normalisation. The last figure is billions of operations, two a MAC, as Darknet prints them."""


@pytest.mark.parametrize(("make", "nbytes", "header", "operations"), PUBLISHED, ids=[c[0].__name__ for c in PUBLISHED])
def test_weight_files(make: object, nbytes: int, header: int, operations: float, tmp_path: Path) -> None:
    assert callable(make)
    path = tmp_path / "net.cfg"
    path.write_text(make())
    model = cnnscope.load(str(path))
    stored = sum(p.numel for p in model.graph.params.values() if p.dtype == "float32")
    assert 4 * stored + header == nbytes
    assert round(2 * model.summary().to_dict()["totals"]["macs"] / 1e9, 2) == operations


def test_it_runs(tmp_path: Path) -> None:
    path = tmp_path / "net.cfg"
    path.write_text(yolov4_tiny().replace("416", "64"))
    shapes = [tuple(y.shape) for y in cnnscope.load(str(path)).weighted().module(torch.zeros(2, 3, 64, 64)).values()]
    assert shapes == [(2, 255, 2, 2), (2, 255, 4, 4)]
    assert cnnscope.load(str(path), input="3x96x96").graph.value("image").shape == (1, 3, 96, 96)


def test_windows_are_padded_as_in_darknet(tmp_path: Path) -> None:
    """A window of 2 with stride 1 keeps the size, and one of 3 with stride 2 begins at pixel -1."""
    path = tmp_path / "net.cfg"
    path.write_text(net(7) + maxpool(2, 1) + maxpool(3, 2))
    model = cnnscope.load(str(path))
    assert [node.output.spatial for node in model.graph.nodes] == [(7, 7), (4, 4)]
    x = torch.arange(49.0).view(1, 1, 7, 7).expand(1, 3, 7, 7)
    y = model.module()(x)
    assert y[0, 0, 0].tolist() == [16, 18, 20, 20]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("[net]\nwidth=8\nheight=8\n[lstm]\noutput=3\n", "E444", "line 4: the layer `[lstm]` is not read"),
        ("[net]\nwidth=8\nheight=8\n[conv]\nactivation=loggy\n", "E444", "line 4: the activation `loggy` is not read"),
        ("[net]\nwidth=8\nheight=8\n[route]\nlayers=4\n", "E441", "line 4: there is no layer 4 before `[route]`"),
        ("[net]\nwidth=8\nheight=8\n[conv]\nfilters=many\n", "E441", "line 4: `filters=many` is no whole number"),
        ("[net]\nwidth=8\nheight=8\n[conv]\nfilters=4\nstride=0\n", "E203", "stride"),
        ("[net]\n[conv]\n", "E403", "the input is 3x0x0 in the file"),
        ("[net]\nwidth=8\nheight=8\n", "E441", "it has no layers"),
        ("[flake8]\nmax-line-length = 120\n", "E440", "is not a network of Darknet"),
    ],
)
def test_what_is_refused(text: str, code: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "net.cfg"
    path.write_text(text)
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(str(path))
    assert caught.value.diagnostics[-1].code == code
    assert said in caught.value.diagnostics[-1].message
