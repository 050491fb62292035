"""Files that a user names: read only if they are files, and written completely or not at all.

A draft takes the place of a file in one step, so that no reader, and no process started again, ever sees half of one.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cnnscope.errors import CnnscopeError

_KINDS = {
    stat.S_IFIFO: "it is a named pipe: write what comes through it to a file, and name that",
    stat.S_IFSOCK: "it is a socket: name a file",
    stat.S_IFCHR: "it is a device: name a file",
    stat.S_IFBLK: "it is a device: name a file",
}


def open_named(path: Path) -> BinaryIO:
    """Opens a file that a user named, for reading. Everything that reads one opens it here, or calls `check_regular`.

    OSError where it cannot be opened, or where it is none: a pipe may never answer, and a device may never end.
    """
    check_regular(path)
    return path.open("rb")


def check_regular(path: Path) -> None:
    """OSError unless the path leads to a file; `os_reason` says what it is instead, and what to do."""
    kind = stat.S_IFMT(path.stat().st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder: name a file in it")
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, _KINDS.get(kind, "it is no file"))


def read_named(path: Path, limit: int = -1) -> bytes:
    """The content of a file that a user named, at most ``limit`` bytes of it; OSError as `open_named`."""
    with open_named(path) as file:
        return file.read(limit)


def encoded(text: str) -> bytes:
    r"""The text as UTF-8. Half a surrogate pair, which stands for a byte of a file name that is no text, becomes
    ``\udcff``: JSON, JavaScript and YAML spell it so, and UTF-8 has no form for it.
    """
    return text.encode("utf-8", "backslashreplace")


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8 with the guarantees and errors of `write_bytes`."""
    write_bytes(path, encoded(text))


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the content of ``path`` by ``data``, completely or not at all. E405 says why it could not be written.

    An existing file keeps its permissions, and a link still points to the file. Devices and pipes are written directly;
    a pipe that nobody reads is refused.
    """
    with replacing(path) as draft:
        draft.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a file beside ``path`` to write to, and moves it to ``path`` when the block ends without an error."""
    try:
        target = path.resolve()
        if target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            _check_reader(target)
            yield target  # nothing can be moved to where a device or a pipe is
            return
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(13, "permission denied")
        draft = target.with_name(f".{target.name}.{os.urandom(4).hex()}")
        try:
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            mode = stat.S_IMODE((target if target.exists() else draft).stat().st_mode)
            yield draft
            _flush(draft)
            draft.chmod(mode)  # some writers make their files private
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise CnnscopeError.of("E405", f"cannot write `{path}`: {os_reason(error)}") from None


def _check_reader(path: Path) -> None:
    """OSError for a socket, or for a named pipe that no other process has open: writing to it would wait for one."""
    if path.is_socket():
        raise OSError(errno.ENXIO, "it is a socket")
    if path.is_fifo():
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            raise (
                error if error.errno != errno.ENXIO else OSError(errno.ENXIO, "nobody reads this named pipe")
            ) from None


def os_reason(error: Exception) -> str:
    """Why the system refused a file, in lower case and without its number and path: ``permission denied``."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def _flush(path: Path) -> None:
    """Brings the content to the disk before the file gets its name, in case the machine goes down between the two."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
