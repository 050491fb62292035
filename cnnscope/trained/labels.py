"""Names of classes: from a spec, a library, or a file with a name a line (or a JSON list or mapping of numbers)."""

from __future__ import annotations

import json
from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason

_LARGEST = 16 * 2**20


def read_labels(labels: str | Path | tuple[str, ...] | None, classes: int) -> tuple[str, ...]:
    """One name a class, or none where they are unknown. E455 where the file cannot be read or has another number."""
    if labels is None or labels == ():
        return ()
    if isinstance(labels, tuple):
        return labels if len(labels) == classes else ()  # a library's names, of a head that was replaced
    path = Path(labels)
    names = _names(path)
    if len(names) != classes:
        raise CnnscopeError.of("E455", f"`{path}` names {len(names)} classes, the network has {classes}")
    return names


def _names(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > _LARGEST:
            raise CnnscopeError.of("E455", f"cannot read the labels `{path}`: more than {_LARGEST // 2**20} MiB")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CnnscopeError.of("E455", f"cannot read the labels `{path}`: {reason}") from None
    if path.suffix.lower() != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CnnscopeError.of("E455", f"cannot read the labels `{path}`: no JSON ({error})") from None
    if isinstance(found, dict) and all(key.isdecimal() for key in found):
        found = [found[key] for key in sorted(found, key=int)]
    if not isinstance(found, list):
        raise CnnscopeError.of("E455", f"`{path}` is no list of names", hint='write ["cat", "dog"] or {"0": "cat"}')
    return tuple(str(name[-1] if isinstance(name, list) and name else name) for name in found)
