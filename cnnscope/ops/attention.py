"""Multi-head self-attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnscope.errors import ShapeError
from cnnscope.ir.graph import Value
from cnnscope.ir.steps import Expand, Mix, Shape, Step, Whole
from cnnscope.ops.arguments import Bool, Pos
from cnnscope.ops.base import Case, Op
from cnnscope.ops.saved import FLOAT, Kept, TrainStep


class Attention(Op, tag="attention", category="attention"):
    """Self-attention: softmax(Q K^T / sqrt(C / heads)) V for each head, then a linear layer over the joined heads.

    (N, T, C) -> the same. Parameters, as in torch.nn.MultiheadAttention: 4 C^2, and 4 C with ``bias``.
    MACs: 4 T C^2 + 2 T^2 C. FLOPs add the scaling of the queries (T C), 5 for the softmax of each of the heads T^2
    attention weights, and the biases (4 T C). Source: Vaswani et al. 2017, section 3.2.
    """

    heads: Pos
    bias: Bool = True
    foreign = ("multiheadattention",)
    accepts = ("tokens",)
    remedies = {"map": "put `- tokens` before it"}
    short = "heads"
    aliases = {"num_heads": "heads", "qkv_bias": "bias"}

    def output(self, x: Sequence[Value]) -> Value:
        if len(x[0].shape) != 3:
            raise ShapeError(f"`attention` needs tokens TxC but gets {len(x[0].shape) - 1} axes")
        if x[0].shape[2] % self.heads:
            raise ShapeError(f"heads {self.heads} must divide the {x[0].shape[2]} channels")
        return x[0]

    def weights(self, x: Sequence[Value]) -> Mapping[str, Shape]:
        c = x[0].shape[2]
        into, out = {"in_proj_weight": (3 * c, c)}, {"out_proj.weight": (c, c)}
        if not self.bias:
            return into | out
        return into | {"in_proj_bias": (3 * c,)} | out | {"out_proj.bias": (c,)}

    def macs(self, x: Sequence[Value]) -> int:
        n, t, c = x[0].shape
        return n * (4 * t * c * c + 2 * t * t * c)

    def elementwise(self, x: Sequence[Value]) -> int:
        n, t, c = x[0].shape
        return n * (t * c + 5 * self.heads * t * t + (4 * t * c if self.bias else 0))

    def reads(self, x: Sequence[Value]) -> tuple[tuple[Step, ...], ...]:
        return ((Whole((1,), "attention"), Mix(2, x[0].shape[2]), Expand(x[0].shape)),)

    def label(self) -> str:
        return f"{self.heads} heads" if self.heads > 1 else "1 head"

    def saved(self, step: TrainStep) -> Kept:
        """Query, key, value, joined heads, a logarithm for each row of weights; a copy of the input if it trains."""
        _, t, c = step.x[0].shape
        return Kept(image_bytes=FLOAT * ((5 if step.trains else 4) * t * c + self.heads * t))

    cases = (
        Case(x=(197, 192), args={"heads": 3}, shape=(197, 192), params=148_224, macs=43_951_488, kind="tokens"),
        Case(x=(5, 8), args={"heads": 2, "bias": False}, shape=(5, 8), params=256, macs=1_680, kind="tokens"),
    )
