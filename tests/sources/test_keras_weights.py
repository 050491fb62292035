"""Keras models run with the weights of their files and give what Keras gives (Keras on torch is the oracle)."""

from __future__ import annotations

import json
from pathlib import Path

import keras_oracle
import numpy as np
import pytest
import torch

import cnnscope
from cnnscope.analysis.cost import known, node_costs
from cnnscope.api import Model
from cnnscope.errors import CnnscopeError
from cnnscope.sources.keras.config import read_network
from cnnscope.sources.keras.weights import class_paths

LAYERS = [
    "MultiHeadAttention", "AdditiveAttention", "TimeDistributed/model", "ConvLSTM2D", "Embedding", "LSTM/relu",
    "GRU/backwards", "StackedRNNCells/LSTM", "SpectralNormalization", "GroupQueryAttention",
]  # fmt: skip
NAMES = ["windows", "normalised", "nested", "frozen", "recurrent", "constants", *(n.replace("/", "-") for n in LAYERS)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    keras_oracle.write(folder, [*NAMES[: -len(LAYERS)], *LAYERS, "shared"])
    return folder


def error_of(model: Model, answers: Path, weights: Path | None = None) -> float:
    """The largest difference from Keras' outputs, relative to the largest of them."""
    data = np.load(answers)
    graph, weighted = model.graph, model.weighted(weights=weights)
    assert weighted.trained
    last = graph.layout == "HWC"
    feeds = [torch.tensor(data[f"x{i}"]) for i in range(len(graph.inputs))]
    feeds = [
        x.movedim(-1, 1) if last and v.kind == "map" else x for x, v in zip(feeds, graph.inputs.values(), strict=True)
    ]
    with torch.no_grad():
        result = weighted.module(*feeds)
    outputs = list(result.values()) if isinstance(result, dict) else [result]
    worst = 0.0
    for i, (name, found) in enumerate(zip(graph.outputs, outputs, strict=True)):
        authored = found.movedim(1, -1) if last and graph.value(name).kind == "map" else found
        expected = data[f"y{i}"]
        assert tuple(authored.shape) == expected.shape
        assert np.isfinite(expected).all()
        assert np.abs(expected).max() > 0
        assert authored.isfinite().all()
        worst = max(worst, float(np.abs(authored.numpy() - expected).max() / np.abs(expected).max()))
    return worst


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", NAMES)
def test_a_saved_model_runs_with_its_own_weights(saved: Path, name: str, suffix: str) -> None:
    model = cnnscope.load(saved / f"{name}{suffix}")
    assert model.weighted().weights == "in its file"
    assert error_of(model, saved / f"{name}.npz") < 1e-5


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize("name", NAMES)
def test_weights_in_another_file(saved: Path, name: str, suffix: str) -> None:
    model = cnnscope.load(saved / f"{name}.json")
    assert not model.weighted().trained
    assert error_of(model, saved / f"{name}.npz", saved / f"{name}{suffix}") < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_as_many_as_keras_counts(saved: Path, name: str) -> None:
    cost = known(node_costs(cnnscope.load(saved / f"{name}.keras").graph).values())
    data = np.load(saved / f"{name}.npz")
    assert (cost.params + cost.buffers, cost.trainable) == (int(data["params"]), int(data["trainable"]))


def test_models_that_share_layers(saved: Path) -> None:
    """Only archives say what is shared; in HDF5 Keras itself has each copy by itself."""
    for suffix in (".keras", ".h5"):
        assert error_of(cnnscope.load(saved / f"shared{suffix}"), saved / "shared.npz") < 1e-5
    cost = known(node_costs(cnnscope.load(saved / "shared.keras").graph).values())
    assert cost.params + cost.buffers == int(np.load(saved / "shared.npz")["params"])


def test_other_weights_are_refused(saved: Path) -> None:
    model = cnnscope.load(saved / "windows.json")
    with pytest.raises(CnnscopeError, match=r"E448: cannot read the weights in `frozen\.weights\.h5`: "):
        model.weighted(weights=saved / "frozen.weights.h5")
    with pytest.raises(CnnscopeError, match=r"E448: cannot read the weights in `nested\.h5`: "):
        model.weighted(weights=saved / "nested.h5")


def test_weights_of_a_larger_model_are_refused(saved: Path, tmp_path: Path) -> None:
    """Its first layers fit, so only what is left over in the file tells that it is of another model."""
    document = json.loads((saved / "windows.json").read_text())
    dense = document["config"]["layers"].pop()
    assert dense["class_name"] == "Dense"
    document["config"]["output_layers"] = [[document["config"]["layers"][-1]["config"]["name"], 0, 0]]
    (tmp_path / "smaller.json").write_text(json.dumps(document))
    with pytest.raises(CnnscopeError, match=r"E448: .* it has weights of a layer at `layers/dense`, which the network"):
        cnnscope.load(tmp_path / "smaller.json").weighted(weights=saved / "windows.weights.h5")
    with pytest.raises(
        CnnscopeError, match=r"E448: .* the layer `dense.*` has 2 weights in the file, 0 in the network"
    ):
        cnnscope.load(tmp_path / "smaller.json").weighted(weights=saved / "windows.h5")


def test_weights_without_a_model(saved: Path) -> None:
    with pytest.raises(CnnscopeError, match=r"E440: `frozen\.weights\.h5` holds weights without their model"):
        cnnscope.load(saved / "frozen.weights.h5")


def test_layers_of_one_class_are_numbered_in_each_model() -> None:
    def conv(name: str) -> dict[str, object]:
        return {"class_name": "Conv2D", "config": {"name": name, "filters": 1, "kernel_size": 1}}

    inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": [conv("x"), conv("b")]}}
    document = {"class_name": "Sequential", "config": {"name": "net", "layers": [conv("b"), inner, conv("a")]}}
    assert dict(class_paths(read_network(document))) == {
        ("input",): "layers/input_layer",
        ("b",): "layers/conv2d", ("inner",): "layers/sequential", ("a",): "layers/conv2d_1",
        ("inner", "input"): "layers/sequential/layers/input_layer",
        ("inner", "x"): "layers/sequential/layers/conv2d", ("inner", "b"): "layers/sequential/layers/conv2d_1",
    }  # fmt: skip
