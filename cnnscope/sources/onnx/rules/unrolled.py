"""Recurrent layers of ONNX that torch lacks, an op for each direction, and what they share with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnscope.ir.steps import Permute, Reshape, Taps
from cnnscope.ops.generic import Join, View
from cnnscope.ops.unrolled import Unrolled
from cnnscope.sources.onnx.lazy import stored_in
from cnnscope.sources.onnx.rules import OperatorCall
from cnnscope.sources.onnx.values import Array, Const, Operand

GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Torch's order of the gates: i f g o for ONNX's i o f c, r z n for z r h."""
ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",),
}  # fmt: skip
_STEPPED: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (0, 1, 2), "RNN": (0,)}
"""The gates in the order of `Unrolled`: i f c o, z r h."""
_FUNCTIONS = frozenset({"tanh", "sigmoid", "relu", "elu", "softsign", "softplus"})
"""The activations that mean in ONNX what they mean in `Unrolled`."""


def unrolled(call: OperatorCall, functions: Sequence[str], lost: Sequence[str], *, cells: bool) -> list[Operand]:
    """Returns the outputs of a recurrence that no layer of torch computes: the last cells of an LSTM are read, the gate
    of reset acts on the state of a GRU, or the activations are others. Each direction is an op of its own.
    """
    first, direction = bool(call.integer("layout", 0)), call.text("direction", "forward")
    sides = {"forward": ("",), "reverse": ("reverse",)}.get(direction, ("", "reverse"))
    x, hidden = call.tensor(0), call.integer("hidden_size")
    if not first:
        x = call.emit(View("permute", (Permute((1, 0, 2)),)), x, part="turned")
    states, steps, ends = first_states(call), [], []
    each = len(functions) // len(sides)
    for index, side in enumerate(sides):
        dot = f".{side}" if side else ""
        own = [_of_direction(call, state, index, f"first{i}{dot}") for i, state in enumerate(states)]
        given = flipped(call, x, 1, f"flipped{dot}") if side else x
        op, odd = _op(call, functions[index * each : (index + 1) * each], hidden, cells=cells)
        y = call.emit(op, given, *own, part=f"steps{dot}", params=_stepped(call, op, index, hidden),
                      lost=(*lost, *odd), batch=0)  # fmt: skip
        both = [_features(call, y, i * hidden, hidden, f"{name}{dot}") for i, name in enumerate(("outputs", "cells"))
                ] if cells else [y]  # fmt: skip
        ends.append([_end(call, z, f"{name}{dot}") for z, name in zip(both, ("last", "cell"), strict=False)])
        steps.append(flipped(call, both[0], 1, f"unflipped{dot}") if side else both[0])
    whole = _beside(call, steps, (1, 2, 0, 3) if not first else (0, 1, 2, 3), "")
    order = (0, 1, 2) if first else (1, 0, 2)
    last = [_beside(call, list(z), order, name) for z, name in zip(zip(*ends, strict=True), ("h", "c"), strict=False)]
    return [whole, *last]


def _op(call: OperatorCall, names: Sequence[str], hidden: int, *, cells: bool) -> tuple[Unrolled, list[str]]:
    """Returns the op of a direction, and what it lacks."""
    gate, new = (names[0], names[-1]) if call.type != "RNN" else ("sigmoid", names[-1])
    fits = len(names) == len(ACTIVATIONS[call.type]) and {gate, *names[1:]} <= _FUNCTIONS
    fits = fits and new in _FUNCTIONS and (call.type != "LSTM" or names[1] == names[2])
    odd = [] if fits and not call.attributes.get("activation_alpha") else ["activations"]
    cell: Any = call.type.lower()
    after = call.type != "GRU" or bool(call.integer("linear_before_reset", 0))
    return Unrolled(cell, hidden, "tanh" if odd else new, "sigmoid" if odd else gate, call.has(3), after, cells), odd


