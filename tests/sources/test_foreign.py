"""A SOURCE of another format is named for what it is, with what to do."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cnnscope.errors import CnnscopeError
from cnnscope.nn.checkpoint import read_header
from cnnscope.sources.resolve import load, resolve

OPENVINO = b'<?xml version="1.0"?>\n<net name="m" version="11">\n<layers/></net>'
FILES = [
    ("m.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(9), "a TensorFlow Lite model", "tf2onnx"),
    ("m.gguf", b"GGUF\x03\x00", "a GGUF file", "name the network"),
    ("m.xml", OPENVINO, "an OpenVINO model", "ONNX"),
    ("saved_model.pb", b"\x08\x01\x12\x07", "a TensorFlow SavedModel", "--saved-model"),
    ("frozen.pb", b"\x0a\x2f\x0a\x05input", "a frozen graph of TensorFlow", "--graphdef"),
    ("m.mlmodel", b"\x08\x04\x12\x01", "a Core ML model", "ONNX"),
    ("m.prototxt", b'name: "m"\nlayer {\n}\n', "a network of Caffe", "spec"),
    ("w.pth", b"\x80\x02\x8a\nl\xfc\x9cF", "a pickle of weights", "--weights"),
    ("w.bin", b"version https://git-lfs.github.com/spec/v1\n", "a git-LFS pointer", "git lfs pull"),
    ("w.pth", b"", "empty (0 bytes)", "again"),
    ("model", b"\n<!DOCTYPE html><html>", "a web page", "again"),
    ("m.param", b"7767517\n75 83\n", "a network of ncnn", "ONNX"),
    ("m.engine", b"ftrt", "an engine of TensorRT", "ONNX"),
    ("w.pt", b"PK\x03\x04truncated", "a damaged or truncated zip", "again"),
]


def said(source: object) -> tuple[str, str]:
    with pytest.raises(CnnscopeError) as caught:
        resolve(str(source))
    (found,) = caught.value.diagnostics
    assert found.code == "E401"
    return found.message, str(found.hint)


@pytest.mark.parametrize(("name", "content", "what", "hint"), FILES, ids=[case[0] for case in FILES])
def test_files(tmp_path: Path, name: str, content: bytes, what: str, hint: str) -> None:
    (tmp_path / name).write_bytes(content)
    message, help_ = said(tmp_path / name)
    assert f"` is {what}" in message
    assert hint in help_


def test_files_of_torch(tmp_path: Path) -> None:
    state = {"w": torch.ones(2)}
    torch.save(state, tmp_path / "w.bin")
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.bin", "w.safetensors"):
        assert "is a file of weights" in said(tmp_path / name)[0]
    with zipfile.ZipFile(tmp_path / "s.pt", "w") as archive:
        archive.writestr("s/constants.pkl", b"")
        archive.writestr("s/data.pkl", b"")
    message, hint = said(tmp_path / "s.pt")
    assert "a TorchScript archive" in message
    assert "torch.export.save" in hint
    torch.export.save(torch.export.export(nn.ReLU(), (torch.ones(2),)), tmp_path / "p.zip")
    message, hint = said(tmp_path / "p.zip")
    assert "a program of `torch.export`, named without its suffix" in message
    assert "model.pt2" in hint


@pytest.mark.parametrize(
    ("inside", "what"),
    [("saved_model.pb", "SavedModel"), ("Manifest.json", "Core ML"), ("model.safetensors", "a folder of weights")],
)
def test_folders(tmp_path: Path, inside: str, what: str) -> None:
    (tmp_path / inside).touch()
    assert what in said(tmp_path)[0]


def test_the_hub_is_not_asked() -> None:
    message, hint = said("hf:timm/resnet18.a1_in1k")
    assert "does not download" in message
    assert "https://huggingface.co/timm/resnet18.a1_in1k" in hint


def test_as_weights(tmp_path: Path) -> None:
    for name, content, what in (("m.xml", OPENVINO, "an OpenVINO model"), (*FILES[3][:2], "a TensorFlow SavedModel")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CnnscopeError, match=f"E420.*{what}"):
            read_header(tmp_path / name)


def test_addresses() -> None:
    message, hint = said("https://example.org/model.zip?raw=1")
    assert "is an address, and cnnscope downloads no files" in message
    assert "download it yourself" in hint
    with pytest.raises(CnnscopeError, match=r"is an address") as caught:
        load("https://example.org/model.onnx")
    assert caught.value.diagnostics[0].code == "E401"


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"<!DOCTYPE html>\n<html></html>", "a web page"), (b"version https://git-lfs.github.com/spec/v1\n", "git-LFS")],
)
def test_specs_that_are_none(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "net.yaml").write_bytes(content)
    with pytest.raises(CnnscopeError, match=f"`net.yaml` is .*{what}.*, not a spec"):
        load(str(tmp_path / "net.yaml"))
