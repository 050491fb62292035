"""The pattern that lectures leave out: what the bundled networks, plain and augmented, do with digits that move."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from audit_jobs import Heard, job

from cnnscope.audits.protocol.presets import quick
from cnnscope.audits.run.finish import collect
from cnnscope.audits.run.shards import Ranks
from cnnscope.audits.run.work import work
from cnnscope.audits.statistics.groups import group
from cnnscope.audits.statistics.intervals import Estimate, share
from cnnscope.audits.statistics.metrics import agreement, clean_accuracy

WANTED = ("translation@1", "translation@4", "translation@8", "scale@0.7", "rotation@90", "rotation@30")


@cache
def agreements(source: str) -> dict[str, Estimate]:
    """Agreement by group, and accuracy as ``clean``, on all 360 digits."""
    slots = quick((32, 32)).slots
    kept = {member for g in group([s.record for s in slots]) if g.name in WANTED for member in g.members}
    made = job(limit=None, slots=tuple(slots[i] for i in sorted(kept)), source=source, size=128, batch=256)
    with TemporaryDirectory() as folder:
        work(made, Path(folder), Ranks(), Heard())
        outcomes = collect(made, Path(folder), Heard()).outcomes
    assert len(outcomes) == 360
    found = {g.name: share(agreement(outcomes, g)) for g in group(outcomes.transforms)}
    return {**found, "clean": share(clean_accuracy(outcomes))}


def low(source: str, name: str) -> float:
    bound = agreements(source)[name].low
    assert bound is not None
    return bound


def high(source: str, name: str) -> float:
    bound = agreements(source)[name].high
    assert bound is not None
    return bound


PLAIN, AUGMENTED = "lenet5-digits", "lenet5-digits-augmented"


def test_both_know_the_digits() -> None:
    assert low(PLAIN, "clean") > 0.93
    assert low(AUGMENTED, "clean") > 0.95


def test_one_pixel_changes_little() -> None:
    assert low(PLAIN, "translation@1") > 0.95
    assert low(AUGMENTED, "translation@1") > 0.95


def test_eight_pixels_and_quarter_turns_change_nearly_everything() -> None:
    for name in ("translation@8", "rotation@90"):
        assert high(PLAIN, name) < 0.3
    assert high(AUGMENTED, "rotation@90") < 0.4
    assert high(AUGMENTED, "translation@8") < low(AUGMENTED, "translation@1")


def test_larger_shifts_and_turns_change_more() -> None:
    steps = [("translation@4", "translation@8"), ("rotation@30", "rotation@90")]
    for near, far in (("translation@1", "translation@4"), *steps):
        assert high(PLAIN, far) < low(PLAIN, near)
    for near, far in steps:
        assert high(AUGMENTED, far) < low(AUGMENTED, near)


def test_augmentation_lifts_what_it_showed_and_not_what_it_did_not() -> None:
    for name in ("translation@4", "scale@0.7"):
        assert low(AUGMENTED, name) > high(PLAIN, name) + 0.2, name
        assert low(AUGMENTED, name) > 0.85, name
    assert high(AUGMENTED, "rotation@90") < 0.4
