"""Options that have a new name: the former ones still work, and say so once on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Renamed:
    """An option of some verbs under its former name; ``folder`` ends its value in ``/``, so that it names a folder."""

    verbs: tuple[str, ...]
    old: str
    new: str
    folder: bool = False


LAYERS = ("summary", "shapes", "params", "flops", "memory")
RENAMED = (Renamed(LAYERS, "--batch", "--batch-size"),)


def renamed(words: Sequence[str]) -> list[str]:
    """The words of a command line with the options' names of today."""
    verb = next((word for word in words if not word.startswith("-")), None)
    table = {one.old: one for one in RENAMED if verb in one.verbs}
    end = words.index("--") if "--" in words else len(words)
    found: list[str] = []
    said: set[str] = set()
    ends_in_slash = False
    for word in words[:end]:
        option, equals, value = word.partition("=")
        one = None if ends_in_slash else table.get(option)
        if one is None:
            found.append(f"{word.rstrip('/')}/" if ends_in_slash else word)
            ends_in_slash = False
            continue
        if option not in said:
            said.add(option)
            print(f"note: `{one.old}` is now called `{one.new}`", file=sys.stderr)
        ends_in_slash = one.folder and not equals
        found.append(f"{one.new}{equals}{value}" + "/" * (one.folder and bool(equals)))
    return [*found, *words[end:]]
