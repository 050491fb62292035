"""SOURCE strings that run the user's code, and what is said when that code does not do as it should."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cnnscope.errors import CnnscopeError, Diagnostic
from cnnscope.ir import Graph
from cnnscope.sources.inputs import parse_inputs
from cnnscope.sources.resolve import load, resolve

NET = """
import helper_of_the_net
import torch
from torch import nn

print("hello from the net")


class Net(nn.Module):
    def __init__(self, width=4, act="relu"):
        super().__init__()
        self.conv = nn.Conv2d(3, width, helper_of_the_net.KERNEL)
        self.act = nn.ReLU() if act == "relu" else nn.GELU()

    def forward(self, x):
        print("forward")
        return self.act(self.conv(x))


def small(width: int):
    return Net(width)


def branching():
    class Branching(Net):
        def forward(self, x):
            return super().forward(x) if x.sum() < 1e9 else x
    return Branching()


def two():
    class Two(Net):
        def forward(self, left, right):
            return super().forward(left) + super().forward(right)
    return Two()


def deeper(x):
    raise ValueError("width must be even")


def failing(width=3):
    return deeper(width)


def quitting():
    raise SystemExit(3)


def none():
    return {"not": "a module"}


def sized():
    net = Net()
    net.default_cfg = {"input_size": (3, 20, 30)}
    return net


number = 3
made = Net(7)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "net_of_mine.py").write_text(NET)
    (tmp_path / "helper_of_the_net.py").write_text("KERNEL = 3\n")
    (tmp_path / "wrong.py").write_text("import torch\ndef f(:\n    pass\n")
    (tmp_path / "missing.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - modules:
        if "of_mine" in name or "of_the_net" in name:
            del sys.modules[name]


def graph_of(source: str, *inputs: str, **settings: Any) -> Graph:
    return load(source, inputs=parse_inputs(inputs or ("3x16x16",)), settings=settings).graph


def refused(source: str, *inputs: str) -> Diagnostic:
    with pytest.raises(CnnscopeError) as caught:
        graph_of(source, *inputs)
    assert caught.value.exit_code == 2
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("torchvision:resnet50", "torchvision"), ("timm:vit_tiny_patch16_224?img_size=384", "timm"),
        ("models/net.py:Net", "file"), ("net.py", "file"), ("net.py:a.b?c=d:e", "file"), ("pkg.mod:make", "module"),
        ("pkg:make?width=2", "module"),
    ],
)  # fmt: skip
def test_sources_of_torch_models_are_recognised(source: str, kind: str) -> None:
    assert resolve(source).name == kind


@pytest.mark.parametrize(
    ("source", "channels"),
    [
        ("net_of_mine.py:Net", 4), ("net_of_mine.py:Net?width=6&act=gelu", 6), ("net_of_mine.py:small?width=2", 2),
        ("net_of_mine:Net?width=5", 5), ("net_of_mine:made", 7), ("./net_of_mine.py:Net?", 4),
    ],
)  # fmt: skip
def test_factories(folder: Path, capsys: pytest.CaptureFixture[str], source: str, channels: int) -> None:
    loaded = load(source, inputs=parse_inputs(["3x16x16"]))
    assert loaded.graph.node("act").output.features == (channels, 14, 14)
    place = source.partition(":")[0]
    assert loaded.notes == (f"ran the code of `{place}`",)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "forward" in printed.err


def test_settings_are_keyword_arguments_too(folder: Path) -> None:
    assert graph_of("net_of_mine.py:Net?width=2", width="3").node("conv").output.shape[1] == 3


def test_a_size_the_model_carries(folder: Path) -> None:
    assert load("net_of_mine.py:sized").graph.inputs["input"].features == (3, 20, 30)


def test_a_branch_on_values_is_run_for_real(folder: Path) -> None:
    loaded = load("net_of_mine.py:branching", inputs=parse_inputs(["3x16x16"]))
    assert len(loaded.notes) == 2
    assert loaded.notes[1].startswith(
        "`branching` ran for real, on a copy with random numbers (it reads values: `item`)"
    )
    assert loaded.graph.outputs == ("act",)


def test_a_factory_that_raises_shows_the_frames_of_its_author(folder: Path) -> None:
    found = refused("net_of_mine.py:failing")
    assert (found.code, found.message) == ("E433", "`failing` failed: ValueError: width must be even")
    assert found.span is not None
    assert (found.span.file, found.span.line) == ("net_of_mine.py", NET.splitlines().index("def deeper(x):") + 2)
    (note,) = found.notes
    assert note.span is not None
    assert (note.message, note.span.line) == (
        "called in `failing`",
        NET.splitlines().index("def failing(width=3):") + 2,
    )


