"""The views of an architecture and the formats of its diagrams: which there are, and what draws or writes them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from cnnscope.entries import resolved
from cnnscope.errors import CnnscopeError
from cnnscope.registry import Registry
from cnnscope.render.style import PICTURES, check_format

if TYPE_CHECKING:
    from cnnscope.ir import Graph
    from cnnscope.options.network import DiagramOptions
    from cnnscope.render.diagram.dot import Options
    from cnnscope.render.diagram.model import Diagram
    from cnnscope.render.illustrated import Drawing

_HERE = "cnnscope.render.diagram"
TEXT: Registry[Callable[[Diagram, Options], str]] = Registry(
    "cnnscope.formats",
    "text format of diagrams",
    {"dot": f"{_HERE}.dot:to_dot", "json": f"{_HERE}.text:to_json", "mmd": f"{_HERE}.text:to_mermaid"},
)
"""What writes a diagram as text, without a layout."""


def graph_formats() -> tuple[str, ...]:
    """What a diagram of a graph can be written as."""
    return (*PICTURES, *TEXT.names(), "tex")


class Compromise(UserWarning):
    """A figure is drawn otherwise than asked for; the message says how."""


class FormerName(Compromise):
    """A view is asked for by the name that it had in an earlier version."""


FORMER = {"paper": "sheet"}
"""Former names of views, which still work."""

Draw = Callable[["Graph", str, "DiagramOptions"], bytes]
"""From a graph, a format and the options of ``cnnscope diagram`` to the content of a file."""


@dataclass(frozen=True, slots=True)
class View:
    """One view. ``about`` is for help texts, ``draw`` a function or ``module:function``.

    ``formats`` are those it can be drawn in; None stands for all that diagrams have. ``options`` are those of
    ``cnnscope diagram`` that it reads; None stands for all.
    """

    about: str
    draw: Draw | str
    formats: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None

    def content(self, graph: Graph, form: str, options: DiagramOptions) -> bytes:
        """The content of a file. E604 where the view does not have the format, E609 where it ignores an option."""
        name = chosen(options)
        check_format(form, formats(name))
        if self.formats is not None and form not in self.formats:
            hint = f"use {', '.join(self.formats)}"
            raise CnnscopeError.of("E604", f"the {name} view is not drawn as `{form}`", hint=hint)
        self.check(options)
        if options.view in FORMER:
            warnings.warn(f"the view `{options.view}` is now called `{name}`", FormerName, stacklevel=2)
        return resolved(self.draw)(graph, form, options)

    def check(self, options: DiagramOptions) -> None:
        """E609 where an option is set that the view does not read."""
        if self.options is None:
            return
        for field in fields(options):
            known = field.name == "view" or field.name in self.options
            if not known and getattr(options, field.name) != field.default:
                flag, hint = f"--{field.name}", " ".join(f"--{name}" for name in self.options)
                message = f"the {chosen(options)} view does not read `{flag}`"
                raise CnnscopeError.of("E609", message, hint=f"it reads {hint}")


def chosen(options: DiagramOptions) -> str:
    """The name of the view that is asked for: by default the ladder, and the graph where a level is named."""
    name = options.view or ("graph" if options.level else "ladder")
    return FORMER.get(name, name)


VIEWS: Registry[View] = Registry(
    "cnnscope.views",
    "view",
    {
        "ladder": View(
            "a row for each resolution, execution from left to right",
            f"{_HERE}.ladder.view:ladder_view",
            options=("theme", "heat", "rf", "fit", "dpi"),
        ),
        "graph": View(
            "boxes and arrows at any level of detail",
            f"{_HERE}.picture:graph_view",
            options=("theme", "level", "heat", "rf", "direction", "fit", "engine"),
        ),
        "volumes": View(
            "feature maps to scale",
            f"{_HERE}.volumes.view:volumes_view",
            (*PICTURES, "tex"),
            ("theme", "heat", "rf", "fit", "dpi"),
        ),
        "sheet": View(
            "the table of the papers, with one anatomy of each structure",
            f"{_HERE}.sheet.view:sheet_view",
            ("svg", "png", "pdf", "tex", "md"),
            ("theme", "heat", "rf", "fit", "dpi"),
        ),
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


def diagram(graph: Graph, options: DiagramOptions | None = None) -> Drawing:
    """The picture of a network: svg, png, pdf, tex, dot, json or mmd, and what else the view has.

    E608 for an unknown view, E609 for an option that the view does not read. Drawing it may raise E604 for a format
    that the view does not have and E605 where Graphviz does not finish, and warns with `Compromise`.
    """
    from cnnscope.options.network import DiagramOptions
    from cnnscope.render.illustrated import Drawing, file_name

    asked = options or DiagramOptions()
    view = VIEWS.find(chosen(asked))
    view.check(asked)
    return Drawing(lambda form: view.content(graph, form, asked), file_name(graph.name), formats(chosen(asked)))
