"""The page on adding a layer type: its code makes one of a copy of the package, with two files and a reference."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "add-an-op.md"
NET = """\
cnnscope: 1
name: Net
input: {shape: [3, 8, 8]}
layers:
  - conv: {out: 4, kernel: 3, name: conv}
  - dyt: {init: 0.8, name: scale}
  - globalavgpool: {name: pool}
  - flatten
  - linear: {out: 2, name: head}
"""


def block(page: str, start: str) -> str:
    """The page's Python block that starts with these words."""
    (found,) = (text for text in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S) if text.startswith(start))
    return str(found)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its tests, with what the page adds."""
    folder, page = tmp_path_factory.mktemp("repository"), PAGE.read_text()
    for part in ("cnnscope", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "specs"):
        (folder / file).symlink_to(ROOT / file)
    folder.joinpath("cnnscope/ops/dyt.py").write_text(block(page, '"""Dynamic tanh."""'))
    folder.joinpath("cnnscope/nn/ops/dyt.py").write_text(block(page, '"""Dynamic tanh in torch."""'))
    with folder.joinpath("tests/ops/torch_reference.py").open("a") as file:
        file.write("\n\n" + block(page, "@run("))
    folder.joinpath("net.yaml").write_text(NET)
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python command in the copy."""
    settings = {**os.environ, "PYTHONPATH": str(folder), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=settings, capture_output=True, text=True, check=False
    )


def exported(path: Path) -> ModuleType:
    """An exported file, imported."""
    place = spec_from_file_location(path.stem, path)
    assert place is not None
    assert place.loader is not None
    module = module_from_spec(place)
    place.loader.exec_module(module)
    return module


def test_the_command_line_knows_the_op(copy: Path) -> None:
    summary = run(copy, "cnnscope", "summary", "net.yaml")
    assert summary.returncode == 0, summary.stderr
    assert re.search(r"scale\s+dyt\s+4x6x6\s+9\b", summary.stdout), summary.stdout
    reference = run(copy, "cnnscope", "ops", "dyt")
    assert "y = weight * tanh(alpha * x) + bias" in reference.stdout
    copy.joinpath("other.yaml").write_text(NET.replace("dyt:", "dynamic_tanh:"))
    assert "did you mean `dyt`?" in run(copy, "cnnscope", "summary", "other.yaml").stderr


def test_the_exported_file_runs_without_cnnscope(copy: Path) -> None:
    written = run(copy, "cnnscope", "export", "net.yaml", "-o", "net.py")
    assert written.returncode == 0, written.stderr
    assert "cnnscope" not in copy.joinpath("net.py").read_text().partition('"""\n\n')[2]
    network = exported(copy / "net.py").Net()
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.rand(tensor.shape, generator=generator) for key, tensor in network.state_dict().items()}
    network.load_state_dict(state)
    x = torch.rand(2, 3, 8, 8, generator=generator)
    y = torch.nn.functional.conv2d(x, state["conv.weight"], state["conv.bias"])
    scale, shift = (state[f"scale.{name}"].view(-1, 1, 1) for name in ("weight", "bias"))
    y = scale * torch.tanh(state["scale.alpha"] * y) + shift
    expected = y.mean((2, 3)) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(network(x), expected)


def test_the_tests_of_all_ops_pass_for_it(copy: Path) -> None:
    files = ("tests/ops", "tests/nn/test_export_pytorch.py", "tests/training/test_transfer_plan.py")
    options = ("-v", "-n0", "-p", "no:cacheprovider", "-k", "dyt or every_op_that_can_be or names")
    found = run(copy, "pytest", *options, *files)
    assert found.returncode == 0, found.stdout[-4000:]
    assert int(re.findall(r"(\d+) passed", found.stdout)[0]) >= 15
