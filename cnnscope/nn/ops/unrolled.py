"""Recurrences that run step by step in torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.nn.ops.base import Lacks, Module, TorchOp, X, torch_pads
from cnnscope.ops.unrolled import GATES, Unrolled

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "hard_sigmoid": F.hardsigmoid,
    "relu": F.relu, "relu6": F.relu6, "leaky_relu": lambda x: F.leaky_relu(x, 0.2), "elu": F.elu, "selu": F.selu,
    "gelu": F.gelu, "silu": F.silu, "swish": F.silu, "softplus": F.softplus, "softsign": F.softsign, "mish": F.mish,
    "exponential": torch.exp, "hard_tanh": F.hardtanh, "hard_silu": F.hardswish, "hard_swish": F.hardswish,
    "log_sigmoid": F.logsigmoid,
}  # fmt: skip
_CONVS = (F.conv1d, F.conv2d, F.conv3d)


class Recurrence(nn.Module):
    """The states of all steps of a recurrence: (N, T, F) -> (N, T, hidden). See `cnnscope.ops.unrolled.Unrolled`."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(self, op: Unrolled, features: int) -> None:
        super().__init__()
        units, biases = GATES[op.cell] * op.hidden, 2 if op.two_biases else int(op.bias)
        self.op, self.pads = op, torch_pads(op.pad)
        self.activation, self.gate = _FUNCTIONS[op.activation], _FUNCTIONS[op.gate]
        self.weight_ih = nn.Parameter(torch.empty(units, features, *op.kernel))
        self.weight_hh = nn.Parameter(torch.empty(units, op.hidden, *op.kernel))
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.xavier_uniform_(weight)
        for i, name in enumerate(("bias_ih", "bias_hh")):
            self.register_parameter(name, nn.Parameter(torch.zeros(units)) if i < biases else None)

    def forward(self, x: Tensor, *states: Tensor) -> Tensor:
        """``x`` is (N, T, F, n...); ``states`` before the first step are (N, hidden, m...)."""
        inputs = self._of_input(x)
        zeros = inputs.new_zeros(len(x), self.op.hidden, *inputs.shape[3:])
        h, c = (*states, *(zeros,) * 2)[:2]
        found = []
        for step in range(x.shape[1]):
            h, c = self._step(inputs[:, step], h, c)
            found.append(torch.cat([h, c], 1) if self.op.cell_too else h)
        return torch.stack(found, 1)

    def _of_input(self, x: Tensor) -> Tensor:
        """What the inputs of all steps give to the gates."""
        if not self.op.kernel:
            return F.linear(x, self.weight_ih, self.bias_ih)
        conv, flat = _CONVS[len(self.op.kernel) - 1], F.pad(x.flatten(0, 1), self.pads)
        found = conv(flat, self.weight_ih, self.bias_ih, self.op.stride, 0, self.op.dilation)
        return found.reshape(*x.shape[:2], *found.shape[1:])

    def _of_state(self, h: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not self.op.kernel:
            return F.linear(h, weight, bias)
        reach = [((k - 1) // 2, k // 2) for k in self.op.kernel]
        return _CONVS[len(reach) - 1](F.pad(h, torch_pads(tuple(reach))), weight, bias)

    def _step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        if self.op.cell == "gru":
            return self._gru(x, h), c
        total = x + self._of_state(h, self.weight_hh)
        if self.op.cell == "rnn":
            return self.activation(total), c
        i, f, new, o = total.chunk(4, 1)
        c = self.gate(f) * c + self.gate(i) * self.activation(new)
        return self.gate(o) * self.activation(c), c

    def _gru(self, x: Tensor, h: Tensor) -> Tensor:
        """The gate of reset acts on the product with the state, or, without ``reset_after``, on the state itself."""
        x_z, x_r, x_new = x.chunk(3, 1)
        if self.op.reset_after:
            h_z, h_r, h_new = self._of_state(h, self.weight_hh, self.bias_hh).chunk(3, 1)
            new = x_new + self.gate(x_r + h_r) * h_new
        else:
            gates, last = self.weight_hh[: 2 * self.op.hidden], self.weight_hh[2 * self.op.hidden :]
            h_z, h_r = self._of_state(h, gates).chunk(2, 1)
            new = x_new + self._of_state(self.gate(x_r + h_r) * h, last)
        z = self.gate(x_z + h_z)
        return z * h + (1 - z) * self.activation(new)


def _unrolled(op: Unrolled, x: X) -> Module:
    return Module(Recurrence, {"op": op, "features": x[0].shape[2]})


_WHY = Lacks("it stands for a loop, which torch has no function for")
TORCH_OPS = (TorchOp(op=Unrolled, make=_unrolled, roles={Recurrence: "other"}, aten=_WHY, onnx=_WHY),)
