"""ONNX operators with recurrence: `LSTM`, `GRU`, `RNN`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cnnscope.ir.steps import Permute, Reshape, Taps
from cnnscope.ops.generic import Join, Select, View
from cnnscope.ops.recurrent import GRU, LSTM, RNN, Recurrent
from cnnscope.sources.onnx.lazy import stored_in
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.values import Array, Const, Operand

_OPS: Mapping[str, type[Recurrent]] = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}
_GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Torch's order of the gates: i f g o for ONNX's i o f c, r z n for z r h."""
_ACTIVATIONS: Mapping[str, tuple[str, ...]] = {
    "LSTM": ("sigmoid", "tanh", "tanh"), "GRU": ("sigmoid", "tanh"), "RNN": ("tanh",),
}  # fmt: skip


@rule("LSTM", "GRU", "RNN")
def _recurrent(call: OperatorCall) -> list[Operand]:
    """The first output is (T, directions, N, hidden), with ``layout`` (N, T, directions, hidden). The last states are
    parts of it; the last cells are not.
    """
    weights = [call.constant(i) for i in (1, 2, 3)]
    x, hidden = call.tensor(0), call.integer("hidden_size")
    if None in weights[:2] or (call.has(3) and weights[2] is None) or len(call.shape(0)) != 3:
        raise UnreadableError(f"`{call.type}` of this kind")
    first, direction = bool(call.integer("layout", 0)), call.text("direction", "forward")
    both, turned = direction == "bidirectional", direction == "reverse"
    if first:
        x = call.emit(View("permute", (Permute((1, 0, 2)),)), x, part="turned")
    time, batch, _ = call.value(x).shape
    if turned:
        x = _flipped(call, x, time, "flipped")
    functions, lost = _activations(call, both)
    options: dict[str, Any] = {"nonlinearity": functions[0]} if call.type == "RNN" and functions[0] == "relu" else {}
    op = _OPS[call.type](hidden, bidirectional=both, bias=weights[2] is not None, batch_first=False, **options)
    views = dict(_views(call.type, weights, 2 if both else 1, hidden))
    extra = [c for c in (call.constant(7),) if c is not None]
    y = call.emit(op, x, part="steps", params=views, constants=extra, lost=(*lost, *_lost(call, time)))
    steps = y if not turned else _flipped(call, y, time, "unflipped")
    directions = 2 if both else 1
    order = (1, 0, 2, 3) if first else (0, 2, 1, 3)
    split = (Reshape((time, batch, directions, hidden)), Permute((1, 0, 2, 3) if first else order))
    results: list[Operand] = [call.emit(View("split", split), steps)]
    names = [*call.outputs[1:], "", ""]
    results.append(_last(call, y, time, hidden, both, first) if names[0] else "")
    if names[1]:
        state = (batch, directions, hidden) if first else (directions, batch, hidden)
        select = Select(state, call.value(y).dtype, 0 if first else 1, 2, "recurrence")
        results.append(call.emit(select, y, part="cell", apart=True))
    return results


def _flipped(call: OperatorCall, x: str, time: int, part: str) -> str:
    return call.emit(View("flip", (Taps.picked(0, range(time - 1, -1, -1)),)), x, part=part)


def _last(call: OperatorCall, y: str, time: int, hidden: int, both: bool, first: bool) -> str:
    """Returns the state after the last step of each direction, (directions, N, hidden)."""

    def state(step: int, start: int, part: str) -> str:
        cut = (Taps.picked(2, range(start, start + hidden)),) if both else ()
        turn = (Permute((1, 0, 2)),) if first and not both else ()
        return call.emit(View("slice", (Taps.picked(0, range(step, step + 1)), *cut, *turn)), y, part=part, apart=True)

    if not both:
        return state(time - 1, 0, "last")
    ends = state(time - 1, 0, "last.forward"), state(0, hidden, "last.backward")
    joined = call.emit(Join(0), *ends, part="last", apart=True)
    return (
        call.emit(View("permute", (Permute((1, 0, 2)),)), joined, part="last.turned", apart=True) if first else joined
    )


def _activations(call: OperatorCall, both: bool) -> tuple[Sequence[str], tuple[str, ...]]:
    """Returns the activations of one direction, and what a layer of torch lacks of them."""
    raw = call.attributes.get("activations")
    plain = _ACTIVATIONS[call.type]
    if not isinstance(raw, list) or not raw:
        return plain, ()
    given = [name.decode(errors="replace").lower() if isinstance(name, bytes) else str(name).lower() for name in raw]
    known = [plain, ("relu",)] if call.type == "RNN" else [plain]
    right = any(given == list(names) * (2 if both else 1) for names in known)
    return given, () if right else ("activations",)


def _lost(call: OperatorCall, time: int) -> Iterator[str]:
    """Yields the operands that a layer of torch lacks."""
    lengths = call.constant(4)
    if call.has(4) and (lengths is None or set(lengths.integers() or [0]) != {time}):
        yield "sequence_lens"
    for place, name in ((5, "initial_h"), (6, "initial_c")):
        state = call.constant(place)
        if call.has(place) and (state is None or state.value is None or state.value.any()):
            yield name
    if call.has(7):
        yield "P"
    for name in ("clip", "input_forget"):
        if call.attributes.get(name):
            yield name
    if call.type == "GRU" and not call.integer("linear_before_reset", 0):
        yield "linear_before_reset"


def _views(kind: str, weights: Sequence[Const | None], directions: int, hidden: int) -> Iterator[tuple[str, Const]]:
    """Yields torch's weights by role, each as a view of a stored tensor of all directions and gates."""
    w, r, b = weights
    gates = len(_GATES[kind])
    for direction in range(directions):
        suffix = "l0_reverse" if direction else "l0"
        for part, stored in (("ih", w), ("hh", r)):
            assert stored is not None
            yield f"weight_{part}_{suffix}", _of_gates(kind, stored, direction, hidden, 0, stored.shape[-1:])
        if b is not None:
            for part, start in (("ih", 0), ("hh", gates)):
                yield f"bias_{part}_{suffix}", _of_gates(kind, b, direction, hidden, start, ())


def _of_gates(kind: str, stored: Const, direction: int, hidden: int, start: int, rest: tuple[int, ...]) -> Const:
    order = [start + gate for gate in _GATES[kind]]

    def run(x: Sequence[Array]) -> Array:
        gates = x[0][direction].reshape(-1, hidden, *rest)
        return np.ascontiguousarray(gates[order]).reshape(len(order) * hidden, *rest)

    label = f"gates {kind} {direction} {hidden} {start}".encode()
    shape = (len(order) * hidden, *rest)
    return Const.computed(stored.name, shape, stored.dtype, label, run, (stored,), stored.origin or stored_in(stored))
