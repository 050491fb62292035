"""The header of a safetensors file: names, shapes and types, checked against the file's size. Tensors are not read.

Format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors without gaps or overlaps
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from cnnscope.ir import Param
from cnnscope.nn.sniff import MAX_HEADER, damaged

_DTYPES = {
    "F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2),
    "F8_E4M3": ("float8_e4m3fn", 1), "F8_E5M2": ("float8_e5m2", 1), "C64": ("complex64", 8),
    "I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1),
    "U64": ("uint64", 8), "U32": ("uint32", 4), "U16": ("uint16", 2), "U8": ("uint8", 1), "BOOL": ("bool", 1),
}  # fmt: skip


def safetensors_header(path: Path) -> dict[str, Param]:
    """Tensors by name in the order they are stored, or E421 saying what is wrong with the file."""
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
    """First byte and the byte after the last of one tensor, after checking that they fit its shape and type."""
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
