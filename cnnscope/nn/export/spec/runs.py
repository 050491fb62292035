"""Uses of one block in a row as one use: repeated, the first perhaps with other values, or a table of all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from cnnscope.nn.code import Lit
from cnnscope.nn.export.spec.entries import Body, Entry

_FEW = 2
"""Values in which the first of a repetition may differ; a table shows more of them better."""


def runs(body: Body) -> Body:
    """The same layers, with neighbouring uses of one block folded."""
    result: list[Entry] = []
    for block, group in groupby(body, key=lambda entry: entry.args["block"] if _is_single(entry) else None):
        members = list(group)
        others = [entry.name for entry in body if entry not in members]
        result += members if block is None or len(members) == 1 else [_folded(str(block), members, others)]
    return tuple(result)


def _is_single(entry: Entry) -> bool:
    return entry.tag == "use" and entry.args.keys() == {"block", "with"}


def _folded(block: str, members: Sequence[Entry], others: Sequence[str]) -> Entry:
    given: list[Mapping[str, Lit]] = [member.args["with"] for member in members]
    values = [{key: lit.value for key, lit in row.items()} for row in given]
    name = _common_name([member.name for member in members], others)
    count = Lit(len(members), "repeat")
    first = {key: Lit(lit.value, key) for key, lit in given[0].items() if lit.value != values[-1][key]}
    if all(row == values[-1] for row in values[1:]) and len(first) <= _FEW:
        args: dict[str, Any] = {"block": block, "repeat": count, "with": given[-1]}
        return Entry("use", {**args, "first": first} if first else args, name)
    names = [member.name.rpartition(".")[2] for member in members]
    varying = [key for key in values[0] if any(row[key] != values[0][key] for row in values)]
    shared = {key: lit for key, lit in given[0].items() if key not in varying}
    titled = not name and all(re.fullmatch(r"[A-Za-z_]\w*", title) for title in names) and len(set(names)) == len(names)
    header: tuple[Any, ...] = (*(["name"] if titled else []), *varying)
    rows = [
        (*([title] if titled else []), *(Lit(row[key].value, key) for key in varying))
        for title, row in zip(names, given, strict=True)
    ]
    return Entry("use", {"block": block, "with": shared, "each": (header, *rows)}, name)


def _common_name(names: Sequence[str], others: Sequence[str]) -> str:
    """``layer1`` for ``layer1.0``, ``layer1.1``, ... if nothing else is in that scope, else the first one's name."""
    scopes = {name.rpartition(".")[0] for name in names}
    lasts = [name.rpartition(".")[2] for name in names]
    numbers = [re.sub(r"^\D*", "", last) for last in lasts]
    if len(scopes) > 1 or not all(map(str.isdigit, numbers)):
        return ""
    first, scope = int(numbers[0]), scopes.pop()
    if [int(n) for n in numbers] != [*range(first, first + len(names))]:
        return ""
    if scope and not any(name == scope or name.startswith(f"{scope}.") for name in others):
        return scope
    return names[0] if all(map(str.isdigit, lasts)) else ""
