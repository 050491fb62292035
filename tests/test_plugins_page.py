"""The page on plugins: its files work as plugins, one by one and all in one, and as an installed package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnscope import plugins
from cnnscope.attribution.methods import METHODS
from cnnscope.audits.controls import CONTROLS
from cnnscope.audits.statistics import METRICS
from cnnscope.cli.commands import COMMANDS
from cnnscope.ops import REGISTRY as OPS
from cnnscope.registry import Registry
from cnnscope.render.columns import FIGURES
from cnnscope.render.diagram.views import TEXT, VIEWS
from cnnscope.sources.resolve import KINDS as SOURCES
from cnnscope.sources.torch.rules import RECORDS
from cnnscope.trained.images import KINDS as IMAGES
from cnnscope.trust.checks import CHECKS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "plugins.md").read_text()
BLOCKS = re.findall(r"^```(python|toml)\n(.*?)^```$", PAGE, re.M | re.S)
PYPROJECT = tomllib.loads(next(text for kind, text in BLOCKS if kind == "toml" and text.startswith("[project]")))
POINTS: Mapping[str, Mapping[str, str]] = PYPROJECT["project"]["entry-points"]
FILES = dict(zip(
    ("swoosh", "swoosh_torch", "mlp", "bessel", "listed", "squared", "rough", "steady", "sure", "bars", "names",
     "weight", "depth"),
    (text for kind, text in BLOCKS if kind == "python"), strict=True,
))  # fmt: skip
REGISTRIES: dict[str, Registry[object]] = {
    registry.group: registry  # type: ignore[misc]  # of any values
    for registry in (OPS, SOURCES, IMAGES, METHODS, CHECKS, METRICS, CONTROLS, VIEWS, TEXT, FIGURES, COMMANDS, RECORDS)
}
ADDED = [
    (group, name, place.split(":")[0].split(".")[1]) for group, all in POINTS.items() for name, place in all.items()
]
NET = """\
cnnscope: 1
name: Net
input: {shape: [3, 8, 8]}
layers:
  - conv: {out: 6, kernel: 3, pad: half, act: swoosh}
  - swoosh: 1.5
  - flatten
  - linear: 4
"""
MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return torch.special.i0e(self.conv(x))
"""
PROGRAM = """
import contextlib, io, json, sys
from cnnscope.cli.app import main
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
"""
Said = tuple[int, str, str]


