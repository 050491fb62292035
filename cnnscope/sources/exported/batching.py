"""Runs a program with another number of images than the one that its sizes were written for.

A program that was exported with a fixed batch has plain numbers where its module asked for sizes: ``view(x, [1, 197,
3, 64])``. The axis that has the batch is known from the shapes that the program states, since it alone has another
extent in this run. Where a reshape leaves open whether the batch is folded into the axis before or behind it (at batch
1 both have room), an axis of its own comes first; then, as attention does it, a batch is folded into what is split
behind it, else into what is in front of it. A wrong choice does not fit the next layer, and the run stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from torch import Tensor

from cnnscope.sources.exported.document import Call, Meta, Ref

_RESHAPES = frozenset({"view", "reshape", "_unsafe_view", "view_copy"})
_EXPANDS = frozenset({"expand", "expand_copy", "repeat"})


class Batching:
    """How the sizes of a program that was exported for so many images, ``exported``, are those of ``images``."""

    def __init__(self, metas: Mapping[str, Meta], calls: Sequence[Call], exported: int, images: int) -> None:
        self._metas, self._exported, self._images = metas, exported, images
        self._outer: dict[str, int] = {}  # of axes with more than the batch: how many elements lie outside of it
        self._joined = {
            ref.name for call in calls if ".cat." in call.target for _, refs in call.arguments if isinstance(refs, list)
            for ref in refs if isinstance(ref, Ref)
        }  # fmt: skip

    def arguments(self, call: Call, args: Sequence[Any]) -> Sequence[Any]:
        """Returns the arguments of a call, with sizes for this number of images."""
        name = call.target.removeprefix("torch.ops.aten.").partition(".")[0]
        source, result = call.arguments[0][1] if call.arguments else None, call.results[0] if call.results else None
        if name not in _RESHAPES | _EXPANDS or not isinstance(source, Ref) or not isinstance(result, str):
            return args
        before, after = self._stated(source.name), self._stated(result)
        if before is None or after is None or not isinstance(args[0], Tensor) or len(args) < 2:
            return args
        axis = self._axis(before, args[0])
        if name in _EXPANDS:
            sizes = list(args[1])
            if axis is not None and name != "repeat":
                sizes[axis + len(after) - len(before)] = -1
            elif axis is None and result in self._joined and after[:1] == (self._exported,):
                sizes[0] = self._images  # a token that is put beside those of each image
            return [args[0], sizes, *args[2:]]
        if axis is None:
            return args
        found = moved((axis, self._outer.get(source.name, 1)), before, after, self._exported)
        if found is None:
            return args
        axis, outer = found
        if after[axis] != self._exported:
            self._outer[result] = outer
        return [args[0], [n * self._images // self._exported if i == axis else n for i, n in enumerate(after)]]

    def note(self, call: Call, name: str, value: Any) -> None:
        """Notes where the batch is in a result, if it was folded into an axis of an argument."""
        stated = self._stated(name)
        if name in self._outer or stated is None or not isinstance(value, Tensor):
            return
        axis = self._axis(stated, value)
        if axis is None or stated[axis] == self._exported:
            return
        for _, given in call.arguments:
            for ref in given if isinstance(given, list) else [given]:
                if isinstance(ref, Ref) and ref.name in self._outer:
                    self._outer[name] = self._outer[ref.name]
                    return

    def _stated(self, name: str) -> tuple[int, ...] | None:
        """Returns the shape that the program states; None if it leaves an extent open."""
        shape = self._metas[name].shape if name in self._metas else ()
        sizes = tuple(n for n in shape if isinstance(n, int))
        return sizes if len(sizes) == len(shape) else None

    @staticmethod
    def _axis(stated: Sequence[int], t: Tensor) -> int | None:
        """Returns the axis in which a tensor differs from its stated shape; None if it is none or more than one."""
        if len(stated) != t.dim():
            return None
        other = [i for i, (n, m) in enumerate(zip(stated, t.shape, strict=True)) if n != m]
        return other[0] if len(other) == 1 else None


def moved(
    place: tuple[int, int], before: Sequence[int], after: Sequence[int], batch: int
) -> tuple[int, int] | None:  # fmt: skip
    """Returns the axis of a reshaped tensor that has the batch, and how many of its elements lie outside of it.

    ``place`` is the same of the tensor ``before``. None if no axis holds the whole batch.
    """
    axis, outer = place
    front = prod(before[:axis]) * outer
    options = []
    for k, n in enumerate(after):
        start = prod(after[:k])
        if start and front % start == 0 and n % (front // start * batch) == 0:
            options.append((k, front // start))
    own = [option for option in options if after[option[0]] == batch and option[1] == 1]
    if own:
        return next((option for option in own if option[0] == axis), own[0])
    if len(options) < 2:
        return options[0] if options else None
    split = len(after) - options[-1][0] > len(before) - axis - 1
    return options[-1] if split else options[0]
