"""How far an audit is, counted over all threads and ranks that work at it."""

from __future__ import annotations

import threading
import time

from cnnscope.progress import Progress


class AuditProgress:
    """Counts images and transforms, and shows them as ``progress``. Threads may share one."""

    def __init__(self, slots: int, progress: Progress) -> None:
        self.slots, self.progress, self.lock = slots, progress, threading.Lock()
        self.total = self.ready = self.finished = self.partial = 0
        self.start = time.monotonic()

    def begin(self, total: int, ready: int) -> None:
        """``ready`` of all ``total`` images were measured before. Counts once where several threads begin."""
        with self.lock:
            if self.finished == self.total:
                self.total, self.ready, self.finished = total, ready, ready
                self.start = time.monotonic()
            self._show()

    def advance(self, samples: int) -> None:
        """This process measured ``samples`` more images x transforms."""
        with self.lock:
            self.partial += samples
            self._show()

    def done(self, entries: int, samples: int) -> None:
        """``entries`` more images are finished; `advance` counted ``samples`` of them, and none of other ranks'."""
        with self.lock:
            self.finished += entries
            self.partial -= samples
            self._show()

    def note(self, text: str) -> None:
        """Something happened that the user should know."""
        with self.lock:
            self.progress.note(text)

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
        self.progress("auditing", self.finished + self.partial / self.slots, max(self.total, 1), self.text)


def duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