def told(folder: Path, commands: Sequence[str], path: Path | None = None, before: str = "") -> list[Said]:
    """Exit code, output and messages of commands that one new process runs, with packages of ``path``."""
    settings = {**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    settings["PYTHONPATH"] = os.pathsep.join(str(one) for one in (path, ROOT) if one)
    words = [[*before.split(), *command.split()] for command in commands]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(words)], cwd=folder, env=settings,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def install(folder: Path, name: str, files: Mapping[str, str], points: Mapping[str, Mapping[str, str]]) -> Path:
    """A package as pip leaves it: the files, and beside them what it is and offers."""
    (folder / name).mkdir(parents=True)
    for file, text in files.items():
        (folder / name / f"{file}.py").write_text(text)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [line for group, all in points.items() for line in (f"[{group}]", *(f"{n} = {p}" for n, p in all.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spec and a list of pictures."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "net.yaml").write_text(NET)
    (folder / "net.py").write_text(MODULE)
    digits = np.load(ROOT / "specs" / "digits" / "digits.npz")
    lines = []
    for i in np.flatnonzero(digits["split"].astype(str) == "test")[:12]:
        Image.fromarray(digits["images"][i].astype(np.uint8)).save(folder / f"{i}.png")
        lines.append(f"{i}.png\t{digits['labels'][i]}")
    (folder / "some.list").write_text("\n".join(lines))
    return folder


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; modules imported meanwhile are forgotten."""
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)
    yield tmp_path
    for name in FILES:
        sys.modules.pop(name, None)
    sys.path[:] = path


@pytest.mark.parametrize(("group", "name", "file"), ADDED, ids=[name for _, name, _ in ADDED])
def test_each_file_is_a_plugin(clean: Path, group: str, name: str, file: str) -> None:
    (clean / f"{file}.py").write_text(FILES[file])
    registry = REGISTRIES[group]
    assert name not in registry
    with plugins.plugins([f"{file}.py"]):
        assert registry.find(name) is not None
        assert registry.names()[-1] == name
    assert name not in registry


def test_a_rule_holds_as_long_as_its_plugin(clean: Path) -> None:
    import torch
    from torch import nn

    import cnnscope

    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.i0e(x)

    def op() -> str:
        return cnnscope.load(Net(), input=(3, 8, 8)).graph.nodes[0].op.label()

    (clean / "bessel.py").write_text(FILES["bessel"])
    assert op() == "special_i0e"  # the function's own name, as any pointwise function of torch
    with plugins.plugins(["bessel.py"]):
        assert op() == "i0e"
    assert op() == "special_i0e"


def test_the_page_has_an_example_of_every_group() -> None:
    assert set(POINTS) == set(REGISTRIES)
    assert {file for *_, file in ADDED} == set(FILES) - {"swoosh_torch"}


@dataclass(frozen=True)
class Expectation:
    """A command, and patterns of what it prints."""

    command: str
    out: str
    err: str = ""


STATIC = [
    Expectation("summary lenet5 -q", r"^c1 +conv"),
    Expectation("summary net.yaml -q", r"conv1 +conv 3x3 6, swoosh .*\n *swoosh1 +swoosh +6x8x8"),
    Expectation("ops swoosh", r"A gated activation: y = x \* sigmoid\(slope \* x\)"),
    Expectation("summary mlp:784-100-10 -q", r"linear1 +linear 100 +100 +78,500"),
    Expectation("shapes lenet5 --columns name,kib", r"c5 +188\.0"),
    Expectation("diagram lenet5 --view bars -o bars.svg -f csv", r"^bars\.svg,svg,"),
    Expectation("diagram lenet5 -o lenet5.names -f csv", r"^lenet5\.names,names,"),
    Expectation("diagram --help", r"bars"),
    Expectation("depth lenet5", r"^12$"),
    Expectation("--help", r"depth +Count the layers between input and output"),
    Expectation("summary --help", r"--plugin"),
    Expectation("attribute --help", r"squared-gradient"),
]
TRAINED = [
    Expectation("summary net.py:Net --input 3x8x8 -q", r"conv 3x3 4 .*\n\S+ +elementwise i0e +4x6x6 +0 +0 +3x3"),
    Expectation("export net.yaml --to pytorch", r"class SwooshModule\(nn\.Module\):"),
    Expectation("attribute lenet5-digits --trust -m squared-gradient -o map.png",
                r"squared-gradient .*(\n.*)*roughness +0\.\d"),
    Expectation("audit lenet5-digits --data some.list --out audited --fail-under translation.steady=0.1",
                r"divergence +steady\n(.*\n)*.*some prediction is sure: \d(.*\n)*.*ok +translation\.steady=0\.1: 0\."),
]  # fmt: skip


def check(expected: Sequence[Expectation], found: Sequence[Said]) -> None:
    for one, (code, out, err) in zip(expected, found, strict=True):
        assert code == 0, (one.command, err)
        assert re.search(one.out, out, re.M), (one.command, out, err)
        assert "warning" not in err


def test_all_of_them_as_an_installed_package(folder: Path, tmp_path: Path) -> None:
    files = {
        name: text.replace("from swoosh import", "from shades.swoosh import").replace(
            '"swoosh_torch"', '"shades.swoosh_torch"'
        )
        for name, text in FILES.items()
    }
    path = install(tmp_path, "shades", {"__init__": "", **files}, POINTS)
    expected = [*STATIC, *TRAINED]
    check(expected, told(folder, [one.command for one in expected], path))


def test_all_of_them_in_one_plugin(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "work")
    together = "\n\n".join(FILES.values()).replace("from swoosh import Swoosh\n", "")
    (tmp_path / "shades.py").write_text(together.replace('    in_torch = "swoosh_torch"\n', ""))
    found = told(tmp_path / "work", [one.command for one in STATIC], before=f"--plugin {tmp_path / 'shades.py'}")
    check(STATIC, found)
    assert not any("shades" in out for _, out, _ in told(tmp_path / "work", ["depth lenet5"]))


def test_a_package_that_does_not_work_breaks_nothing_else(folder: Path, tmp_path: Path) -> None:
    points = {
        "cnnscope.ops": {"swoosh": "shades.swoosh:Swoosh", "relu": "shades.swoosh:Swoosh"},
        "cnnscope.commands": {"depth": "shades.depth:depth"},
    }
    files = {"__init__": "", "swoosh": "from cnnscope.layers import Op\n", "depth": "1 / 0\n"}
    path = install(tmp_path, "shades", files, points)
    commands = ["summary lenet5 -q", "ops -q", "ops swoosh", "depth lenet5", "--help"]
    summary, ops, op, depth, help = told(folder, commands, path)
    assert (summary[0], summary[2]) == (0, "")
    place = str(tmp_path / "shades" / "swoosh.py")
    remedy = "  = help: install a version of shades 1.0 that fits, or uninstall it\n"
    older = (
        "[E413]: the layer type `swoosh` of the package shades 1.0 was written for another version of cnnscope: "
        f"ModuleNotFoundError: No module named 'cnnscope.layers'\n --> {place}:1:1\n  |\n"
        f"1 | from cnnscope.layers import Op\n  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n{remedy}"
    )
    assert ops[0] == 0
    assert "relu" in ops[1]
    assert ops[2] == (
        "warning[E412]: the layer type `relu` exists twice: `cnnscope.ops.activation:ReLU` and `shades.swoosh:Swoosh` "
        "of the package shades 1.0\n  = help: a name is given once: rename one of them, or uninstall its package\n"
        f"warning{older}"
    )
    assert op == (2, "", f"error{older}")
    broken = (
        "[E411]: the command `depth` of the package shades 1.0 cannot be imported: ZeroDivisionError: division by "
        f"zero\n --> {tmp_path / 'shades' / 'depth.py'}:1:1\n  |\n1 | 1 / 0\n  | ^^^^^\n{remedy}"
    )
    assert depth == (2, "", f"error{broken}")
    assert (help[0], help[2]) == (0, f"warning{broken}")
    assert "Usage: cnnscope" in help[1]
