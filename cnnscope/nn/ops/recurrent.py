"""Recurrent layers in torch, whose result here is the states of all steps alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from cnnscope.nn.code import Call, Expr, Index, Lit
from cnnscope.nn.ops.base import Code, Inputs, Lacks, Module, TorchOp, X, apply
from cnnscope.ops import recurrent


def for_every_image(state: Tensor, x: Tensor, axis: int) -> Tensor:
    """A first state that all images have; the batch of ``x`` is its ``axis``."""
    return state.expand(-1, x.shape[axis], -1).contiguous()


class _States(nn.Module):
    """Returns the states of all steps of the layer it is mixed into, without the last ones.

    First states that are ``shared`` have no batch.
    """

    def __init__(self, *args: Any, shared: Sequence[bool] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shared, self.axis = tuple(shared), 0 if self.batch_first else 1

    def forward(self, x: Tensor, *first: Tensor) -> Tensor:
        given = tuple(
            for_every_image(state, x, self.axis) if shared else state
            for state, shared in zip(first, self.shared, strict=True)
        )
        states: Tensor = super().forward(x, given if len(given) > 1 else given[0] if given else None)[0]
        return states


class StatesLSTM(_States, nn.LSTM):  # type: ignore[misc]  # one output is its point
    """torch.nn.LSTM without the last states."""


class StatesGRU(_States, nn.GRU):  # type: ignore[misc]  # one output is its point
    """torch.nn.GRU without the last state."""


class StatesRNN(_States, nn.RNN):  # type: ignore[misc]  # one output is its point
    """torch.nn.RNN without the last state."""


_DEFAULTS = {
    "num_layers": 1, "bias": True, "batch_first": False, "bidirectional": False, "proj_size": 0, "nonlinearity": "tanh",
}  # fmt: skip


def _states(module: Expr, inputs: Inputs, shared: Sequence[bool], axis: int) -> Expr:
    x, *first = inputs
    given = [
        Call("for_every_image", (state, x, Lit(axis))) if alike else state
        for state, alike in zip(first, shared, strict=True)
    ]
    states = (Call("", tuple(given)),) if len(given) > 1 else tuple(given)
    return Index(apply(module, (x, *states)), "0")


def _record(op: type[recurrent.Recurrent], kind: type[nn.Module], plain: type[nn.Module]) -> TorchOp:
    def make(op: recurrent.Recurrent, x: X) -> Module:
        shared = tuple(state.batch_axis is None and len(state.shape) == 3 for state in x[1:])
        axis = 0 if op.batch_first else 1
        sizes = {"input_size": x[0].shape[-1], "hidden_size": op.hidden}
        options = {
            "num_layers": op.layers, "bias": op.bias, "batch_first": op.batch_first, "bidirectional": op.bidirectional,
        }  # fmt: skip
        options |= {"proj_size": op.projection} if isinstance(op, recurrent.LSTM) else {}
        named = options | ({"nonlinearity": op.nonlinearity} if isinstance(op, recurrent.RNN) else {})
        written = tuple((name, Lit(value, name, _DEFAULTS[name])) for name, value in named.items())
        built = Call(f"nn.{plain.__name__}", tuple(Lit(value, name) for name, value in sizes.items()), written)
        given = {"shared": shared} if shared else {}
        defines = (for_every_image,) if any(shared) else ()
        call = partial(_states, shared=shared, axis=axis)
        return Module(kind, {**sizes, **named, **given}, code=Code(built, call, plain=False, defines=defines))

    several = Lacks("its rule makes an op of each of its outputs")
    return TorchOp(op=op, make=make, roles={kind: "other", plain: "other"}, aten=several, onnx=several)


TORCH_OPS = (
    _record(recurrent.LSTM, StatesLSTM, nn.LSTM),
    _record(recurrent.GRU, StatesGRU, nn.GRU),
    _record(recurrent.RNN, StatesRNN, nn.RNN),
    _record(recurrent.StartedLSTM, StatesLSTM, nn.LSTM),
    _record(recurrent.StartedGRU, StatesGRU, nn.GRU),
    _record(recurrent.StartedRNN, StatesRNN, nn.RNN),
)
