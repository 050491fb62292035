"""Where the weights of a graph are in a Keras file, and how Keras' arrays become torch's.

Keras stores the kernel of a layer as (positions, in, out), torch as (out, in, positions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Turn = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Stored:
    """The variable of a layer that a weight of the graph is made of.

    ``name`` is Keras' own name of it. ``home`` is the path of attributes to the sublayer that has it
    (``forward_layer/cell``), empty for the layer itself. ``place`` is the variable's number where a layer lists
    variables of its sublayers among its own.
    """

    name: str
    turn: Turn
    home: str = ""
    place: int | None = None


@dataclass(frozen=True, slots=True)
class Zeros:
    """A weight that Keras does not have and that has no effect as zeros. It counts with the role ``beside``."""

    beside: str


@dataclass(frozen=True, slots=True)
class Origin:
    """The layer of a weight, by the names of the models around it and its own, and the variable."""

    layer: tuple[str, ...]
    stored: Stored | Zeros


def same(array: Array) -> Array:
    return array


def transposed(array: Array) -> Array:
    """(in, out) -> (out, in)."""
    return array.T


def kernel(array: Array) -> Array:
    """(positions, in, out) -> (out, in, positions); for a transposed convolution (positions, out, in) -> (in, out,
    positions)."""
    return array.transpose(array.ndim - 1, array.ndim - 2, *range(array.ndim - 2))


def depthwise(array: Array) -> Array:
    """(positions, in, multiplier) -> (in * multiplier, 1, positions)."""
    moved = array.transpose(array.ndim - 2, array.ndim - 1, *range(array.ndim - 2))
    return moved.reshape(-1, 1, *moved.shape[2:])


def flat(array: Array) -> Array:
    return array.reshape(-1)


_NORM = {
    "weight": Stored("gamma", same), "bias": Stored("beta", same),
    "running_mean": Stored("moving_mean", same), "running_var": Stored("moving_variance", same),
}  # fmt: skip
_BIAS = {"bias": Stored("bias", same)}
STANDARD: Mapping[str, Mapping[str, Stored]] = {
    "conv": {"weight": Stored("kernel", kernel), **_BIAS},
    "upconv": {"weight": Stored("kernel", kernel), **_BIAS},
    "depthwise": {"weight": Stored("kernel", depthwise), **_BIAS},
    "linear": {"weight": Stored("kernel", transposed), **_BIAS},
    "embedding": {"weight": Stored("embeddings", same)},
    "batchnorm": _NORM, "layernorm": _NORM, "groupnorm": _NORM,
    "rmsnorm": {"weight": Stored("scale", same)},
    "layerscale": {"weight": Stored("gamma", same)},
    "prelu": {"weight": Stored("alpha", flat)},
}  # fmt: skip
"""The variables of the usual ops by tag and role. A rule states those of its own."""


def as_float(array: Array) -> Array:
    return np.ascontiguousarray(array, dtype=np.float32)
