"""Why a network stops at a size of its input, and which sizes it would take, found by running it at others.

This is for every source: torch modules are run, and the shapes of specs and files are inferred. The number of features
that reaches a layer grows with the image, so the sizes at which it has a wanted value are found by bisection. Both ends
of what is said to fit, and their neighbours, are run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import process_time
from typing import Literal

from cnnscope.sources.inputs import InputSize


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a layer refuses its input, and what in the layer would have to change.

    ``found`` is the number that came where the layer has ``wanted``. A number of *features* follows from the size of
    the image; one of *channels* does not, and the *size* of a map is less than a kernel.
    """

    text: str
    kind: Literal["features", "channels", "axes", "size", "dtype", "shapes"]
    remedy: str | None = None
    wanted: int | None = None
    found: int | None = None


@dataclass(frozen=True)
class Stop:
    """Where a network stops: in which layer, why (None where shapes do not say), and after which layers.

    ``maker`` is the layer that gave the refused input its channels or features, empty for the network's own input.
    """

    layer: str
    mismatch: Mismatch | None
    maker: str = ""
    passed: frozenset[str] = frozenset()


NOWHERE = Stop("", None)
"""Of a run only is known that it does not reach its end."""

Probe = Callable[[Sequence[InputSize]], Stop | None]
"""Runs the network, or infers its shapes, at other sizes; None if that reaches the end."""

SECONDS = 2.0
"""Processor time for trying other sizes. The runs of small networks take a hundredth of it in all."""


class ExhaustedError(Exception):
    """There is no more time to try sizes."""


class Probing:
    """A `Probe` that remembers what it has run, and stops with `ExhaustedError` after `SECONDS`."""

    def __init__(self, run: Probe) -> None:
        self._run, self._known = run, dict[tuple[InputSize, ...], "Stop | None"]()
        self._end = process_time() + SECONDS

    def __call__(self, sizes: Sequence[InputSize]) -> Stop | None:
        key = tuple(sizes)
        if key not in self._known:
            if process_time() > self._end:
                raise ExhaustedError
            self._known[key] = self._run(key)
        return self._known[key]

    @property
    def tried(self) -> int:
        """How many sizes were tried."""
        return len(self._known)


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
            yield _attempts(seen, scaled)
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


def _attempts(seen: Mapping[int, int | None], scaled: Scaled) -> str:
    """Says what was tried where no size brings as many features as are wanted."""
    told = {n: seen[n] for n in sorted(seen) if seen[n]}
    given = [f"{scaled(n)} gives {told[n]}" for n in dict.fromkeys((min(told), max(told)))] if told else []
    found = " and ".join(given) or "none gets that far"
    return f"{len(seen)} sizes up to {scaled(LARGEST)} were tried: {found}"


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


def other_sizes(given: InputSize, probe: Probing, *, nearest: bool) -> Iterator[str]:
    """Yields sizes that fit where one does not: those ``nearest`` to it, or the smallest; or what was tried."""
    try:
        found = [*_nearest(given, probe)] if nearest else []
        found = found or [*smallest_size(given, probe, least_first=True)]
        found = found or [*(() if nearest else _nearest(given, probe))]
    except ExhaustedError:
        found = []
    if found or probe.tried:
        yield from found or [f"{probe.tried} other sizes were tried, and none fits"]


def _nearest(given: InputSize, probe: Probe) -> Iterator[str]:
    """Yields the next smaller and the next larger size that run, as where halved maps meet again."""
    for _, scaled in _families(given):
        own = next(n for n in range(1, LARGEST) if scaled(n) == given)
        around = (range(own - 1, max(own - FURTHEST, 0), -1), range(own + 1, own + FURTHEST))
        sizes = [next((n for n in side if probe((scaled(n),)) is None), None) for side in around]
        known = [f"`--input {scaled(n)}`" for n in sizes if n is not None]
        if known:
            yield f"the nearest that fit: {' and '.join(known)}"
            return


FURTHEST = 65
"""Halved six times, an extent of 64 is one; so much further a size that divides is found."""


