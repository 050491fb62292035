"""Static commands start fast: they never load a framework. Each is run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "timm", "captum", "matplotlib", "onnx")
COMMANDS = [
    ["--help"], ["summary", "--help"], ["summary", "resnet18"], ["summary", "unet", "-f", "json"], ["shapes", "lenet5"],
    ["params", "lenet5", "vgg11"], ["flops", "lenet5"], ["memory", "lenet5"], ["check", "lenet5"], ["expand", "lenet5"],
    ["diff", "lenet5", "alexnet"], ["equivariance", "lenet5"], ["zoo"], ["ablate", "lenet5", "--remove", "f6"],
    ["edit", "lenet5", "--set", "c1.kernel=3", "--scale", "0.5"],
    ["transfer", "lenet5", "--classes", "3", "--freeze", "c*"],
    ["kernels", "--kernel", "-1 1", "--input", "0 1 0 1 1"],
    ["ops"], ["ops", "conv"], ["ops", "residual"], ["schema"], ["schema", "summary"], ["summary", "no-such-model"],
]  # fmt: skip

PROGRAM = """
import contextlib, io, json, sys
commands, watched, prelude = json.loads(sys.argv[1])
exec(prelude)
from cnnscope.cli.app import main
for words in commands:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(words)
    if code == 70:
        sys.exit(f"{words} is broken")
    loaded = [name for name in watched if name in sys.modules]
    if loaded:
        print(json.dumps([words, loaded]))
        break
"""


def loaded_by(
    commands: Sequence[Sequence[str]], watched: Sequence[str] = HEAVY, prelude: str = "", path: Path | None = None
) -> str:
    """The first command after which a watched module is there, and which; empty if there is none."""
    environment = {**os.environ, "PYTHONPATH": f"{path or ''}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    arguments = [sys.executable, "-c", PROGRAM, json.dumps([commands, watched, prelude])]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_static_commands_load_no_framework_and_no_numpy() -> None:
    assert loaded_by(COMMANDS, (*HEAVY, "numpy")) == ""


def test_exact_receptive_fields_load_numpy_alone() -> None:
    commands = [["rf", "lenet5"], ["rf", "lenet5", "--unit", "c3:1,1"]]
    assert loaded_by(commands) == ""
    assert json.loads(loaded_by(commands, ("numpy",)))[1] == ["numpy"]


def test_importing_the_package_loads_nothing_of_it() -> None:
    program = "import sys, cnnscope; print([name for name in sys.modules if name.startswith('cnnscope.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("module", ["onnx", "matplotlib"])
def test_this_test_can_fail(tmp_path: Path, module: str) -> None:
    (tmp_path / f"{module}.py").write_text("")
    prelude = (
        "import cnnscope.cli.layers as layers\n"
        "shown = layers.show\n"
        f"layers.show = lambda *given: (__import__({module!r}), shown(*given))\n"
    )
    commands = [["--help"], ["check", "lenet5"], ["flops", "lenet5"]]
    assert json.loads(loaded_by(commands, HEAVY, prelude, tmp_path)) == [["flops", "lenet5"], [module]]


def test_public_names_are_all_there() -> None:
    import cnnscope

    for name in cnnscope.__all__:
        assert getattr(cnnscope, name) is not None
        assert name in dir(cnnscope)
    with pytest.raises(AttributeError, match="has no attribute 'sumary'"):
        _ = cnnscope.sumary  # type: ignore[attr-defined]  # what a typing mistake does at run time
