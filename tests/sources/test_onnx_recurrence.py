"""Recurrent layers of ONNX files run as ONNX Runtime runs them: first states, last cells, both kinds of GRU."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

import cnnscope
from cnnscope.analysis.summary import summarize
from cnnscope.errors import CnnscopeError
from cnnscope.sources.onnx import read_graph

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, FEATURES, HIDDEN = 5, 3, 4
Array = npt.NDArray[np.float32]


def network(
    kind: str, direction: str, path: Path, *, states: str = "", **attributes: int | list[str]
) -> tuple[Path, int]:
    """Writes a layer whose outputs are all read; returns the file and how many parameters it stores. ``states`` are
    ``stored`` or network ``inputs``.
    """
    rng = np.random.default_rng(0)
    sides, gates = 2 if direction == "bidirectional" else 1, GATES[kind]
    shapes = {
        "W": (sides, gates * HIDDEN, FEATURES), "R": (sides, gates * HIDDEN, HIDDEN), "B": (sides, 2 * gates * HIDDEN),
    }  # fmt: skip
    firsts = ["h", "c"][: 2 if kind == "LSTM" else 1] if states else []
    shapes |= dict.fromkeys(firsts if states == "stored" else [], (sides, 1, HIDDEN))
    stored = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()]
    outputs = ["Y", "Yh", "Yc"][: 3 if kind == "LSTM" else 2]
    given = {"x": ["n", STEPS, FEATURES]} | {name: ["n", sides, HIDDEN] for name in firsts if states == "inputs"}
    moved = [helper.make_node("Transpose", [name], [f"{name}_moved"], perm=[1, 0, 2]) for name in given]
    read = [f"{name}_moved" if name in given else name for name in firsts]
    node = helper.make_node(kind, ["x_moved", "W", "R", "B", "", *read], outputs, direction=direction,
                            hidden_size=HIDDEN, **attributes)  # fmt: skip
    graph = helper.make_graph(
        [*moved, node], "g", [helper.make_tensor_value_info(name, 1, size) for name, size in given.items()],
        [helper.make_tensor_value_info(name, 1, None) for name in outputs], stored,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path, sum(int(np.prod(shape)) for shape in shapes.values())


def check(path: Path, images: int) -> None:
    rng = np.random.default_rng(1)
    session = onnxruntime.InferenceSession(path)
    sizes = {x.name: [images if isinstance(n, str) else n for n in x.shape] for x in session.get_inputs()}
    given = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    module = cnnscope.load(str(path)).weighted().module
    with torch.inference_mode():
        found = module(*map(torch.from_numpy, given.values()))
    results = list(found.values()) if isinstance(found, dict) else [found]
    for ours, theirs in zip(results, session.run(None, given), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("kind", "direction"), list(product(GATES, ("forward", "reverse", "bidirectional"))))
def test_first_states_and_all_outputs(kind: str, direction: str, tmp_path: Path) -> None:
    for states in ("", "stored", "inputs"):
        path, count = network(kind, direction, tmp_path / f"{states}.onnx", states=states)
        assert summarize(read_graph(path)).totals.params == count
        check(path, 1)
        if states != "stored":
            check(path, 2)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_other_activations(kind: str, direction: str, tmp_path: Path) -> None:
    names = {"LSTM": ["Sigmoid", "Softsign", "Softsign"], "GRU": ["Sigmoid", "Relu"], "RNN": ["Softsign"]}[kind]
    whole = names * (2 if direction == "bidirectional" else 1)
    for after in (0, 1) if kind == "GRU" else (None,):
        more = {} if after is None else {"linear_before_reset": after}
        path, count = network(kind, direction, tmp_path / f"{after}.onnx", activations=whole, **more)
        assert summarize(read_graph(path)).totals.params == count
        check(path, 2)


def test_what_no_layer_computes_is_named(tmp_path: Path) -> None:
    path, _ = network("GRU", "forward", tmp_path / "x.onnx", activations=["HardSigmoid", "Tanh"])
    with pytest.raises(CnnscopeError, match="without its operand `activations`"):
        cnnscope.load(str(path)).weighted()
