"""Receptive fields as results: what one unit sees, and how fields grow with depth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.analysis.receptive_field.walk import find
from cnnscope.analysis.summary import Summary
from cnnscope.errors import explained
from cnnscope.ir import Graph
from cnnscope.render.fields import UnitReport
from cnnscope.render.formats import PICTURES
from cnnscope.render.illustrated import Drawing, file_name
from cnnscope.render.result import File, form_of, written


@dataclass(frozen=True)
class Unit(UnitReport):
    """What one unit sees. It can be drawn, over ``image`` if there is one."""

    image: Path | None = None

    @explained
    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes a picture (.svg .png .pdf), or the table by the suffix of a form of text; else E404."""
        from cnnscope.render.page.image import fitted
        from cnnscope.render.plots.unit import picture

        kind = form_of(Path(path), PICTURES)
        if kind not in PICTURES:
            return super().write(path)
        return (
            written(path, kind, picture(self, kind, None if self.image is None else fitted(self.image, self.graph))),
        )


def unit(graph: Graph, source: str, layer: str, position: tuple[int, ...], image: Path | None = None) -> Unit:
    """The receptive field of the unit at a position of a layer. E205 no such layer, E203 position, E306 unsupported."""
    answers = exact(graph, [layer])
    full, local = answers.box(layer, position), answers.box(layer, position, local=True)
    field = theoretical(graph)[find(graph, layer)]
    return Unit(
        graph,
        source,
        layer,
        position,
        theoretical=field.box(position),
        exact=local,
        full=full,
        via=field.via,
        image=image,
    )


def growth(graph: Graph, summary: Summary) -> Drawing:
    """Receptive fields against depth as a plot."""

    def draw(kind: str) -> bytes:
        from cnnscope.render.plots.growth import growth, plot

        return plot(growth(graph, summary), kind)

    return Drawing(draw, f"{file_name(graph.name)}-receptive-fields")
