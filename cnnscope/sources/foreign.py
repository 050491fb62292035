"""What a SOURCE that no kind reads is: a file of weights, of another framework or tool, and what to do with it.

A file is told by its first bytes or, where its format has none, by its suffix; a folder by the files in it. Only the
first bytes are read, and the directory of a zip.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cnnscope.files import read_named

_HEAD = 4096
_TO_ONNX = "convert it to ONNX"
_WEIGHTS = "name the network as SOURCE, and this file with `--weights`"
_STATE = ("a file of weights, which has no graph of layers", _WEIGHTS)
_SCRIPT = (
    "a TorchScript archive; to read it would run the code in it",
    "convert it where it was made: `program = torch.export.export(model, (x,))`, then "
    "`torch.export.save(program, 'model.pt2')`",
)
_Test = Callable[[Path, bytes], bool]


def foreign(source: str) -> tuple[str, str] | None:
    """What the SOURCE is, and what to do; None where that is not known."""
    if source.startswith("hf:"):
        name = source.removeprefix("hf:")
        hint = f"download `model.safetensors` from `https://huggingface.co/{name}` yourself, then name the network as "
        return "a model on the Hugging Face Hub, which cnnscope does not download", (
            hint + "SOURCE (`timm:NAME` for a model of timm) and the file with `--weights`"
        )
    if re.match(r"[a-z][a-z0-9+.-]*://", source):
        return "an address, and cnnscope downloads no files", "download it yourself, and name the file"
    try:
        path = Path(source)
        if path.is_dir():
            names = {entry.name for entry in path.iterdir()}
            return next(((what, hint) for marks, what, hint in _FOLDERS if names & marks), None)
        head = read_named(path, _HEAD) if path.exists() else b""
    except (OSError, ValueError):  # the caller says that there is no such file, or that it cannot be read
        return None
    if path.is_file() and not head:
        return "empty (0 bytes)", "download or save it again"
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    return next(((what, hint) for test, what, hint in _FILES if head and test(path, head)), None)


def _starts(*magic: bytes) -> _Test:
    return lambda path, head: head.startswith(magic)


def _suffix(*names: str) -> _Test:
    return lambda path, head: path.suffix.lower() in names


_SAVED_MODEL = (
    "a TensorFlow SavedModel",
    f"{_TO_ONNX}: `python -m tf2onnx.convert --saved-model FOLDER --output model.onnx`",
)
_CORE_ML = ("a Core ML model", "export the network to ONNX from the framework that it was made in")
_FILES: Sequence[tuple[_Test, str, str]] = (
    (lambda path, head: head[4:8] == b"TFL3", "a TensorFlow Lite model",
     f"{_TO_ONNX}: `python -m tf2onnx.convert --tflite FILE --output model.onnx`"),
    (_starts(b"version https://git-lfs"), "a git-LFS pointer",
     "run `git lfs pull` in its repository"),
    (lambda path, head: head.lstrip().lower().startswith((b"<!doctype html", b"<html")), "a web page",
     "download the file itself again"),
    (_starts(b"7767517\n"), "a network of ncnn", "name the ONNX file that it was converted from"),
    (_suffix(".engine", ".plan", ".trt"), "an engine of TensorRT, which is built for one GPU",
     "name the ONNX file that it was built from"),
    (_starts(b"GGUF"), "a GGUF file, which has weights and no graph of layers", "name the network that they are for"),
    (_starts(b"\x89HDF\r\n\x1a\n"), "an HDF5 file, named without its suffix", "rename it to `.h5` if Keras wrote it"),
    (lambda path, head: head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 10**8, *_STATE),  # safetensors
    (lambda path, head: re.search(rb"<net\s[^>]*version=", head) is not None, "an OpenVINO model",
     "name the ONNX file that it was converted from"),
    (lambda path, head: path.name == "saved_model.pb", *_SAVED_MODEL),
    (_suffix(".mlmodel"), *_CORE_ML),
    (_suffix(".pb"), "a frozen graph of TensorFlow",
     f"{_TO_ONNX}: `python -m tf2onnx.convert --graphdef FILE --inputs IN:0 --outputs OUT:0 --output model.onnx`"),
    (_suffix(".caffemodel"), "weights of Caffe, which have no graph of layers",
     f"{_TO_ONNX}, together with its `.prototxt`"),
    (lambda path, head: path.suffix == ".prototxt" or re.search(rb"(?m)^\s*layers?\s*\{", head) is not None,
     "a network of Caffe (prototxt)", f"{_TO_ONNX}, or write it as a spec"),
    (_starts(b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
     "a pickle of weights, or of Python objects", _WEIGHTS),
    (_suffix(".pt", ".pth", ".bin", ".ckpt", ".safetensors"), *_STATE),
)  # fmt: skip
_FOLDERS: Sequence[tuple[frozenset[str], str, str]] = (
    (frozenset({"saved_model.pb"}), *_SAVED_MODEL),
    (frozenset({"Manifest.json"}), *_CORE_ML),
    (frozenset({"model.safetensors", "pytorch_model.bin", "model.safetensors.index.json"}),
     "a folder of weights of the Hugging Face Hub",
     "name the network as SOURCE, and `model.safetensors` in it with `--weights`"),
)  # fmt: skip


def _archive(path: Path) -> tuple[str, str] | None:
    """A zip by its members."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] or name for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return "a damaged or truncated zip archive", "download or save it again"
    if "constants.pkl" in names:
        return _SCRIPT
    if names & {"archive_format", "serialized_exported_program.json"}:
        return "a program of `torch.export`, named without its suffix", "rename it to `model.pt2`"
    if "data.pkl" in names:
        return _STATE
    if "model.weights.h5" in names:
        return "a Keras model, named without its suffix", "rename it to `model.keras`"
    return "a zip archive", "unpack it and name the model inside"
