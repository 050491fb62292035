"""Every public layer class of Keras: shape, parameters, and numbers with its own weights; or its refusal."""

from __future__ import annotations

import json
from pathlib import Path

import keras_layer_models
import keras_oracle
import numpy as np
import pytest
from test_keras_weights import error_of

import cnnscope
from cnnscope.analysis.cost import known, node_costs
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph

WITHOUT_TENSORFLOW = {"Hashing", "HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization"}
"""Classes that Keras runs with TensorFlow only."""
REFUSED_BY_KERAS = {
    "Equalization", "Resizing/area", "Resizing/lanczos3",
    "LayerNormalization/axes", "RMSNormalization/axis", *WITHOUT_TENSORFLOW,
}  # fmt: skip
"""Models that Keras itself cannot make, or run, with the torch backend."""
OTHER_BORDER = {"AveragePooling1D/same", "AveragePooling3D/same"}
"""On torch Keras repeats the border where padding is uneven; TensorFlow and JAX, and cnnscope, do not count it."""
NOT_READ = {
    "Lambda": "E444", "RandomCrop": "E445", "MaxNumBoundingBoxes": "E445", "MelSpectrogram": "E445",
    "STFTSpectrogram": "E445",
}  # fmt: skip
"""What is refused, and why, of models that Keras runs. On torch a `RandomCrop` has another shape than it states."""
NOT_RUN = dict.fromkeys(["AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization", "Solarization"], "E428")
"""What is read, but not run, and why."""


def parameters(graph: Graph) -> tuple[int, int]:
    cost = known(node_costs(graph).values())
    return cost.params + cost.buffers, cost.trainable


def shapes(graph: Graph) -> list[tuple[int, ...]]:
    """The outputs at batch 1, with the axes in the author's order."""
    found = []
    for name in graph.outputs:
        shape = graph.value(name).shape
        last = graph.layout == "HWC" and graph.value(name).kind == "map"
        found.append((*shape[2:], shape[1]) if last else shape[1:])
    return found


PARTS = 3


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_layer_class(tmp_path: Path, part: int) -> None:
    keras_oracle.write(tmp_path, ["--layers", str(part), str(PARTS)])
    names, classes = json.loads((tmp_path / "names.json").read_text())
    covered = {classes[kind] for kind in (name.split("/")[0] for name in names)}
    assert set(classes.values()) - covered == set(keras_layer_models.NOT_BUILT)
    chosen = names[part::PARTS]
    assert set(json.loads((tmp_path / "refused.json").read_text())) == REFUSED_BY_KERAS.intersection(chosen)
    wrong = {}
    for name in chosen:
        if name not in REFUSED_BY_KERAS:
            found = outcome(tmp_path / f"{name.replace('/', '-')}.keras")
            expected = NOT_READ.get(name) or NOT_RUN.get(name) or ("other" if name in OTHER_BORDER else "equal")
            if expected not in found:
                wrong[name] = found
    assert not wrong


def outcome(path: Path) -> str:
    data = np.load(path.with_suffix(".npz"))
    try:
        model = cnnscope.load(path)
    except CnnscopeError as error:
        return str(error)
    expected = [data[f"y{i}"].shape[1:] for i in range(len(model.graph.outputs))]
    if shapes(model.graph) != expected:
        return f"shapes {shapes(model.graph)}, not {expected}"
    if parameters(model.graph) != (int(data["params"]), int(data["trainable"])):
        return f"{parameters(model.graph)} parameters"
    try:
        error = error_of(model, path.with_suffix(".npz"))
    except CnnscopeError as error_:
        return str(error_)
    return "equal" if error < 1e-4 else "other numbers"
