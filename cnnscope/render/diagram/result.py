"""Architectures as pictures that are drawn in the format of the file they are written to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions, ThemeName
from cnnscope.render.diagram import difference
from cnnscope.render.diagram.views import VIEWS, formats
from cnnscope.render.difference import DifferenceReport
from cnnscope.render.formats import PICTURES
from cnnscope.render.illustrated import Drawing, file_name
from cnnscope.render.result import File, form_of, written

DIFFERENCES = (*PICTURES, "dot")
"""What the difference of two networks is drawn as."""


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

    theme: ThemeName = "light"

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes a picture (.svg .png .pdf .dot), or the table by the suffix of a form of text; else E404."""
        kind = form_of(Path(path), DIFFERENCES)
        if kind not in DIFFERENCES:
            return super().write(path)
        return (written(path, kind, difference.picture(self, kind, self.theme)),)

    def _repr_svg_(self) -> str:
        return difference.picture(self, "svg", self.theme).decode()