def _families(given: InputSize) -> Iterator[tuple[str, Scaled]]:
    """Yields ways to vary a size by one number: all extents after the first, or each alone where they differ."""
    shape = given.shape
    if len(shape) == 1 or (len(shape) == 2 and given.dtype is not None):
        return
    if len(shape) > 2 and len(set(shape[:-1])) == 1 and shape[-1] <= 4 < shape[0]:  # channels last
        yield "such input", partial(_scaled, given, range(len(shape) - 1))
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
    if now is None or now.layer != found.layer:
        passed = now is None or found.layer in now.passed
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


def hints(
    found: Stop, sizes: Sequence[InputSize], probe: Probing | None, batches: Callable[[], str | None] = lambda: None
) -> Iterator[str]:
    """Yields what would help: another spelling of the size, another number of images (``batches`` says which, if that
    helps), another number in a layer, other sizes.
    """
    try:
        yield from _hints(found, sizes, probe, batches)
    except ExhaustedError:
        if probe is not None and probe.tried:
            yield f"{probe.tried} other sizes were tried in {SECONDS:.0f} s, so which ones fit is not known"


def _hints(
    found: Stop, sizes: Sequence[InputSize], probe: Probing | None, batches: Callable[[], str | None]
) -> Iterator[str]:
    reason = found.mismatch
    spelled = next((s for s in _spellings(found, sizes) if probe is not None and probe(s) is None), None)
    if spelled is not None:
        yield f"it runs with `{' '.join(f'--input {size}' for size in spelled)}`"
        return
    if (reason is None or reason.kind not in ("axes", "dtype")) and (other := batches()):
        yield other
        return
    if reason is not None and reason.kind == "channels":
        own = f"`{reason.remedy}={reason.found}` of `{found.layer}`" if found.layer else "the layer"
        yield f"no other size helps: {own} fits" + (
            f", or {reason.wanted} channels from `{found.maker}`" if found.maker else ""
        )
    elif reason is not None and reason.remedy is not None:
        yield reason.remedy
    if probe is None or len(sizes) != 1:
        return
    if reason is not None and reason.kind == "features":
        yield from fitting_sizes(found, sizes[0], probe)
    elif reason is None or reason.kind in ("size", "shapes"):
        yield from smallest_size(sizes[0], probe, least_first=reason is not None and reason.kind == "size")


def _spellings(found: Stop, sizes: Sequence[InputSize]) -> Iterator[tuple[InputSize, ...]]:
    """Yields what one of the sizes may have been meant for: without its batch, in another order, as indices."""
    reason = found.mismatch
    for i, size in enumerate(sizes):
        shape = size.shape
        tries: list[InputSize] = []
        if reason is not None and reason.kind == "dtype":
            tries.append(replace(size, dtype="int64"))
        elif reason is None or reason.kind in ("axes", "channels", "features"):
            if len(shape) > 2:
                tries += (replace(size, shape=(shape[-1], *shape[:-1])), replace(size, shape=(*shape[1:], shape[0])))
                if shape[0] <= _MOST_IMAGES:
                    tries += (replace(size, shape=shape[1:]), replace(size, shape=(shape[-1], *shape[1:-1])))
            if reason is not None and reason.wanted is not None and not found.maker:  # the input itself is refused
                tries += [replace(size, shape=(reason.wanted, *shape[1:]))] * (
                    reason.kind == "channels" or len(shape) == 1
                )
            if len(shape) < 3:
                likely = dict.fromkeys((*([reason.wanted] if reason and reason.wanted else ()), 3, 1))
                tries += [replace(size, shape=(c, *(shape * (3 - len(shape))))) for c in likely]
                tries += [replace(size, shape=(c, *shape)) for c in likely if len(shape) == 1]
        for other in dict.fromkeys(tries):
            if other != size:
                yield (*sizes[:i], other, *sizes[i + 1 :])


_MOST_IMAGES = 1024
"""The largest first extent of a size that may be a batch."""
