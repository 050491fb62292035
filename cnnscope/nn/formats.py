"""What a weight file really is, and what is in the header of a safetensors file. Nothing is unpickled here.

The format is told by the first bytes and, for a zip, by its members. A safetensors file has 8 bytes of little-endian
header length, that many bytes of JSON, then the tensors without gaps or overlaps
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, Literal

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, read_named
from cnnscope.ir import Param

Format = Literal["safetensors", "torch", "torch-legacy"]
MAX_HEADER = 100_000_000
"""Bytes of a safetensors header, the format's own limit."""

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number torch.save pickled before 1.6
_UNPACK = "unpack it and name the weight file inside"
_DOWNLOAD = "the download was answered with an error or a login page; download the file again"
_FROM_NUMPY = "save it as safetensors: `safetensors.numpy.save_file(dict(numpy.load(FILE)), 'weights.safetensors')`"

_CONVERT = "`cnnscope weights map model.keras FILE -o w.safetensors` converts its weights"

_MAGIC: Sequence[tuple[int, bytes, str, str]] = (
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras or Caffe weights)",
     f"if Keras wrote it, name its model as SOURCE (`model.keras` or its JSON); {_CONVERT}"),
    (0, b"\x93NUMPY", "a single numpy array", "save the whole state dict as safetensors, with a name for every tensor"),
    (0, b"GGUF", "a GGUF file", "convert it to safetensors with the tool that wrote it"),
    (4, b"TFL3", "a TensorFlow Lite model", "only torch weights can be loaded"),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (0, b"BZh", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
)  # fmt: skip


