"""Architectures as pictures that are drawn in the format of the file they are written to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions, ThemeName
from cnnscope.render.diagram import difference
from cnnscope.render.diagram.views import VIEWS, formats
from cnnscope.render.difference import DifferenceReport
from cnnscope.render.formats import PICTURES
from cnnscope.render.illustrated import Drawing, file_name


def diagram(graph: Graph, options: DiagramOptions | None = None) -> Drawing:
    """The picture of a network: svg, png, pdf, tex, dot, json or mmd, and what else the view has.

    E608 for an unknown view. Drawing it may raise E604 for a format that the view does not have and E605 where Graphviz
    does not finish, and warns with `picture.SimplerPicture`.
    """
    chosen = options or DiagramOptions()
    view = VIEWS.find(chosen.view)
    return Drawing(lambda form: view.content(graph, form, chosen), file_name(graph.name), formats(chosen.view))


@dataclass(frozen=True)
class Difference(DifferenceReport):
    """The difference of two networks, which can also be drawn."""

    KINDS: ClassVar[Sequence[str]] = (*PICTURES, "dot")
    theme: ThemeName = "light"

    def drawn(self, kind: str) -> bytes:
        return difference.picture(self, kind, self.theme)

    def _repr_svg_(self) -> str:
        return self.drawn("svg").decode()
