"""What makes lists of layers alike: skeletons, words for shortcuts, uses in a row; names of blocks and parameters."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from math import prod
from typing import Any

from cnnscope.analysis.hierarchy import Group
from cnnscope.nn.code import Lit, Raw, fill, literals, swap
from cnnscope.nn.export.spec.branches import Fork
from cnnscope.nn.export.spec.entries import Body, Data, Entry

_SPOKEN = {"out_channels": "out", "hidden_channels": "width"}
"""The spec language's words for parameters."""


def named(body: Body, path: str) -> Body:
    """The body with names relative to ``path``. Names that are no plain words are left out."""
    result = []
    for entry in body:
        name = entry.name.removeprefix(f"{path}.").replace("#", "_")
        valid = re.fullmatch(r"[A-Za-z_]\w*" if path else r"[A-Za-z_]\w*(\.\w+)*", name)
        args = dict(entry.args)
        for key in ("layers", "shortcut"):
            if isinstance(args.get(key), tuple):
                args[key] = named(args[key], path)
        if "paths" in args:
            args["paths"] = {key: named(inner, path) for key, inner in args["paths"].items()}
        result.append(replace(entry, name=name if valid else "", args=args))
    return tuple(result)


def skeleton(data: Data) -> Hashable:
    """What blocks must have in common: all but numbers and the word for a shortcut."""

    def blank(leaf: Any) -> Any:
        if not isinstance(leaf, Lit):
            return leaf
        word = isinstance(leaf.value, (str, bool, Mapping)) and leaf.name != "shortcut"
        return repr(leaf.value) if word else f"<{leaf.name}>"

    return repr(swap(data, blank))


def places(body: Body) -> list[tuple[str, str]]:
    return list(_places_of(body, ""))


def _places_of(data: Data, layer: str) -> Iterator[tuple[str, str]]:
    if isinstance(data, Lit):
        yield layer, data.name
    elif isinstance(data, Entry):
        for key, inner in data.args.items():
            if key == "paths":
                for path, body in inner.items():
                    yield from _places_of(body, path)
            else:
                yield from _places_of(inner, data.name or layer or data.tag)
    elif isinstance(data, (Mapping, tuple, list)):
        for inner in data.values() if isinstance(data, Mapping) else data:
            yield from _places_of(inner, layer)


def path_names(fork: Fork) -> list[str]:
    """Names for paths: the scope of a path's layers, if no other path has layers there."""
    base = fork.join.name.rpartition(".")[0]
    names = []
    for i, path in enumerate(fork.paths, 1):
        scopes = {_scope(step, base) for step in path}
        name = scopes.pop() if len(scopes) == 1 else ""
        fallback = f"path{i}" if path else "skip"
        names.append(name if re.fullmatch(r"[A-Za-z_]\w*", name) and name not in names else fallback)
    return [name if names.count(name) == 1 else f"path{i}" for i, name in enumerate(names, 1)]


def _scope(step: Any, base: str) -> str:
    name = step.join.name if isinstance(step, Fork) else step.path if isinstance(step, Group) else step.name
    return str(name).removeprefix(f"{base}." if base else "").partition(".")[0]


def spoken_names(names: Sequence[str]) -> dict[str, str]:
    """The spec language's words for torch's names of parameters."""
    inner = [name for name in names if re.search(r"_channels\d*$", name) and name not in _SPOKEN]
    words = {name: "width" if [name] == inner else re.sub(r"_channels(\d*)$", r"\1", name) for name in names}
    words |= {name: word for name, word in _SPOKEN.items() if name in words}
    counted = list(words.values())
    return {name: word if counted.count(word) == 1 else name for name, word in words.items()}


def expression(value: Raw, spoken: Mapping[str, str]) -> Raw:
    text = re.sub(r"[A-Za-z_]\w*", lambda word: spoken.get(word[0], word[0]), value.text)
    return Raw(f"${text}" if text.isidentifier() else f"${{{text}}}")


def block_name(kind: str) -> str:
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"\W", "_", kind)).lower().strip("_")
    return word if word[:1].isalpha() else f"block_{word}".rstrip("_")


def hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return repr(value)
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple)) else value


# -- shortcuts ---------------------------------------------------------------------------------------------------------


def shortcut_word(branch: Body, shortcut: Body) -> str | None:
    """The word for a shortcut: ``identity``, or ``project`` for a default projection; None for any other."""
    if not shortcut:
        return "identity"
    (entry, *more) = shortcut
    if more or entry.tag != "conv":
        return None
    plain = all(entry.args[name].implied for name in ("bias", "norm", "dilation", "groups", "pad_mode"))
    strides = prod(e.args["stride"].value for e in branch if isinstance(e.args.get("stride"), Lit))
    fits = entry.args["kernel"].value == 1 and entry.args["stride"].value == strides
    return "project" if plain and fits and entry.args["act"].value == "none" else None


def with_optional_residuals(bodies: Sequence[tuple[Group, Body]]) -> list[tuple[Group, Body]]:
    """Writes plain layers as a residual without a shortcut where other groups of the kind are residuals of them."""
    inner = {
        (group.kind, skeleton(named(body[0].args["layers"], group.path)))
        for group, body in bodies
        if len(body) == 1 and body[0].tag == "residual" and _word(body[0]) == "identity" and body[0].args["act"].implied
    }
    result = []
    for group, body in bodies:
        if (group.kind, skeleton(named(body, group.path))) in inner:
            args = {"act": Lit("none", "act", "none"), "shortcut": Lit("none", "shortcut", "identity"), "layers": body}
            body = (Entry("residual", args),)
        result.append((group, body))
    return result


def _word(entry: Entry) -> str | None:
    shortcut = entry.args.get("shortcut")
    return shortcut.value if isinstance(shortcut, Lit) else None


def shortcuts_of_all(bodies: Sequence[Body]) -> list[Body]:
    """The bodies with one word for each shortcut that is true of all: ``identity_or_project`` if they differ."""
    words = [[lit.value for lit in literals(body) if lit.name == "shortcut"] for body in bodies]
    columns = zip(*words, strict=True)
    merged = ["_or_".join(w for w in ("identity", "project", "none") if w in column) for column in columns]
    result = []
    for body in bodies:
        rest = iter(merged)
        values = [replace(lit, value=next(rest)) if lit.name == "shortcut" else lit for lit in literals(body)]
        result.append(fill(body, iter(values)))
    return result


# -- uses in a row -----------------------------------------------------------------------------------------------------

_FEW = 2
"""Most values in which the first use of a block may differ from its repeats; beyond that a table is clearer."""


def runs(body: Body) -> Body:
    """The same layers, in which neighbouring uses of one block are one use."""
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
    """``layer1`` for ``layer1.0``, ``layer1.1``, ... if that scope has no other layers, else the first name."""
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
