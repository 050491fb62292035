"""Places ops of layers that a file only names: their rows, names and weights, for files that hold no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Kind, Node, Param
from cnnscope.ir.builder import Builder, bind
from cnnscope.ops.arguments import ArgumentError
from cnnscope.ops.base import Op

Settings = Mapping[str, Any]


def place(
    builder: Builder, kind: type[Op], settings: Settings, *inputs: str, layer: str, part: str = "",
    lost: tuple[str, ...] = (),
) -> str:  # fmt: skip
    """Adds an op of the row ``layer`` and returns its name, ``layer.part``, below which its weights are.

    ``settings`` are arguments as in specs. Raises `CnnscopeError` E2xx for other arguments, `ShapeError` if the inputs
    do not fit.
    """
    rank = max(len(builder.values[inputs[0]].spatial), 1)
    try:
        op = kind.read(settings, rank)
    except ArgumentError as error:
        raise CnnscopeError.of(error.code, f"`{layer}`: {error.message}", hint=error.hint) from None
    return put(builder, op, *inputs, layer=layer, part=part, lost=lost)


def put(
    builder: Builder, op: Op, *inputs: str, layer: str, part: str = "", lost: tuple[str, ...] = (),
    kind: Kind | None = None,
) -> str:  # fmt: skip
    """As `place`, of an op that exists. ``kind`` is that of its output where the op alone does not say it."""
    bound = bind(op, [builder.values[name] for name in inputs])
    name = builder.unique(f"{layer}.{part}" if part else layer)
    keys = {}
    for buffer, shapes in ((False, bound.weights), (True, bound.buffers)):
        for role, shape in shapes.items():
            keys[role] = f"{name}.{role}"
            dtype = "int64" if role == "num_batches_tracked" else "float32"
            builder.param(keys[role], Param(shape, dtype, trainable=not buffer, buffer=buffer))
    output = bound.output if kind is None else replace(bound.output, kind=kind)
    builder.add(Node(name, bound.op, inputs, output, keys, layer=layer, intent=bound.intent, lost=lost))
    return name
