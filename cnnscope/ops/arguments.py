"""The kinds of arguments of ops: how each is read, its error messages, and its JSON Schema.

The fields of an op are annotated with the names at the bottom (``out: Pos``, ``kernel: Size``); all else follows from
that. Values are plain Python as YAML has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Protocol

MAX_INT = 2**63 - 1
MOST_ALONG_AN_AXIS = 1_000_000
"""Largest window or size. Positions are analysed one by one, and a larger number is surely a mistake."""

Pair = tuple[int, int]


class ArgumentError(Exception):
    """An argument cannot be read. ``where`` is the path to the wrong value inside the arguments."""

    def __init__(self, message: str, *, hint: str | None = None, code: str = "E203", where: tuple[str | int, ...] = ()):
        super().__init__(message)
        self.message, self.hint, self.code, self.where = message, hint, code, where

    def inside(self, *keys: str | int) -> ArgumentError:
        """The same error for a container that has the value under ``keys``."""
        return ArgumentError(self.message, hint=self.hint, code=self.code, where=(*keys, *self.where))


class Argument(Protocol):
    """One kind of argument. If it is ``spatial`` it has one value for each spatial axis."""

    @property
    def spatial(self) -> bool: ...

    def read(self, raw: object, ndim: int | None) -> Any:
        """Returns the value in canonical form. ``ndim`` is the number of spatial axes, None if unknown.

        Raises `ArgumentError` if it cannot be read.
        """
        ...

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (draft-07) of values that `read` accepts."""
        ...

    def describe(self) -> str:
        """A few words for messages and the reference."""
        ...


