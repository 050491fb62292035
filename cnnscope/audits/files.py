"""Files written completely or not at all, so that a reader, and a process started again, never sees half of one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from cnnscope.errors import CnnscopeError


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces ``path`` with ``data`` through a file beside it; E405 says why that could not be done."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # the name must not outlive the content where the machine goes down
            os.chmod(name, 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CnnscopeError.of("E405", f"cannot write `{path}`: {reason}") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
