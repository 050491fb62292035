"""ONNX operators that read or write elements at places which are values: `GatherElements`, `TopK`, `GridSample` ..."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnscope.ir.steps import Reshape, Taps
from cnnscope.ops.generic import Elementwise, Gather, Movement, Scan, View
from cnnscope.sources.onnx.calls import INTEGERS
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.values import Const, Operand, invalid


@rule("GatherElements", "GatherND", "ScatterElements", "ScatterND", "Scatter", "GridSample", "RoiAlign")
def _picked(call: OperatorCall) -> list[Operand]:
    """The elements read depend on values, so only the shape is known."""
    results: list[Operand] = []
    for output in call.outputs:
        known = call.stated(output) if output else None
        if known is None and output:
            return list(call.unsupported())
        if known is None:
            results.append("")
            continue
        shape, dtype = known
        op = Gather(shape, dtype, 0 if shape[:1] == (1,) else None, fn=call.type.lower())
        function, operands, named = _call(call)
        if call.constant(0) is not None:
            operands = (call.tensor(0), *operands[1:])
        results.append(call.emit_call(op, function, *operands, named=named))
    return results


@rule("TopK")
def _top(call: OperatorCall) -> list[Operand]:
    """Sorts, and takes the first k; of equal elements those that come first."""
    x, value, counts = call.tensor(0), call.value(call.tensor(0)), call.given_integers(1, "k") or []
    axis = call.axis(call.integer("axis", -1), len(value.shape))
    if len(counts) != 1 or not 0 < counts[0] <= value.shape[axis]:
        raise invalid(f"`TopK` takes {counts} of {value.shape[axis]}")
    named = {"stable": True, "dim": axis, "descending": bool(call.integer("largest", 1))}
    function = "" if value.dtype in INTEGERS else "sort"
    results: list[Operand] = []
    for item, output in enumerate(call.outputs):
        op = Scan("sort", (axis,), dtype="int64" if item else None)
        if not output:
            results.append("")
            continue
        apart = item > 0
        y = call.emit_call(op, function, x, named=named, item=item, part="places" if apart else "sorted", apart=apart)
        first = View("slice", (Taps.picked(axis, range(counts[0])),))
        results.append(call.emit(first, y, part="indices" if apart else "", apart=apart))
    return results


_Called = tuple[str, tuple[Any, ...], dict[str, str]]


def _call(call: OperatorCall) -> _Called:
    """Returns ATen's function, its operands and its words by name; no function where torch has none."""
    given = tuple(x for x in call.inputs if x is not None)
    x, rank = given[0], len(call.shape(0))
    match call.type:
        case "GatherElements":
            axis = call.axis(call.integer("axis", 0), rank)
            return "gather", (x, axis, _counted(call, 1, call.shape(0)[axis])), {}
        case "ScatterElements" | "Scatter":
            axis = call.axis(call.integer("axis", 0), rank)
            places = _counted(call, 1, call.shape(0)[axis])
            reduction = call.text("reduction", "none")
            if reduction == "none":
                return "scatter", (x, axis, places, given[2]), {}
            word = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}.get(reduction, "")
            return ("scatter_reduce" if word else ""), (x, axis, places, given[2]), {"reduce": word}
        case "GatherND" if not call.integer("batch_dims", 0) and isinstance(given[1], Const):
            return "index", (x, _columns(given[1])), {}
        case "ScatterND" if call.text("reduction", "none") in ("none", "add") and isinstance(given[1], Const):
            return "index_put", (x, _columns(given[1]), given[2], call.text("reduction", "none") == "add"), {}
        case "GridSample":
            modes = {"linear": 0, "bilinear": 0, "nearest": 1, "cubic": 2, "bicubic": 2}
            borders = {"zeros": 0, "border": 1, "reflection": 2}
            mode = modes.get(call.text("mode", "linear"))
            border = borders.get(call.text("padding_mode", "zeros"))
            function = "" if mode is None or border is None or (mode == 2 and rank != 4) else "grid_sampler"
            return function, (x, given[1], mode, border, bool(call.integer("align_corners", 0))), {}
    return "", given, {}


def _counted(call: OperatorCall, index: int, size: int) -> Operand:
    """Returns places counted from the front, as 64-bit integers: torch's functions count from no end."""
    places = call.operand(index)
    if isinstance(places, Const):
        known = places.value
        return places if known is None else Const.known(places.name, known.astype(np.int64) % size)
    if call.value(places).dtype != "int64":
        places = call.emit(Movement("cast", dtype="int64"), places, part="indices")
    return call.emit_call(Elementwise("mod"), "remainder", places, size, part="places")


def _columns(places: Const) -> tuple[Const, ...]:
    """Returns the places along each axis, of which the last axis has one each."""
    known = places.value
    if known is None:
        raise UnreadableError("places that are too many")
    columns = np.moveaxis(known.astype(np.int64), -1, 0)
    return tuple(Const.known(places.name, np.ascontiguousarray(column)) for column in columns)


@rule("Trilu")
def _trilu(call: OperatorCall) -> list[Operand]:
    diagonal = call.given_integers(1, "k") or [0]
    name = "triu" if call.integer("upper", 1) else "tril"
    return [call.emit_call(Elementwise(name), name, call.tensor(0), diagonal[0])]


@rule("OneHot")
def _one_hot(call: OperatorCall) -> list[Operand]:
    """Is one value at the place of each index along a new axis, and another elsewhere. Indices may count from the
    end.
    """
    depth, values = call.constant(1), call.constant(2)
    if depth is None or depth.value is None or values is None or values.value is None or values.value.size != 2:
        raise UnreadableError("`OneHot` with computed depth or values")
    x, n = call.tensor(0), int(depth.value.reshape(-1)[0])
    if not 0 < n <= 2**20:
        raise invalid(f"`OneHot` of depth {n}")
    shape = call.value(x).shape
    axis = call.axis(call.integer("axis", -1), len(shape) + 1)
    column = call.emit(View("unsqueeze", (Reshape((*shape[:axis], 1, *shape[axis:])),)), x, part="column")
    places = np.arange(n).reshape([-1] + [1] * (len(shape) - axis)).astype(call.value(x).dtype)
    whole = (*shape[:axis], n, *shape[axis:])

    def found(places: Any, part: str) -> str:
        op = Elementwise.of("equal", whole, [call.value(column).shape], [places.shape], "bool")
        return call.emit_call(op, "eq", column, Const.known("places", places), part=part)

    y = found(places, "equal")
    if call.value(x).dtype[0] != "u":
        back = found(places - n, "equal from the end")
        y = call.emit_call(Elementwise("or"), "logical_or", y, back, part="either")
    off, on = (Const.known(name, values.value.reshape(-1)[i]) for i, name in enumerate(("off", "on")))
    return [call.emit_call(Elementwise("where", dtype=values.dtype), "where", y, on, off)]
