"""Rules for losses: a function of each element or of each row of scores, and its mean or sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cnnscope.ops.generic import Gather, Reduce, Select
from cnnscope.ops.traced import broadcast
from cnnscope.sources.torch.rules import Tracer, records, tensors
from cnnscope.sources.torch.rules.pointwise import elementwise

_REDUCTIONS = ("none", "mean", "sum")
"""Names of torch's numbers for what happens to the losses of single elements."""


def _reduced(trace: Tracer, losses: Tensor, out: Tensor, reduction: int) -> None:
    trace.emit(Reduce(_REDUCTIONS[reduction], tuple(range(losses.dim()))), [losses], out, fn=_REDUCTIONS[reduction])


def _like(out: Tensor, shape: Sequence[int], reduction: int) -> Tensor:
    """Returns where the losses of single elements go: ``out`` itself if they are not reduced."""
    return out if reduction == 0 else torch.empty(tuple(shape), dtype=out.dtype, device="meta")


def _pointwise(fn: str, reduction_at: int) -> Any:
    """Returns a rule for a loss of two tensors, element by element; argument ``reduction_at`` says what then."""

    def rule(trace: Tracer, out: Tensor, x: Tensor, target: Tensor, *rest: Any, reduction: int = 1) -> None:
        reduction = rest[reduction_at - 2] if len(rest) > reduction_at - 2 else reduction
        weights = [t for t in rest if isinstance(t, Tensor)]
        losses = _like(out, broadcast((tuple(x.shape), tuple(target.shape))), reduction)
        elementwise(trace, losses, fn, [x, target, *weights])
        if reduction:
            _reduced(trace, losses, out, reduction)

    return rule


for _name, _at in {
    "mse_loss": 2, "smooth_l1_loss": 2, "huber_loss": 2, "soft_margin_loss": 2, "binary_cross_entropy": 3,
    "binary_cross_entropy_with_logits": 4,
}.items():  # fmt: skip
    records(_name)(_pointwise(_name, _at))


@records("nll_loss_forward", "nll_loss2d_forward")
def nll_loss(
    trace: Tracer, out: Sequence[Tensor], x: Tensor, target: Tensor, weight: Tensor | None, reduction: int,
    ignore_index: int,
) -> None:  # fmt: skip
    """Picks the score of the right class at each place."""
    losses = _like(out[0], target.shape, reduction)
    used = [t for t in (x, target, weight) if t is not None and trace.tracked(t)]
    trace.emit(Gather(tuple(losses.shape), fn="nll_loss"), used, losses, fn="nll_loss")
    if reduction:
        _reduced(trace, losses, out[0], reduction)
    trace.emit(Select(tuple(out[1].shape)), [out[0]], out[1], fn="total_weight")


def _rows(fn: str, reduction_at: int) -> Any:
    """Returns a rule for a loss of all scores of an image."""

    def rule(trace: Tracer, out: Any, x: Tensor, target: Tensor, *rest: Any, reduction: int = 1) -> None:
        first, *others = tensors((out,), {})
        reduction = rest[reduction_at - 2] if len(rest) > reduction_at - 2 else reduction
        losses = _like(first, x.shape[:-1], reduction)
        trace.emit(Reduce(fn, (x.dim() - 1,)), [x], losses, fn=fn)
        if reduction:
            _reduced(trace, losses, first, reduction)
        for other in others:
            trace.emit(Select(tuple(other.shape)), [first], other, fn="targets")

    return rule


records("multi_margin_loss")(_rows("multi_margin_loss", 5))
records("multilabel_margin_loss_forward")(_rows("multilabel_margin_loss", 2))


@records("_ctc_loss")
def ctc_loss(trace: Tracer, out: Sequence[Tensor], x: Tensor, *rest: Any, **kwargs: Any) -> None:
    """Sums over all alignments of a sequence (T, N, C) with its target (Graves et al. 2006, section 4.1)."""
    losses, alignments = out
    trace.emit(Reduce("ctc_loss", (0, x.dim() - 1)), [x], losses, fn="ctc_loss")
    trace.emit(Select(tuple(alignments.shape)), [losses], alignments, fn="alignments")


@records("dist")
def distance(trace: Tracer, out: Tensor, x: Tensor, y: Tensor, p: float = 2) -> None:
    difference = torch.empty(broadcast((tuple(x.shape), tuple(y.shape))), dtype=out.dtype, device="meta")
    elementwise(trace, difference, "sub", [x, y])
    trace.emit(Reduce("norm", tuple(range(difference.dim()))), [difference], out, fn="norm")
