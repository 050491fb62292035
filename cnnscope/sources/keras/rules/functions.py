"""Functions used like layers: ``keras.ops.silu(x)`` in Keras 3, ``tf.nn.silu(x)`` and ``x + y`` in Keras 2."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Shape
from cnnscope.ops.call import Input
from cnnscope.ops.generic import Elementwise, Reduce, Unsupported
from cnnscope.ops.movement import Identity, Slice
from cnnscope.ops.product import MatMul
from cnnscope.sources.keras import aten
from cnnscope.sources.keras.config import KERAS_2_FUNCTIONS, Layer, malformed
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Arguments, Settings
from cnnscope.sources.keras.rules.pointwise import ALONG_CHANNELS, OTHER_POINTWISE, POINTWISE, affine, named
from cnnscope.sources.keras.rules.tensors import combine, concatenate, reshape, transpose

UNARY = frozenset({
    "abs", "absolute", "ceil", "clip", "clip_by_value", "cos", "erf", "exp", "expm1", "floor", "log", "log1p",
    "negative", "neg", "reciprocal", "round", "rsqrt", "sign", "sin", "sqrt", "square",
}) | OTHER_POINTWISE  # fmt: skip
BINARY: Mapping[str, str] = {
    "add": "add", "subtract": "subtract", "sub": "subtract", "multiply": "multiply", "mul": "multiply",
    "divide": "divide", "true_divide": "divide", "truediv": "divide", "maximum": "maximum", "minimum": "minimum",
    "power": "power", "pow": "power", "mod": "mod", "floor_divide": "floor_divide",
}  # fmt: skip
REDUCTIONS = {"mean": "mean", "sum": "sum", "max": "amax", "amax": "amax", "min": "amin", "amin": "amin",
              "prod": "prod", "logsumexp": "logsumexp", "std": "std", "var": "var"}  # fmt: skip


def lower(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Adds the function of an entry. One without a rule becomes an `Unsupported` op with the shape that Keras
    states.
    """
    name = function_name(s.layer)
    options = {**s.layer.config, **call.kwargs}
    if name in BINARY:
        return [_binary(row, BINARY[name], call)]
    if name in POINTWISE or name in ALONG_CHANNELS or name in UNARY:
        return [_unary(row, name, call, options)]
    if name in REDUCTIONS:
        return [_reduce(row, REDUCTIONS[name], call.tensor(), options)]
    if name in FUNCTIONS:
        return FUNCTIONS[name](row, call, options)
    return [unsupported(row, name, call)]


def is_known(layer: Layer) -> bool:
    """Returns whether there is a rule for a function of that name."""
    name = function_name(layer)
    return any(name in table for table in (BINARY, UNARY, REDUCTIONS, FUNCTIONS))


def function_name(layer: Layer) -> str:
    """Returns the name of a function: ``HardSilu``, ``nn.hard_silu`` and ``tf.nn.hard_silu`` are all ``hard_silu``."""
    written = str(layer.config.get("function", "")) if layer.kind in KERAS_2_FUNCTIONS else layer.kind
    last = written.rpartition(".")[2]
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).lower().removeprefix("reduce_")


def unsupported(row: LayerRow, name: str, call: Arguments) -> Tensor:
    """Adds a row without figures for a function or layer without a rule; raises E445 if nothing states its shape."""
    shape = call.stated
    if shape is None:
        raise CnnscopeError.of(
            "E445", f"the function `{name}` is not read yet, and nothing states the shape of its result",
            hint="export the model to ONNX and name that file",
        )  # fmt: skip
    return row.add(Unsupported(shape=shape, batch_axis=0, fn=name), *call.tensors(), axes=tuple(range(len(shape))))


def _unary(row: LayerRow, name: str, call: Arguments, options: Mapping[str, Any]) -> Tensor:
    x = call.tensor()
    if name in UNARY:
        return row.add(Elementwise(name, call=aten.unary(name, options, call.args[1:])), x)
    return named(row, x, name, _integer(options.get("axis", -1), "axis"))


