"""What each op keeps for the backward pass: the tensors that torch's autograd saves on a CPU at float32.

Tests compare with `torch.autograd.graph.saved_tensors_hooks`. Weights are in memory anyway and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from cnnscope.ir import Operation, Value
from cnnscope.ops import activation as act
from cnnscope.ops import (
    attention,
    conv,
    generic,
    linear,
    merge,
    movement,
    norm,
    pool,
    product,
    rearrange,
    resize,
    tokens,
)
from cnnscope.ops import regularization as drop
from cnnscope.training.gradients import Step

FLOAT, INDEX, FLAG = 4, 8, 1
"""Bytes of a number at float32, of max pooling's indices, of a truth value."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What an op keeps: which inputs, whether its output, bytes an image beside them, and bytes whatever the batch.

    ``exact`` is False where no rule covers the op and its inputs and output stand for what it keeps.
    """

    inputs: tuple[int, ...] = ()
    output: bool = False
    image_bytes: int = 0
    fixed_bytes: int = 0
    exact: bool = True


def keeps(step: Step) -> Kept:
    """What autograd keeps for one op."""
    rule = _RULES.get(type(step.node.op))
    if rule is not None:
        return rule(step)
    return Kept(tuple(range(len(step.x))), output=True, exact=False)


Rule = Callable[[Step], Kept]
DROPS = (drop.Dropout, drop.SpatialDropout, drop.AlphaDropout, drop.StochasticDepth)
"""Ops that pass their input on at inference and make a tensor of their own in training."""


def _nothing(step: Step) -> Kept:
    return Kept()


def _input(step: Step) -> Kept:
    return Kept((0,))


def _output(step: Step) -> Kept:
    return Kept(output=True)


def _input_for_weights(step: Step) -> Kept:
    return Kept((0,) if step.trains else ())


def _features(value: Value) -> int:
    return prod(value.features)


def _conv(step: Step) -> Kept:
    """The input; a copy of it where torch pads in a step of its own: unevenly, or with other pixels than zeros."""
    op = step.node.op
    assert isinstance(op, conv.Conv)
    pads = [pair for pair in op.pad if not isinstance(pair, str)]
    if op.pad_mode == "zeros" and all(low == high for low, high in pads):
        return Kept((0,))
    padded = step.x[0].shape[1] * prod(n + low + high for n, (low, high) in zip(step.x[0].spatial, pads, strict=True))
    own = op.pad_mode in ("reflect", "replicate") and step.reads[0]
    return Kept((0,) if own else (), image_bytes=FLOAT * padded)


def _maxpool(step: Step) -> Kept:
    return Kept((0,), image_bytes=INDEX * _features(step.y))


def _adaptive(step: Step) -> Kept:
    return Kept(() if all(n == 1 for n in step.y.spatial) else (0,))  # one cell is a mean, which needs sizes alone


def _batchnorm(step: Step) -> Kept:
    op = step.node.op
    own = step.training or not (isinstance(op, norm.BatchNorm) and op.track)
    return Kept((0,), fixed_bytes=2 * FLOAT * step.x[0].shape[1] if own else 0)


def _layernorm(step: Step) -> Kept:
    op, x = step.node.op, step.x[0]
    assert isinstance(op, norm.LayerNorm)
    return Kept((0,), image_bytes=2 * FLOAT * x.numel // prod(x.shape[axis] for axis in op.normalised(x)))


def _groupnorm(step: Step) -> Kept:
    op = step.node.op
    assert isinstance(op, norm.GroupNorm)
    return Kept((0,), image_bytes=2 * FLOAT * op.groups)


def _lrn(step: Step) -> Kept:
    """The input, its padded squares, what is raised to beta, and the quotient's denominator."""
    op, x = step.node.op, step.x[0]
    assert isinstance(op, norm.LRN)
    padded = (x.shape[1] + op.size - 1) * prod(x.spatial)
    return Kept((0,), image_bytes=FLOAT * (padded + 2 * x.numel))


def _mask(step: Step) -> Kept:
    """One factor for each element, in training only."""
    return Kept(image_bytes=FLOAT * _features(step.x[0]) if step.training else 0)


def _channel_mask(step: Step) -> Kept:
    return Kept(image_bytes=FLOAT * step.x[0].shape[1] if step.training else 0)


def _branch_mask(step: Step) -> Kept:
    return Kept(image_bytes=FLAG if step.training else 0)


def _product(step: Step) -> Kept:
    """Each factor for the others' gradients, and the products on the way to the last of several."""
    wanted = tuple(i for i in range(len(step.x)) if any(read for j, read in enumerate(step.reads) if j != i))
    return Kept(wanted, image_bytes=max(len(step.x) - 2, 0) * FLOAT * _features(step.y))


def _attention(step: Step) -> Kept:
    """Query, key and value, the joined heads, a logarithm for each row of weights; for weights a copy of the input."""
    op = step.node.op
    assert isinstance(op, attention.Attention)
    _, t, c = step.x[0].shape
    return Kept(image_bytes=FLOAT * ((5 if step.trains else 4) * t * c + op.heads * t))


def _sdpa(step: Step) -> Kept:
    rows = prod(step.x[0].shape[:-1])
    return Kept((0, 1, 2), output=True, image_bytes=FLOAT * rows)


def _elementwise(step: Step) -> Kept:
    op = step.node.op
    assert isinstance(op, generic.Elementwise)
    if op.fn in ("add", "sub", "rsub", "neg"):
        return Kept()
    if op.fn == "mul":
        return _product(step)
    return Kept(tuple(range(len(step.x))), output=True, exact=False)


_RULES: Mapping[type[Operation], Rule] = {
    **dict.fromkeys((act.ReLU, act.Sigmoid, act.Tanh, act.Softmax, act.LogSoftmax), _output),
    **dict.fromkeys(
        (act.ReLU6, act.LeakyReLU, act.ELU, act.SELU, act.GELU, act.SiLU, act.Hardswish, act.Hardsigmoid,
         act.Hardtanh, act.Softplus, act.Mish, act.Abs, act.PReLU, act.GLU, conv.TransposedConv, pool.AvgPool), _input,
    ),
    **dict.fromkeys(
        (merge.Add, merge.Sub, merge.Concat, movement.Identity, movement.Flatten, movement.ReshapeOp,
         movement.PermuteOp, movement.Slice, movement.Roll, movement.Flip, rearrange.Crop, rearrange.Shuffle,
         rearrange.PixelShuffle, resize.Upsample, pool.GlobalAvgPool, tokens.Tokens, tokens.ClassToken,
         tokens.Position, tokens.Token, tokens.TokenMean, generic.Movement, generic.View, generic.Join,
         generic.Constant, generic.Parameter), _nothing,
    ),
    conv.Conv: _conv, linear.Linear: _input_for_weights, tokens.LayerScale: _input_for_weights,
    pool.MaxPool: _maxpool, pool.GlobalMaxPool: _maxpool, pool.AdaptiveMaxPool: _maxpool,
    pool.AdaptiveAvgPool: _adaptive, norm.BatchNorm: _batchnorm, norm.LayerNorm: _layernorm,
    norm.GroupNorm: _groupnorm, norm.LRN: _lrn, merge.Mul: _product, drop.Dropout: _mask, drop.AlphaDropout: _mask,
    drop.SpatialDropout: _channel_mask, drop.StochasticDepth: _branch_mask, attention.Attention: _attention,
    product.ScaledDotProduct: _sdpa, generic.Elementwise: _elementwise,
}  # fmt: skip
