"""What a model file really is, whatever its suffix says: missing, a web page, a git-LFS pointer, another format.

Nothing is decompressed, unpickled or run here; only the first bytes are read.
"""

from __future__ import annotations

from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason

_HEAD = 512
_FETCH = "download the file itself again"
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a git-LFS pointer", "run `git lfs pull` in its repository"),
    (b"\x89hdf\r\n\x1a\n", "an HDF5 file, which holds weights or a model in Keras' old format",
     "load it in Keras and write `model.save('model.keras')` or the text of `model.to_json()`"),
    (b"<!doctype html", "a web page", _FETCH),
    (b"<html", "a web page", _FETCH),
    (b"\x80\x02", "a Python pickle, which runs code when it is read", "save it in an open format"),
    (b"pk\x03\x04", "a zip archive", "unpack it and name the model inside"),
    (b"\x1f\x8b", "compressed by gzip", "decompress it first"),
    (b"\x89png", "a picture", "name the model's own file"),
)  # fmt: skip


def head(path: Path) -> bytes:
    """The first bytes of a file; E440 where there is none or it cannot be read."""
    if path.is_dir():
        raise CnnscopeError.of("E440", f"`{path}` is a folder", hint="name a file in it")
    try:
        with path.open("rb") as file:
            start = file.read(_HEAD)
    except FileNotFoundError:
        raise CnnscopeError.of("E440", f"there is no file `{path}`") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise CnnscopeError.of("E440", f"`{path}` cannot be read: {os_reason(error)}") from None
    if not start:
        raise CnnscopeError.of("E440", f"`{path.name}` is empty (0 bytes)", hint=_FETCH)
    return start


def not_a(wanted: str, path: Path, start: bytes) -> CnnscopeError:
    """E440: the file is no ``wanted``; says what it is where its first bytes tell."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what, hint in _OTHERS:
        if text.startswith(magic):
            return CnnscopeError.of("E440", f"`{path.name}` is {what}, not {wanted}", hint=hint)
    return CnnscopeError.of("E440", f"`{path.name}` is not {wanted}: its first bytes are `{start[:8].hex(' ')}`")


def known_impostor(start: bytes) -> bool:
    """Whether the first bytes are those of a file that is certainly something else."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith(tuple(magic for magic, _, _ in _OTHERS))


def damaged(path: Path, why: str) -> CnnscopeError:
    """E441: the file breaks off or contradicts itself."""
    return CnnscopeError.of("E441", f"`{path.name}` is damaged: {why}", hint="download or save it again")


def too_large(path: Path, what: str) -> CnnscopeError:
    """E442: reading on could exhaust memory or time; no model in use comes near these bounds."""
    return CnnscopeError.of("E442", f"`{path.name}` is refused: {what}")
