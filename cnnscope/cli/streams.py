"""Standard input, output and error while the program runs: what they accept, and how the program ends if one fails.

Output that cannot be written (a full disk, a closed descriptor) is E405 and exit code 2. If the reader of a pipe goes
away, the program ends silently with `BROKEN_PIPE`, as SIGPIPE ends other programs. Messages that cannot be written to
stderr are dropped: nobody is left to tell, and the exit code stays what it is.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason

BROKEN_PIPE = 128 + 13
"""What a shell reports for a program that SIGPIPE ended."""


class ReaderGoneError(Exception):
    """The reader of the pipe that standard output is connected to went away."""


@contextmanager
def guarded() -> Iterator[None]:
    """Inside, sys.stdout and sys.stderr follow the rules of this module, unless somebody has replaced them."""
    _open_closed_ones()
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another encoding still gets its table
            stream.reconfigure(errors=_ESCAPED)
    ours = _wrapped(sys.stdout, _Results, 1), _wrapped(sys.stderr, _Messages, 2)
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream, number in zip(ours, (1, 2), strict=True):
            if isinstance(stream, _Results | _Messages):
                _release(stream, number)


def _open_closed_ones() -> None:
    """Gives each closed standard stream its number back, so that no file that is opened later gets it.

    The number is opened for the other direction: reading from what was closed fails, and so does writing to it.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


class _Results(io.TextIOWrapper):
    """Standard output. Whatever goes wrong while it is written is E405, or `ReaderGoneError`."""

    def write(self, text: str, /) -> int:
        with _explained():
            return super().write(text)

    def flush(self) -> None:
        with _explained():
            super().flush()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise ReaderGoneError from None
    except OSError as error:
        hint = "write to a file that there is room for: `-o FILE`"
        raise CnnscopeError.of("E405", f"cannot write to standard output: {os_reason(error)}", hint=hint) from None


class _Messages(io.TextIOWrapper):
    """Standard error. What cannot be written is dropped."""

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()


def _wrapped(stream: TextIO | None, kind: type[io.TextIOWrapper], number: int) -> TextIO:
    """The stream of the process in the form ``kind``; any other stream, such as that of a test, as it is."""
    if stream is None:  # it was closed when Python started
        return kind(open(number, "wb", closefd=False), encoding="utf-8", errors=_ESCAPED)  # `_release`
    if stream not in (sys.__stdout__, sys.__stderr__) or not isinstance(stream, io.TextIOWrapper):
        return stream
    return kind(
        stream.buffer, encoding=stream.encoding, errors=stream.errors,
        line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip


def _release(stream: io.TextIOWrapper, number: int) -> None:
    """Leaves the buffer to Python's own stream. What cannot be written must not be tried again when Python ends."""
    try:
        stream.flush()
    except (CnnscopeError, ReaderGoneError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
        stream.flush()
    stream.detach()


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Characters that a stream cannot encode, as JSON spells them (``\u00e9``): a JSON document stays one."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(rf"\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2)), error.end


_ESCAPED = "cnnscope.escaped"
codecs.register_error(_ESCAPED, _escaped)
