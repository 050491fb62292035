"""One image axis of a value: how its positions move as the image's pixels move, and where that is certain.

Three cases are followed together. Circular shifts: the positions repeat with a ``period`` and move by ``step``
for every ``unit`` pixels. Shifts that bring new pixels: the same step, but only for positions in ``clean``, whose
receptive field misses the border. Mirroring: whether the axis is reversed as the image is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import gcd, lcm

from cnnscope.analysis.equivariance.events import EXACT, Cause, Lost, Read, Reduce, Verdict, first, worst
from cnnscope.analysis.receptive_field.quasi_affine import Interval

Blame = Callable[[str], Cause]
"""Makes a `Cause` from a reason, for the current node."""


@dataclass(frozen=True, slots=True)
class Along:
    """State of one image axis.

    ``pixels`` is the image's extent, ``extent`` the positions here. A shift of the image by ``unit`` pixels moves them
    by ``step``; ``strides`` name the layers that ``unit`` results from. A ``period`` of 1 means that nothing moves.
    ``chosen`` names the op whose grid follows the content, so that ``step`` is not known. ``wraps`` is why circular
    shifts are not exact, ``slides`` why no position is clean; None if they are, or if the map is just too small.
    """

    pixels: int
    extent: int
    period: int
    clean: Interval | None
    unit: int = 1
    step: int = 1
    strides: tuple[tuple[int, Cause], ...] = ()
    chosen: str = ""
    wraps: Cause | None = None
    slides: Cause | None = None
    mirror: Verdict = EXACT

    @property
    def still(self) -> bool:
        """Whether a circular shift changes nothing."""
        return self.period == 1 and self.wraps is None


def start(pixels: int) -> Along:
    """The state of an axis of the image itself."""
    return Along(pixels, pixels, pixels, (0, pixels - 1))


def broken(a: Along, cause: Cause) -> Along:
    """The state of an axis about which nothing is known any more."""
    return replace(
        a, wraps=a.wraps or cause, slides=a.slides or cause, clean=None,
        mirror=worst([a.mirror, Verdict("not_guaranteed", cause)]),
    )  # fmt: skip


def moved(a: Along, event: Read | Reduce | Lost, blame: Blame, border: str, chosen: str = "") -> Along:
    """The state after an event.

    ``border`` is the name of the op's padding; ``chosen`` is the op if it adapts to content.
    """
    match event:
        case Read():
            return _read(a, event, blame, border, chosen)
        case Reduce():
            return _reduced(a, event, blame)
        case Lost(_, reason):
            return broken(a, blame(reason))


# -- windows -----------------------------------------------------------------------------------------------------------


def _read(a: Along, r: Read, blame: Blame, border: str, chosen: str) -> Along:
    phases = len(r.taps)
    size = a.extent * phases // r.n if r.size is None else r.size
    mirror = worst([a.mirror, _mirrored(a, r, size, blame)])
    if a.still:
        return replace(a, extent=size, clean=None, slides=a.slides or blame("repeats one position"), mirror=mirror)
    if r.n == 0:
        return replace(broken(a, blame("repeats one position")), extent=size, mirror=mirror)
    every = 1 if chosen else lcm(a.step, r.n) // abs(a.step)
    after = replace(
        a, extent=size, clean=_clean(a, r, size), mirror=mirror, unit=a.unit * every, chosen=chosen or a.chosen,
        step=1 if chosen else a.step * every // r.n * phases,
        strides=(*a.strides, (a.unit * every, blame(f"stride {abs(r.n)}"))) if every > 1 else a.strides,
    )  # fmt: skip
    if a.wraps:
        return after
    period = phases * a.period // gcd(r.n, a.period)
    wraps = _unwrapped(a, r, size, period, border)
    if wraps is None and after.unit % a.pixels == 0:
        uneven = f"{size} windows over {a.extent} positions are uneven"
        wraps = uneven if phases > 1 else f"its stride of {abs(r.n)} is all of the map"
    if wraps is None and a.chosen and not chosen and (abs(r.n) > 1 or phases > 1):
        wraps = f"stride {abs(r.n)} behind `{a.chosen}`, whose grid follows the content"
    return replace(after, period=period, wraps=None if wraps is None else blame(wraps))


def _unwrapped(a: Along, r: Read, size: int, period: int, border: str) -> str | None:
    """Why a circular shift of the input is not a circular shift of the result."""
    low, high = _reach(r, size)
    outside = low < 0 or high >= a.extent
    if outside and r.border != "wrap":
        return {"drop": border, "clamp": "repeats the edge beyond the border", "reflect": "reflect padding"}[r.border]
    if outside and a.extent % a.period:
        return f"wraps round {a.extent} positions that repeat every {a.period}"
    if size >= period:
        return None
    if a.period % r.n:
        return f"{a.period} positions are not divisible by its stride of {abs(r.n)}"
    if abs(r.n) == len(r.taps) == 1:
        return f"{a.extent} positions become {size}"
    return f"makes {size} positions of {a.extent}, not {period}"


def _reach(r: Read, size: int) -> tuple[int, int]:
    """The first and the last index that any output position reads, inside or not."""
    ends = []
    for phase, taps in enumerate(r.taps[:size]):
        last = r.n * ((size - 1 - phase) // len(r.taps))
        ends += [end for tap in taps for end in (tap, tap + last)]
    return (min(ends), max(ends)) if ends else (0, 0)


def _clean(a: Along, r: Read, size: int) -> Interval | None:
    """The largest interval of output positions all of whose taps are clean."""
    if a.clean is None:
        return None
    (lo, hi), phases = a.clean, len(r.taps)
    begin, end = 0, size - 1
    for phase, taps in enumerate(r.taps):
        if not taps:
            continue
        ends = (lo - min(taps), hi - max(taps)) if r.n > 0 else (hi - max(taps), lo - min(taps))
        begin = max(begin, phases * (-(-ends[0] // r.n) - 1) + phase + 1)
        end = min(end, phases * (ends[1] // r.n + 1) + phase - 1)
    return (begin, end) if begin <= end else None


def _mirrored(a: Along, r: Read, size: int, blame: Blame) -> Verdict:
    """Whether output position size - 1 - o reads the mirror image of what o reads: (n + 2p - k) mod s = 0 and more."""
    if a.extent == size == 1:
        return EXACT
    phases = len(r.taps)

    def taps(o: int) -> list[int]:
        turn, phase = divmod(o, phases)
        return [tap + r.n * turn for tap in r.taps[phase]]

    def alike(ends: list[int]) -> list[int]:
        return sorted(end % a.extent for end in ends) if r.border == "wrap" else sorted(ends)

    for o in range(min(phases, size)):
        here, there = [a.extent - 1 - tap for tap in taps(o)], taps(size - 1 - o)
        if alike(here) != alike(there):
            return Verdict("not_guaranteed", blame(_off_centre(a, r, here, there)))
    if r.weighted and sum(map(len, r.taps)) > 1:
        return Verdict("geometry_only", blame("its weights decide"))
    return EXACT


def _off_centre(a: Along, r: Read, here: list[int], there: list[int]) -> str:
    if len(here) != len(there) or not here or abs(r.n) == 1:
        return "what it reads is off centre"
    off = abs(sum(here) - sum(there)) // len(here)
    return f"its stride of {abs(r.n)} leaves {off} of {a.extent} positions over on one side"


# -- reductions --------------------------------------------------------------------------------------------------------

_WHOLE = {
    "global-pool": "pools the whole map", "norm-statistics": "statistics of the whole map",
    "attention": "attention over all positions", "dense": "a weight for each position",
    "recurrence": "runs over the positions in order",
}  # fmt: skip


def _reduced(a: Along, r: Reduce, blame: Blame) -> Along:
    cause = blame(_WHOLE[r.via])
    kept = a if r.own else replace(a, extent=1, step=1)
    after = replace(kept, clean=None, slides=a.slides or cause)
    if not r.symmetric:
        mirror = worst([a.mirror, Verdict("not_guaranteed", cause)])
        return replace(after, mirror=mirror, wraps=None if a.still else a.wraps or cause)
    if a.extent % a.period and not a.wraps:
        partly = f"{_WHOLE[r.via]}: {a.extent} positions that repeat every {a.period}"
        return replace(after, wraps=blame(partly))
    return after if r.own or a.wraps else replace(after, period=1, chosen="")


# -- joins -------------------------------------------------------------------------------------------------------------


def joined(a: Along, b: Along, blame: Blame) -> Along:
    """The state of two values of one shape that are read together, position by position."""
    if a == b:
        return a
    unit = lcm(a.unit, b.unit)
    steps = a.step * (unit // a.unit), b.step * (unit // b.unit)
    apart = blame("its inputs move by different amounts")
    wraps, slides = first([a.wraps, b.wraps]), first([a.slides, b.slides])
    moving = [side for side in (a, b) if not side.still]
    if wraps is None and len(moving) == 2 and (steps[0] != steps[1] or (a.period, a.chosen) != (b.period, b.chosen)):
        wraps = apart
    if wraps is None and unit % a.pixels == 0:
        wraps = apart
    if slides is None and (steps[0] != steps[1] or a.chosen != b.chosen):
        slides = apart
    lead = moving[0] if moving else a
    strides = tuple(sorted({*a.strides, *b.strides}, key=lambda item: item[1].place))
    return replace(
        lead, extent=max(a.extent, b.extent), unit=unit, step=lead.step * (unit // lead.unit), strides=strides,
        clean=None if slides else overlap(a.clean, b.clean), wraps=wraps, slides=slides,
        mirror=worst([a.mirror, b.mirror]),
    )  # fmt: skip


def overlap(a: Interval | None, b: Interval | None) -> Interval | None:
    """The intersection of two intervals."""
    if a is None or b is None:
        return None
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return (low, high) if low <= high else None
