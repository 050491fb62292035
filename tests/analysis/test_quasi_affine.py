"""Interval maps against brute force: what a chain of windows reads, one position at a time."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cnnscope.analysis.receptive_field.quasi_affine import IDENTITY, PERIOD_LIMIT, QuasiAffine, hull

Reads = Callable[[int], "tuple[int, int] | None"]
Op = tuple[int, tuple[tuple[int, ...], ...]]

TAP = st.lists(st.integers(-6, 6), max_size=3).map(tuple)
OPS = st.tuples(st.integers(-3, 4), st.lists(TAP, min_size=1, max_size=4).map(tuple))
HERE = range(-40, 41)


def behind(reads: Reads, op: Op) -> Reads:
    """What position o reads through ``op``, from its definition."""
    n, taps = op

    def composed(o: int) -> tuple[int, int] | None:
        return hull([reads(tap + n * (o // len(taps))) for tap in taps[o % len(taps)]])

    return composed


def chain(ops: list[Op]) -> tuple[QuasiAffine | None, Reads]:
    found: QuasiAffine | None = IDENTITY
    reads: Reads = lambda o: (o, o)  # noqa: E731  # the start of a composition
    for op in ops:
        found = found and found.windowed(*op)
        reads = behind(reads, op)
    return found, reads


@given(st.lists(OPS, max_size=5))
def test_composition(ops: list[Op]) -> None:
    found, reads = chain(ops)
    assume(found is not None)
    assert [found.at(o) for o in HERE] == [reads(o) for o in HERE]


@given(st.lists(OPS, max_size=3), st.lists(OPS, max_size=3))
def test_union(left: list[Op], right: list[Op]) -> None:
    (a, reads_a), (b, reads_b) = chain(left), chain(right)
    assume(a is not None and b is not None)
    if a.stride != b.stride:
        assert a.union(b) is None
    else:
        assert [a.union(b).at(o) for o in HERE] == [hull([reads_a(o), reads_b(o)]) for o in HERE]


@given(st.lists(OPS, max_size=4))
def test_phases_are_the_fewest_that_repeat(ops: list[Op]) -> None:
    found, _ = chain(ops)
    assume(found is not None)
    period, step = len(found.phases), found.advance

    def repeats(p: int) -> bool:
        moved = Fraction(step * p, period)
        later = [found.at(o + p) for o in range(period)]
        return moved.denominator == 1 and later == [
            at and (at[0] + moved, at[1] + moved) for at in map(found.at, range(period))
        ]

    assert repeats(period)
    assert not any(repeats(p) for p in range(1, period) if period % p == 0)


@pytest.mark.parametrize(
    ("n", "taps", "stride", "sizes"),
    [
        (1, ((-1, 0, 1),), Fraction(1), (3,)),  # 3x3 convolution
        (2, ((-3, -2, -1, 0, 1, 2, 3),), Fraction(2), (7,)),  # ResNet's stem
        (1, ((0,), (0,)), Fraction(1, 2), (1, 1)),  # nearest upsampling by 2
        (1, ((-1, 0), (0, 1)), Fraction(1, 2), (2, 2)),  # bilinear
        (1, ((0,), (), ()), Fraction(1, 3), (1,)),  # transposed, kernel 1 and stride 3: two phases read nothing
        (-1, ((9,),), Fraction(-1), (1,)),  # flip
    ],
)
def test_one_op(n: int, taps: tuple[tuple[int, ...], ...], stride: Fraction, sizes: tuple[int, ...]) -> None:
    found = IDENTITY.windowed(n, taps)
    assert (found.stride, found.sizes) == (stride, sizes)


def test_too_many_phases_is_no_closed_form() -> None:
    many = ((0,),) * 64
    once = IDENTITY.windowed(63, many)
    assert len(once.phases) == 64 <= PERIOD_LIMIT
    assert once.windowed(63, many) is None
