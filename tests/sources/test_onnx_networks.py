"""Whole networks that torch exports run as torch modules as ONNX Runtime runs the files, at one image and at two."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import cnnscope
from cnnscope.analysis.summary import summarize
from cnnscope.sources.onnx.build import build


class Detector(nn.Module):
    """A neck that joins two scales, and a head whose boxes are expectations over 16 places (DFL)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 2, 1), nn.Conv2d(32, 32, 1)
        self.box, self.classes, self.dfl = nn.Conv2d(32, 64, 1), nn.Conv2d(32, 5, 1), nn.Conv2d(16, 1, 1, bias=False)
        self.register_buffer("anchors", torch.rand(2, 64))

    def forward(self, x: Tensor) -> Tensor:
        a = F.silu(self.a(x))
        up = F.interpolate(F.silu(self.b(a)), scale_factor=2.0)
        left, right = self.c(torch.cat([a, up], 1)).chunk(2, 1)
        y = F.max_pool2d(torch.cat([left, right.sigmoid()], 1), 2)
        box, classes = torch.cat([self.box(y), self.classes(y)], 1).view(x.shape[0], 69, -1).split([64, 5], 1)
        places = self.dfl(box.view(x.shape[0], 4, 16, 64).transpose(2, 1).softmax(1)).view(x.shape[0], 4, 64)
        low, high = places.chunk(2, 1)
        return torch.cat([self.anchors[None] - low, self.anchors[None] + high, classes.sigmoid()], 1)


class Reader(nn.Module):
    """Convolutions and a recurrence over columns, for lines of text."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 8, 3, (2, 1), 1), nn.BatchNorm2d(8), nn.Hardswish(), nn.MaxPool2d((8, 2))
        )
        self.lstm, self.head = nn.LSTM(8, 6, 2, bidirectional=True, batch_first=True), nn.Linear(12, 11)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.conv(x).mean(2).permute(0, 2, 1)
        states, _ = self.lstm(columns)
        return self.head(states).softmax(2)


class Segmenter(nn.Module):
    """Transposed convolutions, and channels that are scaled by what is seen in all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 1)
        self.up, self.norm = nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        a = F.hardswish(self.a(x))
        a = a * F.hardsigmoid(self.b(a.mean((2, 3), keepdim=True)))
        y = F.interpolate(torch.relu(self.norm(self.up(a))), scale_factor=1.5, mode="bilinear")
        return F.avg_pool2d(y, 3, 2, 1, ceil_mode=True, count_include_pad=False).clamp(-0.5, 0.25)


class Sounds(nn.Module):
    """One dimension: logarithms, borders, statistics, a gated recurrence with its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gru = nn.Conv1d(1, 8, 16, 4), nn.GRU(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = F.pad(torch.log((self.conv(x) ** 2).clamp(min=1e-5)), (2, 1))
        y = (y - y.mean(-1, keepdim=True)) / torch.sqrt(y.var(-1, keepdim=True) + 1e-5)
        states, last = self.gru(y.permute(2, 0, 1))
        return torch.cat([states[::2].amax(0), last[0]], 1)


class Bytes(nn.Module):
    """An embedding of bytes and convolutions over them."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv, self.norm = nn.Embedding(257, 16), nn.Conv1d(16, 8, 5), nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.conv(self.table(x).transpose(1, 2))).transpose(1, 2)
        return self.norm(y).amax(1).softmax(1)


