"""Activations in torch: most are a module of torch's own, which exported source may write as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cnnscope.nn.code import Call, Lit
from cnnscope.nn.ops.base import Function, Lacks, Module, TorchOp, X
from cnnscope.ops import activation as act
from cnnscope.ops.base import Op, along

_Arguments = Callable[[Any, X], dict[str, Any]]
_SEVERAL = Lacks("ONNX writes it as several operators, or as one with arguments that other ops have too")


def _activation(
    op: type[Op], kind: type[nn.Module], function: str, aten: tuple[str, ...] | Lacks, onnx: tuple[str, ...] | Lacks,
    args: _Arguments = lambda op, x: {}, *, gate: bool = False,
) -> TorchOp:  # fmt: skip
    """A module of torch's own, which source may write as a function."""

    def make(op: Any, x: X) -> Module:
        return Module(kind, args(op, x), function)

    return TorchOp(op=op, make=make, roles={kind: "activation"}, aten=aten, onnx=onnx, gate=gate)


def _method(op: type[Op], kind: type[nn.Module], name: str, onnx: str, *, gate: bool = False) -> TorchOp:
    """A module that source may write as a method of the tensor: ``x.sigmoid()``."""
    made = Module(kind, function=lambda x: Call(name, target=x[0]))
    return TorchOp(op=op, make=lambda op, x: made, roles={kind: "activation"}, aten=(name,), onnx=(onnx,), gate=gate)


def _softmax(op: type[act.Softmax | act.LogSoftmax], kind: type[nn.Module], name: str, *, gate: bool) -> TorchOp:
    def make(op: Any, x: X) -> Module:
        axis = along(x[0], op.axis)
        return Module(kind, {"dim": axis}, lambda x: Call(name, (Lit(axis, "dim"),), target=x[0]))

    onnx = (kind.__name__,)
    return TorchOp(op=op, make=make, roles={kind: "other"}, aten=(name, f"_{name}"), onnx=onnx, gate=gate)


TORCH_OPS = (
    _activation(act.ReLU, nn.ReLU, "F.relu", ("relu",), ("Relu",)),
    _activation(act.ReLU6, nn.ReLU6, "F.relu6", ("relu6",), _SEVERAL),
    _activation(act.LeakyReLU, nn.LeakyReLU, "F.leaky_relu", ("leaky_relu",), ("LeakyRelu",),
                lambda op, x: {"negative_slope": op.slope}),
    _activation(act.ELU, nn.ELU, "F.elu", ("elu",), ("Elu",), lambda op, x: {"alpha": op.alpha}),
    _activation(act.SELU, nn.SELU, "F.selu", ("selu",), ("Selu",)),
    _activation(act.GELU, nn.GELU, "F.gelu", ("gelu",), ("Gelu",),
                lambda op, x: {"approximate": "tanh" if op.tanh else "none"}),
    _activation(act.SiLU, nn.SiLU, "F.silu", ("silu",), ("Swish",)),
    _activation(act.Hardswish, nn.Hardswish, "F.hardswish", ("hardswish",), ("HardSwish",)),
    _activation(act.Hardsigmoid, nn.Hardsigmoid, "F.hardsigmoid", ("hardsigmoid",), _SEVERAL, gate=True),
    _activation(act.Hardtanh, nn.Hardtanh, "F.hardtanh", ("hardtanh",), _SEVERAL,
                lambda op, x: {"min_val": op.low, "max_val": op.high}),
    _method(act.Sigmoid, nn.Sigmoid, "sigmoid", "Sigmoid", gate=True),
    _activation(act.LogSigmoid, nn.LogSigmoid, "F.logsigmoid", ("log_sigmoid",), _SEVERAL),
    _method(act.Tanh, nn.Tanh, "tanh", "Tanh"),
    _activation(act.Softplus, nn.Softplus, "F.softplus", ("softplus",), ("Softplus",),
                lambda op, x: {"beta": op.beta, "threshold": op.threshold}),
    _activation(act.Softsign, nn.Softsign, "F.softsign", Lacks("ATen has abs, add and div"), ("Softsign",)),
    _activation(act.Mish, nn.Mish, "F.mish", ("mish",), ("Mish",)),
    TorchOp(
        op=act.Abs,
        make=lambda op, x: Function(torch.abs, write=lambda x: Call("abs", target=x[0])),
        roles={torch.abs: "activation"}, aten=("abs",), onnx=("Abs",),
    ),
    TorchOp(
        op=act.PReLU,
        make=lambda op, x: Module(nn.PReLU, {"num_parameters": 1 if op.shared else x[0].shape[1]}),
        roles={nn.PReLU: "activation"}, aten=("prelu",), onnx=("PRelu",),
    ),
    _softmax(act.Softmax, nn.Softmax, "softmax", gate=True),
    _softmax(act.LogSoftmax, nn.LogSoftmax, "log_softmax", gate=False),
    TorchOp(
        op=act.GLU, make=lambda op, x: Module(nn.GLU, {"dim": along(x[0], op.axis)}, "F.glu"), roles={nn.GLU: "other"},
        aten=("glu",), onnx=_SEVERAL,
    ),
)  # fmt: skip
