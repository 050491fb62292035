"""A picture with what it was drawn from beside it: raw arrays as .npy, and the figures as a JSON manifest."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.cli.output import Output
from cnnscope.files import write_bytes

if TYPE_CHECKING:
    from cnnscope.render.result import Result

_UNSAFE = re.compile(r"[^\w.-]")
"""What a name of a layer may have and a name of a file had better not."""


def emit_with_arrays(
    output: Output, path: Path, kind: str, picture: bytes, report: Result, arrays: Mapping[str, Any]
) -> None:
    """Writes ``x.png``, ``x.NAME.npy`` for each array, and ``x.json``, and says so as the ``cnnscope.files`` document.

    The manifest is the report's document with ``picture`` and ``arrays``, names of files by names of arrays. The
    picture comes last: where it is, all else is. E405 where one cannot be written.
    """
    from cnnscope.render.files import File, FilesReport

    content: dict[Path, tuple[str, bytes]] = {}
    names = {}
    for name, array in arrays.items():
        target = path.with_name(f"{path.stem}.{_UNSAFE.sub('_', name)}.npy")
        content[target] = "npy", _npy(array)
        names[name] = target.name
    manifest = {**report.to_dict(), "picture": path.name, "arrays": names}
    content[path.with_suffix(".json")] = "json", (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()
    content[path] = kind, picture
    for target, (_, data) in content.items():
        write_bytes(target, data)
    files = tuple(File(target, what, len(data)) for target, (what, data) in content.items())
    output.emit(FilesReport(files[::-1]))


def _npy(array: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
