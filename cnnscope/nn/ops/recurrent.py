"""Recurrent layers in torch, whose result here is the states of all steps alone."""

from __future__ import annotations

from torch import Tensor, nn

from cnnscope.nn.code import Call, Expr, Index, Lit
from cnnscope.nn.ops.base import Code, Inputs, Lacks, Module, TorchOp, X, apply
from cnnscope.ops import recurrent


class StatesLSTM(nn.LSTM):
    """torch.nn.LSTM without the last states."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # one output is the point of this class
        states: Tensor = super().forward(x)[0]
        return states


class StatesGRU(nn.GRU):
    """torch.nn.GRU without the last state."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # one output is the point of this class
        states: Tensor = super().forward(x)[0]
        return states


class StatesRNN(nn.RNN):
    """torch.nn.RNN without the last state."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # one output is the point of this class
        states: Tensor = super().forward(x)[0]
        return states


_DEFAULTS = {
    "num_layers": 1, "bias": True, "batch_first": False, "bidirectional": False, "proj_size": 0, "nonlinearity": "tanh",
}  # fmt: skip


def _states(module: Expr, inputs: Inputs) -> Expr:
    return Index(apply(module, inputs), "0")


def _record(op: type[recurrent.Recurrent], kind: type[nn.Module], plain: type[nn.Module]) -> TorchOp:
    def make(op: recurrent.Recurrent, x: X) -> Module:
        sizes = {"input_size": x[0].shape[-1], "hidden_size": op.hidden}
        options = {
            "num_layers": op.layers, "bias": op.bias, "batch_first": op.batch_first, "bidirectional": op.bidirectional,
        }  # fmt: skip
        options |= {"proj_size": op.projection} if isinstance(op, recurrent.LSTM) else {}
        named = options | ({"nonlinearity": op.nonlinearity} if isinstance(op, recurrent.RNN) else {})
        written = tuple((name, Lit(value, name, _DEFAULTS[name])) for name, value in named.items())
        built = Call(f"nn.{plain.__name__}", tuple(Lit(value, name) for name, value in sizes.items()), written)
        return Module(kind, {**sizes, **named}, code=Code(built, _states, plain=False))

    several = Lacks("its rule makes an op of each of its outputs")
    return TorchOp(op=op, make=make, roles={kind: "other", plain: "other"}, aten=several, onnx=several)


TORCH_OPS = (
    _record(recurrent.LSTM, StatesLSTM, nn.LSTM),
    _record(recurrent.GRU, StatesGRU, nn.GRU),
    _record(recurrent.RNN, StatesRNN, nn.RNN),
)
