"""Weights in several files with an index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from cnnscope.errors import CnnscopeError
from cnnscope.nn.checkpoint import read_header, read_weights

STATE = {"a.weight": torch.rand(2, 3), "a.bias": torch.rand(2), "b.weight": torch.rand(4)}


def sharded(folder: Path, suffix: str = "safetensors", stem: str = "model") -> Path:
    names = [["a.weight", "b.weight"], ["a.bias"]]
    where = {}
    for number, part in enumerate(names, start=1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        tensors = {name: STATE[name] for name in part}
        if suffix == "bin":
            torch.save(tensors, folder / file)
        else:
            save_file(tensors, folder / file)
        where |= dict.fromkeys(part, file)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 52}, "weight_map": where}))
    return index


@pytest.mark.parametrize(("suffix", "stem"), [("safetensors", "model"), ("bin", "pytorch_model")])
def test_the_index_or_its_folder(suffix: str, stem: str, tmp_path: Path) -> None:
    index = sharded(tmp_path, suffix, stem)
    for path in (index, tmp_path):
        found = read_weights(path)
        assert found.keys() == STATE.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())
        header = read_header(path)
        assert {name: param.shape for name, param in header.tensors.items()} == {
            name: tuple(tensor.shape) for name, tensor in STATE.items()
        }
    assert read_weights(f"{index}#a").keys() == {"weight", "bias"}


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({"a.weight": "../model-00001-of-00002.safetensors"}, "is in no file beside it"),
        ({"a.weight": "/etc/passwd"}, "is in no file beside it"),
        ({"a.weight": "model.safetensors.index.json"}, "is in no file beside it"),
        ({"a.weight": 3}, "is in no file beside it"),
        ({"a.weight": "nowhere.safetensors"}, "`nowhere.safetensors`, a part of"),
        ({"c.weight": "model-00001-of-00002.safetensors"}, "it has no `c.weight`, which the index says it has"),
        ({}, "no `weight_map`"),
        ([], "no `weight_map`"),
    ],
)
def test_an_index_that_is_wrong(weight_map: Any, said: str, tmp_path: Path) -> None:
    index = sharded(tmp_path)
    index.write_text(json.dumps({"weight_map": weight_map}))
    for read in (read_header, read_weights):
        with pytest.raises(CnnscopeError) as caught:
            read(index)
        assert caught.value.diagnostics[0].code == "E421"
        assert said in caught.value.diagnostics[0].message


def test_an_index_that_is_no_json(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    for content in (b"[" * 10**5, b"\xff\xfe", b""):
        index.write_bytes(content)
        with pytest.raises(CnnscopeError, match="E421"):
            read_header(index)
