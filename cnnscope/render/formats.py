"""The formats of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.registry import Registry

if TYPE_CHECKING:
    from cnnscope.render.diagram.dot import Options
    from cnnscope.render.diagram.model import Diagram

PICTURES = ("svg", "png", "pdf")
"""What every picture can be written as."""

_DIAGRAM = "cnnscope.render.diagram"
TEXT: Registry[Callable[[Diagram, Options], str]] = Registry(
    "cnnscope.formats",
    "text format of diagrams",
    {"dot": f"{_DIAGRAM}.dot:to_dot", "json": f"{_DIAGRAM}.text:to_json", "mmd": f"{_DIAGRAM}.text:to_mermaid"},
)
"""What writes a diagram as text, without a layout."""


def graph_formats() -> tuple[str, ...]:
    """What a diagram of a graph can be written as."""
    return (*PICTURES, *TEXT.names(), "tex")


def check_format(form: str, known: Sequence[str] = PICTURES) -> str:
    """The format, or E604 with the known ones."""
    if form not in known:
        hint = did_you_mean(form, known) or f"the formats are {', '.join(known)}"
        raise CnnscopeError.of("E604", f"no picture format is called `{form}`", hint=hint)
    return form
