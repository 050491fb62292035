"""The members of a ``.pt2`` archive: the program as JSON, its weights and its constants. Nothing is unpickled freely.

Source: torch/export/pt2_archive/_package.py and torch/_export/serde/schema.py. From torch 2.7 on, tensors are raw bytes
with a JSON index of types, sizes and strides; a few, and all in older archives, are files of `torch.save`, which are
read with ``weights_only=True``.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnscope.errors import CnnscopeError
from cnnscope.sources import files
from cnnscope.sources.foreign import foreign

MAX_JSON = 2**28
"""Bytes of the JSON of a program. One of 1,000 layers has about 2 MB."""
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile)
"""What `zipfile` raises for archives that are damaged, encrypted or compressed in ways it does not know."""
_ONE = "write one program a file: `torch.export.save(program, 'model.pt2')`"

SCALARS = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
    34: "uint32", 35: "uint64",
}  # fmt: skip
"""Types by their numbers in the JSON."""


@dataclass(frozen=True)
class Archive:
    """An opened archive of one program. ``program`` is its member with the JSON; ``tables`` are the members that have
    weights and constants: an index, or a file of `torch.save`.
    """

    path: Path
    members: Mapping[str, zipfile.ZipInfo]
    program: str
    tables: tuple[str, ...]

    def document(self, member: str) -> Any:
        """Returns the JSON in a member; E441 if it is none."""
        if self.members[member].file_size > MAX_JSON:
            raise files.too_large(self.path, f"`{member}` has more than {MAX_JSON // 2**20} MiB")
        try:
            return json.loads(self.read(member))
        except (ValueError, RecursionError) as error:
            raise files.damaged(self.path, f"`{member}` is no JSON ({str(error)[:80]})") from None

    def read(self, member: str) -> bytes:
        """Returns the bytes of a member; E441 if it is not there or damaged."""
        if member not in self.members:
            raise files.damaged(self.path, f"it has no `{member}`")
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.members[member])
        except _BROKEN as error:
            raise files.damaged(self.path, f"`{member}` cannot be read ({str(error)[:80]})") from None


def open_archive(path: Path) -> Archive:
    """Returns the archive in a file. E440 if it is another file, E441 if it is damaged."""
    start = files.head(path)
    if not start.startswith(b"PK\x03\x04"):
        known = foreign(str(path))
        if known:
            raise CnnscopeError.of("E440", f"`{path.name}` is {known[0]}, not a `.pt2` program", hint=known[1])
        raise files.not_a("a `.pt2` program of `torch.export`", path, start)
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
    except _BROKEN as error:
        raise files.damaged(path, f"its zip directory cannot be read ({str(error)[:80]})") from None
    _check(path, members)
    if "serialized_exported_program.json" in members:  # before torch 2.7
        parts = ("serialized_state_dict", "serialized_constants")
        old = tuple(name for part in parts for name in (f"{part}.pt", f"{part}.json") if name in members)
        return Archive(path, members, "serialized_exported_program.json", old)
    found = [name for name in members if _parent(name) == "models" and name.endswith(".json")]
    if len(found) != 1:
        raise _no_program(path, members, found)
    root, name = found[0].rpartition("models/")[0], found[0].rpartition("/")[2].removesuffix(".json")
    if members.keys() & {f"{root}byteorder"} and _little(path, root) is False:
        raise CnnscopeError.of("E440", f"`{path.name}` was written on a machine with big-endian numbers")
    tables = [_table(members, f"{root}data/{kind}/{name}", kind) for kind in ("weights", "constants")]
    return Archive(path, members, found[0], tuple(table for table in tables if table))


def _parent(name: str) -> str:
    return name.rpartition("/")[0].rpartition("/")[2]


def _little(path: Path, root: str) -> bool:
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"{root}byteorder") == b"little"


def _table(members: Mapping[str, zipfile.ZipInfo], stem: str, kind: str) -> str | None:
    wanted = (f"{stem}_{kind}_config.json", f"{stem}.pt")
    return next((name for name in wanted if name in members), None)


def _check(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Raises E441 unless all members are stored as they are, in bytes that the file has."""
    if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
        raise files.damaged(path, "its zip members are compressed, and `torch.export.save` never compresses")
    claimed, size = sum(member.file_size for member in members.values()), path.stat().st_size
    if claimed > size:
        raise files.damaged(path, f"its zip members claim {claimed:,} bytes but the file has {size:,}")


