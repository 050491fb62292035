"""Which sizes would fit where a network whose shapes are only inferred refuses one: specs, Keras and ONNX files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cnnscope.errors import CnnscopeError
from cnnscope.sources.fitting import NOWHERE, Probing, Stop, other_sizes
from cnnscope.sources.inputs import InputSize

SHAPES = frozenset({"E301", "E302", "E303", "E304"})
"""The codes of layers that do not fit what they read."""
JOINS = frozenset({"E302", "E303"})


def with_sizes(
    error: CnnscopeError, given: InputSize, load: Callable[[tuple[InputSize, ...]], object]
) -> CnnscopeError:
    """Returns the error of a network at the ``given`` size with sizes that fit, each of which was loaded."""
    last = error.diagnostics[-1]
    if last.code not in SHAPES:
        return error

    def probe(sizes: Sequence[InputSize]) -> Stop | None:
        try:
            load(tuple(sizes))
        except CnnscopeError:
            return NOWHERE
        return None

    found = "; ".join(other_sizes(given, Probing(probe), nearest=last.code in JOINS))
    hint = "; ".join(text for text in (last.hint, found) if text)
    error.diagnostics = (*error.diagnostics[:-1], replace(last, hint=hint or None))
    return error
