"""Options that have a new name: the former ones still work, and say so once on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from cnnscope.errors import CnnscopeError


@dataclass(frozen=True, slots=True)
class Renamed:
    """An option of some verbs under its former name.

    ``folder`` ends its value in ``/``, so that it names a folder, and lets the new name stand beside the old one.
    """

    verbs: tuple[str, ...]
    old: str
    new: str
    short: str = ""
    folder: bool = False


LAYERS = ("summary", "shapes", "params", "flops", "memory")
RENAMED = (
    Renamed(LAYERS, "--batch", "--batch-size"),
    Renamed(("rf",), "--plot", "--output", "-o"),
    Renamed(("audit",), "--layers", "--layer"),
    Renamed(("audit",), "--out", "--output", "-o", folder=True),
)


def renamed(words: Sequence[str]) -> list[str]:
    """The words of a command line with the options' names of today. E409 where an option has both names."""
    verb = next((word for word in words if not word.startswith("-")), None)
    table = {one.old: one for one in RENAMED if verb in one.verbs}
    end = words.index("--") if "--" in words else len(words)
    found: list[str] = []
    used: set[str] = set()
    awaited = False
    for word in words[:end]:
        option, equals, value = word.partition("=")
        one = None if awaited else table.get(option)
        if one is None:
            found.append(f"{word.rstrip('/')}/" if awaited else word)
            awaited = False
            continue
        if option not in used:
            used.add(option)
            print(f"note: `{one.old}` is now called `{one.new}`", file=sys.stderr)
        awaited = one.folder and not equals
        found.append(f"{one.new}={value.rstrip('/')}/" if one.folder and equals else f"{one.new}{equals}{value}")
    for one in (table[option] for option in used):
        if not one.folder and any(_is(word, one) for word in words[:end]):
            raise CnnscopeError.of("E409", f"`{one.old}` and `{one.new}` are the same option", hint="give one of them")
    return [*found, *words[end:]]


def _is(word: str, one: Renamed) -> bool:
    """Whether a word is the new name of an option, with a value or without."""
    return word.partition("=")[0] == one.new or (one.short != "" and word.startswith(one.short))
