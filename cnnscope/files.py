"""Files written completely or not at all, so that no reader, and no process started again, ever sees half of one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnscope.errors import CnnscopeError


def write_text(path: Path, text: str) -> None:
    """Writes ``text`` as UTF-8 with the guarantees and errors of `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the content of ``path`` by ``data``, completely or not at all. E405 says why it could not be written.

    An existing file keeps its permissions, and a link still points to the file. Devices and pipes are written directly.
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
