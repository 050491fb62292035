"""Containers that behave in another way than the built-in types that they are or look like."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from typing import Any


class Locked(dict):
    """A configuration that refuses changes, as several libraries have."""

    def update(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("locked")

    __setitem__ = __delitem__ = pop = clear = update


class Loud(list):
    """A list whose methods do something else than a list's."""

    def extend(self, items: Any) -> None:
        raise TypeError("one at a time")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("not to be walked through")

    def __len__(self) -> int:
        return 0


class Absent(set):
    """A set that says it is empty."""

    def __bool__(self) -> bool:
        return False

    def update(self, *others: Any) -> None:
        raise TypeError("locked")


Pair = namedtuple("Pair", "first second")


class Slotted:
    __slots__ = ("out", "unset")

    def __init__(self, out: Any) -> None:
        self.out = out


class Unwalkable:
    """Looks like a container but is none."""

    def __init__(self, out: Any) -> None:
        self.out = out

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("cannot be walked through")

    def __bool__(self) -> bool:
        raise RuntimeError("is neither true nor false")

    __eq__ = __len__ = __iter__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]
