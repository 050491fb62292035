"""Buffers that a layer stores beside its weights and only training uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Shape
from cnnscope.ops.saved import NOTHING
from cnnscope.ops.traced import Traced


class Carried(Traced, tag="carried", category="movement"):
    """The input unchanged: y = x. It has a buffer of ``size`` numbers that inference does not read.

    Source: the vector of spectral normalisation, Miyato et al. 2018, algorithm 1.
    """

    size: Shape
    is_view = True
    keeps = NOTHING

    def buffers(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        return {"vector": self.size}
