"""Views and the way back: where an element of a view stands in the tensor it is a view of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from cnnscope.ir import Value
from cnnscope.ir.steps import Permute, Reshape, Step, Taps
from cnnscope.ops.traced import moved


def share_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors lie in the same storage."""
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)


def inverse(steps: Sequence[Step], whole: Value) -> tuple[Step, ...] | None:
    """The steps that take each element of a view (``steps`` of ``whole``) to its place in ``whole``.

    None for a view that shows an element in more than one place.
    """
    back: list[Step] = []
    for i, step in enumerate(steps):
        before = moved(whole, steps[:i]).shape
        match step:
            case Reshape():
                back.append(Reshape(before))
            case Permute(order=order):
                back.append(Permute(tuple(order.index(axis) for axis in range(len(order)))))
            case Taps(axis=axis, n=n, taps=((start,),)) if n > 0:
                phases = tuple((((o - start) // n,) if (o - start) % n == 0 else ()) for o in range(n))
                back.append(Taps(axis, before[axis], 1, phases))
            case _:
                return None
    return tuple(reversed(back))
