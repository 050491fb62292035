"""What the readers of model files share: the real format of a file, names and order of its layers, errors
inside it.

Whatever its suffix says, a file may be missing, a web page, a git-LFS pointer or another format. Only its first bytes
are read to find out. Nothing is decompressed, unpickled or run.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cnnscope.errors import CnnscopeError, Note, PartialError, did_you_mean
from cnnscope.files import os_reason, read_named
from cnnscope.sources.inputs import InputSize, only_sizes

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
    """Returns the first bytes of a file; raises E440 where there is none or it cannot be read."""
    if path.is_dir():
        raise CnnscopeError.of("E440", f"`{path}` is a folder", hint="name a file in it")
    try:
        start = read_named(path, _HEAD)
    except FileNotFoundError:
        raise CnnscopeError.of("E440", f"there is no file `{path}`") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise CnnscopeError.of("E440", f"`{path}` cannot be read: {os_reason(error)}") from None
    if not start:
        raise CnnscopeError.of("E440", f"`{path.name}` is empty (0 bytes)", hint=_FETCH)
    return start


def not_a(wanted: str, path: Path, start: bytes) -> CnnscopeError:
    """Returns E440: the file is not ``wanted``. The error says what it is instead if its first bytes show that."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for magic, what, hint in _OTHERS:
        if text.startswith(magic):
            return CnnscopeError.of("E440", f"`{path.name}` is {what}, not {wanted}", hint=hint)
    return CnnscopeError.of("E440", f"`{path.name}` is not {wanted}: its first bytes are `{start[:8].hex(' ')}`")


def known_impostor(start: bytes) -> bool:
    """Returns whether the first bytes are those of a file in a known format that is no model."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith(tuple(magic for magic, _, _ in _OTHERS))


def damaged(path: Path, why: str) -> CnnscopeError:
    """Returns E441: the file ends too early or contradicts itself."""
    return CnnscopeError.of("E441", f"`{path.name}` is damaged: {why}", hint="download or save it again")


def too_large(path: Path, what: str) -> CnnscopeError:
    """Returns E442: reading further could exhaust memory or time. No model in use comes near these limits."""
    return CnnscopeError.of("E442", f"`{path.name}` is refused: {what}")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Adds the name of the file to errors inside the block."""
    note = Note(f"while reading `{path.name}`")
    try:
        yield
    except CnnscopeError as error:
        graph = error.graph if isinstance(error, PartialError) else None
        noted = (replace(d, notes=(*d.notes, note)) for d in error.diagnostics)
        raise PartialError(*noted, graph=graph) from None


def at_layer(error: CnnscopeError, layer: str) -> CnnscopeError:
    """Returns the same error with the name of the layer."""
    return CnnscopeError(*(replace(d, message=f"layer `{layer}`: {d.message}") for d in error.diagnostics))


def clean(name: str) -> str:
    """Returns a name as cnnscope writes it, with dots between scopes: ``block1/conv:0`` becomes ``block1.conv_0``."""
    parts = [re.sub(r"\W", "_", part, flags=re.ASCII) for part in re.split(r"[/.]", name) if part]
    return ".".join(parts) or "_"


def sizes_by_input(names: Iterable[str], sizes: Iterable[InputSize]) -> dict[str, InputSize]:
    """Returns the sizes given with ``--input`` by input. Names may be spelled as in the file or as cnnscope
    shows them.

    Raises E403 if an input is unknown, or if a size has no name although there are several inputs.
    """
    sizes = tuple(sizes)
    only_sizes(sizes, "a model file")
    own = list(dict.fromkeys(names))
    known = {spelled: name for name in own for spelled in (name, clean(name))}
    listed = ", ".join(f"`{name}`" for name in own)
    result = {}
    for size in sizes:
        if size.name is None and len(own) > 1:
            raise CnnscopeError.of("E403", f"the model has the inputs {listed}: say which one `--input` is for")
        if size.name is not None and size.name not in known:
            hint = did_you_mean(size.name, known) or f"its inputs: {listed}"
            raise CnnscopeError.of("E403", f"the model has no input `{size.name}`", hint=hint)
        result[known[size.name] if size.name else own[0]] = size
    return result


def topological(needs: Sequence[set[int]]) -> list[int]:
    """Returns the numbers of things, each after those in its ``needs``, otherwise in order. Those on a cycle
    are left out.
    """
    waiting = [set(sources) for sources in needs]
    readers: list[list[int]] = [[] for _ in needs]
    for i, sources in enumerate(needs):
        for source in sources:
            readers[source].append(i)
    ready = [i for i, sources in enumerate(waiting) if not sources]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for reader in readers[order[-1]]:
            waiting[reader].discard(order[-1])
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    return order
