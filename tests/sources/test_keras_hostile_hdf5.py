"""HDF5 files that refer to other files, declare more than they store, or are damaged: an error, and nothing is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import cnnscope
from cnnscope.errors import CnnscopeError

MODEL = {
    "class_name": "Sequential",
    "config": {"name": "net", "layers": [
        {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 6]}},
        {"class_name": "Dense", "config": {"name": "dense", "units": 4}},
    ]},
}  # fmt: skip
PLACE = "layers/dense/vars"


def external_link(file: h5py.File, folder: Path) -> None:
    with h5py.File(folder / "other.h5", "w") as other:
        other["kernel"] = np.ones((6, 4), "float32")
    file[f"{PLACE}/0"] = h5py.ExternalLink(str(folder / "other.h5"), "kernel")


def soft_link(file: h5py.File, folder: Path) -> None:
    file["elsewhere"] = np.ones((6, 4), "float32")
    file[f"{PLACE}/0"] = h5py.SoftLink("/elsewhere")


def external_storage(file: h5py.File, folder: Path) -> None:
    (folder / "secret.bin").write_bytes(b"s" * 96)
    file.create_dataset(f"{PLACE}/0", (6, 4), "float32", external=[(str(folder / "secret.bin"), 0, 96)])


def virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((6, 4), "float32")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "kernel", (6, 4))
    file.create_virtual_dataset(f"{PLACE}/0", layout)


def huge(file: h5py.File, folder: Path) -> None:
    file.create_dataset(f"{PLACE}/0", (2**40, 2**20), "float32", chunks=(1024, 1024))


def nothing_stored(file: h5py.File, folder: Path) -> None:
    file.create_dataset(f"{PLACE}/0", (6, 4), "float32", chunks=(2, 2))


def references(file: h5py.File, folder: Path) -> None:
    file.create_dataset(f"{PLACE}/0", (6, 4), h5py.ref_dtype)


def turned(file: h5py.File, folder: Path) -> None:
    file[f"{PLACE}/0"] = np.ones((4, 6), "float32")


def integers(file: h5py.File, folder: Path) -> None:
    file[f"{PLACE}/0"] = np.ones((6, 4), "int8")


CASES: list[tuple[Callable[[h5py.File, Path], None], str]] = [
    (external_link, "`0` is a link to another place, which Keras never writes"),
    (soft_link, "`0` is a link to another place, which Keras never writes"),
    (external_storage, "`kernel` of the layer `dense` is in another file, which Keras never writes"),
    (virtual, "`kernel` of the layer `dense` is in another file, which Keras never writes"),
    (huge, f"`kernel` of the layer `dense` has the shape [{2**40}, {2**20}], not 24 numbers as the network"),
    (nothing_stored, "`kernel` of the layer `dense` should have 96 bytes but stores 0"),
    (references, "`kernel` of the layer `dense` has elements of type object, not numbers"),
    (turned, "`kernel` of the layer `dense` has the shape [4, 6], which does not give [4, 6] in torch's order"),
    (integers, "`kernel` of the layer `dense` has elements of type int8: quantised models are not read"),
]


def refused(folder: Path) -> str:
    (folder / "net.json").write_text(json.dumps(MODEL))
    with pytest.raises(CnnscopeError) as caught:
        cnnscope.load(folder / "net.json").weighted(weights=folder / "w.weights.h5")
    (diagnostic,) = caught.value.diagnostics
    return f"{diagnostic.code}: {diagnostic.message}"


@pytest.mark.parametrize(("write", "reason"), CASES, ids=[write.__name__ for write, _ in CASES])
def test_what_keras_never_writes(tmp_path: Path, write: Callable[[h5py.File, Path], None], reason: str) -> None:
    with h5py.File(tmp_path / "w.weights.h5", "w") as file:
        file[f"{PLACE}/1"] = np.zeros(4, "float32")
        write(file, tmp_path)
    assert refused(tmp_path) == f"E448: cannot read the weights in `w.weights.h5`: {reason}"


@pytest.mark.parametrize("kept", [8, 100, 700, 1500])
def test_a_truncated_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "w.weights.h5"
    with h5py.File(path, "w") as file:
        file[f"{PLACE}/0"], file[f"{PLACE}/1"] = np.ones((6, 4), "float32"), np.zeros(4, "float32")
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(tmp_path).startswith("E441: `w.weights.h5` is damaged: h5py cannot read it (")