@pytest.mark.parametrize(
    ("source", "code", "message", "hint"),
    [
        ("net_of_mine.py:Nat", "E431", "`net_of_mine.py` has no `Nat`", "did you mean `Net`?"),
        ("net_of_mine.py:zzz", "E431", "`net_of_mine.py` has no `zzz`",
         "it has `Net`, `branching`, `deeper`, `failing`, `none`, `quitting`, `sized`, `small`, `two`"),
        ("net_of_mine.py", "E431", "`net_of_mine.py` needs the name of a factory behind a `:`",
         "it has `Net`, `branching`, `deeper`, `failing`, `none`, `quitting`, `sized`, `small`, `two`"),
        ("net_of_mine.py:number", "E431", "`number` is no factory but an int", None),
        ("net_of_mine.py:none", "E433", "`none` returns no torch.nn.Module but a dict", None),
        ("net_of_mine.py:quitting", "E433", "`quitting` failed: SystemExit: 3", None),
        ("net_of_mine.py:small", "E432", "wrong arguments for `small`: missing a required argument: 'width'",
         "it takes `width`: write small?width=..."),
        ("net_of_mine.py:Net?wide=3", "E432", "wrong arguments for `Net`: got an unexpected keyword argument 'wide'",
         "it takes `width`, `act`: write Net?width=..."),
        ("net_of_mine.py:Net?width", "E432", "`width` is no keyword argument", "write Net?width=2&depth=3"),
        ("nowhere.py:Net", "E430", "`nowhere.py` does not exist", None),
        ("no_such_module:Net", "E430", "there is no module `no_such_module`",
         "modules are looked for in the current folder and among installed packages"),
        ("wrong.py:f", "E433", "`wrong.py` cannot be imported: invalid syntax", None),
        ("missing.py:f", "E433",
         "`missing.py` cannot be imported: ModuleNotFoundError: No module named 'no_such_package'", None),
        ("net_of_mine.py:two", "E434", "`Two` takes `left`, `right`; no size is given for `right`",
         "for instance `--input left=3x224x224 --input right=3x224x224`, or `left=128:int64` for indices"),
    ],
)  # fmt: skip
def test_what_is_said_when_it_does_not_do(folder: Path, source: str, code: str, message: str, hint: str | None) -> None:
    found = refused(source)
    assert (found.code, found.message, found.hint) == (code, message, hint)


def test_a_syntax_error_is_placed(folder: Path) -> None:
    span = refused("wrong.py:f").span
    assert span is not None
    assert (Path(span.file).name, span.line, span.column) == ("wrong.py", 2, 7)


def test_a_file_that_fails_leaves_no_module_behind(folder: Path) -> None:
    refused("missing.py:f")
    assert "missing" not in sys.modules


def test_a_file_named_like_a_package_does_not_hide_it(folder: Path) -> None:
    (folder / "torch.py").write_text("from torch import nn\ndef net():\n    return nn.Conv2d(3, 2, 1)\n")
    import torch

    assert graph_of("torch.py:net").node("conv").op.tag == "conv"
    assert sys.modules["torch"] is torch


def test_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from cnnscope.cli.app import main

    assert main(["params", "net_of_mine.py:Net", "--input", "3x16x16", "-f", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["totals"]["params"] == 4 * 27 + 4
    assert printed.err.splitlines() == ["hello from the net", "forward", "note: ran the code of `net_of_mine.py`"]
    assert main(["summary", "net_of_mine.py:failing", "--input", "3x16x16"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "error[E433]: `failing` failed: ValueError: width must be even" in printed.err
    assert "Traceback" not in printed.err
    assert main(["summary", "net_of_mine.py:Net", "--input", "3x2x2"]) == 2
    printed = capsys.readouterr()
    assert "error[E435]: with input 3x2x2 the run stops in `conv` (`Conv2d`)" in printed.err


LOUD = """
import os, sys
from torch import nn

print("imported")

class Loud(nn.Module):
    def __init__(self):
        super().__init__()
        print("made")
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        print("python")
        sys.__stdout__.write("stream")
        os.write(1, b"descriptor")
        os.system("echo process")
        return self.conv(x)
"""


def test_what_a_model_prints_does_not_mix_with_our_output(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(LOUD)
    command = [sys.executable, "-m", "cnnscope", "summary", "loud.py:Loud", "--input", "3x8x8", "-f", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["totals"]["macs"] == 4 * 3 * 64
    assert all(word in done.stderr for word in ("imported", "made", "python", "stream", "descriptor", "process"))
