"""Files of Keras and of TensorFlow.js as people have them: of other versions, converted, damaged."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import h5py
import keras_oracle
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import cnnscope
from cnnscope.errors import CnnscopeError

RANDOM = np.random.default_rng(0)
KERNEL, BIAS = RANDOM.normal(size=(2, 2, 3, 4)), RANDOM.normal(size=4)
DENSE, GAMMA = RANDOM.normal(size=(4, 5)), RANDOM.uniform(0.5, 1, (4, 4))
IMAGE = RANDOM.normal(size=(2, 3, 6, 7))


def entry(kind: str, name: str, inbound: list[Any], **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inbound}


def topology(data_format: str = "channels_last", inner_first: int = 1) -> dict[str, Any]:
    """A model as Keras 1 and 2 write it: a model inside a model, whose calls are numbered from 1."""
    first = data_format == "channels_first"
    shape = [None, 3, 6, 7] if first else [None, 6, 7, 3]
    middle = [None, 4, 5, 6] if first else [None, 5, 6, 4]
    inner = {"name": "inner", "layers": [
        entry("InputLayer", "z", [], batch_input_shape=middle, dtype="float32"),
        entry("BatchNormalization", "bn", [[["z", 0, 0, {}]]], axis=1 if first else 3, epsilon=0.001),
    ], "input_layers": [["z", 0, 0]], "output_layers": [["bn", 0, 0]]}  # fmt: skip
    return {"class_name": "Model", "config": {"name": "old", "layers": [
        entry("InputLayer", "x", [], batch_input_shape=shape, dtype="float32"),
        entry("Convolution2D", "conv", [[["x", 0, 0, {}]]], filters=4, kernel_size=[2, 2], padding="valid",
              data_format=data_format, activation="relu", use_bias=True),
        {"class_name": "Model", "name": "inner", "config": inner, "inbound_nodes": [[["conv", 0, 0, {}]]]},
        entry("GlobalAveragePooling2D", "mean", [[["inner", inner_first, 0, {}]]], data_format=data_format),
        entry("Dense", "head", [[["mean", 0, 0, {}]]], units=5, activation="linear", use_bias=False),
    ], "input_layers": [["x", 0, 0]], "output_layers": [["head", 0, 0]]}}  # fmt: skip


VALUES = {
    "conv": {"conv/kernel:0": KERNEL, "conv/bias:0": BIAS},
    "inner": {
        "bn/gamma:0": GAMMA[0], "bn/beta:0": GAMMA[1], "bn/moving_mean:0": GAMMA[2], "bn/moving_variance:0": GAMMA[3],
    },
    "head": {"head/kernel:0": DENSE},
}  # fmt: skip


def legacy(path: Path, config: dict[str, Any] | None, *, order: list[str] | None = None) -> Path:
    """An HDF5 file in the layout of Keras 1 and 2; only weights if there is no ``config``."""
    with h5py.File(path, "w") as file:
        root = file
        if config is not None:
            file.attrs["model_config"] = json.dumps(config).encode()
            file.attrs["keras_version"] = b"2.2.4"
            root = file.create_group("model_weights")
        names = order or ["x", "conv", "inner", "mean", "head"]
        root.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            holder, weights = root.create_group(name), VALUES.get(name, {})
            holder.attrs["weight_names"] = [key.encode() for key in weights]
            for key, value in weights.items():
                holder[key] = value.astype("float32")
    return path


def expected() -> np.ndarray[Any, Any]:
    """The network by hand: convolution, relu, batch norm, mean, product."""
    windows = np.lib.stride_tricks.sliding_window_view(IMAGE, (2, 2), axis=(2, 3))
    x = np.einsum("nchwij,ijco->nohw", windows, KERNEL) + BIAS[:, None, None]
    gamma, beta, mean, variance = (row[:, None, None] for row in GAMMA)
    x = (np.maximum(x, 0) - mean) / np.sqrt(variance + 0.001) * gamma + beta
    return x.mean((2, 3)) @ DENSE


def answer(model: cnnscope.Model, weights: Path | None = None) -> Any:
    with torch.no_grad():
        return model.weighted(weights=weights).module(torch.tensor(IMAGE, dtype=torch.float32)).numpy()


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_whole_models_of_old_versions(tmp_path: Path, data_format: str) -> None:
    model = cnnscope.load(legacy(tmp_path / "old.h5", topology(data_format)))
    assert model.weighted().weights == "in its file"
    np.testing.assert_allclose(answer(model), expected(), rtol=1e-4, atol=1e-5)


def test_weights_of_old_versions_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(json.dumps(topology()))
    weights = legacy(tmp_path / "w.h5", None, order=["head", "inner", "x", "mean", "conv"])
    np.testing.assert_allclose(answer(cnnscope.load(tmp_path / "net.json"), weights), expected(), rtol=1e-4, atol=1e-5)


def test_a_model_of_tensorflow_js(tmp_path: Path) -> None:
    """Its architecture is read, from either place at which converters put it."""
    manifest = [{"paths": ["group1-shard1of1.bin"], "weights": [{"name": "head/kernel", "shape": [4, 5]}]}]
    whole = cnnscope.load(legacy(tmp_path / "old.h5", topology())).summary().to_dict()["totals"]
    for name, placed in (("a", topology()), ("b", {"keras_version": "2.2.4", "model_config": topology()})):
        document = {"format": "layers-model", "modelTopology": placed, "weightsManifest": manifest}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
        model = cnnscope.load(tmp_path / f"{name}.json")
        assert model.summary().to_dict()["totals"] == whole
        assert whole["params"] == KERNEL.size + BIAS.size + 8 + DENSE.size
        assert not model.weighted().trained


@pytest.mark.parametrize(
    ("placed", "code"),
    [(None, "E443"), ([], "E443"), ({}, "E443"), ({"model_config": None}, "E443"), ({"node": []}, "E443")],
)
def test_a_damaged_model_of_tensorflow_js(tmp_path: Path, placed: Any, code: str) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"modelTopology": placed, "weightsManifest": []}))
    with pytest.raises(CnnscopeError, match=f"{code}: "):
        cnnscope.load(tmp_path / "m.json")


def test_a_file_of_weights_is_checked_and_converted(tmp_path: Path) -> None:
    """The formats of Keras are files of weights for a network of Keras, as those of torch are."""
    weights = legacy(tmp_path / "w.h5", None)
    (tmp_path / "net.json").write_text(json.dumps(topology()))
    model = cnnscope.load(tmp_path / "net.json")
    assert model.check_weights(weights).comparison.fits
    proposal = model.map_weights(weights)
    assert proposal.proposal.complete
    proposal.write(tmp_path / "w.safetensors")
    assert load_file(tmp_path / "w.safetensors").keys() == model.graph.stored.keys()
    np.testing.assert_allclose(answer(model, tmp_path / "w.safetensors"), expected(), rtol=1e-4, atol=1e-5)
    own = model.module(weights=weights).eval()
    assert torch.equal(own.state_dict()["head.weight"], torch.tensor(DENSE.T, dtype=torch.float32))


def test_a_kernel_for_another_number_of_features(tmp_path: Path) -> None:
    layers = [
        {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 8]}},
        {"class_name": "Dense", "config": {"name": "d", "units": 3}, "build_config": {"input_shape": [None, 9]}},
    ]
    document = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    (tmp_path / "net.json").write_text(json.dumps(document))
    with pytest.raises(CnnscopeError, match="E301: layer `d`: it was built for 9 features but gets 8"):
        cnnscope.load(tmp_path / "net.json")


def test_layers_of_one_name(tmp_path: Path) -> None:
    """Two models inside one have layers of the same names; weights go by the place, not by the name."""
    keras_oracle.write(tmp_path, ["twins"])
    from test_keras_weights import error_of

    for suffix in (".keras", ".h5"):
        assert error_of(cnnscope.load(tmp_path / f"twins{suffix}"), tmp_path / "twins.npz") < 1e-5
    for suffix in (".weights.h5", ".keras"):
        model = cnnscope.load(tmp_path / "twins.json")
        assert error_of(model, tmp_path / "twins.npz", tmp_path / f"twins{suffix}") < 1e-5


# -- damaged ---------------------------------------------------------------------------------------------------------


def test_damaged_hdf5_is_one_error(tmp_path: Path) -> None:
    """Cut anywhere, or with foreign members, wrong types and shapes: a message, and never another exception."""
    whole = legacy(tmp_path / "whole.h5", topology()).read_bytes()
    path = tmp_path / "cut.h5"
    for kept in range(8, len(whole), max(len(whole) // 40, 1)):
        path.write_bytes(whole[:kept])
        with pytest.raises(CnnscopeError):
            cnnscope.load(path).weighted()
    for at in range(0, len(whole), 331):
        flipped = bytearray(whole)
        flipped[at] ^= 0xFF
        path.write_bytes(flipped)
        with contextlib.suppress(CnnscopeError):  # anything else is a failure
            cnnscope.load(path).weighted()


@pytest.mark.parametrize(
    ("place", "value", "reason"),
    [
        ("model_weights/conv/conv/kernel:0", np.zeros((2, 2, 4, 3), "f4"), "has the shape"),
        ("model_weights/conv/conv/kernel:0", np.zeros((2, 2, 3), "f4"), "has the shape"),
        ("model_weights/conv/conv/kernel:0", np.array([b"x"] * 48), "elements of type"),
        ("model_weights/conv/conv/kernel:0", None, "is missing"),
        ("model_weights/conv", np.zeros(3, "f4"), "it has no group of the layer `conv`"),
        ("model_weights", np.zeros(3, "f4"), "it has no group `layers`"),
    ],
)
def test_foreign_datasets(tmp_path: Path, place: str, value: Any, reason: str) -> None:
    path = legacy(tmp_path / "m.h5", topology())
    with h5py.File(path, "r+") as file:
        del file[place]
        if value is not None:
            file[place] = value
    model = cnnscope.load(path)
    with pytest.raises(CnnscopeError, match="E448: ") as caught:
        model.weighted()
    assert reason in str(caught.value)
