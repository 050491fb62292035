"""ONNX networks as torch modules: the tests that ONNX has for its operators run with the outputs that they state, or
are refused. In a second run of each, all inputs but the first are stored in the file, as weights and sizes are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from test_onnx_node_tests import NodeTest, node_tests

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.sources.onnx import load
from cnnscope.trained.weighted import open_weighted


def stored(test: NodeTest) -> NodeTest | None:
    """The same test with all inputs but the first in the file; None if there are none that can be."""
    infos = list(test.model.graph.input)
    if len(infos) < 2 or not all(isinstance(x, np.ndarray) for x in test.inputs) or len(infos) != len(test.inputs):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    for info, x in zip(infos[1:], test.inputs[1:], strict=True):
        model.graph.initializer.append(numpy_helper.from_array(x, info.name))
    del model.graph.input[1:]
    return NodeTest(model, test.inputs[:1], test.outputs)


def array(x: Any) -> np.ndarray[Any, Any]:
    return numpy_helper.to_array(x) if isinstance(x, TensorProto) else np.asarray(x)


def tensor(x: Any, dtype: str) -> torch.Tensor:
    known = array(x)
    plain = known if known.dtype.isbuiltin == 1 else known.astype(np.float32)
    return torch.from_numpy(np.array(plain)).to(getattr(torch, dtype))


def outcome(test: NodeTest, path: Path) -> str:
    """Returns what a network gives: ``equal``, ``refused``, or what is wrong."""
    path.write_bytes(test.model.SerializeToString())
    try:
        try:
            read = load(str(path), (), {})
        except CnnscopeError as error:
            if "fixed to a batch" not in error.diagnostics[0].message:
                raise
            read = load(str(path), tuple(test.sizes()), {})
        module = open_weighted(read).module
    except CnnscopeError:
        return "refused"
    with torch.inference_mode():
        found = module(*given(test, read.graph))
    outputs = list(found.values()) if isinstance(found, dict) else [found]
    if len(outputs) != len(test.outputs):
        return "other outputs"
    for ours, theirs in zip(outputs, map(array, test.outputs), strict=True):
        if (tuple(ours.shape), str(ours.dtype).removeprefix("torch.")) != (theirs.shape, theirs.dtype.name):
            return f"{ours.dtype} {tuple(ours.shape)} for {theirs.dtype} {theirs.shape}"
        near = 1e-2 if theirs.dtype.name in ("float16", "bfloat16") else 1e-4  # some are written with four digits
        if not np.allclose(ours.to(torch.float64), theirs.astype(np.float64), near, near, equal_nan=True):
            return "other numbers"
    return "equal"


def given(test: NodeTest, graph: Graph) -> list[torch.Tensor]:
    """The inputs that the network takes, in its order: one that nobody reads may be left out."""
    infos = [info.name for info in test.model.graph.input]
    by_name = dict(zip(infos, test.inputs, strict=True))
    return [tensor(by_name[name], graph.inputs[name].dtype) for name in graph.inputs]


def outcomes(names: list[str], path: Path) -> dict[str, str]:
    tests = {name: node_tests()[name] for name in names if "zero_size_splits" not in name}  # two outputs are one
    made = {f"{name} stored": stored(test) for name, test in tests.items()}
    both = tests | {name: test for name, test in made.items() if test is not None}
    return {name: outcome(test, path) for name, test in both.items()}


def check(names: list[str], path: Path, least: float) -> None:
    found = outcomes(names, path)
    assert not {name: what for name, what in found.items() if what not in ("equal", "refused")}
    assert sum(what == "equal" for what in found.values()) >= least * len(found)


def test_a_sample_of_onnx_own_tests_runs(tmp_path: Path) -> None:
    check(sorted(node_tests())[7::40], tmp_path / "node.onnx", 0.35)


@pytest.mark.slow
def test_all_of_onnx_own_tests_run(tmp_path: Path) -> None:
    check(sorted(node_tests()), tmp_path / "node.onnx", 0.45)