def _stepped(call: OperatorCall, op: Unrolled, direction: int, hidden: int) -> dict[str, Const | None]:
    """Returns the weights of a direction. Biases of the input and of the state are added where the op has one."""
    gates = _STEPPED[call.type]

    def of(index: int, start: int, rest: tuple[int, ...]) -> Const:
        stored = call.constant(index)
        assert stored is not None
        return of_gates(call.type, stored, direction, hidden, start, rest, gates)

    params: dict[str, Const | None] = {
        "weight_ih": of(1, 0, call.shape(1)[-1:]), "weight_hh": of(2, 0, call.shape(2)[-1:]),
    }  # fmt: skip
    if not op.bias:
        return params
    one, other = of(3, 0, ()), of(3, len(gates), ())
    if op.two_biases:
        return params | {"bias_ih": one, "bias_hh": other}
    total = Const.computed(one.name, one.shape, one.dtype, b"both biases", lambda x: x[0] + x[1], (one, other),
                           one.origin)  # fmt: skip
    return params | {"bias_ih": total}


def _of_direction(call: OperatorCall, state: str, direction: int, part: str) -> str:
    """Returns (N, hidden) of a state (directions, N, hidden)."""
    _, n, hidden = call.value(state).shape
    steps = (Taps.picked(0, range(direction, direction + 1)), Reshape((n, hidden)))
    return call.emit(View("slice", steps), state, part=part)


def _features(call: OperatorCall, y: str, start: int, hidden: int, part: str) -> str:
    return call.emit(View("slice", (Taps.picked(2, range(start, start + hidden)),)), y, part=part)


def _end(call: OperatorCall, y: str, part: str) -> str:
    """Returns (N, hidden), the last of (N, T, hidden)."""
    n, time, hidden = call.value(y).shape
    return call.emit(View("slice", (Taps.picked(1, range(time - 1, time)), Reshape((n, hidden)))), y, part=part)


def _beside(call: OperatorCall, sides: Sequence[str], order: tuple[int, ...], part: str) -> str:
    """Returns the directions side by side, on the axis before the features, with the axes in another order."""
    shape = call.value(sides[0]).shape
    split = Reshape((*shape[:-1], 1, shape[-1]))
    apart = part != ""
    dot = f".{part}" if part else ""
    if len(sides) == 1:
        return call.emit(View("split", (split, Permute(order))), sides[0], part=part, apart=apart)
    views = [call.emit(View("split", (split,)), y, part=f"side{i}{dot}") for i, y in enumerate(sides)]
    joined = call.emit(Join(len(shape) - 1), *views, part=f"joined{dot}")
    return call.emit(View("permute", (Permute(order),)), joined, part=part, apart=apart)


# -- shared with layers of torch ---------------------------------------------------------------------------------------


def first_states(call: OperatorCall) -> list[str]:
    """Returns the states before the first step, (directions, N, hidden); none if they are zero."""
    if not any(map(_given, (call.inputs[place] if call.has(place) else None for place in (5, 6)))):
        return []
    states = []
    for place in (5, 6)[: 2 if call.type == "LSTM" else 1]:
        if call.has(place):
            state = call.tensor(place)
        else:
            shape = call.shape(5 if place == 6 else 6)
            state = call.held(Const.known(f"{call.base}.zeros", np.zeros(shape, np.float32)))
        if call.integer("layout", 0):
            state = call.emit(View("permute", (Permute((1, 0, 2)),)), state, part=f"first{place - 5}", apart=True)
        states.append(state)
    return states


def _given(state: Operand | None) -> bool:
    """Returns whether a state is given and not zero."""
    if not isinstance(state, Const):
        return state is not None
    return state.value is None or bool(state.value.any())


def flipped(call: OperatorCall, x: str, axis: int, part: str) -> str:
    time = call.value(x).shape[axis]
    return call.emit(View("flip", (Taps.picked(axis, range(time - 1, -1, -1)),)), x, part=part)


def of_gates(
    kind: str, stored: Const, direction: int, hidden: int, start: int, rest: tuple[int, ...],
    gates: Sequence[int] = (),
) -> Const:  # fmt: skip
    """Returns the gates of a direction in torch's order, or in the order of ``gates``."""
    order = [start + gate for gate in gates or GATES[kind]]

    def run(x: Sequence[Array]) -> Array:
        found = x[0][direction].reshape(-1, hidden, *rest)
        return np.ascontiguousarray(found[order]).reshape(len(order) * hidden, *rest)

    label = f"gates {order} {direction} {hidden}".encode()
    shape = (len(order) * hidden, *rest)
    return Const.computed(stored.name, shape, stored.dtype, label, run, (stored,), stored.origin or stored_in(stored))
