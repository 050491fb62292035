"""What a unit sees of the image, and of the padding around it."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from cnnscope.analysis.receptive_field.exact import Exact, exact
from cnnscope.analysis.receptive_field.quasi_affine import Interval
from cnnscope.analysis.receptive_field.theoretical import Field, theoretical
from cnnscope.analysis.receptive_field.walk import find
from cnnscope.ir import Graph
from cnnscope.learned.features.features import FeatureLayer

REACH = 0.25
"""How much padding is shown beyond each edge at most, in sides of the image."""

Box = tuple[Interval, Interval]
"""First and last row, first and last column, in pixels of the input; negative ones are padding."""


@dataclass(frozen=True)
class Seen:
    """What a unit sees: ``exact`` are pixels of the image, along local paths where there are any.

    ``frame`` has the padding it reaches into as well. ``whole`` where it depends on pixels outside ``exact`` through a
    global reduction.
    """

    exact: Box
    frame: Box
    whole: bool = False


class Fields:
    """The fields of a layer's units. Behind an op that no rule covers they are not ``known``, and the whole image."""

    def __init__(self, graph: Graph, layer: FeatureLayer) -> None:
        self._layer = layer
        (image,) = (value.spatial for value in graph.inputs.values())
        self.extents: tuple[int, int] = (image[0], image[1])
        self._theory: Field | None = theoretical(graph).get(find(graph, layer.name))
        self._exact: Exact | None = None
        if self._theory is not None:
            self._exact = exact(graph, [layer.name])

    @property
    def known(self) -> bool:
        return self._exact is not None

    @property
    def via(self) -> tuple[str, ...]:
        """The reductions through which a unit sees the whole image."""
        return () if self._theory is None else self._theory.via

    def at(self, position: tuple[int, int]) -> Seen:
        """What the unit at a row and a column of the layer's map sees."""
        height, width = self.extents
        everything = ((0, height - 1), (0, width - 1))
        if self._exact is None or self._theory is None:
            return Seen(everything, everything)
        at = self._layer.position(position)
        full, local = (self._exact.box(self._layer.name, at, local=only) for only in (False, True))
        box = local or full
        if box is None:  # it depends on no pixel at all
            return Seen(everything, everything)
        inside: Box = (box[0], box[1])
        reach = self._theory.box(at) if local is not None else None
        return Seen(
            inside, inside if reach is None else self._frame(inside, (reach[0], reach[1])), local not in (None, full)
        )

    def _frame(self, inside: Box, reach: Box) -> Box:
        sides = []
        for (low, high), (first, last), extent in zip(inside, reach, self.extents, strict=True):
            most = floor(REACH * extent)
            sides.append((min(low, max(first, -most)), max(high, min(last, extent - 1 + most))))
        return (sides[0], sides[1])
