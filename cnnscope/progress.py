"""How far a long computation is: the protocol that computations report to, and a bar or lines on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import rich.progress

EVERY = 10.0
"""Seconds between lines where no terminal shows a bar."""


class Progress(Protocol):
    """Receives how far a computation is."""

    def __call__(self, task: str, done: float, total: float | None = None, words: str = "") -> None:
        """``done`` of ``total`` (None: unknown) of a task is finished; ``words`` replace the percentage shown."""

    def note(self, text: str) -> None:
        """Something happened that the user should know."""


class Silent:
    """Shows nothing; notes go to ``note``, if there is one."""

    def __init__(self, note: Callable[[str], None] = lambda text: None) -> None:
        self.note = note

    def __call__(self, task: str, done: float, total: float | None = None, words: str = "") -> None:
        pass


SILENT = Silent()


@contextmanager
def on_stderr(quiet: bool = False) -> Iterator[Progress]:
    """A bar on a terminal, a line every `EVERY` seconds elsewhere, nothing if ``quiet``."""
    if quiet:
        yield Silent()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        bar = _bar()
        with bar:
            yield _Bar(bar)


class _Lines:
    """One line on stderr every `EVERY` seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, task: str, done: float, total: float | None = None, words: str = "") -> None:
        if time.monotonic() - self.last > EVERY:
            self.last = time.monotonic()
            print(f"{task}: {words or _share(done, total)}", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        print(f"note: {text}", file=sys.stderr, flush=True)


class _Bar:
    """Updates one bar of rich."""

    def __init__(self, bar: rich.progress.Progress) -> None:
        self.bar = bar
        self.task = bar.add_task("", total=None, words="")

    def __call__(self, task: str, done: float, total: float | None = None, words: str = "") -> None:
        self.bar.update(self.task, description=task, completed=done, total=total, words=words)

    def note(self, text: str) -> None:
        self.bar.console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True)


def _bar() -> rich.progress.Progress:
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Share(progress.TaskProgressColumn):
        """The task's own words, else the percentage and the time left."""

        left = progress.TimeRemainingColumn()

        def render(self, task: progress.Task) -> Text:
            words: Any = task.fields["words"]
            return Text(words) if words else Text(" ").join((super().render(task), self.left.render(task)))

    description = progress.TextColumn("{task.description}", markup=False)
    return progress.Progress(description, progress.BarColumn(), Share(), console=Console(stderr=True), transient=True)


def _share(done: float, total: float | None) -> str:
    """``25 %``; how much is done where the total is unknown."""
    return f"{done:,.0f}" if total is None else f"{100 * done // total:.0f} %"
