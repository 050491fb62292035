"""ONNX operators with recurrence: `LSTM`, `GRU`, `RNN`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cnnscope.ir.steps import Permute, Reshape, Taps
from cnnscope.ops.generic import Join, View
from cnnscope.ops.recurrent import GRU, LSTM, RNN, Recurrent, StartedGRU, StartedLSTM, StartedRNN
from cnnscope.sources.onnx.rules import OperatorCall, UnreadableError, rule
from cnnscope.sources.onnx.rules.unrolled import ACTIVATIONS, GATES, first_states, flipped, of_gates, unrolled
from cnnscope.sources.onnx.values import Const, Operand

_OPS: Mapping[str, type[Recurrent]] = {"LSTM": LSTM, "GRU": GRU, "RNN": RNN}
_STARTED: Mapping[str, type[Recurrent]] = {"LSTM": StartedLSTM, "GRU": StartedGRU, "RNN": StartedRNN}
"""The same with first states that are not zero."""


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
    functions, known = _activations(call, both)
    lost = [*_lost(call, call.shape(0)[1 if first else 0])]
    cells = len(call.outputs) > 2 and call.outputs[2] != ""
    before = call.type == "GRU" and not call.integer("linear_before_reset", 0)
    if cells or before or not known:
        return unrolled(call, functions, lost, cells=cells)
    if first:
        x = call.emit(View("permute", (Permute((1, 0, 2)),)), x, part="turned")
    time, batch, _ = call.value(x).shape
    if turned:
        x = flipped(call, x, 0, "flipped")
    options: dict[str, Any] = {"nonlinearity": functions[0]} if call.type == "RNN" and functions[0] == "relu" else {}
    states = first_states(call)
    kinds = _STARTED if states else _OPS
    op = kinds[call.type](hidden, bidirectional=both, bias=weights[2] is not None, batch_first=False, **options)
    views = dict(_views(call.type, weights, 2 if both else 1, hidden))
    extra = [c for c in (call.constant(7),) if c is not None]
    y = call.emit(op, x, *states, part="steps", params=views, constants=extra, lost=lost)
    steps = y if not turned else flipped(call, y, 0, "unflipped")
    directions = 2 if both else 1
    order = (1, 0, 2, 3) if first else (0, 2, 1, 3)
    split = (Reshape((time, batch, directions, hidden)), Permute((1, 0, 2, 3) if first else order))
    results: list[Operand] = [call.emit(View("split", split), steps)]
    names = [*call.outputs[1:], ""]
    results.append(_last(call, y, time, hidden, both, first) if names[0] else "")
    return results


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


def _activations(call: OperatorCall, both: bool) -> tuple[Sequence[str], bool]:
    """Returns the activations of each direction, and whether they are those of a layer of torch."""
    raw = call.attributes.get("activations")
    plain = ACTIVATIONS[call.type]
    if not isinstance(raw, list) or not raw:
        return plain * (2 if both else 1), True
    given = [name.decode(errors="replace").lower() if isinstance(name, bytes) else str(name).lower() for name in raw]
    known = [plain, ("relu",)] if call.type == "RNN" else [plain]
    return given, any(given == list(names) * (2 if both else 1) for names in known)


def _lost(call: OperatorCall, time: int) -> Iterator[str]:
    """Yields the operands that a layer of torch lacks."""
    lengths = call.constant(4)
    if call.has(4) and (lengths is None or set(lengths.integers() or [0]) != {time}):
        yield "sequence_lens"
    if call.has(7):
        yield "P"
    for name in ("clip", "input_forget"):
        if call.attributes.get(name):
            yield name


def _views(kind: str, weights: Sequence[Const | None], directions: int, hidden: int) -> Iterator[tuple[str, Const]]:
    """Yields torch's weights by role, each as a view of a stored tensor of all directions and gates."""
    w, r, b = weights
    gates = len(GATES[kind])
    for direction in range(directions):
        suffix = "l0_reverse" if direction else "l0"
        for part, stored in (("ih", w), ("hh", r)):
            assert stored is not None
            yield f"weight_{part}_{suffix}", of_gates(kind, stored, direction, hidden, 0, stored.shape[-1:])
        if b is not None:
            for part, start in (("ih", 0), ("hh", gates)):
                yield f"bias_{part}_{suffix}", of_gates(kind, b, direction, hidden, start, ())
