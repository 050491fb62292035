"""Keras' recurrent layers.

Keras has one bias for the gates where torch has two (a GRU with ``reset_after`` has two as well). The second one is
zeros in torch's module and does not count as a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cnnscope.errors import CnnscopeError
from cnnscope.ops.affine import Affine
from cnnscope.ops.generic import Unsupported
from cnnscope.ops.merge import Concat
from cnnscope.ops.movement import Slice
from cnnscope.ops.recurrent import GRU, LSTM, RNN, Recurrent
from cnnscope.ops.tokens import Token
from cnnscope.sources.keras.config import Layer, malformed
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Arguments, Settings, calls
from cnnscope.sources.keras.rules.tensors import combine
from cnnscope.sources.keras.stored import Array, Stored, Turn, Zeros, same, transposed

_OPS: Mapping[str, type[Recurrent]] = {"LSTM": LSTM, "GRU": GRU, "SimpleRNN": RNN}
_USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid"}
_MERGES = {"sum": "add", "mul": "multiply", "ave": "add"}


@calls("LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU")
def _recurrent(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    y = _states(row, s, call, {"": "cell"}, _lost(s, call))
    everything, states = s.flag("return_sequences", False), s.flag("return_state", False)
    if everything and not states:
        return [y]
    last = row.add(Token(-1), y, part="last")
    return [y if everything else last, *(_final(row, s, [last]) if states else [])]


@calls("Bidirectional")
def _bidirectional(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Has the layer twice; the second one reads the steps from the last to the first."""
    inner = wrapped(s)
    if inner.layer.kind not in _OPS:
        raise CnnscopeError.of("E445", f"`Bidirectional` around `{inner.layer.kind}` is not read yet")
    backward = s.layer.config.get("backward_layer")
    lost = [*_lost(inner, call), *(["backward_layer"] if _differs(inner.layer.config, backward) else [])]
    y = _states(row, inner, call, {"": "forward_layer/cell", "_reverse": "backward_layer/cell"}, lost)
    everything, states = inner.flag("return_sequences", False), inner.flag("return_state", False)
    if everything and not states and s.layer.config.get("merge_mode", "concat") == "concat":
        return [y]
    units = y.shape[-1] // 2
    sides = [row.add(Slice(2, start, start + units), y, part=part) for start, part in ((0, "onward"), (units, "back"))]
    if everything and not states:
        return _merged(row, s, sides, y)
    ends = [row.add(Token(-1), sides[0], part="last"), row.add(Token(0), sides[1], part="first")]
    found = _merged(row, s, sides, y) if everything else _merged(row, s, ends, None)
    return [*found, *_final(row, inner, ends)] if states else found


def _merged(row: LayerRow, s: Settings, sides: Sequence[Tensor], whole: Tensor | None) -> list[Tensor]:
    mode = s.layer.config.get("merge_mode", "concat")
    if mode is None:
        return list(sides)
    if mode == "concat":
        return [whole if whole is not None else row.add(Concat(sides[0].rank - 1), *sides)]
    if mode not in _MERGES:
        raise malformed(f"`merge_mode` is `{mode}`")
    merged = combine(row, _MERGES[mode], sides)
    return [row.add(Affine((0.5,)), merged) if mode == "ave" else merged]


def _final(row: LayerRow, s: Settings, ends: Sequence[Tensor]) -> list[Tensor]:
    """Returns the states after the last step: the output, and of an LSTM the cell, which its op does not give."""
    found: list[Tensor] = []
    for end in ends:
        found.append(end)
        if s.layer.kind.endswith("LSTM"):
            shape = end.value.shape
            found.append(row.add(Unsupported(shape=shape, batch_axis=0, fn="cell state"), end, part="state"))
    return found


def wrapped(s: Settings) -> Settings:
    """Returns the settings of the layer that a wrapper holds."""
    inner = s.layer.config.get("layer")
    if not isinstance(inner, dict) or not isinstance(inner.get("config"), dict):
        raise malformed("a wrapper has no `layer` with a config")
    return Settings(Layer(s.layer.name, str(inner.get("class_name")), inner["config"], ()))


def _differs(config: Mapping[str, Any], backward: object) -> bool:
    other = backward.get("config") if isinstance(backward, dict) else None
    names = ("units", *_USUAL, "use_bias", "reset_after", "return_sequences")
    return isinstance(other, dict) and any(other.get(name) != config.get(name) for name in names)


def _lost(s: Settings, call: Arguments) -> list[str]:
    """Returns the settings that torch's layers do not have."""
    odd = [key for key, usual in _USUAL.items() if s.get(key, usual) != usual]
    if s.layer.kind == "SimpleRNN" and s.get("activation", "tanh") == "relu":
        odd = []
    odd += [key for key in ("go_backwards", "stateful") if s.flag(key, False)]
    odd += ["reset_after"] if s.layer.kind.endswith("GRU") and not s.flag("reset_after", True) else []
    masks = call.kwargs.get("mask") is not None
    return odd + (["initial_state"] if len(call.tensors()) > 1 + masks else [])


def _states(
    row: LayerRow, s: Settings, call: Arguments, homes: Mapping[str, str], lost: Sequence[str]
) -> Tensor:  # fmt: skip
    """Adds the op, whose output has the states of all steps. ``homes`` has the cell of each direction by the suffix of
    torch's names."""
    x = call.tensor()
    if x.rank != 3:
        raise CnnscopeError.of("E301", f"it needs steps and features but gets {list(x.shape[1:])}")
    kind = s.layer.kind.removeprefix("CuDNN")
    bias = s.flag("use_bias", True)
    args = {"hidden": s.get("units"), "bias": bias, "bidirectional": len(homes) > 1}
    if kind == "SimpleRNN" and s.get("activation") == "relu":
        args["nonlinearity"] = "relu"
    op = _OPS[kind].read(args)
    stored: dict[str, Stored | Zeros] = {}
    for suffix, home in homes.items():
        stored |= _variables(kind, suffix, home, twice=kind == "GRU" and s.flag("reset_after", True))
    return row.add(op, row.authored(x), part="states", stored=stored, lost=tuple(lost))


def _variables(kind: str, suffix: str, home: str, *, twice: bool) -> dict[str, Stored | Zeros]:
    """Returns what torch's weights of a direction are in Keras. Gates are i, f, c, o in both (LSTM); z, r, h in Keras
    and r, z, n in torch (GRU)."""
    gates: Turn = _reset_first if kind == "GRU" else same

    def turned(then: Callable[[Array], Array]) -> Turn:
        return lambda array: gates(then(array))

    ih, hh = f"bias_ih_l0{suffix}", f"bias_hh_l0{suffix}"
    if twice:
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
