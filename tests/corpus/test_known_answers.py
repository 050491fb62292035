"""Small networks that were once answered wrongly, each with its right answer: from torch, or worked out by hand."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from containers import Locked
from kinds import kind
from oracles import found, read
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by
from torch.nn.utils.parametrizations import weight_norm

import cnnscope
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph


def macs(graph: Graph) -> int:
    return found(graph).macs


def features(graph: Graph) -> tuple[int, ...]:
    return graph.value(graph.outputs[0]).features


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(source, **options)
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.message}; {diagnostic.hint}"


class Configured(nn.Module):
    def __init__(self, *, fail: bool) -> None:
        super().__init__()
        self.config, self.calls, self.conv, self.fail = Locked(width=4), Counter(a=3), nn.Conv2d(3, 4, 1), fail

    def forward(self, x: Tensor) -> Tensor:
        self.calls.update(a=1)
        dict.__setitem__(self.config, "width", 5)
        if self.fail:
            raise ValueError("on purpose")
        return self.conv(x)


@pytest.mark.parametrize("fail", [False, True])
def test_a_configuration_and_a_counter_are_left_alone(fail: bool) -> None:
    module = Configured(fail=fail)
    if fail:
        assert "on purpose" in refusal(module, input="3x8x8")
    else:
        graph = read(module)
        assert (macs(graph), found(graph).params) == (12 * 64, 16)
    assert (dict(module.config), module.calls) == ({"width": 4}, Counter(a=3))
    assert (type(module.config), type(module.calls)) == (Locked, Counter)


def recognised(m: Any, x: Tensor) -> Tensor:
    y = F.adaptive_avg_pool2d(m.conv(x), (6, 20)).flatten(1, 2)
    y.transpose_(1, 2)
    return m.head(m.lstm(y)[0])


def test_a_sequence_that_is_transposed_in_place() -> None:
    make = kind(recognised, conv=lambda: nn.Conv2d(1, 4, 3), lstm=lambda: nn.LSTM(24, 8, batch_first=True),
                head=lambda: nn.Linear(8, 2))  # fmt: skip
    graph = read(make(), "1x8x22")
    convolution, recurrence, head = 4 * 9 * 6 * 20, 20 * 4 * 8 * (24 + 8), 20 * 8 * 2
    assert convolution + recurrence + head == 25_120
    assert (macs(graph), features(graph)) == (25_120, (20, 2))


def test_an_unsupported_call_takes_nothing_from_the_others() -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(8, 3, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.fft2(F.conv2d(x, self.weight, padding=1)).abs()

    graph = read(nn.Sequential(Spectrum()))
    for level in ("layer", "op"):
        summary = summarize(graph, level=level)  # type: ignore[arg-type]  # a literal
        assert (summary.totals.macs, bool(summary.unsupported)) == (8 * 27 * 64, True)


@pytest.mark.parametrize("batch", [1, 32])
def test_weights_that_are_computed_do_not_grow_with_the_batch(batch: int) -> None:
    graph = read(nn.Sequential(weight_norm(nn.Conv2d(64, 64, 3, padding=1))), "64x4x4")
    weight = 64 * 64 * 9 * 4
    assert summarize(graph, batch=batch).totals.activation_bytes == batch * 64 * 16 * 4 + 2 * weight


def test_a_position_table_counts_and_is_not_stored() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("position", torch.zeros(3, 16, 16), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.position

    graph = read(Table(), "3x16x16")
    assert summarize(graph).totals.buffers == 768
    assert [param.persistent for param in graph.params.values()] == [False]


def test_a_tensor_that_takes_the_size_of_another() -> None:
    make = kind(lambda m, x: m.conv(x.new().resize_as_(x).copy_(x)), conv=lambda: nn.Conv2d(3, 4, 3))
    assert macs(read(make())) == 4 * 27 * 36


def test_functions_without_a_meta_kernel() -> None:
    class Histogram(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.histc(x, bins=4).sum() + torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)

    graph = read(nn.Sequential(nn.Conv2d(3, 4, 3), Histogram()))
    assert (macs(graph), features(graph)) == (4 * 27 * 36, (4, 6, 6))


def test_training_for_quantization_reads_as_the_floats_it_is() -> None:
    import torch.ao.quantization as quantization

    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).train()
    net.qconfig = quantization.get_default_qat_qconfig("x86")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = read(quantization.prepare_qat(net))
    assert (macs(graph), found(graph).params) == (8 * 27 * 36, 224)


def mismatch(features: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(features, 10))


def test_a_linear_layer_of_another_size_says_which_is_right() -> None:
    text = refusal(mismatch(900), input="3x24x24")
    assert "in_features=968" in text  # 8 maps of floor((24 - 2) / 2)
    assert "3x224x224" not in text
    assert not [n for n in range(4, 100) if (n - 2) // 2 * ((n - 2) // 2) * 8 == 900]  # so no size is proposed
    assert "3x24x24" in refusal(mismatch(968), input="3x32x32")


def test_channels_that_disagree_are_named() -> None:
    text = refusal(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(16, 8, 3)), input="3x24x24")
    assert {"16", "8", "0", "1"} <= set(re.findall(r"\d+", text.partition(";")[0]))
    assert "another size" not in text


@pytest.mark.parametrize(
    ("name", "size", "meant"), [("resnet50", "224x224x3", "3x224x224"), ("resnet18", "96x96", "3x96x96")]
)
def test_a_size_of_other_axes_is_refused(name: str, size: str, meant: str) -> None:
    assert meant in refusal(name, input=size)


@pytest.mark.parametrize(
    "title",
    ['"""\nimport os; os.getpid()\n"""', 'stops """ early', "ends in \\", 'ends in "', "two\nlines", "\\N{no name}"],
)
def test_a_title_stays_inside_the_docstring(title: str, tmp_path: Path) -> None:
    spec = {"cnnscope": 1, "name": title, "input": {"shape": [3, 8, 8]}, "layers": [{"conv": {"out": 4, "kernel": 3}}]}
    (tmp_path / "net.yaml").write_text(json.dumps(spec))  # JSON is YAML
    made = ast.parse(str(cnnscope.load(tmp_path / "net.yaml").export("pytorch")))
    expressions = [statement for statement in made.body if isinstance(statement, ast.Expr)]
    assert [type(e.value) for e in expressions] == [ast.Constant]  # the docstring and nothing that runs
    imports = {name.name for s in made.body if isinstance(s, (ast.Import, ast.ImportFrom)) for name in s.names}
    assert "os" not in imports
    assert " ".join(title.split()) in " ".join(str(ast.get_docstring(made)).split())


