"""Reads an ONNX file without the elements of its large tensors.

A model is nested protobuf messages. This file walks through them and copies everything but the data of tensors, which
it replaces by the place of the data in the same file, written as ONNX writes the place of data in another file. So the
memory needed to read a graph does not depend on its weights. Source: the encoding of Protocol Buffers; ``onnx.proto``.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.sources import files

if TYPE_CHECKING:
    from onnx import ModelProto

KEPT = 8192
"""The bytes of data up to which a tensor stays as it is: those of shapes and indices are read anyway."""
MAX_GRAPH = 2**29
"""The bytes of the largest graph without weights that is read."""

_TENSOR: Mapping[int, object] = {}
_SPARSE: Mapping[int, object] = {1: _TENSOR, 2: _TENSOR}
_GRAPH: dict[int, object] = {}
_ATTRIBUTE: Mapping[int, object] = {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE}
_NODE: Mapping[int, object] = {5: _ATTRIBUTE}
_GRAPH.update({1: _NODE, 5: _TENSOR, 15: _SPARSE})
_MODEL: Mapping[int, object] = {7: _GRAPH, 25: {7: _NODE}}
"""For each message the numbers of the fields that may contain tensors, and the messages that these fields are."""

_DATA_TYPE, _RAW, _EXTERNAL, _LOCATION = 2, 9, 13, 14
_PACKED = {4: (1, 14), 10: (11, 15)}
"""Fields of floats and doubles that are stored as raw data is, and the element types that they are for."""
_WIDTHS = {1: 8, 5: 4}
"""The bytes of values of fixed size by wire type."""
_DEEPEST = 100
_MOST_FIELDS = 4096


class MalformedError(Exception):
    """The bytes are no protobuf message. The message says why."""


def skim(path: Path) -> ModelProto:
    """Returns the model in a file with its large tensors stored apart, in the file itself.

    Raises `CnnscopeError` E441 for a damaged file and E442 for one whose graph is too large.
    """
    import onnx

    protobuf = import_module("google.protobuf.message")  # without type stubs

    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        try:
            content = bytearray()
            _copy(buffer, 0, len(buffer), _MODEL, path.name.encode(), content, 0)
            model: ModelProto = onnx.ModelProto.FromString(bytes(content))
            return model
        except (MalformedError, protobuf.DecodeError):
            raise files.damaged(path, "it is no protobuf message, or breaks off") from None
        except OverflowError:
            raise files.too_large(path, f"its graph has more than {MAX_GRAPH:,} bytes without its weights") from None


def _copy(
    buffer: mmap.mmap, start: int, end: int, inner: Mapping[int, object], name: bytes, out: bytearray, depth: int
) -> None:
    """Appends a message without the data of its tensors to ``out``."""
    if depth > _DEEPEST:
        raise MalformedError("its messages are nested too deeply")
    for number, wire, first, content, last in _fields(buffer, start, end):
        message = inner.get(number) if wire == 2 else None
        if message is None or last - content <= KEPT:
            if len(out) + last - first > MAX_GRAPH:
                raise OverflowError
            out += buffer[first:last]
            continue
        part = bytearray()
        if message is _TENSOR:
            _tensor(buffer, content, last, name, part)
        else:
            assert isinstance(message, Mapping)
            _copy(buffer, content, last, message, name, part, depth + 1)
        out += _message(number, part)


def _fields(buffer: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yields each field of a message: its number, wire type, and where it, its content and the next field begin."""
    at = start
    while at < end:
        tag, content = _varint(buffer, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, last = _varint(buffer, content, end)
        elif wire == 2:
            size, content = _varint(buffer, content, end)
            last = content + size
        elif wire in _WIDTHS:
            last = content + _WIDTHS[wire]
        else:
            raise MalformedError(f"wire type {wire}")
        if not number or last > end:
            raise MalformedError("a field is longer than its message")
        yield number, wire, at, content, last
        at = last


def _varint(buffer: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Returns a whole number of 7 bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = buffer[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise MalformedError("a number breaks off")


def _tensor(buffer: mmap.mmap, start: int, end: int, name: bytes, out: bytearray) -> None:
    """Appends a tensor whose data is replaced by its place in the file."""
    fields = list(islice(_fields(buffer, start, end), _MOST_FIELDS))
    if len(fields) == _MOST_FIELDS:  # one field an element, as old writers did
        fields = [(_RAW, 0, start, start, end)]
    kinds = [
        _varint(buffer, content, end)[0] for number, wire, _, content, _ in fields if (number, wire) == (_DATA_TYPE, 0)
    ]
    data = [field for field in fields if _is_data(field, kinds)]
    if len(data) != 1 or any(number == _LOCATION for number, *_ in fields):
        data = []
    for field in fields:
        if field not in data:
            if len(out) + field[4] - field[2] > MAX_GRAPH:
                raise OverflowError
            out += buffer[field[2] : field[4]]
    for _, _, _, content, last in data:
        for key, text in ((b"location", name), (b"offset", b"%d" % content), (b"length", b"%d" % (last - content))):
            out += _message(_EXTERNAL, _message(1, key) + _message(2, text))
        out += bytes([_LOCATION << 3, 1])


def _is_data(field: tuple[int, int, int, int, int], kinds: list[int]) -> bool:
    number, wire, _, content, last = field
    if wire != 2 or last - content <= KEPT:
        return False
    return number == _RAW or bool(kinds and kinds[-1] in _PACKED.get(number, ()))


def _message(number: int, content: bytes | bytearray) -> bytes:
    """Returns a field with content of any length."""
    head, size = bytearray(), len(content)
    for value in (number << 3 | 2, size):
        while value > 127:
            head.append(value & 127 | 128)
            value >>= 7
        head.append(value)
    return bytes(head) + bytes(content)
