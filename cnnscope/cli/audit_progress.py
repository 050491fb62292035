"""How far an audit is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

EVERY = 10.0
"""Seconds between lines where no terminal shows a bar."""


class AuditProgress:
    """Follows `cnnscope.audits.run.work.Progress`; says nothing where it is to be quiet."""

    def __init__(self, slots: int, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.slots, self.quiet, self.bar = slots, quiet, sys.stderr.isatty() and not quiet
        self.total = self.ready = self.finished = self.partial = 0
        self.start = self.spoken = time.monotonic()
        columns = (TextColumn("auditing"), BarColumn(), TextColumn("{task.fields[text]}"))
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True, disable=not self.bar)
        self.task = self.progress.add_task("auditing", total=1, text="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()

    def begin(self, total: int, ready: int) -> None:
        """``ready`` of all ``total`` images were measured before."""
        self.total, self.ready, self.finished = total, ready, ready
        self.start = self.spoken = time.monotonic()
        self._show()

    def advance(self, samples: int) -> None:
        self.partial += samples
        self._show()

    def done(self, entries: int, samples: int) -> None:
        self.finished += entries
        self.partial -= samples
        self._show()

    def note(self, text: str) -> None:
        if not self.quiet:
            self.progress.console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)

    @property
    def text(self) -> str:
        """``1,280 of 50,000 images, 12,300 images x transforms/s, 3 min left``."""
        samples = (self.finished - self.ready) * self.slots + self.partial
        missing = (self.total - self.finished) * self.slots - self.partial
        if missing <= 0:
            return f"all {self.total:,} images measured; now controls, random weights and the report"
        words = f"{self.finished + self.partial // self.slots:,} of {self.total:,} images"
        if samples:
            rate = samples / max(time.monotonic() - self.start, 1e-9)
            words += f", {rate:,.0f} images x transforms/s, {duration(missing / rate)} left"
        return words

    def _show(self) -> None:
        if self.bar:
            part = self.finished + self.partial / self.slots
            self.progress.update(self.task, completed=part, total=max(self.total, 1), text=self.text)
        elif not self.quiet and time.monotonic() - self.spoken > EVERY:
            self.spoken = time.monotonic()
            print(f"auditing: {self.text}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
