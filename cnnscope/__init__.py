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
        ablate,
        attribute,
        audit,
        check,
        check_weights,
        compare,
        diagram,
        diff,
        edit,
        equivariance,
        expand,
        export,
        features,
        filters,
        flops,
        growth,
        kernels,
        layer_types,
        map_weights,
        memory,
        page,
        params,
        receptive_field,
        report,
        shapes,
        summary,
        transfer,
        unit,
        unit_values,
        zoo,
    )

__all__ = [
    "CnnscopeError", "Diagnostic", "Graph", "Model", "Span", "__version__", "ablate", "attribute", "audit", "check",
    "check_weights", "compare", "diagram", "diff", "edit", "equivariance", "expand", "export", "features", "filters",
    "flops", "growth", "kernels", "layer_types", "load", "map_weights", "memory", "page", "params", "plugin",
    "receptive_field", "report", "shapes", "summary", "transfer", "unit", "unit_values", "zoo",
]  # fmt: skip

_ELSEWHERE = {
    **dict.fromkeys(("Model", "load"), "cnnscope.api"),
    **dict.fromkeys(("CnnscopeError", "Diagnostic", "Span"), "cnnscope.errors"),
    "Graph": "cnnscope.ir",
    "plugin": "cnnscope.plugins",
    "__version__": "cnnscope._version",
}
"""Where public names are that are not in `cnnscope.questions`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ELSEWHERE.get(name, "cnnscope.questions")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
