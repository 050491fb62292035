"""Collects all errors of a file, and has the few checks of structure that all readers share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from cnnscope.errors import CnnscopeError, Diagnostic, Span, did_you_mean
from cnnscope.ops.arguments import shown
from cnnscope.spec.marks import Marked

MAX_REPORTED = 50
NAME = re.compile(r"[A-Za-z0-9_]*[A-Za-z_][A-Za-z0-9_]*")
"""A name has letters, digits and underscores, but not digits alone: those number repetitions."""


class EnoughError(Exception):
    """There are so many errors that more would not help."""


@dataclass(slots=True)
class Problems:
    """The errors so far. After an error, readers go on with what is still readable, until `EnoughError`."""

    found: list[Diagnostic] = field(default_factory=list)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Records a `CnnscopeError` raised inside the block."""
        try:
            yield
        except CnnscopeError as error:
            self.record(*error.diagnostics)

    def add(self, code: str, message: str, span: Span | None, *, hint: str | None = None) -> None:
        """Records one problem."""
        self.record(Diagnostic(code, message, span, hint=hint))

    def record(self, *diagnostics: Diagnostic) -> None:
        """Records errors; raises `EnoughError` when there are more than a reader can use."""
        self.found.extend(diagnostics)
        if len(self.found) >= MAX_REPORTED:
            raise EnoughError


@contextmanager
def reported() -> Iterator[Problems]:
    """Collects errors. At the end it raises a `CnnscopeError` with all of them, in the order of the file, if there are
    any.
    """
    problems = Problems()
    with suppress(EnoughError):
        yield problems
    if problems.found:
        raise CnnscopeError(*sorted(dict.fromkeys(problems.found), key=_place))


def _place(diagnostic: Diagnostic) -> tuple[int, int]:
    return (diagnostic.span.line, diagnostic.span.column) if diagnostic.span else (0, 0)


def kind_of(value: Marked) -> str:
    """Returns the kind of a value in words, for `expected a mapping but got ...`."""
    if isinstance(value.value, list):
        return "a list"
    if isinstance(value.value, dict):
        return "a mapping"
    return shown(value.value)


def mapping(value: Marked, what: str, *, example: str | None = None) -> dict[str, Marked]:
    """Returns the entries of a mapping; raises E108."""
    if not isinstance(value.value, dict):
        hint = f"write {example}" if example else None
        raise CnnscopeError.of("E108", f"{what} is a mapping, not {kind_of(value)}", span=value.span, hint=hint)
    return value.value


def sequence(value: Marked, what: str, *, example: str | None = None) -> list[Marked]:
    """Returns the elements of a list; raises E108."""
    if not isinstance(value.value, list):
        hint = f"write {example}" if example else None
        raise CnnscopeError.of("E108", f"{what} is a list, not {kind_of(value)}", span=value.span, hint=hint)
    return value.value


def word(value: Marked, what: str) -> str:
    """Returns a string; raises E203."""
    if not isinstance(value.value, str) or not value.value:
        raise CnnscopeError.of("E203", f"{what} is a word, not {kind_of(value)}", span=value.span)
    return value.value


def name(text: str, span: Span | None, *, dotted: bool = False) -> str:
    """Returns a name that may be part of a path; raises E203. With ``dotted`` it may be a path itself."""
    parts = text.split(".") if dotted else [text]
    if not all(NAME.fullmatch(part) or (i and part.isdigit()) for i, part in enumerate(parts)):
        hint = "names are letters, digits and underscores, with at least one letter"
        raise CnnscopeError.of("E203", f"{shown(text)} is not a name", span=span, hint=hint)
    return text


def unknown(what: str, wrong: str, right: Iterable[str], span: Span | None, *, code: str = "E202") -> Diagnostic:
    """Returns the error ``{what} `wrong```, with the nearest correct spelling or, if there are few, all of them."""
    choices = list(right)
    hint = did_you_mean(wrong, choices)
    if hint is None and 1 <= len(choices) <= 12:
        hint = f"known: {', '.join(f'`{choice}`' for choice in choices)}"
    return Diagnostic(code, f"{what} {shown(wrong)}", span, hint=hint)


def only(
    value: Marked,
    known: Iterable[str],
    what: str,
    problems: Problems,
    *,
    code: str = "E202",
    aliases: Mapping[str, str] | None = None,
) -> None:
    """Records every key of a mapping that is not ``known``."""
    known = list(known)
    for key in value.entries:
        if key in known:
            continue
        diagnostic = unknown(f"{what} has no key", key, known, value.keys.get(key, value.span), code=code)
        if aliases and key in aliases:
            diagnostic = Diagnostic(code, diagnostic.message, diagnostic.span, hint=f"did you mean `{aliases[key]}`?")
        problems.record(diagnostic)
