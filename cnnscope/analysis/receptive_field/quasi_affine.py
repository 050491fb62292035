"""Quasi-affine interval maps: which input positions an output position reads, along one axis of the infinite plane.

``lo(o) = lo[o mod P] + A * (o div P)`` and the same for ``hi``, with P phases. Strided layers have P = 1; upsampling
by r multiplies the phases by r. Maps are closed under every windowed op and under unions of equal stride, so a whole
network composes to one of them (Araujo et al. 2019, "Computing receptive fields", is the case P = 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

Interval = tuple[int, int]
Phases = tuple[tuple[int, ...], ...]

PERIOD_LIMIT = 1024
"""The largest number of phases of a map; a field that needs more is called position-dependent."""


@dataclass(frozen=True, slots=True)
class QuasiAffine:
    """Output ``o`` reads the interval ``phases[o mod P]`` moved by ``advance * (o div P)``; None reads nothing."""

    advance: int = 1
    phases: tuple[Interval | None, ...] = ((0, 0),)

    @property
    def stride(self) -> Fraction:
        """Input positions per output position: below 1 after upsampling, negative after a flip."""
        return Fraction(self.advance, len(self.phases))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Width of each phase that reads anything."""
        return tuple(phase[1] - phase[0] + 1 for phase in self.phases if phase)

    def at(self, o: int) -> Interval | None:
        """What output position ``o`` reads, first and last included."""
        turn, phase = divmod(o, len(self.phases))
        interval = self.phases[phase]
        shift = self.advance * turn
        return interval and (interval[0] + shift, interval[1] + shift)

    def windowed(self, n: int, taps: Phases) -> QuasiAffine | None:
        """The map after an op whose output ``o`` reads ``taps[o mod m] + n * (o div m)``; None beyond the limit."""
        if len(self.phases) == 1 and len(taps) == 1:
            interval, (reach,) = self.phases[0], taps
            if interval is None or not reach:
                return QuasiAffine(self.advance * n, (None,))
            ends = self.advance * min(reach), self.advance * max(reach)
            return QuasiAffine(self.advance * n, ((interval[0] + min(ends), interval[1] + max(ends)),))
        turns = len(self.phases) // gcd(len(self.phases), n)
        period = len(taps) * turns
        if period > PERIOD_LIMIT:
            return None
        phases = tuple(
            hull([self.at(n * turn + tap) for tap in taps[phase]])
            for turn, phase in (divmod(o, len(taps)) for o in range(period))
        )
        return QuasiAffine(self.advance * n * turns // len(self.phases), phases)._reduced()

    def union(self, other: QuasiAffine) -> QuasiAffine | None:
        """The union of both maps; None if the strides differ, because then the union grows with the position."""
        if self == other:
            return self
        if self.advance * len(other.phases) != other.advance * len(self.phases):
            return None
        period = lcm(len(self.phases), len(other.phases))
        if period > PERIOD_LIMIT:
            return None
        phases = tuple(hull([self.at(o), other.at(o)]) for o in range(period))
        return QuasiAffine(self.advance * (period // len(self.phases)), phases)._reduced()

    def _reduced(self) -> QuasiAffine:
        """The same map with the fewest phases."""
        period = len(self.phases)
        for fewer in range(1, period // 2 + 1):
            if period % fewer or self.advance * fewer % period:
                continue
            shorter = QuasiAffine(self.advance * fewer // period, self.phases[:fewer])
            if all(shorter.at(o) == self.phases[o] for o in range(fewer, period)):
                return shorter
        return self


IDENTITY = QuasiAffine()


def hull(intervals: list[Interval | None]) -> Interval | None:
    """The smallest interval that contains all of these."""
    some = [interval for interval in intervals if interval]
    return (min(lo for lo, _ in some), max(hi for _, hi in some)) if some else None
