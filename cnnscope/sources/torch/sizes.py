"""Which input sizes a stopped model would take, found by running it at other sizes.

The number of features that reaches a layer grows with the image, so the sizes at which it has a wanted value are found
by bisection. Both ends of what is said to fit, and their neighbours, are run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.mismatch import Mismatch
from cnnscope.sources.torch.recording import Call


@dataclass(frozen=True)
class Stop:
    """A run that stopped: in which call of a module, why (None where shapes do not say), and after which layers."""

    error: Exception
    call: Call
    mismatch: Mismatch | None
    maker: str
    passed: frozenset[str]


NOWHERE = Stop(RuntimeError(), Call(None, "", None, 0), None, "", frozenset())
"""A run of which only is known that it does not reach its end."""


Probe = Callable[[Sequence[InputSize]], Stop | None]
"""Runs the model at other sizes; None if it runs to its end."""


class Probing:
    """A `Probe` that remembers what it has run."""

    def __init__(self, run: Probe) -> None:
        self._run, self._known = run, dict[tuple[InputSize, ...], "Stop | None"]()

    def __call__(self, sizes: Sequence[InputSize]) -> Stop | None:
        key = tuple(sizes)
        if key not in self._known:
            self._known[key] = self._run(key)
        return self._known[key]


Scaled = Callable[[int], InputSize]

USUAL = (224, 256, 384, 299, 192, 128, 96, 64, 32, 512, 16)
"""Extents that networks are made for, the commonest first."""
LARGEST = 2048
"""The largest extent that is tried."""


def fitting_sizes(found: Stop, given: InputSize, probe: Probe) -> Iterator[str]:
    """Yields which sizes bring the number of features that the layer wants, or between which sizes it is missed."""
    reason = found.mismatch
    if reason is None or reason.wanted is None:
        return
    wanted = reason.wanted
    for what, scaled in _families(given):
        seen: dict[int, int | None] = {}

        def features(n: int, scaled: Scaled = scaled, seen: dict[int, int | None] = seen) -> int | None:
            if n not in seen:
                seen[n] = _features(found, probe((scaled(n),)), wanted)
            return seen[n]

        first = _first(lambda n: (features(n) or 0) >= wanted)
        if first is None:
            yield f"no {what} up to {scaled(LARGEST)} gives {wanted}"
        elif features(first) == wanted:
            after = _first(lambda n: (features(n) or 0) > wanted)
            last = first if after is None else after - 1
            runs = [n for n in dict.fromkeys((first, last)) if probe((scaled(n),)) is None]
            if not runs:
                continue
            if first == last:
                yield f"`--input {scaled(first)}` gives {wanted}"
            else:
                yield f"`--input {scaled(first)}` to `{scaled(last)}` give {wanted}"
            return
        else:
            less = features(first - 1) if first > 1 else None
            before = f"{scaled(first - 1)} gives {less} and " if less else ""
            yield f"no {what} gives {wanted}: {before}{scaled(first)} gives {features(first)}"


def smallest_size(given: InputSize, probe: Probe, *, least_first: bool) -> Iterator[str]:
    """Yields the smallest size that runs, or nothing if none of those tried does."""
    for _, scaled in _families(given):
        for n in sorted(USUAL) if least_first else USUAL:
            if scaled(n) == given or probe((scaled(n),)) is not None:
                continue
            least = _bisected(lambda n: probe((scaled(n),)) is None, n)  # noqa: B023  # called at once
            less = f", {scaled(least - 1)} does not" if least > 1 else ""
            yield f"`--input {scaled(least)}` runs{less}"
            return


def _families(given: InputSize) -> Iterator[tuple[str, Scaled]]:
    """Yields ways to vary a size by one number: all extents after the first, or each alone where they differ."""
    shape = given.shape
    if len(shape) == 1 or (len(shape) == 2 and given.dtype is not None):
        return
    if len(set(shape[1:])) == 1:
        what = {2: "length", 3: "square input", 4: "cube"}.get(len(shape), "such input")
        yield what, partial(_scaled, given, range(1, len(shape)))
        return
    for axis in range(len(shape) - 1, 0, -1):
        what = f"other extent in place of the {shape[axis]} in {given}"
        yield what, partial(_scaled, given, (axis,))


def _scaled(given: InputSize, axes: Collection[int], n: int) -> InputSize:
    return replace(given, shape=tuple(n if i in axes else m for i, m in enumerate(given.shape)))


def _features(found: Stop, now: Stop | None, wanted: int) -> int | None:
    """The number of features that reached the layer; None if the run stopped before it."""
    if now is None or now.call.path != found.call.path:
        passed = now is None or found.call.path in now.passed
        return wanted if passed else None
    return None if now.mismatch is None else now.mismatch.found


def _first(holds: Callable[[int], bool]) -> int | None:
    """The least extent from which on ``holds``; None if it does not up to the largest one."""
    high = 8
    while not holds(high):
        if high >= LARGEST:
            return None
        high *= 2
    return _bisected(holds, high)


def _bisected(holds: Callable[[int], bool], high: int) -> int:
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
