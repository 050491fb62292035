"""The weights of the graph: each is a constant as its layer sees it. They are counted by the tensors that the file
stores, and loaded by computing the constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Param, Shape, Stored
from cnnscope.ir.builder import Builder
from cnnscope.sources.onnx.values import Const, evaluate, invalid

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Weights:
    """The constants behind ``builder.params``. ``views`` has them by key, as the graph's ops see them."""

    builder: Builder
    views: dict[str, Const] = field(default_factory=dict)
    keys: dict[bytes, str] = field(default_factory=dict)
    """The key of each view by its digest, so that layers which see the same weight share it."""

    def enter(self, constant: Const, shape: Shape, reader: str, buffer: bool = False) -> str:
        """Adds a weight of ``shape`` (or finds it) and returns its key, which is the name of the stored tensor where
        nobody else has it. Raises E447 if the constant has not as many elements.
        """
        if prod(shape) != prod(constant.shape):
            raise invalid(f"`{reader}` needs a weight of shape {list(shape)}, but `{constant.name}` has "
                          f"{list(constant.shape)}")  # fmt: skip
        view = constant.reshaped(shape)
        if view.digest not in self.keys:
            made_of = view.origin or self._leaves(view)
            key = self._free(made_of[0].name if len(made_of) == 1 else constant.name)
            same = made_of in ((), (Stored(key, prod(shape), view.dtype),))
            param = Param(shape, view.dtype, not buffer, buffer, made_of=() if same else made_of)
            self.builder.param(key, param)
            self.views[key], self.keys[view.digest] = view, key
        return self.keys[view.digest]

    def _free(self, name: str) -> str:
        key, number = name, 1
        while key in self.builder.params:
            number += 1
            key = f"{name}#{number}"
        return key

    @staticmethod
    def _leaves(view: Const) -> tuple[Stored, ...]:
        """Returns the stored tensor that a view rearranges, if it does only that."""
        while (view.flat or view.order is not None) and view.inputs:
            (view,) = view.inputs
        return (view.leaf,) if view.leaf is not None else ()


def load(views: Mapping[str, Const], params: Mapping[str, Param]) -> dict[str, Tensor]:
    """Returns every weight and buffer of a graph. Raises E447 if the file lacks elements or they cannot be computed."""
    import torch

    weights = {}
    for key, param in params.items():
        if key not in views:
            raise invalid(f"nothing in the file is the weight `{key}`")
        array = evaluate(views[key])
        if array.dtype.kind not in "fiubc":  # bfloat16 and the small types of `ml_dtypes`
            array = array.astype(np.float32)
        weights[key] = torch.from_numpy(np.array(array, order="C")).to(getattr(torch, param.dtype))
    return weights


def unreadable(path: str, error: CnnscopeError) -> CnnscopeError:
    """Returns E448 for weights that cannot be loaded."""
    reason = error.diagnostics[0].message
    return CnnscopeError.of("E448", f"cannot read the weights in `{path}`: {reason}", hint="name a file: `--weights`")