def _binary(row: LayerRow, fn: str, call: Arguments) -> Tensor:
    operands = [call.get(0, "x"), call.get(1, "y")]
    tensors = [x for x in operands if isinstance(x, Tensor)]
    if len(tensors) == 2:
        return combine(row, fn, tensors)
    constant = next((x for x in operands if not isinstance(x, Tensor)), None)
    if not tensors or constant is None:
        raise malformed(f"`{fn}` needs two operands")
    x = tensors[0]
    shape = _constant_shape(constant)
    if len(shape) > x.rank or any(n not in (1, m) for n, m in zip(reversed(shape), reversed(x.shape), strict=False)):
        raise CnnscopeError.of("E303", f"a constant of shape {list(shape)} does not fit {list(x.shape[1:])}")
    first = isinstance(operands[0], Tensor)
    if fn in _AFFINE and (first or fn in ("add", "multiply")) and len(_flat(constant)) in (1, x.shape[-1]):
        numbers = _flat(constant)
        if fn in ("multiply", "divide"):
            return affine(row, x, numbers if fn == "multiply" else [1 / n if n else inf for n in numbers], 0.0)
        return affine(row, x, 1.0, numbers if fn == "add" else [-n for n in numbers])
    return _with_constant(row, fn, x, constant, first)


def _with_constant(row: LayerRow, fn: str, x: Tensor, constant: Any, first: bool) -> Tensor:
    """Adds a function of a tensor and a constant that is no sum or product along the channels."""
    try:
        array = np.asarray(constant, dtype=np.float64)
    except (ValueError, TypeError):
        return row.add(Elementwise(fn), x, lost=("constant",))
    whole = array.reshape((1,) * (x.rank - array.ndim) + array.shape).transpose(x.axes)
    given = aten.literal(whole)
    if given is None:
        return row.add(Elementwise(fn), x, lost=("constant",))
    op = Elementwise.of(fn, x.value.shape, [x.value.shape], [whole.shape])
    return row.add(replace(op, call=aten.binary(fn, (Input(0), given) if first else (given, Input(0)))), x)


_AFFINE = frozenset({"add", "subtract", "multiply", "divide"})


def _flat(value: Any) -> list[Any]:
    """Returns the numbers of a constant whose only axis with several is the last; nothing for others."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    items = value if isinstance(value, list) else [value]
    return items if all(type(n) in (int, float) for n in items) else []


def _constant_shape(value: Any) -> Shape:
    shape: list[int] = []
    while isinstance(value, list) and value:
        shape.append(len(value))
        value = value[0]
    return tuple(shape)


def _axes(x: Tensor, value: Any) -> tuple[int, ...]:
    """Returns the axes of a reduction in the author's order; raises E445 for the batch."""
    items = value if isinstance(value, list) else [value]
    axes = tuple(sorted(x.axes[x.axis(_integer(item, "axis"))] for item in items))
    if 0 in axes or not axes:
        raise CnnscopeError.of("E445", "a function over the whole batch is not read")
    return axes


def _reduce(row: LayerRow, fn: str, x: Tensor, options: Mapping[str, Any]) -> Tensor:
    axes = _axes(x, options.get("axis"))
    stored = tuple(sorted(x.axes.index(axis) for axis in axes))
    keep = options.get("keepdims") is True
    op = Reduce(fn, stored, keep=keep, call=aten.reduction(fn, stored, keep))
    if keep:
        return row.add(op, x)
    left = [axis for axis in x.axes if axis not in axes]
    ranks = {axis: place for place, axis in enumerate(sorted(left))}
    y = row.add(op, x, axes=tuple(ranks[axis] for axis in left))
    return y if y.rank > 3 else row.authored(y)


# -- movement --------------------------------------------------------------------------------------------------------


