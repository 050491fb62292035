"""Which version of ONNX's operators a model uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto

_WITHOUT_OPSETS = 3
"""Files of an older IR version state no operator set and use the first."""


def versions(model: ModelProto) -> Mapping[str, int]:
    """Returns the version of each domain's operators; ONNX's own domain is called ``ai.onnx``.

    A version of ONNX's own that does not exist stands for the newest one.
    """
    import onnx

    stated = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    newest, default = onnx.defs.onnx_opset_version(), 1 if model.ir_version < _WITHOUT_OPSETS else 0
    own = stated.get("ai.onnx", default)
    return stated | {"ai.onnx": own if 1 <= own <= newest else newest}


def remarks(model: ModelProto) -> tuple[str, ...]:
    """Returns what to say about a version that does not exist or that the installed ``onnx`` does not know yet."""
    read = versions(model)["ai.onnx"]
    stated = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if stated[-1:] == [read] or (not stated and read == 1):
        return ()
    what = f"states version {stated[-1]} of ONNX's operators, which is not known" if stated else (
        "does not state the version of ONNX's operators")  # fmt: skip
    return (f"the file {what}; they are read as those of version {read}, the newest known",)
