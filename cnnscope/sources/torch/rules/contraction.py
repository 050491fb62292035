"""The rule for ``einsum``: a sum of products over two tensors is one matrix product.

torch drops axes of one element before its product, and with them the axis of the batch. Here the labels that both
tensors and the result have stay axes of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor

from cnnscope.sources.torch.rules import Tracer, instead


@dataclass(frozen=True, slots=True)
class Contraction:
    """The labels of a product of two tensors: ``a`` and ``b`` are those of the tensors, ``output`` those of the result.

    ``both`` are in all three, ``left`` and ``right`` in one tensor and the result. The sum of products is over
    ``inner``; a label that is in one tensor alone is summed over before.
    """

    a: str
    b: str
    output: str
    both: str
    left: str
    right: str
    inner: str


def contraction(equation: str, operands: Sequence[Tensor]) -> Contraction | None:
    """Returns the labels of an equation that is one matrix product; None for any other, such as a diagonal, a product
    of single elements, or axes that are stretched.
    """
    terms, _, output = equation.replace(" ", "").partition("->")
    names = terms.split(",")
    if "->" not in equation or len(names) != 2 or any(len(set(t)) < len(t) or "." in t for t in (*names, output)):
        return None
    a, b = names
    if [len(a), len(b)] != [t.dim() for t in operands]:
        return None
    sizes = [dict(zip(labels, t.shape, strict=True)) for labels, t in zip(names, operands, strict=True)]
    shared = [label for label in a if label in b]
    inner = "".join(label for label in shared if label not in output)
    both, left, right = (
        "".join(label for label in output if (label in a, label in b) == where)
        for where in ((True, True), (True, False), (False, True))
    )
    if not inner or any(sizes[0][label] != sizes[1][label] for label in shared):
        return None
    return Contraction(a, b, output, both, left, right, inner)


@instead("einsum")
def einsum(trace: Tracer, func: Any, equation: str, operands: Sequence[Tensor], *, path: Any = None) -> Tensor:
    found = contraction(equation, operands)
    with trace:
        if found is None:
            result: Tensor = func.decompose(equation, operands, path=path)
            return result
        size = dict(zip(found.a + found.b, (*operands[0].shape, *operands[1].shape), strict=True))
        x = _ordered(operands[0], found.a, found.both + found.left + found.inner)
        y = _ordered(operands[1], found.b, found.both + found.inner + found.right)
        both, left, right = ([size[label] for label in labels] for labels in (found.both, found.left, found.right))
        depth = prod(size[label] for label in found.inner)
        rows = left if left and not both else [prod(left)]  # a matrix for all: the axes on its left stay apart
        out = _shaped(x, [*both, *rows, depth]) @ _shaped(y, [*both, depth, prod(right)])
        return _ordered(_shaped(out, [*both, *left, *right]), found.both + found.left + found.right, found.output)


def _ordered(t: Tensor, labels: str, wanted: str) -> Tensor:
    """Returns a tensor with its axes in another order, summed over those that are not wanted."""
    alone = [label for label in labels if label not in wanted]
    t = t.sum([labels.index(label) for label in alone]) if alone else t
    left = [label for label in labels if label in wanted]
    return t if left == list(wanted) else t.permute([left.index(label) for label in wanted])


def _shaped(t: Tensor, shape: list[int]) -> Tensor:
    return t if list(t.shape) == shape else t.reshape(shape)
