"""Rules for simulated and real quantisation: a network reads as its float ops, with the rounding in between."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cnnscope.ops.generic import Select
from cnnscope.sources.torch.rules import Tracer, records, tensors
from cnnscope.sources.torch.rules.pointwise import elementwise


def _rounding(fn: str) -> Any:
    def rule(trace: Tracer, out: Any, x: Tensor, *rest: Any, **kwargs: Any) -> None:
        first, *others = tensors((out,), {})
        used = [t for t in rest if isinstance(t, Tensor) and trace.tracked(t)]  # learned scales
        elementwise(trace, first, fn, [x, *used])
        for index, other in enumerate(others, start=1):
            trace.emit(Select(tuple(other.shape), index=index), [first], other, fn="mask")

    return rule


records(
    "fake_quantize_per_tensor_affine", "fake_quantize_per_tensor_affine_cachemask",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams", "fake_quantize_per_channel_affine",
    "fake_quantize_per_channel_affine_cachemask", "_fake_quantize_learnable_per_tensor_affine",
    "_fake_quantize_learnable_per_channel_affine", "fused_moving_avg_obs_fake_quant",
    "_fused_moving_avg_obs_fq_helper",
)(_rounding("fake_quantize"))  # fmt: skip
records("quantize_per_tensor", "quantize_per_tensor_dynamic", "quantize_per_channel")(_rounding("quantize"))
records("dequantize", "int_repr")(_rounding("dequantize"))
