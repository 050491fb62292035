"""Buffers that are not persistent count, and are marked; bytes are at the dtype that is there."""

from __future__ import annotations

import itertools
import json
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import cnnscope
from cnnscope.nn.build import build
from cnnscope.nn.checkpoint import read_header
from cnnscope.nn.weights import compare
from cnnscope.sources.torch.user_code import import_with_operators


class Table(nn.Module):
    """Buffers of both kinds, one of them unused."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.register_buffer("position", torch.zeros(3, 8, 8), persistent=False)
        self.register_buffer("scale", torch.ones(3, 1, 1))
        self.register_buffer("unused", torch.ones(5, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x + self.position) * self.scale


def inner(*tables: nn.Module) -> nn.Module:
    return nn.Sequential(*tables)


def test_every_report_counts_them_and_says_which() -> None:
    model = cnnscope.load(inner(Table(), nn.BatchNorm2d(3)), input=(3, 8, 8))
    for level, verb in itertools.product(("layer", "op"), (model.summary, model.params)):
        document = verb(level=level).to_dict()
        assert document["totals"]["buffers"] == 3 * 64 + 3 + 5 + 7
        assert document["totals"]["transient_buffers"] == 3 * 64 + 5
    rows = {row["name"]: row for row in model.params().to_dict()["layers"]}
    assert {name: row.get("transient_buffers") for name, row in rows.items()} == {
        "0.add": 192, "0.conv": None, "0.mul": None, "1": None, "0": 5,
    }  # fmt: skip
    assert "197 of 207 in buffers are not persistent: in memory, in no state dict or weight file" in str(model.params())
    assert "; 207 in buffers (197 not persistent)" in str(model.summary())
    marked = {p["key"]: p.get("persistent") for p in json.loads(str(model.export("json")))["params"] if p["buffer"]}
    assert [key for key, persistent in marked.items() if persistent is False] == ["0.position", "0.unused"]


def test_networks_without_them_say_nothing() -> None:
    model = cnnscope.load(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), input=(3, 8, 8))
    assert "persistent" not in str(model.summary()) + str(model.params())
    assert "transient_buffers" not in model.params().to_dict()["totals"]


def test_weight_files_do_not_have_them(tmp_path: Any) -> None:
    module = Table()
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    graph = cnnscope.load(module, input=(3, 8, 8)).graph
    found = compare(graph, read_header(tmp_path / "weights.pt"))
    assert (found.fits, sorted(found.matched)) == (True, ["conv.bias", "conv.weight", "scale"])
    assert graph.stored.keys() == module.state_dict().keys()


class Norm(nn.BatchNorm2d):
    def __init__(self, n: int) -> None:
        super().__init__(n)
        self._non_persistent_buffers_set |= {"running_mean"}


def test_what_computes_with_them_is_built_with_their_numbers() -> None:
    module = Norm(3).eval()
    module.running_mean.copy_(torch.tensor([1.0, -2.0, 3.0]))  # type: ignore[union-attr]  # it has statistics
    built = build(cnnscope.load(module, input=(3, 8, 8)).graph).eval()
    built.load_state_dict(module.state_dict())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(built(x), module(x))


def counted(module: nn.Module) -> tuple[int, int]:
    """All buffers, and those without a key in the state dict, each tensor once."""
    buffers = dict(module.named_buffers())
    stored = {id(t) for t in module.state_dict(keep_vars=True).values()}
    return sum(t.numel() for t in buffers.values()), sum(t.numel() for t in buffers.values() if id(t) not in stored)


@pytest.mark.parametrize(("library", "name"), [
    ("torchvision", "swin_t"), ("timm", "swin_tiny_patch4_window7_224"), ("timm", "beit_base_patch16_224"),
    ("timm", "levit_128s"), ("timm", "maxvit_nano_rw_256"),
])  # fmt: skip
def test_models_of_libraries(library: str, name: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    place = "timm" if library == "timm" else "torchvision.models"
    models = import_with_operators(lambda: import_module(place))
    module = models.create_model(name) if library == "timm" else models.get_model(name, weights=None)
    totals = cnnscope.load(f"{library}:{name}").summary().summary.totals
    assert (totals.buffers, totals.transient) == counted(module)
    if name.startswith("swin_tiny"):
        assert totals.buffers == 249_704


HALVES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@pytest.mark.parametrize("dtype", HALVES)
def test_bytes_are_at_the_dtype_that_is_there_at_every_level_and_option(dtype: str) -> None:
    module = nn.Sequential(nn.Conv2d(1, 10, 5), nn.BatchNorm2d(10), nn.ReLU(inplace=True)).to(getattr(torch, dtype))
    model, size = cnnscope.load(module, input=(1, 8, 8)), HALVES[dtype]
    weights = sum(p.numel() * p.element_size() for p in module.parameters())
    x = torch.zeros(1, 1, 8, 8, dtype=getattr(torch, dtype))
    made = size * (x.numel() + 2 * module[0](x).numel())  # the input, the convolution's output and the norm's
    for level, batch, asked in itertools.product(("layer", "op"), (1, 2), (None, dtype)):
        report = model.memory(level=level, batch_size=batch, dtype=asked)
        totals = report.to_dict()["totals"]
        assert totals["param_bytes"] == weights
        assert totals["activation_bytes"] == batch * (made - size * x.numel())
        assert totals["peak_activation_bytes"] == batch * size * 2 * 160
        assert report.to_dict()["conventions"]["dtype"] == dtype
        assert f"bytes at {dtype};" in str(report)
    assert f"at {dtype};" in str(model.summary())


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3).half()

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).half())


def test_mixed_dtypes_are_each_counted_as_they_are() -> None:
    module = Mixed()
    model = cnnscope.load(module, input=(3, 8, 8))
    for options in ({}, {"level": "op"}, {"batch_size": 1}):
        report = model.memory(**options)
        totals = report.to_dict()["totals"]
        assert totals["param_bytes"] == sum(p.numel() * p.element_size() for p in module.parameters())
        assert totals["activation_bytes"] == 4 * 144 + 2 * 144 + 2 * 64
        assert "bytes at float16 and float32" in str(report)
    assert "bytes at float64" in str(model.memory(dtype="float64"))


class Added(nn.Module):
    """Adds a table to the image, and has weights that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 8, 3), nn.Parameter(torch.ones(8))
        self.register_buffer("position", torch.zeros(1, 3, 16, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x + self.position)  # type: ignore[no-any-return]  # torch's own


def test_a_function_has_the_buffer_that_it_reads_and_unused_weights_are_marked_once() -> None:
    report = cnnscope.load(Added(), input=(3, 16, 16)).params()
    document = report.to_dict()
    assert {layer["name"]: layer["buffers"] for layer in document["layers"]} == {"add": 768, "conv": 0, "scale": 0}
    lines = {line.split()[0]: line for line in str(report).splitlines() if line.strip()}
    assert "768" in lines["add"].split()
    assert "parameter unused " in lines["scale"]
    assert "unused, unused" not in str(report)