class Frames(nn.Module):
    """The same convolution on every frame of (T, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.flatten(0, 1))


def to_depth(x: Tensor) -> Tensor:
    n, c, length = x.shape
    return x.reshape(n, c, length // 2, 2).permute(0, 1, 3, 2).reshape(n, c * 2, length // 2)


def shuffle(x: Tensor) -> Tensor:
    n, c, length = x.shape
    return x.reshape(n, 2, c // 2, length).permute(0, 2, 3, 1).reshape(n, c // 2, 2 * length)


def seen(model: Any, layer: str, position: tuple[int, ...]) -> list[tuple[int, int]]:
    """The first and last pixel that a unit sees along each axis, at this input size."""
    return [tuple(axis) for axis in model.unit(layer, position).exact]


def test_a_convolution_on_each_frame_sees_one_frame() -> None:
    model = cnnscope.load(Frames(), input="6x3x16x16")
    (field,) = (row.receptive_field for row in model.summary().summary.rows if row.name == "conv")
    assert field.size == (1, 3, 3)
    assert seen(model, "conv", (5, 5))[1:] == [(5, 7), (5, 7)]


def test_channels_of_a_rearrangement_by_hand_are_no_positions() -> None:
    model = cnnscope.load(kind(lambda m, x: to_depth(x))(), input="1x2")
    assert seen(model, model.graph.outputs[0], (0,)) == [(0, 1)]


def test_a_unit_behind_a_shuffle_by_hand_sees_what_autograd_sees(tmp_path: Path) -> None:
    module = kind(lambda m, x: m.conv(shuffle(x)), conv=lambda: nn.Conv1d(1, 2, 3))()
    torch.nn.init.ones_(module.conv.weight)
    file = tmp_path / "net.onnx"
    torch.onnx.export(module, (torch.rand(1, 2, 8),), file, dynamo=False)
    x = torch.rand(1, 2, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(module(x)[..., 3].sum(), x)
    touched = gradient[0].ne(0).any(0).nonzero().flatten()
    for source in (module, file):
        model = cnnscope.load(source, input="2x8") if source is module else cnnscope.load(source)
        assert seen(model, model.graph.outputs[0], (3,)) == [(int(touched.min()), int(touched.max()))]
