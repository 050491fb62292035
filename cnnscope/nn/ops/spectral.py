"""Fourier transforms of traces, which are not built."""

from __future__ import annotations

from cnnscope.nn.ops.base import Lacks, TorchOp
from cnnscope.ops.spectral import Fourier

_WHY = Lacks("a trace keeps what it reads, not its direction and scale")
TORCH_OPS = (TorchOp(op=Fourier, make=_WHY, roles=_WHY, aten=_WHY, onnx=_WHY),)