class Attention(nn.Module):
    """Windows, heads, positions, shifts."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.out = nn.Conv2d(3, 12, 2, 2), nn.Linear(12, 36), nn.Linear(12, 12)
        self.position = nn.Parameter(torch.rand(1, 12, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.roll(self.embed(x) + self.position, (1, -1), (2, 3)).permute(0, 2, 3, 1)
        windows = y.view(x.shape[0], 2, 2, 2, 2, 12).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 12)
        q, k, v = self.qkv(windows).reshape(-1, 4, 3, 2, 6).permute(2, 0, 3, 1, 4)
        z = ((q @ k.transpose(-2, -1)) / 6**0.5).softmax(-1) @ v
        z = self.out(z.transpose(1, 2).reshape(-1, 4, 12)).view(-1, 2, 2, 2, 2, 12)
        return z.permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, 4, 12)


IMAGE = (3, 8, 8)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "detector": (Detector, lambda: torch.rand(2, 3, 32, 32)),
    "reader": (Reader, lambda: torch.rand(2, 3, 16, 24)),
    "segmenter": (Segmenter, lambda: torch.rand(2, 3, 12, 16)),
    "sounds": (Sounds, lambda: torch.rand(2, 1, 200)),
    "bytes": (Bytes, lambda: torch.randint(0, 256, (2, 30))),
    "attention": (Attention, lambda: torch.rand(2, *IMAGE)),
}


def prepared(module: nn.Module) -> nn.Module:
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return module.eval()


def exported(module: nn.Module, x: Tensor, path: Path, *, dynamo: bool) -> Path:
    open_batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"x": {0: "n"}}}
    given = x if dynamo else x[:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (given,), path, dynamo=dynamo, input_names=["x"], external_data=False,
                          verbose=False, **open_batch)  # fmt: skip
    return path


def check(path: Path, x: Tensor, near: float = 1e-5) -> None:
    session = onnxruntime.InferenceSession(path)
    network = cnnscope.load(str(path)).weighted().module
    for images in (x[:1], x):
        expected = session.run(None, {"x": images.numpy()})[0]
        with torch.inference_mode():
            found = network(images).numpy()
        assert np.abs(found - expected).max() <= near * np.abs(expected).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_torch_run_as_in_onnxruntime(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, draw = NETWORKS[name]
    x = draw()
    check(exported(prepared(make()), x, tmp_path / "x.onnx", dynamo=False), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_the_new_exporter_run_as_in_onnxruntime(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    make, draw = NETWORKS[name]
    x = draw()
    check(exported(prepared(make()), x, tmp_path / "x.onnx", dynamo=True), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["swin_t", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_networks_of_torchvision_run_as_in_onnxruntime(name: str, tmp_path: Path, torchvision: ModuleType) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 64)
    check(exported(prepared(getattr(torchvision.models, name)(weights=None)), x, tmp_path / "x.onnx", dynamo=False), x)


def counted(constant: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> int:
    """The parameters of a network that adds a stored tensor."""
    node = onnx.helper.make_node("Add", ["x", "c"], ["y"])
    shape = [1, 4, 3, 3]
    graph = onnx.helper.make_graph(
        [node], "g", [onnx.helper.make_tensor_value_info("x", 1, shape)],
        [onnx.helper.make_tensor_value_info("y", 1, shape)], [onnx.numpy_helper.from_array(constant, "c")],
    )  # fmt: skip
    return summarize(build(onnx.helper.make_model(graph))).totals.params


def test_masks_and_tables_are_no_parameters_and_weights_are() -> None:
    rows = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    assert [counted(np.where(rows < 5, 0, low).astype(np.float32)) for low in (-100, -1e9)] == [0, 0]
    assert [counted(rows + shift) for shift in (np.float32(0), np.float32(0.5))] == [0, 0]
    drawn = np.random.default_rng(0).normal(size=(1, 4, 1, 1)).astype(np.float32)
    kept = [drawn, np.zeros_like(drawn), np.ones_like(drawn), np.full_like(drawn, 2), np.where(drawn > 0, 0, -1)]
    assert [counted(c.astype(np.float32)) for c in kept] == [4] * 5


@pytest.mark.parametrize("axis", [-1, -2, 1])
def test_layer_norm_of_maps_is_over_the_last_axes(axis: int, tmp_path: Path) -> None:
    size, last = [1, 4, 5, 6], [4, 5, 6][axis if axis < 0 else axis - 1 :]
    rng = np.random.default_rng(0)
    stored = [onnx.numpy_helper.from_array(rng.normal(size=last).astype(np.float32), name) for name in "wb"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("LayerNormalization", ["x", "w", "b"], ["y"], axis=axis)], "g",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", *size[1:]])],
        [onnx.helper.make_tensor_value_info("y", 1, None)], stored,
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "x.onnx")
    check(tmp_path / "x.onnx", torch.rand(2, *size[1:]))
