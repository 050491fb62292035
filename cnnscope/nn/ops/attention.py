"""Self-attention in torch, with one input in place of query, key and value."""

from __future__ import annotations

from torch import Tensor, nn

from cnnscope.nn.ops.base import Lacks, Module, TorchOp, X
from cnnscope.ops import attention


class SelfAttention(nn.MultiheadAttention):
    """torch.nn.MultiheadAttention with one input as query, key and value."""

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__(channels, heads, bias=bias, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # one input is the point of this class
        attended: Tensor = super().forward(x, x, x, need_weights=False)[0]
        return attended


def _attention(op: attention.Attention, x: X) -> Module:
    args = {"channels": x[0].shape[2], "heads": op.heads, "bias": op.bias}
    return Module(SelfAttention, args, defines=(SelfAttention,))


_PARTS = Lacks("a traced network has its products and `sdpa`")
TORCH_OPS = (
    TorchOp(op=attention.Attention, make=_attention, roles={SelfAttention: "other"}, aten=_PARTS, onnx=_PARTS),
)
