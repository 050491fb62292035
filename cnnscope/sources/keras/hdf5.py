"""HDF5 files of others, read with care: no other file is opened, and nothing larger than asked for is read.

HDF5 can refer to other files (external links, external storage, virtual datasets), and a dataset may declare a shape of
terabytes and store nothing. Keras writes none of these.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnscope.errors import CnnscopeError
from cnnscope.files import read_named
from cnnscope.sources import files
from cnnscope.sources.keras.stored import Array

if TYPE_CHECKING:
    from h5py import Dataset, File, Group

MAGIC = b"\x89HDF\r\n\x1a\n"
MEMBER = "model.weights.h5"
"""The weights in a ``.keras`` archive."""
_SPARE, _STATES = 64 * 2**20, 8
"""A compressed member may have this many bytes, and this many times those of the network, for the optimiser's state."""
_MOST_PACKED = 1100
"""More than deflate can compress."""


def has_weights(path: Path) -> bool:
    """Returns whether a file is HDF5, or an archive with weights in HDF5. False if it cannot be read."""
    try:
        start = read_named(path, len(MAGIC))
        if start[:2] != b"PK":
            return start == MAGIC
        with zipfile.ZipFile(path) as archive:
            return MEMBER in archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def unreadable(path: Path, reason: str, hint: str | None = None) -> CnnscopeError:
    """Returns E448: the weights in the file cannot be used."""
    hint = hint or "save the model again in Keras, or name a file: `--weights`"
    return CnnscopeError.of("E448", f"cannot read the weights in `{path.name}`: {reason}", hint=hint)


@contextmanager
def opened(path: Path, expected: int) -> Iterator[File]:
    """Opens an HDF5 file, or the one in a ``.keras`` archive. ``expected`` is the number of bytes of the network's
    weights. Raises `CnnscopeError`: E414 without h5py, E441 if it is damaged, E442 if it is too large.
    """
    import h5py

    with path.open("rb") as raw:
        source = _member(raw, path, expected) if files.head(path).startswith(b"PK") else raw
        try:
            with h5py.File(source, "r") as file:
                yield file
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise files.damaged(path, f"h5py cannot read it ({_short(error)})") from None


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120].lower()


def _member(raw: io.BufferedReader, path: Path, expected: int) -> io.IOBase:
    """Returns the weights of an archive as a file: a part of the archive if they are stored, else decompressed."""
    try:
        with zipfile.ZipFile(raw) as archive:
            found = archive.getinfo(MEMBER)
            most = _STATES * expected + _SPARE
            if found.compress_type == zipfile.ZIP_STORED:
                with archive.open(found) as member:
                    start = member._orig_compress_start  # type: ignore[attr-defined]
                return _Part(path, start, found.file_size)
            if found.file_size > most:
                raise files.too_large(path, f"`{MEMBER}` has {found.file_size:,} bytes, the network {expected:,}")
            with archive.open(found) as member:
                return io.BytesIO(member.read(most))
    except KeyError:
        raise unreadable(path, f"it has no `{MEMBER}`") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise files.damaged(path, _short(error)) from None


class _Part(io.RawIOBase):
    """A part of a file as a file, so that an archive's member need not be copied."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb")
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        data = self._file.read(max(min(len(buffer), self._size - self._at), 0))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def group(parent: Group, name: str, path: Path) -> Group | None:
    """Returns the group at a path of names; None if there is none. Raises E448 for links."""
    import h5py

    found: Any = parent
    for part in filter(None, name.split("/")):
        found = _child(found, part, path)
        if not isinstance(found, h5py.Group):
            return None
    return found


def datasets(parent: Group, path: Path) -> dict[str, Dataset]:
    """Returns the datasets directly in a group; by number if numbers are their names."""
    import h5py

    found = {name: _child(parent, name, path) for name in parent}
    own = {name: item for name, item in found.items() if isinstance(item, h5py.Dataset)}
    return dict(sorted(own.items(), key=lambda pair: int(pair[0]) if pair[0].isdecimal() else -1))


def dataset(parent: Group, name: str, path: Path) -> Dataset | None:
    """Returns the dataset at a path of names; None if there is none."""
    import h5py

    above, _, last = name.rpartition("/")
    holder = group(parent, above, path)
    found = None if holder is None else _child(holder, last, path)
    return found if isinstance(found, h5py.Dataset) else None


def _child(parent: Group, name: str, path: Path) -> Group | Dataset | None:
    import h5py

    link = parent.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise unreadable(path, f"`{name}` is a link to another place, which Keras never writes")
    child: Group | Dataset = parent[name]
    return child


def read(stored: Dataset, count: int, what: str, path: Path) -> Array:
    """Returns the ``count`` numbers of a dataset in its shape. Raises E448 if it has another number of them, does not
    store them, or has no plain numbers.
    """
    kind = stored.dtype.kind
    if kind not in "fiu" or stored.dtype.itemsize > 8:
        raise unreadable(path, f"{what} has elements of type {stored.dtype}, not numbers")
    if stored.external or stored.is_virtual:
        raise unreadable(path, f"{what} is in another file, which Keras never writes")
    if stored.shape is None or stored.size != count:
        shape = "no shape" if stored.shape is None else f"the shape {list(stored.shape)}"
        raise unreadable(path, f"{what} has {shape}, not {count:,} numbers as the network")
    space = stored.id.get_storage_size()
    packed = _MOST_PACKED if stored.id.get_create_plist().get_nfilters() else 1
    if stored.nbytes > packed * space or space > path.stat().st_size:
        raise unreadable(path, f"{what} should have {stored.nbytes:,} bytes but stores {space:,}")
    array: Array = stored[()]
    if kind == "u" and stored.attrs.get("dtype") == "bfloat16":
        return (np.asarray(array).astype(np.uint32) << 16).view(np.float32).reshape(stored.shape)
    return np.asarray(array)
