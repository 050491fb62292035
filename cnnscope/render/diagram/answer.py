"""Architectures as pictures that are drawn in the format of the file they are written to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from cnnscope.ir import Graph
from cnnscope.options.network import DiagramOptions, ThemeName
from cnnscope.render.diagram import difference
from cnnscope.render.diagram.dot import Options
from cnnscope.render.diagram.picture import paper_picture, picture, volumes_picture
from cnnscope.render.difference import DifferenceReport
from cnnscope.render.formats import GRAPHS, PICTURES
from cnnscope.render.illustrated import Drawing, file_name
from cnnscope.render.result import File, form_of, written

DIFFERENCES = (*PICTURES, "dot")
"""What the difference of two networks is drawn as."""


class SimplerPicture(UserWarning):
    """A figure was too much to lay out, and drawn with less detail than asked for."""


def diagram(graph: Graph, options: DiagramOptions | None = None) -> Drawing:
    """The picture of a network: svg, png, pdf, tex, dot, json or mmd.

    Drawing it may raise E604 for a format that the view does not have and E605 where Graphviz does not finish, and
    warns with `SimplerPicture`.
    """
    options = options or DiagramOptions()
    look = Options(options.heat, options.rf, options.theme, options.direction)

    def draw(kind: str) -> bytes:
        if options.view == "volumes":
            return volumes_picture(graph, kind, options.theme)
        if options.view == "paper":
            return paper_picture(graph, kind, look, engine=options.engine, fit=options.fit)
        content, drawn = picture(graph, kind, options.level, look, engine=options.engine, fit=options.fit)
        if drawn != options.level:
            warnings.warn(
                f"drawn at level {drawn}: {options.level} is too much to lay out", SimplerPicture, stacklevel=2
            )
        return content

    return Drawing(draw, file_name(graph.name), GRAPHS)


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
