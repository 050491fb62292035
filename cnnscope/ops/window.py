"""The arithmetic of sliding windows, shared by convolution and pooling.

Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", relationships 6, 8 and 14.
"""

from __future__ import annotations

from collections.abc import Sequence

from cnnscope.errors import ShapeError
from cnnscope.ir.steps import Border, Shape, Taps
from cnnscope.ops.arguments import Pair

BORDERS: dict[str, Border] = {"zeros": "drop", "reflect": "reflect", "replicate": "clamp", "circular": "wrap"}


def span(kernel: int, dilation: int) -> int:
    """The number of input positions from the first to the last of a window: dilation * (kernel - 1) + 1."""
    return dilation * (kernel - 1) + 1


def resolve_pad(
    pad: str | tuple[Pair, ...], size: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> tuple[Pair, ...]:
    """``pad`` as (low, high) for each axis; `cnnscope.ops.arguments.Padding` explains the words."""
    if not isinstance(pad, str):
        return pad
    reach = [span(k, d) - 1 for k, d in zip(kernel, dilation, strict=True)]
    match pad:
        case "valid":
            return ((0, 0),) * len(size)
        case "half":
            return tuple((r // 2, r // 2) for r in reach)
        case "full":
            return tuple((r, r) for r in reach)
        case "same":
            totals = [max((-(-n // s) - 1) * s + r + 1 - n, 0) for n, s, r in zip(size, stride, reach, strict=True)]
            return tuple((t // 2, t - t // 2) for t in totals)
    raise AssertionError(pad)


def extent(n: int, kernel: int, stride: int, pad: Pair, dilation: int = 1, *, ceil: bool = False) -> int:
    """The number of output positions along one axis: floor((n + low + high - span) / stride) + 1, or with ceil.

    With ``ceil`` a last window that would start beyond the input and its low padding is dropped, as in torch.
    """
    room = n + sum(pad) - span(kernel, dilation)
    count = (-(-room // stride) if ceil else room // stride) + 1
    if count < 1 or (room < 0 and not ceil):
        padding = f"2*{pad[0]}" if pad[0] == pad[1] else f"{pad[0]} + {pad[1]}"
        what = f"kernel {kernel}" if dilation == 1 else f"kernel {kernel} with dilation {dilation}"
        raise ShapeError(f"{what} does not fit into {n} + {padding}")
    return count - 1 if ceil and (count - 1) * stride >= n + pad[0] else count


def extents(
    size: Shape, kernel: Shape, stride: Shape, pad: Sequence[Pair], dilation: Shape, *, ceil: bool = False
) -> Shape:
    """`extent` for every spatial axis."""
    axes = zip(size, kernel, stride, pad, dilation, strict=True)
    return tuple(extent(n, k, s, p, d, ceil=ceil) for n, k, s, p, d in axes)


def check_border(mode: str, size: Shape, pad: Sequence[Pair]) -> None:
    """Raises `ShapeError` if reflected or wrapped padding needs more pixels than the input has, as torch does."""
    for n, sides in zip(size, pad, strict=True):
        if mode == "reflect" and max(sides) >= n:
            raise ShapeError(f"reflect padding of {max(sides)} needs an input larger than that, not {n}")
        if mode == "circular" and max(sides) > n:
            raise ShapeError(f"circular padding of {max(sides)} is more than the input's {n}")


def window_taps(
    out: Shape, kernel: Shape, stride: Shape, pad: Sequence[Pair], dilation: Shape, border: Border = "drop"
) -> tuple[Taps, ...]:
    """The positions windows read along each spatial axis of (N, C, spatial...): o * stride - low + dilation * j."""
    axes = enumerate(zip(out, kernel, stride, pad, dilation, strict=True), start=2)
    return tuple(
        Taps(axis, n, s, (tuple(d * j - low for j in range(k)),), border) for axis, (n, k, s, (low, _), d) in axes
    )


def size_text(size: Sequence[int]) -> str:
    """``3x3``, or ``3`` in one dimension."""
    return "x".join(map(str, size))
