"""`keras.applications` with random weights at small inputs: parameters, every layer's shape, and outputs as Keras."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras_applications
import numpy as np
import pytest
from test_keras_sweep import parameters
from test_keras_weights import error_of

import cnnscope
from cnnscope.ir import Graph
from cnnscope.sources.files import clean


def results(graph: Graph, layer: str) -> list[str]:
    """The outputs of a row that other rows read, with the axes in the author's order."""
    nodes = [node for node in graph.nodes if node.layer == layer]
    inner = {name for node in nodes for name in node.inputs}
    found = []
    for node in nodes:
        if node.name not in inner:
            shape = node.output.shape[1:]
            last = graph.layout == "HWC" and node.output.kind == "map"
            found.append("x".join(map(str, (*shape[1:], shape[0]) if last else shape)))
    return found


def as_keras(path: Path) -> dict[str, object]:
    """What differs from Keras' own answers; nothing if all is right."""
    data, model = np.load(path.with_suffix(".npz")), cnnscope.load(path)
    wrong: dict[str, object] = {}
    if parameters(model.graph) != (int(data["params"]), int(data["trainable"])):
        wrong["parameters"] = parameters(model.graph)
    for name, shape in (str(line).split(" ") for line in data["shapes"]):
        whole = clean(name) in model.graph.inputs or clean(name) in model.graph.scopes  # a model inside has many rows
        if not whole and results(model.graph, clean(name)) != [shape]:
            wrong[name] = results(model.graph, clean(name))
    error = error_of(model, path.with_suffix(".npz"))
    if not error < 1e-4:
        wrong["output"] = error
    return wrong


def compare(folder: Path, names: list[str]) -> dict[str, dict[str, object]]:
    command = [sys.executable, keras_applications.__file__, str(folder), *names]
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: as_keras(folder / f"{name}.keras") for name in names}


def test_two_small_ones(tmp_path: Path) -> None:
    assert compare(tmp_path, ["MobileNet", "MobileNetV3Small"]) == {"MobileNet": {}, "MobileNetV3Small": {}}


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in keras_applications.SMALL if n not in ("MobileNet", "MobileNetV3Small")])
def test_all_others(tmp_path: Path, name: str) -> None:
    assert compare(tmp_path, [name]) == {name: {}}
