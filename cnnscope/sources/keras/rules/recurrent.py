"""Keras' recurrent layers, each in one direction: dense and convolutional, and `RNN` around cells.

Keras has one bias for the gates where torch has two (a GRU with ``reset_after`` has two as well). The second one is
zeros in torch's module and does not count as a parameter. What torch's layers lack (other activations, states before
the first step, the cell of an LSTM as an output) runs step by step (`cnnscope.ops.unrolled`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnscope.errors import CnnscopeError
from cnnscope.ops.arguments import Choice, PerAxis
from cnnscope.ops.movement import Flip, ReshapeOp, Slice
from cnnscope.ops.recurrent import GRU, LSTM, RNN, Recurrent
from cnnscope.ops.tokens import Token
from cnnscope.ops.unrolled import FUNCTIONS, Cell, Unrolled
from cnnscope.ops.window import resolve_pad
from cnnscope.sources.keras.config import Layer, malformed
from cnnscope.sources.keras.row import LayerRow, Tensor, map_axes
from cnnscope.sources.keras.rules import Arguments, Settings, calls, refusal
from cnnscope.sources.keras.stored import Array, Stored, Turn, Zeros, kernel, same, transposed

OPS: Mapping[str, type[Recurrent]] = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": RNN}
_CELLS: Mapping[str, Cell] = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn", "ConvLSTM": "lstm"}
_USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid"}


@dataclass(frozen=True, slots=True)
class Run:
    """What a recurrence gives: the states of all steps in the order in which it read them, and the states after the
    last one."""

    steps: Tensor
    ends: list[Tensor]


@calls("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "RNN")
def _recurrent(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    found = run(row, s, *given(call), wanted=s.flag("return_state", False))
    y = found.steps if s.flag("return_sequences", False) else end(row, found.steps)
    return [y, *(found.ends if s.flag("return_state", False) else [])]


def given(call: Arguments) -> tuple[Tensor, list[Tensor]]:
    """Returns the sequence and the states before its first step, which follow it in a list or have a name."""
    mask = call.kwargs.get("mask")
    xs = [x for x in call.tensors() if x is not mask]
    if not xs:
        raise CnnscopeError.of("E443", "it is called without a tensor")
    return xs[0], xs[1:]


def run(
    row: LayerRow, s: Settings, x: Tensor, states: Sequence[Tensor], *, wanted: bool, part: str = "", home: str = ""
) -> Run:
    """Adds the ops of a layer, one for each cell. ``wanted`` says whether the states after the last step are read."""
    lost = [key for key in ("stateful", "time_major") if s.flag(key, False)]
    if s.flag("go_backwards", False):
        x = row.add(Flip(x.axis(1)), x, part=f"{part}reversed")
    found = [*cells(s)]
    each = len(states) // len(found)
    if each * len(found) != len(states):
        raise CnnscopeError.of("E443", f"it has {len(found)} cells but gets {len(states)} states")
    ends: list[Tensor] = []
    for i, (cell, place) in enumerate(found):
        own = states[i * each : (i + 1) * each]
        x, last = _cell(row, cell, x, own, f"{home}/{place}".strip("/"), f"{part or 'states'}", lost, wanted)
        ends += last
    return Run(x, ends)


def cells(s: Settings) -> list[tuple[Settings, str]]:
    """Returns the cells of a layer, each with the path of attributes to it."""
    if s.layer.kind != "RNN":
        return [(s, "cell")]
    cell = s.layer.config.get("cell")
    if isinstance(cell, dict) and cell.get("class_name") == "StackedRNNCells":
        config = cell.get("config")
        cell = config.get("cells") if isinstance(config, dict) else None
    several = cell if isinstance(cell, list) else [cell]
    found: list[tuple[Settings, str]] = []
    numbers: dict[str, int] = {}
    for entry in several:
        if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
            raise malformed("`RNN` has no `cell` with a config")
        kind = str(entry.get("class_name"))
        inner = Layer(s.layer.name, kind.removesuffix("Cell"), entry["config"], (), str(entry.get("module") or ""))
        if kind.removesuffix("Cell") not in OPS or not kind.endswith("Cell"):
            raise refusal(Layer(s.layer.name, kind, entry["config"], (), inner.module))
        number = numbers[kind] = numbers.get(kind, -1) + 1
        name = {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell"}.get(kind, "simple_rnn_cell")
        place = f"cell/cells/{name}" + (f"_{number}" if number else "")
        found.append((Settings(inner), place if isinstance(cell, list) else "cell"))
    if not found:
        raise malformed("`RNN` has no `cell` with a config")
    return found


def _cell(
    row: LayerRow, s: Settings, x: Tensor, states: Sequence[Tensor], home: str, part: str, lost: Sequence[str],
    wanted: bool,
) -> tuple[Tensor, list[Tensor]]:  # fmt: skip
    """Adds one recurrence; returns the states of its steps and, where they are ``wanted``, those after the last."""
    kind = s.layer.kind.removeprefix("CuDNN")
    if kind in OPS and not states and is_usual(s) and not (wanted and kind == "LSTM"):
        y = usual(row, s, x, {"": home}, part, lost)
        return y, [end(row, y)] if wanted else []
    op, x, states, odd = _unrolled(row, s, x, states, wanted)
    stored = _unrolled_variables(op, home)
    y = row.add(op, x, *states, part=part, stored=stored, axes=x.axes, lost=(*lost, *odd))
    if not op.cell_too:
        return y, [end(row, y)] if wanted else []
    both = [row.add(Slice(2, at, at + op.hidden), y, part=name) for at, name in ((0, "outputs"), (op.hidden, "cells"))]
    return both[0], [end(row, side) for side in both]


def end(row: LayerRow, y: Tensor, index: int = -1) -> Tensor:
    """Returns one step of the states of all steps."""
    if y.rank == 3:
        return row.add(Token(index), y, part="last" if index else "first")
    step = row.add(Slice(1, index, index + 1 or None), y, part="last" if index else "first")
    axes = map_axes(y.rank - 1, row.channels_last)
    return row.add(ReshapeOp(y.value.shape[2:]), step, axes=axes, kind="map")


def is_usual(s: Settings) -> bool:
    """Returns whether torch has the layer."""
    odd = [key for key, usual in _USUAL.items() if s.get(key, usual) != usual]
    if s.layer.kind == "SimpleRNN" and s.get("activation", "tanh") == "relu":
        odd = []
    after = not s.layer.kind.endswith("GRU") or s.flag("reset_after", True)
    return not odd and after


def usual(
    row: LayerRow, s: Settings, x: Tensor, homes: Mapping[str, str], part: str, lost: Sequence[str] = ()
) -> Tensor:  # fmt: skip
    """Adds torch's layer. ``homes`` has the cell of each direction by the suffix of torch's names."""
    if x.rank != 3:
        raise CnnscopeError.of("E301", f"it needs steps and features but gets {list(x.shape[1:])}")
    kind = s.layer.kind.removeprefix("CuDNN")
    args = {"hidden": s.get("units"), "bias": s.flag("use_bias", True), "bidirectional": len(homes) > 1}
    if kind == "SimpleRNN" and s.get("activation") == "relu":
        args["nonlinearity"] = "relu"
    stored: dict[str, Stored | Zeros] = {}
    for suffix, home in homes.items():
        stored |= _variables(kind, suffix, home)
    return row.add(OPS[kind].read(args), row.authored(x), part=part, stored=stored, lost=tuple(lost))


def _unrolled(
    row: LayerRow, s: Settings, x: Tensor, states: Sequence[Tensor], wanted: bool
) -> tuple[Unrolled, Tensor, list[Tensor], list[str]]:
    """Returns the op, its inputs in the order that it needs, and the settings that it does not have."""
    kind = s.layer.kind.removeprefix("CuDNN")
    ndim = 0 if kind in OPS else s.ndim
    if x.rank != 3 + ndim:
        positions = f", {ndim} axes of positions" if ndim else ""
        raise CnnscopeError.of("E301", f"it needs steps{positions} and features but gets {list(x.shape[1:])}")
    names = {key: s.get(key, usual) for key, usual in _USUAL.items()}
    odd = [key for key, name in names.items() if name not in FUNCTIONS]
    functions = {key: usual if key in odd else names[key] for key, usual in _USUAL.items()}
    args: dict[str, Any] = {}
    if ndim:
        one = PerAxis(1)
        args = {key: s.read(name, one, usual, ndim) for key, name, usual in _WINDOW}
        rest = tuple(a for a in range(2, x.rank) if a != (x.rank - 1 if row.channels_last else 2))
        x = row.store(x, (0, 1, x.rank - 1 if row.channels_last else 2, *rest), "tensor")
        word = s.read("padding", Choice(("valid", "same")), "valid")
        args["pad"] = resolve_pad(word, x.value.shape[3:], args["kernel"], args["stride"], args["dilation"])
        states = [row.map(state) for state in states]
    op = Unrolled(
        _CELLS[kind[: len("ConvLSTM")] if ndim else kind], s.integer("filters" if ndim else "units", minimum=1),
        str(functions["activation"]), str(functions["recurrent_activation"]), s.flag("use_bias", True),
        s.flag("reset_after", True), wanted and (ndim > 0 or kind == "LSTM"), **args,
    )  # fmt: skip
    return op, x if ndim else row.authored(x), [*states], odd


_WINDOW = (("kernel", "kernel_size", None), ("stride", "strides", 1), ("dilation", "dilation_rate", 1))


def _unrolled_variables(op: Unrolled, home: str) -> dict[str, Stored | Zeros]:
    turn: Turn = kernel if op.kernel else transposed
    stored: dict[str, Stored | Zeros] = {
        "weight_ih": Stored("kernel", turn, home), "weight_hh": Stored("recurrent_kernel", turn, home),
        "bias_ih": Stored("bias", (lambda array: array[0]) if op.two_biases else same, home),
    }  # fmt: skip
    return stored | ({"bias_hh": Stored("bias", lambda array: array[1], home)} if op.two_biases else {})


def _variables(kind: str, suffix: str, home: str) -> dict[str, Stored | Zeros]:
    """Returns what torch's weights of a direction are in Keras. Gates are i, f, c, o in both (LSTM); z, r, h in Keras
    and r, z, n in torch (GRU)."""
    gates: Turn = _reset_first if kind == "GRU" else same

    def turned(then: Callable[[Array], Array]) -> Turn:
        return lambda array: gates(then(array))

    ih, hh = f"bias_ih_l0{suffix}", f"bias_hh_l0{suffix}"
    if kind == "GRU":  # with `reset_after`
        first: Stored = Stored("bias", turned(lambda array: array[0]), home)
        second: Stored | Zeros = Stored("bias", turned(lambda array: array[1]), home)
    else:
        first, second = Stored("bias", turned(same), home), Zeros(beside=ih)
    return {
        f"weight_ih_l0{suffix}": Stored("kernel", turned(transposed), home),
        f"weight_hh_l0{suffix}": Stored("recurrent_kernel", turned(transposed), home),
        ih: first, hh: second,
    }  # fmt: skip


def _reset_first(array: Array) -> Array:
    update, reset, new = np.split(array, 3)
    return np.concatenate([reset, update, new])
