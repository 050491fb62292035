"""Receptive fields as results: what one unit sees, and how fields grow with depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cnnscope.analysis.receptive_field import theoretical
from cnnscope.analysis.receptive_field.exact import exact
from cnnscope.analysis.receptive_field.walk import find
from cnnscope.analysis.summary import Summary
from cnnscope.ir import Graph
from cnnscope.render.fields import UnitReport
from cnnscope.render.formats import PICTURES
from cnnscope.render.illustrated import Drawing, file_name


@dataclass(frozen=True)
class Unit(UnitReport):
    """What one unit sees. It can be drawn, over ``image`` if there is one."""

    KINDS: ClassVar[Sequence[str]] = PICTURES
    image: Path | None = None

    def drawn(self, kind: str) -> bytes:
        from cnnscope.render.page.image import fitted
        from cnnscope.render.plots.unit import picture

        return picture(self, kind, None if self.image is None else fitted(self.image, self.graph))


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