def sniff(path: Path) -> Format:
    """Returns the format of a weight file. For any other file, `CnnscopeError` with what it is and what to do."""
    head, size = _head(path)
    if size == 0:
        raise CnnscopeError.of("E420", f"`{path.name}` is empty (0 bytes)", hint="download or save it again")
    length = int.from_bytes(head[:8], "little")
    if (
        head[8:9] == b"{" and length <= MAX_HEADER
    ):  # checked first, because the bytes of the length may look like another format
        return "safetensors"
    for offset, magic, what, hint in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            raise refusal(path, what, hint)
    if head.startswith(b"PK\x03\x04"):
        return _sniff_zip(path, size)
    if head.startswith(_LEGACY_TORCH):
        return "torch-legacy"
    _refuse_text(path, head)
    if path.suffix == ".safetensors":
        return "safetensors"
    if re.match(rb"\x80[\x02-\x05]", head):
        hint = "write it with `torch.save(model.state_dict(), 'weights.pt')`"
        raise refusal(path, "a Python pickle that `torch.save` did not write", hint)
    if path.name == "saved_model.pb":
        raise refusal(path, "a TensorFlow SavedModel", "only torch weights can be loaded")
    if re.match(rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", head):
        raise _onnx(path)
    raise CnnscopeError.of(
        "E420",
        f"`{path.name}` is no weight file: its first bytes are `{head[:8].hex(' ')}`",
        hint="cnnscope reads `.safetensors`, and `.pt` or `.pth` written by `torch.save`",
    )


def refusal(path: Path, what: str, hint: str) -> CnnscopeError:
    """E420: the file has another format."""
    return CnnscopeError.of("E420", f"`{path.name}` is {what}, not a file of torch weights", hint=hint)


def damaged(path: Path, why: str) -> CnnscopeError:
    """E421: the format is right, but the file is broken."""
    return CnnscopeError.of("E421", f"`{path.name}` is damaged: {why}", hint="download or save it again")


def _head(path: Path) -> tuple[bytes, int]:
    if path.is_dir():
        raise CnnscopeError.of("E420", f"`{path}` is a folder, not a weight file", hint="name the file inside it")
    try:
        return read_named(path, 512), path.stat().st_size
    except FileNotFoundError:
        raise CnnscopeError.of("E420", f"there is no file `{path}`") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise CnnscopeError.of("E420", f"`{path}` cannot be read: {os_reason(error)}") from None


def _refuse_text(path: Path, head: bytes) -> None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        size = re.search(rb"size (\d+)", text)
        real = f"; the real file has {int(size[1]):,} bytes" if size else ""
        raise CnnscopeError.of(
            "E420",
            f"`{path.name}` is a git-LFS pointer, not the weights themselves{real}",
            hint="run `git lfs pull` in its repository",
        )
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        raise refusal(path, "a web page", _DOWNLOAD)
    if re.search(rb"<net\s[^>]*version=", text):
        raise refusal(path, "an OpenVINO model", "name the file of torch weights that it was made from")
    if text.startswith((b"<?xml", b"<error")):
        raise refusal(path, "an XML page", _DOWNLOAD)
    if text.startswith(b"{"):
        raise refusal(path, "a JSON file", "name the file of weights that belongs to it")


def _onnx(path: Path) -> CnnscopeError:
    return refusal(path, "an ONNX model", "name it as SOURCE, and its own weights are used")


_Members = frozenset[str]
_ZIPS: Sequence[tuple[Callable[[_Members], bool], str, str]] = (
    (lambda names: "constants.pkl" in names, "a TorchScript archive",
     "save its weights: `torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')`"),
    (lambda names: bool(names & {"archive_format", "serialized_exported_program.json"}), "a `.pt2` exported program",
     "`cnnscope summary` takes it as a SOURCE, with its own weights"),
    (lambda names: "model.weights.h5" in names, "a Keras model",
     f"name it as SOURCE, and its own weights are used; {_CONVERT}"),
    (lambda names: any(name.endswith(".npy") for name in names), "an archive of numpy arrays", _FROM_NUMPY),
)  # fmt: skip


def _sniff_zip(path: Path, size: int) -> Format:
    """``torch`` for an archive as `torch.save` writes it, with uncompressed members that the file has room for."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise damaged(path, f"its zip directory cannot be read, so it is probably truncated ({error})") from None
    names = frozenset(name for member in members for name in (member.filename, member.filename.rpartition("/")[2]))
    for belongs, what, hint in _ZIPS:
        if belongs(names):
            raise refusal(path, what, hint)
    if "data.pkl" not in names:
        raise refusal(path, "a zip archive without `data.pkl`", _UNPACK)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise damaged(path, "its zip members are compressed, and `torch.save` never compresses")
    claimed = sum(member.file_size for member in members)
    if claimed > size:
        raise damaged(path, f"its zip members claim {claimed:,} bytes but the file has {size:,}")
    return "torch"


_DTYPES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1), "C64": ("complex64", 8),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U64": ("uint64", 8), "U32": ("uint32", 4), "U16": ("uint16", 2), "U8": ("uint8", 1), "BOOL": ("bool", 1),
}  # fmt: skip


def safetensors_header(path: Path) -> dict[str, Param]:
    """Returns tensors by name in the order of the file; E421 with the reason if the file is damaged."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8:
            raise damaged(path, f"{size} bytes are too few for a safetensors header")
        if 8 + length > size:
            raise damaged(path, f"its header should have {length:,} bytes but the file has {size:,}")
        if length > MAX_HEADER:
            raise damaged(path, f"its header has {length:,} bytes; safetensors allows {MAX_HEADER:,}")
        header = _json(path, file.read(length))
    header.pop("__metadata__", None)
    entries = [(*_offsets(path, name, entry), name, entry) for name, entry in header.items()]
    end = 0
    for first, last, name, _ in sorted(entries, key=lambda entry: entry[:3]):
        if first != end:
            relation = "overlaps the one before it" if first < end else "leaves a gap before it"
            raise damaged(path, f"the data of `{name}` {relation}")
        end = last
    present = size - 8 - length
    if end != present:
        state = "truncated" if present < end else "longer than its header says"
        raise damaged(path, f"it is {state}: {end:,} bytes of tensors are announced, {present:,} are there")
    return {
        name: Param(tuple(entry["shape"]), _DTYPES[entry["dtype"]][0])
        for *_, name, entry in sorted(entries, key=lambda entry: entry[:3])
    }


def _json(path: Path, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise ValueError("a name occurs twice")
        return result

    try:
        header = json.loads(raw, object_pairs_hook=unique)
    except ValueError as error:
        raise damaged(path, f"its header is no JSON object ({error})") from None
    except RecursionError:
        raise damaged(path, "its header is no JSON object (nested too deeply)") from None
    if not isinstance(header, dict):
        raise damaged(path, "its header is no JSON object")
    return header


def _offsets(path: Path, name: str, entry: object) -> tuple[int, int]:
    """The first byte of a tensor and the byte after its last. Checks that they fit its shape and type."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(first), int(last)]}:
            pass
        case _:
            raise damaged(path, f"the header's entry for `{name}` needs dtype, shape and data_offsets")
    if dtype not in _DTYPES:
        raise damaged(path, f"`{name}` has the unknown type `{dtype[:20]}`")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape):
        raise damaged(path, f"`{name}` has the impossible shape {str(shape)[:40]}")
    wanted = prod(shape) * _DTYPES[dtype][1]
    if last - first != wanted or first < 0:
        raise damaged(path, f"`{name}` needs {wanted:,} bytes but its offsets are {first:,} to {last:,}")
    return first, last