def shown(raw: object) -> str:
    """A YAML value as an error message quotes it."""
    if raw is None:
        return "nothing"
    if isinstance(raw, bool):
        return str(raw).lower()
    text = str(raw)
    if isinstance(raw, str) and text.lstrip("+-").replace(".", "", 1).isdigit():
        text = f'"{text}"'  # quotes show that it is a string, not a number
    return f"`{text if len(text) <= 40 else text[:37] + '...'}`"


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from ``minimum`` up."""

    spatial: ClassVar[bool] = False
    minimum: int | None = None

    def read(self, raw: object, ndim: int | None) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise ArgumentError(f"expected {self.describe()} but got {shown(raw)}")
        if self.minimum is not None and raw < self.minimum:
            raise ArgumentError(f"expected {self.describe()} but got {shown(raw)}")
        if abs(raw) > MAX_INT:
            raise ArgumentError(f"{shown(raw)} is beyond 64 bits")
        return raw

    def schema(self) -> dict[str, Any]:
        return {"type": "integer"} if self.minimum is None else {"type": "integer", "minimum": self.minimum}

    def describe(self) -> str:
        return "a whole number" if self.minimum is None else f"a whole number >= {self.minimum}"


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number between ``minimum`` and ``maximum``, both included."""

    spatial: ClassVar[bool] = False
    minimum: float | None = None
    maximum: float | None = None

    def read(self, raw: object, ndim: int | None) -> float:
        finite = isinstance(raw, (int, float)) and not isinstance(raw, bool) and abs(raw) < float("inf")
        if not finite:
            raise ArgumentError(f"expected {self.describe()} but got {shown(raw)}")
        value = float(raw)  # type: ignore[arg-type]  # narrowed by `finite`
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            raise ArgumentError(f"expected {self.describe()} but got {shown(raw)}")
        return value

    def schema(self) -> dict[str, Any]:
        bounds = {"minimum": self.minimum, "maximum": self.maximum}
        return {"type": "number"} | {key: bound for key, bound in bounds.items() if bound is not None}

    def describe(self) -> str:
        if self.minimum is not None and self.maximum is not None:
            return f"a number from {self.minimum:g} to {self.maximum:g}"
        return "a number" if self.minimum is None else f"a number >= {self.minimum:g}"


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false. In YAML 1.2 ``yes`` and ``no`` are strings."""

    spatial: ClassVar[bool] = False

    def read(self, raw: object, ndim: int | None) -> bool:
        if not isinstance(raw, bool):
            raise ArgumentError(f"expected true or false but got {shown(raw)}")
        return raw

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}

    def describe(self) -> str:
        return "true or false"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    spatial: ClassVar[bool] = False
    words: tuple[str, ...]

    def read(self, raw: object, ndim: int | None) -> str:
        from cnnscope.errors import did_you_mean

        if not isinstance(raw, str) or raw not in self.words:
            hint = did_you_mean(raw, self.words) if isinstance(raw, str) else None
            raise ArgumentError(f"expected {self.describe()} but got {shown(raw)}", hint=hint)
        return raw

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}

    def describe(self) -> str:
        return " | ".join(self.words)


@dataclass(frozen=True, slots=True)
class PerAxis:
    """A whole number for all spatial axes, or a list with one for each: ``3``, ``[1, 7]``. Canonical: one for each."""

    spatial: ClassVar[bool] = True
    minimum: int = 1

    def read(self, raw: object, ndim: int | None) -> tuple[int, ...]:
        if not isinstance(raw, (list, tuple)):
            return (self._one(raw, ndim),) * (ndim or 1)
        check_axes(raw, ndim)
        return tuple(_at(partial(self._one, item, ndim), i) for i, item in enumerate(raw))

    def _one(self, raw: object, ndim: int | None) -> int:
        value = Integer(self.minimum).read(raw, ndim)
        if value > MOST_ALONG_AN_AXIS:
            raise ArgumentError(f"{shown(raw)} is more than the {MOST_ALONG_AN_AXIS:,} an axis may have")
        return value

    def schema(self) -> dict[str, Any]:
        one = Integer(self.minimum).schema()
        return {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 3}]}

    def describe(self) -> str:
        return f"a whole number >= {self.minimum}, or a list with one per axis"


@dataclass(frozen=True, slots=True)
class Factors(PerAxis):
    """A factor above 0 for all spatial axes, or a list with one for each: ``2``, ``[1, 1.5]``. Whole ones are ints."""

    def _one(self, raw: Any, ndim: int | None) -> Any:
        number = isinstance(raw, (int, float)) and not isinstance(raw, bool)
        if not number or not 0 < raw <= MOST_ALONG_AN_AXIS:
            raise ArgumentError(f"expected {self.describe()} but got {shown(raw)}")
        return int(raw) if raw == int(raw) else raw

    def schema(self) -> dict[str, Any]:
        one = {"type": "number", "exclusiveMinimum": 0}
        return {"oneOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": 3}]}

    def describe(self) -> str:
        return "a number above 0, or a list with one per axis"


@dataclass(frozen=True, slots=True)
class Integers:
    """A list of whole numbers, such as a shape."""

    spatial: ClassVar[bool] = False
    minimum: int | None = None

    def read(self, raw: object, ndim: int | None) -> tuple[int, ...]:
        if not isinstance(raw, (list, tuple)) or not raw:
            raise ArgumentError(f"expected a list of whole numbers but got {shown(raw)}")
        return tuple(_element(Integer(self.minimum), item, ndim, i) for i, item in enumerate(raw))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": Integer(self.minimum).schema(), "minItems": 1}

    def describe(self) -> str:
        return "a list of whole numbers"


PAD_WORDS = ("valid", "same", "half", "full")
_SIDES = {1: (("left", "right"),), 2: (("top", "bottom"), ("left", "right")),
          3: (("front", "back"), ("top", "bottom"), ("left", "right"))}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Padding:
    """Padding of a window: a number, one for each axis, sides by name, or a word.

    The canonical form is the word, or (low, high) for each axis.

    ``valid`` pads nothing; ``same`` makes ceil(n / stride) with the extra pixel at the bottom and right; ``half`` is
    dilation * (kernel - 1) // 2 on both sides; ``full`` is dilation * (kernel - 1) on both sides.
    """

    spatial: ClassVar[bool] = True
    words: tuple[str, ...] = PAD_WORDS

    def read(self, raw: object, ndim: int | None) -> str | tuple[Pair, ...]:
        one = Integer(0)
        if isinstance(raw, str):
            if raw not in self.words:
                from cnnscope.errors import did_you_mean

                raise ArgumentError(
                    f"expected {self.describe()} but got {shown(raw)}", hint=did_you_mean(raw, self.words)
                )
            return raw
        if isinstance(raw, dict):
            return self._sides(raw, ndim)
        if isinstance(raw, (list, tuple)):
            check_axes(raw, ndim)
            if all(isinstance(item, (list, tuple)) and len(item) == 2 for item in raw):  # canonical form, read back
                return tuple((one.read(item[0], ndim), one.read(item[1], ndim)) for item in raw)
            return tuple((n, n) for n in (_element(one, item, ndim, i) for i, item in enumerate(raw)))
        n = one.read(raw, ndim)
        return ((n, n),) * (ndim or 1)

    def _sides(self, raw: dict[Any, Any], ndim: int | None) -> tuple[Pair, ...]:
        sides = _SIDES[ndim or 2] if ndim is None or ndim in _SIDES else ()
        known = [side for pair in (sides if ndim else _SIDES[3]) for side in pair]
        for key in raw:
            if key not in known:
                raise ArgumentError(f"no side is called {shown(key)}; the sides are {', '.join(known)}", where=(key,))
        one = Integer(0)
        return tuple(
            (_element(one, raw.get(low, 0), ndim, low), _element(one, raw.get(high, 0), ndim, high))
            for low, high in sides
        )

    def schema(self) -> dict[str, Any]:
        one = Integer(0).schema()
        named = {side: one for pairs in _SIDES.values() for pair in pairs for side in pair}
        pair = {"type": "array", "items": one, "minItems": 2, "maxItems": 2}
        kinds = [
            one,
            {"type": "array", "items": one, "minItems": 1, "maxItems": 3},
            {"type": "array", "items": pair, "minItems": 1, "maxItems": 3},
            {"type": "object", "properties": named, "additionalProperties": False},
        ]
        return {"oneOf": [*kinds, {"enum": list(self.words)}] if self.words else kinds}

    def describe(self) -> str:
        words = f", or {' | '.join(self.words)}" if self.words else ""
        return f"a whole number >= 0, one per axis, sides by name{words}"


@dataclass(frozen=True, slots=True)
class Maybe:
    """Another kind of argument that may be left out. It is None then, whose meaning the op defines."""

    kind: Argument

    @property
    def spatial(self) -> bool:
        return self.kind.spatial

    def read(self, raw: object, ndim: int | None) -> Any:
        return None if raw is None else self.kind.read(raw, ndim)

    def schema(self) -> dict[str, Any]:
        return self.kind.schema()

    def describe(self) -> str:
        return self.kind.describe()


def check_axes(raw: list[Any] | tuple[Any, ...], ndim: int | None) -> None:
    """Raises `ArgumentError` if a list has not one value for each spatial axis."""
    if ndim is not None and len(raw) != ndim:
        axes = "axis" if ndim == 1 else "axes"
        raise ArgumentError(f"got {len(raw)} values but the map has {ndim} spatial {axes}")
    if not 1 <= len(raw) <= 3:
        raise ArgumentError(f"got {len(raw)} values; a map has one to three spatial axes")


def _element(kind: Argument, raw: object, ndim: int | None, key: str | int) -> Any:
    return _at(lambda: kind.read(raw, ndim), key)


def _at(read: Callable[[], Any], key: str | int) -> Any:
    try:
        return read()
    except ArgumentError as error:
        raise error.inside(key) from None


Pos = Annotated[int, Integer(1)]
NonNegative = Annotated[int, Integer(0)]
AnyInt = Annotated[int, Integer()]
Real = Annotated[float, Number()]
NonNegativeReal = Annotated[float, Number(0.0)]
Probability = Annotated[float, Number(0.0, 1.0)]
Bool = Annotated[bool, Flag()]
Size = Annotated[tuple[int, ...], PerAxis(1)]
Sides = Annotated[tuple[Pair, ...], Padding(words=())]
MaybeSize = Annotated[tuple[int, ...] | None, Maybe(PerAxis(1))]
MaybeFactors = Annotated[tuple[float, ...] | None, Maybe(Factors())]
Pads = Annotated[str | tuple[Pair, ...], Padding()]
Ints = Annotated[tuple[int, ...], Integers()]
