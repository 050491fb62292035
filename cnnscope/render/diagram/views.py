"""The views of an architecture: which there are, what they are drawn with, and the formats they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.registry import Registry
from cnnscope.render.formats import PICTURES, check_format, graph_formats

if TYPE_CHECKING:
    from cnnscope.ir import Graph
    from cnnscope.options.network import DiagramOptions

Draw = Callable[["Graph", str, "DiagramOptions"], bytes]
"""From a graph, a format and the options of ``cnnscope diagram`` to the content of a file."""


@dataclass(frozen=True, slots=True)
class View:
    """One view. ``about`` is for help texts, ``draw`` a function or ``module:function``.

    ``formats`` are those it can be drawn in; None stands for all that diagrams have.
    """

    about: str
    draw: Draw | str
    formats: tuple[str, ...] | None = None

    def content(self, graph: Graph, form: str, options: DiagramOptions) -> bytes:
        """The content of a file. E604 where the view does not have the format."""
        check_format(form, formats(options.view))
        if self.formats is not None and form not in self.formats:
            hint = f"use {', '.join(self.formats)}"
            raise CnnscopeError.of("E604", f"the {options.view} view is not drawn as `{form}`", hint=hint)
        if not isinstance(self.draw, str):
            return self.draw(graph, form, options)
        module, _, function = self.draw.partition(":")
        draw: Draw = getattr(import_module(module), function)
        return draw(graph, form, options)


_HERE = "cnnscope.render.diagram.picture"
VIEWS: Registry[View] = Registry(
    "cnnscope.views",
    "view",
    {
        "graph": View("boxes and arrows", f"{_HERE}:graph_view"),
        "volumes": View("feature maps to scale", f"{_HERE}:volumes_view", PICTURES),
        "paper": View("the overview with the anatomy of every distinct block", f"{_HERE}:paper_view"),
    },
    form="cnnscope.render.diagram.views:View",
    code="E608",
)


def formats(view: str) -> tuple[str, ...]:
    """The formats that a file of a view may name: those of diagrams, then those that only this view has.

    E608 where there is no such view.
    """
    return tuple(dict.fromkeys((*graph_formats(), *(VIEWS.find(view).formats or ()))))


def about() -> str:
    """What each view shows, for help texts. Views of other packages are only named."""
    ready = ((name, VIEWS.ready(name)) for name in VIEWS.names())
    return "; ".join(f"{name}: {view.about}" if view else name for name, view in ready)
