"""Small audits for tests: the bundled digits under a few transforms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import cnnscope
from cnnscope.audits.protocol.protocol import Protocol, Slot, mirror, rotate, shift, zoom
from cnnscope.audits.run.job import Job, open_job
from cnnscope.trained.network import TrainedNetwork

FEW = (shift(1, 0), shift(0, -4), rotate(90), rotate(10), zoom(0.7), mirror("horizontal"))


@cache
def digits(source: str = "lenet5-digits", **options: Any) -> TrainedNetwork:
    return cnnscope.load(source).trained(**options)


def job(limit: int | None = 40, slots: tuple[Slot, ...] = FEW, source: str = "lenet5-digits", **options: Any) -> Job:
    """An audit of the bundled network, 16 images a piece."""
    opened = open_job(digits(source), limit=limit, **{"size": 16, "batch": 64, **options})
    return replace(opened, protocol=Protocol("test", "of this test", slots, border="zero"))


class Heard:
    """Progress that keeps what it is told."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.then = then
        self.begun: list[tuple[int, int]] = []
        self.samples, self.entries = 0, 0
        self.notes: list[str] = []

    def begin(self, total: int, ready: int) -> None:
        self.begun.append((total, ready))

    def advance(self, samples: int) -> None:
        self.samples += samples
        self.then()

    def done(self, entries: int, samples: int) -> None:
        self.entries += entries

    def note(self, text: str) -> None:
        self.notes.append(text)
