"""Reading a spec's file."""

from __future__ import annotations

from pathlib import Path

from cnnscope.errors import CnnscopeError, Span
from cnnscope.spec.marks import MAX_BYTES


def read_file(path: Path) -> bytes:
    """The bytes of a spec file, one more than are allowed at most; E109 if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file", "check the path") from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a folder", "name a file in it") from None
    except PermissionError:
        raise _unreadable(path, "you may not read this file", "check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise _unreadable(path, f"the file cannot be read: {error}", None) from None


def _unreadable(path: Path, message: str, hint: str | None) -> CnnscopeError:
    return CnnscopeError.of("E109", message, span=Span(str(path), 1, 1), hint=hint)
