"""Places ops of layers that a file only names: their rows, names and weights, for files that hold no weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Node, Param
from cnnscope.ir.builder import Builder, bind
from cnnscope.ops.arguments import ArgumentError
from cnnscope.ops.base import Op

Settings = Mapping[str, Any]


def place(
    builder: Builder, kind: type[Op], settings: Settings, *inputs: str, layer: str, part: str = "",
    lost: tuple[str, ...] = (),
) -> str:  # fmt: skip
    """Adds an op of the row ``layer`` and returns its name, ``layer.part``, below which its weights are.

    ``settings`` are arguments as in specs. Raises `ShapeError` if the inputs do not fit.
    """
    values = [builder.values[name] for name in inputs]
    rank = max(len(values[0].spatial), 1)
    try:
        op = kind.read(settings, rank)
    except ArgumentError as error:
        raise CnnscopeError.of(error.code, f"`{layer}`: {error.message}", hint=error.hint) from None
    bound = bind(op, values)
    name = builder.unique(f"{layer}.{part}" if part else layer)
    keys = {}
    for buffer, shapes in ((False, bound.weights), (True, bound.buffers)):
        for role, shape in shapes.items():
            keys[role] = f"{name}.{role}"
            dtype = "int64" if role == "num_batches_tracked" else "float32"
            builder.param(keys[role], Param(shape, dtype, trainable=not buffer, buffer=buffer))
    builder.add(Node(name, bound.op, inputs, bound.output, keys, layer=layer, intent=bound.intent, lost=lost))
    return name
