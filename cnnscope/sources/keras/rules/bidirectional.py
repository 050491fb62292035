"""Keras' recurrent layers in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnnscope.ops.affine import Affine
from cnnscope.ops.movement import Flip, Slice
from cnnscope.sources.keras.config import malformed
from cnnscope.sources.keras.row import LayerRow, Tensor
from cnnscope.sources.keras.rules import Arguments, Settings, calls, refusal, wrapped
from cnnscope.sources.keras.rules.recurrent import OPS, end, given, is_usual, run, usual
from cnnscope.sources.keras.rules.tensors import combine, concatenate

_MERGES = {"sum": "add", "mul": "multiply", "ave": "add"}
_RECURRENT = ("RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "CuDNNLSTM", "CuDNNGRU", *OPS)


@calls("Bidirectional")
def _bidirectional(row: LayerRow, s: Settings, call: Arguments) -> list[Tensor]:
    """Has a layer and another one that reads the steps from the last to the first, by default its copy."""
    onward = wrapped(s)
    if onward.layer.kind not in _RECURRENT:
        raise refusal(onward.layer)
    backward = _backward(s, onward)
    x, states = given(call)
    if backward is None and not states and _is_one_layer(onward):
        return _as_one(row, s, onward, x)
    other = backward or _mirrored(onward)
    wanted, half = onward.flag("return_state", False), len(states) // 2
    runs = [
        run(row, side, x, own, wanted=wanted, part=part, home=home)
        for side, own, part, home in (
            (onward, states[:half], "onward", "forward_layer"),
            (other, states[half:], "back", "backward_layer"),
        )
    ]
    everything = onward.flag("return_sequences", False)
    sides = [found.steps if everything else end(row, found.steps) for found in runs]
    if everything:
        sides[1] = row.add(Flip(sides[1].axis(1)), sides[1])
    return [*_merged(row, s, sides), *(state for found in runs for state in found.ends if wanted)]


def _backward(s: Settings, onward: Settings) -> Settings | None:
    """Returns the layer for the other direction if it is another one than a copy in reverse."""
    if not isinstance(s.layer.config.get("backward_layer"), dict):
        return None
    found = wrapped(s, "backward_layer")
    alike = {**found.layer.config, "go_backwards": onward.flag("go_backwards", False)}
    same = found.layer.kind == onward.layer.kind and _rest(alike) == _rest(onward.layer.config)
    return None if same and found.flag("go_backwards", True) != onward.flag("go_backwards", False) else found


def _rest(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings that change what a layer computes."""
    told = ("units", "filters", "kernel_size", "strides", "padding", "dilation_rate", "activation", "go_backwards",
            "recurrent_activation", "use_bias", "reset_after", "return_sequences", "return_state", "cell")  # fmt: skip
    return {key: config.get(key) for key in told}


def _mirrored(s: Settings) -> Settings:
    config = {**s.layer.config, "go_backwards": not s.flag("go_backwards", False)}
    return Settings(replace(s.layer, config=config))


def _is_one_layer(s: Settings) -> bool:
    """Returns whether torch has both directions in one layer."""
    odd = s.flag("go_backwards", False) or s.flag("stateful", False) or s.flag("time_major", False)
    kind = s.layer.kind.removeprefix("CuDNN")
    return kind in OPS and is_usual(s) and not odd and not (kind == "LSTM" and s.flag("return_state", False))


def _as_one(row: LayerRow, s: Settings, inner: Settings, x: Tensor) -> list[Tensor]:
    y = usual(row, inner, x, {"": "forward_layer/cell", "_reverse": "backward_layer/cell"}, "states")
    everything, states = inner.flag("return_sequences", False), inner.flag("return_state", False)
    if everything and not states and s.layer.config.get("merge_mode", "concat") == "concat":
        return [y]
    units = y.shape[-1] // 2
    sides = [row.add(Slice(2, start, start + units), y, part=part) for start, part in ((0, "onward"), (units, "back"))]
    if everything and not states:
        return _merged(row, s, sides)
    ends = [end(row, sides[0]), end(row, sides[1], 0)]
    return [*_merged(row, s, sides if everything else ends), *(ends if states else [])]


def _merged(row: LayerRow, s: Settings, sides: Sequence[Tensor]) -> list[Tensor]:
    mode = s.layer.config.get("merge_mode", "concat")
    if mode is None:
        return list(sides)
    if mode == "concat":
        return [concatenate(row, sides, -1)]
    if mode not in _MERGES:
        raise malformed(f"`merge_mode` is `{mode}`")
    merged = combine(row, _MERGES[mode], sides)
    return [row.add(Affine((0.5,)), merged) if mode == "ave" else merged]
