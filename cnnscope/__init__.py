"""cnnscope: the instrument panel for convolutional networks.

    import cnnscope
    cnnscope.load("resnet50").summary()

Public names are imported when first used, so that ``import cnnscope`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnscope._version import __version__
    from cnnscope.api import Model, load
    from cnnscope.errors import CnnscopeError, Diagnostic, Span
    from cnnscope.ir import Graph
    from cnnscope.plugins import plugin
    from cnnscope.questions import (
        audit,
        check,
        diff,
        equivariance,
        flops,
        memory,
        params,
        receptive_field,
        shapes,
        summary,
    )

_HOMES = {
    **dict.fromkeys(
        (
            "audit",
            "check",
            "diff",
            "equivariance",
            "flops",
            "memory",
            "params",
            "receptive_field",
            "shapes",
            "summary",
        ),
        "cnnscope.questions",
    ),
    **dict.fromkeys(("Model", "load"), "cnnscope.api"),
    **dict.fromkeys(("CnnscopeError", "Diagnostic", "Span"), "cnnscope.errors"),
    "Graph": "cnnscope.ir",
    "plugin": "cnnscope.plugins",
    "__version__": "cnnscope._version",
}

__all__ = [
    "CnnscopeError", "Diagnostic", "Graph", "Model", "Span", "__version__", "audit", "check", "diff", "equivariance",
    "flops", "load", "memory", "params", "plugin", "receptive_field", "shapes", "summary",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
