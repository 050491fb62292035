"""SIGTERM and SIGHUP unwind the program as Ctrl-C does, so that nothing half-written stays behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """A signal that asks the program to end. It is no `Exception`, so that no handler of errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number
        """What a shell reports for a program that the signal ended."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)


@contextmanager
def heard() -> Iterator[None]:
    """Inside, these signals raise `Terminated`. One that the caller ignores (`nohup`) or handles stays as it is."""
    if threading.current_thread() is not threading.main_thread():  # Python allows handlers there only
        yield
        return
    taken = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)
