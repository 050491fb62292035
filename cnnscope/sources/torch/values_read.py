"""Values that leave torch for NumPy or Python's own lists, and tensors that are made of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes


class ValuesRead:
    """The tensors whose values code outside of torch has, with these values."""

    def __init__(self) -> None:
        self._read: list[tuple[Tensor, Tensor]] = []

    def __bool__(self) -> bool:
        return bool(self._read)

    def note(self, t: Tensor) -> None:
        """Notes that code outside of torch has all values of a tensor."""
        with _disable_current_modes():
            self._read.append((t, t.detach().clone()))

    def tensors(self) -> list[Tensor]:
        """Returns the tensors, each once."""
        return [*{id(t): t for t, _ in self._read}.values()]

    def source(self, t: Tensor) -> Tensor | None:
        """Returns the first tensor whose values ``t`` has, which was made outside of torch."""
        with _disable_current_modes():
            return next((x for x, values in self._read if _has_values(t, values)), None)


def _has_values(t: Tensor, values: Tensor) -> bool:
    """Returns whether a tensor is equal to another in all respects."""
    return t.shape == values.shape and t.dtype == values.dtype and t.numel() > 0 and torch.equal(t, values)