def _get_item(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    x, key = call.tensor(), options.get("slice_spec", call.get(1, "key"))
    items = key if isinstance(key, list) else [key]
    if ... in items:
        gap = items.index(...)
        items = [*items[:gap], *[slice(None)] * (x.rank - len(items) + 1), *items[gap + 1 :]]
    dropped = []
    for axis, item in enumerate(items):
        if isinstance(item, int) and not isinstance(item, bool):
            dropped.append(axis)
            item = slice(item, item + 1 or None)
        elif not isinstance(item, slice):
            return [unsupported(row, "get_item", call)]
        if item != slice(None):
            args = {"axis": x.axis(axis), "start": item.start or 0, "stop": item.stop, "step": item.step or 1}
            x = row.add(Slice.read(args), x)
    return [_without(row, x, dropped)]


def _without(row: LayerRow, x: Tensor, dropped: Sequence[int]) -> Tensor:
    """Returns ``x`` without the author's axes ``dropped``, which have size 1."""
    shape = [n for axis, n in enumerate(x.shape) if axis not in dropped]
    return reshape(row, x, shape[1:]) if dropped else x


def _reshape(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    target = next((options[key] for key in ("newshape", "shape") if isinstance(options.get(key), list)), None)
    if target is None or (target[1:].count(-1) and target[0] not in (None, 1)):
        return [unsupported(row, "reshape", call)]
    return [reshape(row, call.tensor(), [_integer(n, "shape") for n in target[1:]])]


def _transpose(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    order = options.get("axes", options.get("perm"))
    if not isinstance(order, list):
        return [unsupported(row, "transpose", call)]
    return [transpose(row, call.tensor(), [_integer(axis, "axes") for axis in order])]


def _squeeze(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    x = call.tensor()
    dropped = _axes(x, options.get("axis"))
    if any(x.shape[axis] != 1 for axis in dropped):
        raise CnnscopeError.of("E301", f"an axis of {list(x.shape[1:])} to be squeezed has more than one element")
    return [_without(row, x, dropped)]


def _expand_dims(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    x, axis = call.tensor(), _integer(options.get("axis"), "axis")
    place = axis + x.rank + 1 if axis < 0 else axis
    if not 1 <= place <= x.rank:
        return [unsupported(row, "expand_dims", call)]
    return [reshape(row, x, [*x.shape[1:place], 1, *x.shape[place:]])]


def _concatenate(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    return [concatenate(row, call.tensors(), _integer(options.get("axis", -1), "axis"))]


def _split(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    x = call.tensor()
    parts = options.get("indices_or_sections", options.get("num_or_size_splits"))
    axis = x.axis(_integer(options.get("axis", 0), "axis"))
    size = x.value.shape[axis]
    if not isinstance(parts, int) or parts < 1 or size % parts:
        raise CnnscopeError.of("E445", f"splitting {size} elements into `{parts}` is not read")
    step = size // parts
    return [row.add(Slice(axis, i * step, (i + 1) * step), x) for i in range(parts)]


def _matmul(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    if len(call.tensors()) != 2:
        return [unsupported(row, "matmul", call)]
    a, b = (row.authored(x) for x in call.tensors())
    if any(options.get(key) for key in ("transpose_a", "transpose_b")) or a.rank != b.rank or a.rank < 3:
        return [unsupported(row, "matmul", call)]
    if a.shape[-1] != b.shape[-2] or a.shape[:-2] != b.shape[:-2]:
        raise CnnscopeError.of("E301", f"the matrices {list(a.shape[1:])} and {list(b.shape[1:])} do not fit")
    return [row.add(MatMul(), a, b, kind="tokens" if a.rank == 3 else "tensor")]


def _same(row: LayerRow, call: Arguments, options: Mapping[str, Any]) -> list[Tensor]:
    return [row.add(Identity(), call.tensor())]


FUNCTIONS: Mapping[str, Callable[[LayerRow, Arguments, Mapping[str, Any]], list[Tensor]]] = {
    "get_item": _get_item, "getitem": _get_item, "reshape": _reshape, "transpose": _transpose, "squeeze": _squeeze,
    "expand_dims": _expand_dims, "concatenate": _concatenate, "concat": _concatenate, "split": _split,
    "matmul": _matmul, "identity": _same, "stop_gradient": _same, "cast": _same, "copy": _same,
}  # fmt: skip


def _integer(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise malformed(f"`{what}` is not a whole number")
    return value
