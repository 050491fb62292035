"""Loading a spec needs neither torch nor numpy, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SPECS = Path(__file__).parents[2] / "specs"
HEAVY = ("torch", "numpy", "matplotlib", "captum", "onnx", "rich", "typer")


def loaded_by(statement: str) -> set[str]:
    """The heavy modules a fresh interpreter has after ``statement``."""
    code = f"import sys\n{statement}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_loading_a_spec_imports_nothing_heavy() -> None:
    load = f"from cnnscope.spec import load; spec = load({str(SPECS / 'resnet50.yaml')!r})"
    assert loaded_by(f"{load}\nfrom cnnscope.spec.emit import expand; expand(spec)") == set()
    assert loaded_by("from cnnscope.spec.jsonschema import language; language()") == set()


def test_this_test_can_fail() -> None:
    assert loaded_by("import numpy") == {"numpy"}
