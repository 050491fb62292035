"""A graph with other widths: every op takes the shape that its forms have, and is inferred again as a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnnscope.edits.axes import Axes, start_of
from cnnscope.edits.forms import Form
from cnnscope.edits.refit import misfit, shared
from cnnscope.edits.widths import Widths, is_depthwise
from cnnscope.errors import CnnscopeError, ShapeError
from cnnscope.ir import Graph, Node, Param, Shape, Value
from cnnscope.ir.steps import Expand, Place, Reshape, Step, Taps
from cnnscope.ops.conv import Conv, TransposedConv
from cnnscope.ops.generic import Constant, Elementwise, Embedding, Movement, Parameter
from cnnscope.ops.movement import ReshapeOp, Slice
from cnnscope.ops.product import Linear


def rewidened(w: Widths, widths: Mapping[str, int]) -> Graph:
    """The graph with these widths of the free variables.

    `CnnscopeError`: E491 where a width is no whole number or groups do not divide it, E304 where layers share a weight
    that would have two shapes.
    """
    graph = w.graph
    for form, divisor, layer in w.divisors:
        channels = _value(w, form, widths, layer)
        if channels % divisor:
            message = f"`{layer}` has {divisor} groups or heads, which do not divide {channels} channels"
            raise CnnscopeError.of("E491", message, hint=f"a multiple of {divisor} fits")
    values, params, nodes = dict(graph.inputs), dict[str, Param](), []
    for node in graph.nodes:
        shape = tuple(_value(w, axis.form, widths, node.layer) for axis in w.axes[node.name])
        x = [values[name] for name in node.inputs]
        op = _op(w, node, shape, x, widths)
        try:
            found = op.infer(x)
        except ShapeError as error:
            raise misfit(graph, node, x, error) from None
        if found.shape != shape:
            raise CnnscopeError.of("E492", f"`{node.layer}` does not pass on the width that it reads")
        now = {**op.weights(x), **op.buffers(x)}
        for role, key in node.params.items():
            param = graph.params[key]
            same = role not in now or now[role] == param.shape
            param = param if same else replace(param, shape=now[role], data=None, made_of=())
            if params.setdefault(key, param) != param:
                raise shared(key, params[key], param)
        values[node.name] = replace(node.output, shape=shape)
        nodes.append(replace(node, op=op, output=values[node.name]))
    return replace(graph, nodes=tuple(nodes), params={key: params.get(key, p) for key, p in graph.params.items()})


def _value(w: Widths, form: Form, widths: Mapping[str, int], layer: str) -> int:
    if not form.terms:
        return int(form.const)
    try:
        return w.equations.value(form, widths)
    except CnnscopeError as error:
        (found,) = error.diagnostics
        raise CnnscopeError.of(found.code, f"`{layer}` would have {found.message}") from None


def _op(w: Widths, node: Node, shape: Shape, x: list[Value], widths: Mapping[str, int]) -> Any:
    op: Any = node.op
    match op:
        case Conv() if is_depthwise(w.graph, node):
            return replace(op, out=shape[1], groups=x[0].shape[1])
        case Conv() | TransposedConv():
            return replace(op, out=shape[1])
        case Linear():
            return replace(op, out=shape[-1])
        case Embedding():
            return replace(op, dim=shape[-1])
        case Parameter() | Constant():
            return replace(op, shape=shape)
        case ReshapeOp() if shape != node.output.shape:
            return replace(op, shape=shape[1:])
        case Slice() if shape != node.output.shape and w.steps.get(node.name):
            axis, picked = op._range(w.graph.values(node)[0])
            start = _start(w, picked.start, w.axes[node.inputs[0]], axis, widths)
            return replace(op, start=start, stop=start + shape[axis])
        case Movement(steps=steps):
            return replace(op, steps=_steps(w, node, steps, widths))
        case Elementwise() if op.shape:
            return replace(op, shape=shape)
    return op


def _start(w: Widths, low: int, axes: Axes, axis: int, widths: Mapping[str, int]) -> int:
    return low if low <= 0 else w.equations.value(start_of(low, axes[axis]), widths)


def _steps(w: Widths, node: Node, steps: tuple[Step, ...], widths: Mapping[str, int]) -> tuple[Step, ...]:
    if node.name not in w.steps:  # nothing that it reads changes
        return steps
    result, before = list[Step](), w.axes[node.inputs[0]]
    for step, after in zip(steps, w.steps[node.name], strict=True):
        shape = tuple(_value(w, axis.form, widths, node.layer) for axis in after)
        match step:
            case Reshape() | Expand():
                step = replace(step, shape=shape)
            case Place(axis=axis):
                step = replace(step, size=shape[axis])
            case Taps(axis=axis, taps=((low,),)) if not before[axis].fixed:
                step = replace(step, size=shape[axis], taps=((_start(w, low, before, axis, widths),),))
        result.append(step)
        before = after
    return tuple(result)
