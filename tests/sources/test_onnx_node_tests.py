"""The tests that ONNX has for its own operators, about 1,900 models: each is read, with the shapes and types of the
outputs that the test states, or refused because no shape can be known.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from cnnscope.errors import CnnscopeError
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx import read_graph

LEAST_READ = 0.9
"""The others have strings, sequences, optional values or types that torch lacks, or shapes that depend on values."""
REASONS = (
    "neither the file nor ONNX's shape inference states the shape", "which cnnscope does not read", "is not a tensor",
    "the graph has no inputs",
)  # fmt: skip


@dataclass(frozen=True)
class NodeTest:
    """A model, its inputs and the outputs that it must have."""

    model: onnx.ModelProto
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    def sizes(self) -> list[InputSize]:
        """Its inputs' shapes with the batch, which is asked for where it is fixed to more than one."""
        infos = self.model.graph.input
        pairs = zip(infos, self.inputs, strict=True)
        return [InputSize(x.shape, info.name if len(infos) > 1 else None) for info, x in pairs if _rank(x) > 3]


def _rank(x: Any) -> int:
    return x.ndim if isinstance(x, np.ndarray) else 0


@cache
def node_tests() -> dict[str, NodeTest]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return {case.name: NodeTest(case.model, *map(tuple, case.data_sets[0])) for case in cases if case.data_sets}


def read(test: NodeTest, path: Path) -> str:
    """Returns why a model is refused, or nothing; asserts that its outputs are those of the test otherwise."""
    path.write_bytes(test.model.SerializeToString())
    try:
        try:
            graph = read_graph(path)
        except CnnscopeError as error:
            if "fixed to a batch" not in error.diagnostics[0].message:
                raise
            graph = read_graph(path, input=test.sizes())
    except CnnscopeError as error:
        return error.diagnostics[0].message
    found = [(graph.value(name).shape, graph.value(name).dtype) for name in graph.outputs]
    stated = [(x.shape, x.dtype.name) for x in test.outputs if isinstance(x, np.ndarray)]
    if len(stated) == len(test.outputs) == len(found):
        assert found == stated
    return ""


def check(names: list[str], folder: Path, least: float) -> None:
    refused = {name: read(node_tests()[name], folder / "node.onnx") for name in names}
    reasons = {name: reason for name, reason in refused.items() if reason}
    assert not {name: reason for name, reason in reasons.items() if not any(known in reason for known in REASONS)}
    assert len(reasons) <= (1 - least) * len(names)


def test_a_sample_of_onnx_own_tests(tmp_path: Path) -> None:
    check(sorted(node_tests())[::25], tmp_path, 0.8)


def test_weights_and_integers_that_are_inputs(tmp_path: Path) -> None:
    """Convolutions and products whose weights are inputs, and those of integers."""
    names = [name for name in sorted(node_tests()) if "_conv" in name or "integer" in name]
    assert len(names) > 20
    check(names, tmp_path, 1)


@pytest.mark.slow
def test_all_of_onnx_own_tests(tmp_path: Path) -> None:
    assert len(node_tests()) > 1500
    check(sorted(node_tests()), tmp_path, LEAST_READ)


LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_onnx_own_light_models(path: Path) -> None:
    """Their weights are computed by the graph from nothing, so that the files are small."""
    graph = read_graph(path)
    output = onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    assert graph.value(graph.outputs[0]).shape == tuple(output.dims)
