"""A sum and a product with plain numbers, as preprocessing inside a network has them."""

from __future__ import annotations

from collections.abc import Sequence

from cnnscope.ir.graph import Value
from cnnscope.ops.traced import Traced


class Affine(Traced, tag="affine", category="other"):
    """y = scale * x + shift. Each is one number, or one for each index of ``axis``. FLOPs: 1 an element and constant.

    Shape unchanged; the numbers are no parameters.
    """

    scale: tuple[float, ...] = (1.0,)
    shift: tuple[float, ...] = (0.0,)
    axis: int = 1

    def elementwise(self, x: Sequence[Value]) -> int:
        constants = (set(self.scale) != {1.0}) + (set(self.shift) != {0.0})
        return x[0].numel * constants