def _no_program(path: Path, members: Mapping[str, zipfile.ZipInfo], found: list[str]) -> CnnscopeError:
    if found:
        named = ", ".join(f"`{name.rpartition('/')[2].removesuffix('.json')}`" for name in found[:8])
        return CnnscopeError.of("E440", f"`{path.name}` has several programs: {named}", hint=_ONE)
    if any("aotinductor/" in name for name in members):
        hint = "name the program that it was compiled from: `torch.export.save(program, 'model.pt2')`"
        return CnnscopeError.of("E440", f"`{path.name}` is machine code of AOTInductor, without its graph", hint=hint)
    what, hint = foreign(str(path)) or ("a zip archive", "")
    return CnnscopeError.of("E440", f"`{path.name}` is {what}, not a `.pt2` program", hint=hint or None)


# -- tensors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor is in the archive. ``strides`` and ``offset`` count elements of ``dtype``."""

    member: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    pickled: bool


def index(archive: Archive) -> dict[str, Stored | Tensor]:
    """Returns where each weight and constant is, by its key; the tensors themselves where the archive is old."""
    found: dict[str, Stored | Tensor] = {}
    for table in archive.tables:
        if not table.endswith("_config.json"):
            found |= _unpickled(archive, table, dict)
            continue
        try:
            entries = archive.document(table)["config"].items()
            found |= {key: _stored(table.rpartition("/")[0], entry) for key, entry in entries if entry["tensor_meta"]}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise files.damaged(archive.path, f"`{table}` is not as torch writes it ({error!r:.80})") from None
    return found


def _stored(folder: str, entry: Mapping[str, Any]) -> Stored:
    meta = entry["tensor_meta"]
    shape, strides = ([_extent(n["as_int"]) for n in meta[part]] for part in ("sizes", "strides"))
    if len(shape) != len(strides):
        raise ValueError(f"{len(shape)} sizes, {len(strides)} strides")
    dtype = getattr(torch, SCALARS[meta["dtype"]])
    offset = _extent(meta["storage_offset"]["as_int"])
    member = f"{folder}/{entry['path_name']}"
    return Stored(member, dtype, tuple(shape), tuple(strides), offset, bool(entry["use_pickle"]))


def _extent(n: Any) -> int:
    if type(n) is not int or n < 0:
        raise ValueError(f"the size {n!r:.20}")
    return n


def place(stored: Stored | Tensor) -> object:
    """Returns what is the same for tied weights only."""
    if isinstance(stored, Stored):
        return stored
    return stored.untyped_storage()._cdata, stored.storage_offset(), stored.shape, stored.stride()


def tensor(archive: Archive, stored: Stored | Tensor) -> Tensor:
    """Returns a tensor with its values, in memory of its own; E441 if the archive does not have all of them."""
    if isinstance(stored, Tensor):
        return stored.detach()
    if stored.pickled:
        found: Tensor = _unpickled(archive, stored.member, Tensor)
        return found.detach()
    last = stored.offset + sum((n - 1) * step for n, step in zip(stored.shape, stored.strides, strict=True)) + 1
    size = torch.empty((), dtype=stored.dtype).element_size()
    if not prod(stored.shape):
        return torch.zeros(stored.shape, dtype=stored.dtype)
    member = archive.members.get(stored.member)
    if member is None or member.file_size < last * size or member.file_size % size:
        there = 0 if member is None else member.file_size
        raise files.damaged(archive.path, f"`{stored.member}` has {there:,} bytes, {last * size:,} are needed")
    flat = torch.frombuffer(bytearray(archive.read(stored.member)), dtype=stored.dtype)
    return torch.as_strided(flat, stored.shape, stored.strides, stored.offset).contiguous()


def _unpickled(archive: Archive, member: str, kind: type) -> Any:
    """Returns what a member of `torch.save` has: tensors and plain containers, or E441."""
    try:
        found = torch.load(io.BytesIO(archive.read(member)), map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile pickle can raise any error, and each means that it cannot be read
        if isinstance(error, CnnscopeError):
            raise
        first = next(iter(str(error).splitlines()), "") or type(error).__name__
        why = f"`{member}` cannot be read as tensors alone ({first[:120]})"
        raise files.damaged(archive.path, why) from None
    tensors = found.values() if isinstance(found, dict) else [found]
    if not isinstance(found, kind) or not all(type(t) in (Tensor, torch.nn.Parameter) for t in tensors):
        raise files.damaged(archive.path, f"`{member}` has other objects than tensors")
    return found
