"""The size that an author declared for an input, and another size that is given for it.

Another size may change every extent but the channels. A network for other channels or another number of axes is
another network, so such a size is refused: it is nearly always one in the wrong order, or with something left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnnscope.errors import CnnscopeError
from cnnscope.ir.steps import Shape

Declared = Sequence[int | None]
"""A declared shape without batch, in the author's order; None for an extent that is left open."""


def fitted(declared: Declared, given: Shape, channels: int | None, name: str = "", *, remedy: str = "") -> Shape:
    """Returns the shape that ``given`` means for an input that is ``declared``; E403 where it is another network's.

    ``channels`` is the axis of the channels; None where no axis is known to be it, and then only the number of axes
    must stay. One number is the extent of every other axis: 96 means 3x96x96 for 3x224x224. ``name`` is that of the
    input where there are several. ``remedy`` says how the channels can be changed, if they can.
    """
    axis = None if channels is None else channels % len(declared)
    if len(given) == 1 and axis is not None and len(declared) > 1 and declared[axis] is not None:
        return tuple(n if i == axis and n is not None else given[0] for i, n in enumerate(declared))
    if _fits(declared, given, axis):
        return given
    meant = next(_spellings(declared, given, axis), None)
    label = f"{name}=" if name else ""
    hint = f"write `--input {label}{_text(meant)}`" if meant else f"write it as {_text(_example(declared))}"
    if len(given) == len(declared) and remedy and sorted(given) != sorted(meant or ()):
        hint += f"; {remedy}"
    if len(given) == len(declared) + 1 and meant:
        hint += "; a size has no batch"
    what = f"the input `{name}`" if name else "the input"
    order = f" ({_order(len(declared), axis)})" if axis is not None and len(declared) > 1 else ""
    raise CnnscopeError.of("E403", f"{what} is {_text(declared)}{order}, but `--input` is {_text(given)}", hint=hint)


def _fits(declared: Declared, given: Shape, axis: int | None) -> bool:
    return len(given) == len(declared) and (axis is None or declared[axis] in (None, given[axis]))


def _spellings(declared: Declared, given: Shape, axis: int | None) -> Iterator[Shape]:
    """Yields sizes that ``given`` may have been meant for, the likeliest first."""
    rank = len(declared)
    tries: list[Shape] = []
    channels = None if axis is None else declared[axis]
    if len(given) == rank + 1 and (axis is not None or given[0] == 1):
        tries.append(given[1:])
        tries += (_moved(given[1:], axis),) if axis is not None else ()
    if len(given) == rank and axis is not None:
        tries.append(_moved(given, axis))
        if channels is not None:
            other_order = _moved(given, axis) if rank > 2 and _moved(given, axis)[axis] <= 4 < given[axis] else given
            tries.append((*other_order[:axis], channels, *other_order[axis + 1 :]))
    if len(given) == rank - 1 and axis is not None and channels is not None:
        if rank > 3 and given[axis if axis == 0 else -1] == channels:  # a frame of a video, without the time
            first = next((n for i, n in enumerate(declared) if i != axis), None)
            tries.append(() if first is None else (*given[:1], first, *given[1:]) if axis == 0 else (first, *given))
        tries.append((*given[:axis], channels, *given[axis:]))
    yield from (shape for shape in tries if _fits(declared, shape, axis))


def _moved(shape: Shape, axis: int) -> Shape:
    """Returns the shape with the channels brought to ``axis`` from the other end."""
    return (shape[-1], *shape[:-1]) if axis == 0 else (*shape[1:], shape[0])


def _example(declared: Declared) -> Shape:
    return tuple(224 if n is None else n for n in declared)


def _order(rank: int, axis: int) -> str:
    places = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}.get(rank - 1)
    names = list(places or [f"axis {i}" for i in range(1, rank)])
    names.insert(axis, "channels")
    return " x ".join(names)


def _text(shape: Declared) -> str:
    return "x".join("?" if n is None else str(n) for n in shape)
