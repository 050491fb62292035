"""Packages that cnnscope can do without: what is said where one is not installed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from cnnscope.errors import CnnscopeError, Diagnostic, MissingPackageError, ShapeError, explained, missing, missing_for

MESSAGES = [
    ("torch", "needs torch: pip install 'cnnscope[torch]'"),
    ("captum", "needs captum: pip install 'cnnscope[trained]'"),
    ("onnx", "needs onnx: pip install 'cnnscope[onnx]'"),
    ("h5py", "needs h5py: pip install 'cnnscope[keras]'"),
    ("torchvision", "needs torchvision: pip install --no-deps torchvision"),
    ("timm", "needs timm: pip install --no-deps timm torchvision"),
    ("pyarrow", "needs pyarrow: pip install 'cnnscope[parquet]'"),
    ("PIL", "needs pillow: pip install pillow"),
]


@pytest.mark.parametrize(("package", "message"), MESSAGES)
def test_the_message_says_how_to_install_it(package: str, message: str) -> None:
    error = missing(package)
    assert error.diagnostics == (Diagnostic("E414", message),)
    assert (error.exit_code, error.name) == (2, package)


def test_a_plugin_names_its_own_extra() -> None:
    assert missing("zarr", "zarr").diagnostics[0].message == "needs zarr: pip install 'cnnscope[zarr]'"


def test_it_is_an_import_error_for_those_who_catch_these() -> None:
    @explained
    def load() -> None:
        import captum  # noqa: F401

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "captum", None)
        with pytest.raises(ImportError, match="needs captum") as caught:
            load()
    assert isinstance(caught.value, MissingPackageError)
    assert isinstance(caught.value, CnnscopeError)


def test_other_missing_modules_stay_what_they_are() -> None:
    @explained
    def load() -> None:
        raise ModuleNotFoundError("No module named 'mine'", name="mine")

    with pytest.raises(ModuleNotFoundError, match="mine"):
        load()
    assert missing_for(ImportError("cannot import name 'x' from 'torch'", name="torch")) is None


@pytest.mark.parametrize(
    "error", [missing("torch"), ShapeError("too small", hint="pad"), CnnscopeError.of("E401", "x")]
)
def test_errors_cross_between_processes(error: CnnscopeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.diagnostics) == (type(error), str(error), error.diagnostics)
    assert getattr(again, "name", None) == getattr(error, "name", None)


def test_the_library_says_it_as_the_commands_do() -> None:
    program = """
import sys
for name in ("torch", "pygraphviz", "matplotlib", "numpy"):
    sys.modules[name] = None
import cnnscope
model = cnnscope.load("lenet5")
for ask in (
    lambda: cnnscope.load("torchvision:resnet18"), model.module, model.trained, model.receptive_field,
    lambda: cnnscope.audit("lenet5-digits"), lambda: cnnscope.receptive_field("lenet5"),
    lambda: model.diagram(level="layer").write("x.svg"),
    lambda: sys.modules.pop("numpy") or model.growth().write("x.png"),
):
    try:
        ask()
    except ImportError as error:
        print(type(error).__name__, error)
"""
    environment = {**os.environ, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    torch = "MissingPackageError E414: needs torch: pip install 'cnnscope[torch]'"
    numpy = "MissingPackageError E414: needs numpy: pip install numpy"
    graphviz = "MissingPackageError E414: needs pygraphviz: pip install 'pygraphviz>=2.0.4'"
    matplotlib = "MissingPackageError E414: needs matplotlib: pip install matplotlib"
    assert done.stdout.splitlines() == [torch, torch, torch, numpy, torch, numpy, graphviz, matplotlib]


def test_an_export_that_is_built_when_it_is_written_says_so_too(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import cnnscope; cnnscope.export('lenet5', to='onnx').write('x.onnx')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.endswith("MissingPackageError: E414: needs torch: pip install 'cnnscope[torch]'\n")
    assert not list(tmp_path.iterdir())
