"""``cnnscope edit -o``: each format has the changed network, and a file is complete or not there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from edited import totals

import cnnscope
from cnnscope.cli.app import main
from cnnscope.edits.change import from_json

NET = """cnnscope: 1
name: Small
input: {shape: [3, 17, 17]}
layers:
  - conv: {name: a, out: 8, kernel: 3}
  - maxpool: {name: p, kernel: 2}
  - flatten: {name: f}
  - linear: {name: l, out: 10}
"""
WIDE = (3 * 12 * 9 + 12 + 12 * 7 * 7 * 10 + 10, 3 * 12 * 9 * 15 * 15 + 12 * 7 * 7 * 10)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(NET)
    return tmp_path / "small.yaml"


def edit(net: Path, change: str, name: str) -> tuple[int, Path]:
    path = net.parent / name
    return main(["edit", str(net), "--set", change, "-o", str(path)]), path


def small_letters(path: Path) -> Path:
    """The file under a name that sources and Python read."""
    return path.rename(path.with_name(path.name.lower()))


def imported(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location("written_by_edit", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["net.yaml", "net.yml", "NET.YAML", "Net.ONNX"])
def test_the_written_network_is_read_back(net: Path, name: str) -> None:
    code, path = edit(net, "a.out=12", name)
    assert code == 0
    assert totals(cnnscope.load(str(small_letters(path))).graph) == WIDE


@pytest.mark.parametrize("name", ["net.py", "NET.PY"])
def test_the_written_module_is_imported_and_runs(net: Path, name: str) -> None:
    code, path = edit(net, "a.out=12", name)
    assert code == 0
    network = imported(small_letters(path)).Small()
    assert network.eval()(torch.zeros(2, 3, 17, 17)).shape == (2, 10)
    assert totals(cnnscope.load(network, input=(3, 17, 17)).graph) == WIDE


def test_graphs_changes_and_documents_are_json(net: Path) -> None:
    found = {name: json.loads(edit(net, "a.out=12", name)[1].read_text())
             for name in ("graph.json", "Graph.JSON", "changes.json", "net.json")}  # fmt: skip
    assert found["graph.json"] == found["Graph.JSON"]
    assert found["graph.json"]["format"] == "cnnscope.graph"
    assert {p["key"]: p["shape"] for p in found["graph.json"]["params"]}["a.weight"] == [12, 3, 3, 3]
    assert found["net.json"]["format"] == "cnnscope.edit"
    again = cnnscope.load(str(net)).edit(*map(from_json, found["changes.json"]["changes"]))
    assert totals(again.graph) == WIDE


@pytest.mark.parametrize("name", ["net.py", "net.yaml", "net.onnx", "graph.json", "changes.json", "net.json"])
def test_a_change_that_does_not_fit_writes_nothing(net: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(net, "a.kernel=30", name)[0] == 2
    assert "error[E491]" in capsys.readouterr().err
    assert list(net.parent.iterdir()) == [net]


@pytest.mark.parametrize(("name", "code"), [
    ("net.pt", "E404"), ("net.svg", "E404"), ("net", "E404"), ("none/net.py", "E405"), ("none/graph.json", "E405"),
])  # fmt: skip
def test_other_files_are_refused(net: Path, name: str, code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert edit(net, "a.out=12", name)[0] == 2
    assert f"error[{code}]" in capsys.readouterr().err
    assert list(net.parent.iterdir()) == [net]
