"""Bodies of blocks stripped to what they have in common, and names for their parameters, paths and themselves."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cnnscope.analysis.structure import Group
from cnnscope.nn.code import Lit, Raw
from cnnscope.nn.export.spec.branches import Fork
from cnnscope.nn.export.spec.entries import Body, Data, Entry, fill, literals

_SPOKEN = {"out_channels": "out", "hidden_channels": "width"}
"""Parameters of specs go by the language's words."""


def named(body: Body, path: str) -> Body:
    """Names relative to ``path``; inside a block only plain ones stay."""
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
    """Everything but numbers, and whether a shortcut is the identity, a projection or none."""

    def blank(lit: Lit) -> Data:
        word = isinstance(lit.value, (str, bool, Mapping)) and lit.name != "shortcut"
        return repr(lit.value) if word else f"<{lit.name}>"

    return repr(fill(data, iter([blank(lit) for lit in literals(data)])))


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
    """A path is called like the scope its layers are in, where it has one to itself."""
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
    """Torch's names for parameters in the language's words."""
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


def free_name(name: str, taken: set[str]) -> str:
    return next(n for n in (name, *(f"{name}{i}" for i in range(2, 10_000))) if n not in taken)


def hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return repr(value)
    return tuple(map(hashable, value)) if isinstance(value, (list, tuple)) else value
