"""Programs of ``torch.export``: the same figures, paths and outputs as the module they were made from."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import cnnscope
from cnnscope.errors import CnnscopeError
from cnnscope.sources.exported.batching import moved
from cnnscope.sources.exported.functions import arithmetic, aten


class Attending(nn.Module):
    """A class token, `nn.MultiheadAttention`, windows that are cut out and put back."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        n, c, h, w = x.shape
        x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
        x = self.norm(x).view(n, h // 2, w // 2, 2, 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n, h * w, c)
        x = torch.cat([self.token.expand(n, -1, -1), x], 1)
        x = x + self.mix(x, x, x, need_weights=False)[0]
        mixed: Tensor = self.head(x[:, 0])
        return mixed


class Two(nn.Module):
    """Two inputs, a buffer that is not persistent, a tied weight, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3)
        self.right.weight = self.left.weight
        self.register_buffer("scale", torch.rand(4, 1, 1), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        y = (self.left(a) + self.right(b)) * self.scale + torch.tensor(0.5)
        y = y.masked_fill(y < 0, -math.inf).clamp(min=-1)
        return self.head(y.view(y.size(0), 4, -1).mean(-1)), y


def saved(folder: Path, model: nn.Module, *inputs: Tensor, decomposed: bool = False, **options: Any) -> Path:
    program = torch.export.export(model.eval(), inputs, **options)
    path = folder / "net.pt2"
    torch.export.save(program.run_decompositions() if decomposed else program, path)
    return path


def edited(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_program(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    def edit(members: dict[str, bytes]) -> None:
        (name,) = (name for name in members if name.endswith("models/model.json"))
        document = json.loads(members[name])
        change(document["graph_module"]["graph"])
        members[name] = json.dumps(document).encode()

    return edited(path, edit)


def refused(path: Path, code: str) -> str:
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(str(path))
    diagnostic = caught.value.diagnostics[-1]
    assert diagnostic.code == code
    return diagnostic.message


FIGURES = ("params", "trainable_params", "macs", "buffers", "layers")


def totals(model: Any) -> dict[str, Any]:
    found = model.summary().to_dict()["totals"]
    return {key: found[key] for key in FIGURES if key in found}


@pytest.mark.parametrize(
    ("images", "decomposed"), [(1, False), (3, False), (1, True), pytest.param(3, True, marks=pytest.mark.slow)]
)
def test_a_program_of_a_fixed_batch(images: int, decomposed: bool, tmp_path: Path) -> None:
    """Its sizes are plain numbers, for the batch that it was exported with; it runs with others all the same."""
    torch.manual_seed(0)
    model = Attending()
    path = saved(tmp_path, model, torch.randn(images, 3, 16, 16), decomposed=decomposed)
    read, live = cnnscope.load(str(path)), cnnscope.load(model, input="3x16x16")
    a, b = totals(read), totals(live)
    if decomposed:
        a.pop("layers"), b.pop("layers")
    assert a == b
    assert {node.layer for node in read.graph.nodes} >= {"stem.0", "stem.1", "norm", "head"}
    network = read.weighted().module
    for n in (1, 2, 5):
        x = torch.randn(n, 3, 16, 16)
        torch.testing.assert_close(network(x), model(x))


def test_a_program_with_open_sizes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, batch, height = Two(), Dim("batch"), Dim("height", min=4, max=64)
    shapes = {"a": {0: batch, 2: height}, "b": {0: batch, 2: height}}
    path = saved(tmp_path, model, torch.randn(2, 2, 8, 6), torch.randn(2, 2, 8, 6), dynamic_shapes=shapes)
    assert "left open" in refused(path, "E403")
    with pytest.raises(CnnscopeError, match=r"the input `a` is 2x\w+x6 in the program, not 2x12x7"):
        cnnscope.load(str(path), input={"a": (2, 12, 7)})
    read = cnnscope.load(str(path), input={"a": (2, 12, 6)})
    live = cnnscope.load(model, input={"a": (2, 12, 6), "b": (2, 12, 6)})
    assert totals(read) == totals(live)
    assert list(read.graph.inputs) == ["a", "b"]
    a, b = torch.randn(3, 2, 12, 6), torch.randn(3, 2, 12, 6)
    for mine, theirs in zip(read.weighted().module(a, b), model(a, b), strict=True):
        torch.testing.assert_close(mine, theirs)


# -- damaged and hostile archives --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    return saved(tmp_path_factory.mktemp("relu"), model, torch.randn(1, 1, 8, 8)).read_bytes()


@pytest.fixture
def relu(tmp_path: Path, exported: bytes) -> Path:
    path = tmp_path / "net.pt2"
    path.write_bytes(exported)
    return path


def test_a_function_of_another_library_is_a_row_of_its_own(relu: Path) -> None:
    def change(graph: dict[str, Any]) -> None:
        graph["nodes"][1]["target"] = "torch.ops.mylib.fancy.default"

    graph = cnnscope.load(str(with_program(relu, change))).graph
    assert [(node.op.tag, node.output.shape) for node in graph.nodes][1] == ("unsupported", (1, 2, 6, 6))
    assert "fancy" in graph.nodes[1].op.label()


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.save.default", "torch.ops.aten.from_file.default", "torch.ops.aten.__class__.default",
        "torch.ops.aten.relu.out", "torch.ops.aten._reshape_alias.default", "torch.ops.aten.relu.__init__", "os.system",
        "torch.ops.prims.relu.default", "torch.ops.aten.warn.default", "torch.ops.aten.set_.source_Tensor",
    ],
)  # fmt: skip
def test_only_functions_that_compute_tensors_are_called(target: str) -> None:
    assert aten(target) is None
    assert arithmetic(target) is None
    assert aten("torch.ops.aten.relu.default") is torch.ops.aten.relu.default


def test_a_program_cannot_write_files(relu: Path) -> None:
    victim = relu.parent / "victim"

    def change(graph: dict[str, Any]) -> None:
        node = graph["nodes"][1]
        node["target"] = "torch.ops.aten.save.default"
        node["inputs"].append({"name": "filename", "arg": {"as_string": str(victim)}, "kind": 1})

    assert cnnscope.load(str(with_program(relu, change))).graph.nodes[1].op.tag == "unsupported"
    assert not victim.exists()


def test_sizes_are_bounded() -> None:
    power, times = arithmetic("_operator.pow"), arithmetic("_operator.mul")
    assert power is not None
    assert times is not None
    assert times(3, 4) == 12
    with pytest.raises(ValueError, match="to the power of"):
        power(10, 10**9)
    with pytest.raises(ValueError, match="a size of"):
        times(2**62, 2**62)


def test_large_constants_are_not_computed(relu: Path) -> None:
    def change(graph: dict[str, Any]) -> None:
        ones = json.loads(json.dumps(graph["nodes"][1]))
        ones |= {"target": "torch.ops.aten.ones.default", "outputs": [{"as_tensor": {"name": "ones"}}], "name": "ones",
                 "inputs": [{"name": "size", "arg": {"as_ints": [2**20]}, "kind": 1}]}  # fmt: skip
        wide = json.loads(json.dumps(ones))
        wide |= {"target": "torch.ops.aten.repeat.default", "outputs": [{"as_tensor": {"name": "w"}}], "name": "w",
                 "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "ones"}}, "kind": 1},
                            {"name": "repeats", "arg": {"as_ints": [2**20]}, "kind": 1}]}  # fmt: skip
        graph["nodes"][:0] = [ones, wide]

    assert cnnscope.load(str(with_program(relu, change))).summary().to_dict()["totals"]["macs"] == 2 * 9 * 36


def _hostile(members: dict[str, bytes]) -> None:
    name = next(name for name in members if name.endswith("weights_config.json"))
    table = json.loads(members[name])
    entry = table["config"]["0.weight"]
    entry["use_pickle"] = True
    members[name] = json.dumps(table).encode()
    members[name.rpartition("/")[0] + "/" + entry["path_name"]] = b"cos\nsystem\n(S'touch stolen'\ntR."


def _short(members: dict[str, bytes]) -> None:
    name = next(name for name in members if name.endswith("weights/weight_0"))
    members[name] = members[name][:-4]


def _outside(members: dict[str, bytes]) -> None:
    name = next(name for name in members if name.endswith("weights_config.json"))
    members[name] = members[name].replace(b"weight_0", b"../../../../etc/passwd")


@pytest.mark.parametrize("change", [_hostile, _short, _outside], ids=["pickle", "short", "path"])
def test_weights_that_are_not_there(relu: Path, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    monkeypatch.chdir(relu.parent)
    model = cnnscope.load(str(edited(relu, change)))
    with pytest.raises(CnnscopeError) as caught:
        model.weighted()
    assert caught.value.diagnostics[0].code == "E441"
    assert not (relu.parent / "stolen").exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda graph: graph.pop("tensor_values"), "E441"),
        (lambda graph: graph["nodes"][0].update(inputs=[{"name": "x", "arg": {"as_python": "exit()"}}]), "E441"),
        (lambda graph: graph["nodes"][0]["inputs"][0]["arg"]["as_tensor"].update(name="nowhere"), "E441"),
        (lambda graph: graph["nodes"].reverse(), "E441"),
        (lambda graph: graph["tensor_values"]["p_0_weight"]["sizes"][0].update(as_int=-5), "E441"),
        (lambda graph: graph["tensor_values"]["p_0_weight"]["sizes"][0].update(as_int=7), "E441"),
        (lambda graph: graph.update(nodes=[[]]), "E441"),
        (lambda graph: graph["nodes"][0]["outputs"].append({"as_tensor": {"name": "two"}}), "E441"),
        (lambda graph: graph["nodes"][0]["inputs"][1].update(arg={"as_int": 3}), "E435"),
        (lambda graph: graph["nodes"][0]["inputs"].pop(), ""),
        (lambda graph: graph["nodes"][1]["metadata"].update(nn_module_stack=";".join(["a,b.forward,c"] * 5000)), ""),
    ],
)
def test_programs_that_are_not_as_torch_writes_them(relu: Path, change: Any, code: str) -> None:
    path = with_program(relu, change)
    if code:
        refused(path, code)
    else:
        assert cnnscope.load(str(path)).summary().to_dict()["totals"]["macs"] == 2 * 9 * 36


def test_other_files_with_this_suffix(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "git-LFS" in refused(path, "E440")
    torch.save({"w": torch.ones(2)}, path)
    assert "a file of weights" in refused(path, "E440")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data/aotinductor/model/a.so", b"")
    assert "AOTInductor" in refused(path, "E440")
    path.write_bytes(b"PK\x03\x04" + bytes(40))
    refused(path, "E441")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", b"0" * 10**6)
    assert "never compresses" in refused(path, "E441")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/models/model.json", b"[" * 10**5)
    refused(path, "E441")


@pytest.mark.parametrize(
    ("place", "before", "after", "batch", "wanted"),
    [
        ((0, 1), (1, 8, 4, 4), (1, 8, 16), 1, (0, 1)),
        ((0, 1), (1, 8, 4, 4), (8, 16), 1, (0, 1)),  # folded into the channels
        ((1, 1), (17, 1, 8), (17, 2, 4), 1, (1, 1)),  # into the heads
        ((1, 1), (17, 1, 8), (17, 8), 1, (0, 17)),  # into the places
        ((1, 1), (17, 1, 2, 4), (17, 8), 1, (0, 17)),
        ((0, 17), (17, 8), (17, 1, 8), 1, (1, 1)),
        ((0, 1), (3, 8, 16), (24, 16), 3, (0, 1)),
        ((1, 1), (5, 3, 8), (15, 8), 3, (0, 5)),
        ((0, 1), (3, 4), (2, 6), 3, None),
    ],
)
def test_where_the_batch_goes(place: Any, before: Any, after: Any, batch: int, wanted: Any) -> None:
    assert moved(place, before, after, batch) == wanted
