"""Weights in several files with an index, as the Hugging Face Hub keeps them: which part has which tensor.

Source: huggingface_hub, ``serialization/_base.py``: ``{"metadata": {...}, "weight_map": {name: file}}``.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, read_named
from cnnscope.nn.formats import damaged

MAX_INDEX = 2**26
_SUFFIX = ".index.json"
_IN_FOLDERS = (
    "model.safetensors.index.json", "pytorch_model.bin.index.json", "diffusion_pytorch_model.safetensors.index.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """One of the files, and the names of the tensors that the index says it has."""

    path: Path
    names: tuple[str, ...]

    def checked(self, there: Collection[str]) -> tuple[str, ...]:
        """Returns the names if all are ``there``; E421 if one is not."""
        missing = next((name for name in self.names if name not in there), None)
        if missing is not None:
            raise damaged(self.path, f"it has no `{missing}`, which the index says it has")
        return self.names


def parts(path: Path) -> tuple[Part, ...] | None:
    """Returns the parts of weights whose index, or the folder that has it, is named; None for any other path.

    E420 if the index cannot be read, E421 if it is damaged or a part is missing.
    """
    if path.is_dir():
        path = next((path / name for name in _IN_FOLDERS if (path / name).is_file()), path)
    if not path.name.endswith(_SUFFIX) or not path.is_file():
        return None
    found: dict[str, list[str]] = {}
    for name, file in _index(path).items():
        if not isinstance(file, str) or Path(file).name != file or file.endswith(_SUFFIX):
            raise damaged(path, f"`{name[:60]}` is in no file beside it: `{str(file)[:60]}`")
        found.setdefault(file, []).append(name)
    for file in found:
        if not (path.parent / file).is_file():
            raise CnnscopeError.of(
                "E421", f"`{file}`, a part of `{path.name}`, is not there", hint="download all parts"
            )
    return tuple(Part(path.parent / file, tuple(names)) for file, names in found.items())


def _index(path: Path) -> dict[str, object]:
    try:
        raw = read_named(path, MAX_INDEX + 1)
    except OSError as error:
        raise CnnscopeError.of("E420", f"`{path}` cannot be read: {os_reason(error)}") from None
    try:
        index = json.loads(raw) if len(raw) <= MAX_INDEX else None
    except (ValueError, RecursionError):
        index = None
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names:
        raise damaged(path, "it has no `weight_map` of names and files")
    return names
