"""Weights of a changed network: the values that it had where their shapes still fit, random ones elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from cnnscope.ir import Graph
from cnnscope.nn.build import build


def kept(graph: Graph, values: Mapping[str, Tensor], *, seed: int = 0) -> dict[str, Tensor]:
    """The state dict of ``graph``: ``values`` whose key and shape it has, the others drawn from ``seed``."""
    fresh: dict[str, Tensor] = build(graph, seed=seed).state_dict()
    fits = {key: value for key, value in values.items() if key in fresh and value.shape == fresh[key].shape}
    return fresh | fits
