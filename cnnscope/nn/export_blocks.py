"""Groups of layers as blocks of a spec: repeats folded, numbers that differ as parameters."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import Any

from cnnscope.analysis.structure import CONTAINERS, Group, hierarchy
from cnnscope.ir import Graph
from cnnscope.nn.export_branches import Fork, Plan, Wiring
from cnnscope.nn.export_code import Lit, Raw
from cnnscope.nn.export_entries import Body, Data, Defaults, Entry, entries, fill, literals
from cnnscope.nn.export_parameters import parameters
from cnnscope.nn.export_runs import runs

_CONTAINERS = CONTAINERS | {"", "path", "head"}
_SPOKEN = {"out_channels": "out", "hidden_channels": "width"}
"""Parameters of specs go by the language's words."""


@dataclass(frozen=True)
class Block:
    """A block to write: its parameters with their defaults (None: required), and its layers."""

    name: str
    params: Mapping[str, Any]
    body: Body


@dataclass
class Blocks:
    """Every group of a graph as a list of layers, those that recur as uses of a block."""

    graph: Graph
    defaults: Defaults
    blocks: list[Block] = field(default_factory=list)
    made: dict[str, Body] = field(default_factory=dict)

    def whole(self) -> Body | None:
        """The network's layers, None if it is no list of layers. `blocks` has what it uses."""
        wiring = Wiring(self.graph)
        root = _spoken_for(hierarchy(self.graph), self.graph.scopes)
        parts = wiring.parts(root)
        plan = wiring.steps(parts, next(iter(self.graph.inputs)), self.graph.outputs[0])
        if plan is None:
            return None
        for groups in _by_kind(_groups(plan, wiring)):
            bodies = [(group, self._body(wiring.plan(group) or ())) for group in groups]
            self._define(_with_optional_residuals(bodies))
        return _named(self._body(plan), "")

    def _body(self, plan: Plan) -> Body:
        body: list[Entry] = []
        for step in plan:
            if isinstance(step, Fork):
                body.append(self._join(step))
            elif isinstance(step, Group):
                body += self.made[step.path]
            else:
                body += entries(self.graph, step, step.name, self.defaults)
        return runs(tuple(body))

    def _join(self, fork: Fork) -> Entry:
        (said,) = entries(self.graph, fork.join, fork.join.name, self.defaults)
        paths = [self._body(path) for path in fork.paths]
        if said.tag == "add" and len(paths) == 2 and any(paths):
            branch, shortcut = sorted(paths, key=len, reverse=True)
            if len(shortcut) < len(branch):
                kind = _shortcut(branch, shortcut)
                args = {"act": said.args["act"], "shortcut": Lit(kind, "shortcut", "identity") if kind else shortcut}
                return Entry("residual", {**args, "layers": branch})
        names = _path_names(fork)
        return Entry(said.tag, {**said.args, "paths": dict(zip(names, paths, strict=True))})

    def _define(self, bodies: Sequence[tuple[Group, Body]]) -> None:
        """A block for groups with one skeleton, where there are several; else their layers as they stand."""
        alike: dict[Hashable, list[tuple[Group, Body]]] = {}
        for group, body in bodies:
            alike.setdefault((group.kind, _skeleton(_named(body, group.path))), []).append((group, body))
        for members in alike.values():
            if len(members) == 1 or not members[0][0].kind:
                self.made |= {group.path: body for group, body in members}
            else:
                self._block(members)

    def _block(self, members: Sequence[tuple[Group, Body]]) -> None:
        bodies = _shortcuts_of_all([_named(body, group.path) for group, body in members])
        body, rows = bodies[0], [list(literals(body)) for body in bodies]
        columns = [[replace(lit, value=_hashable(lit.value)) for lit in row] for row in rows]
        found, replaced = parameters(_places(body), columns, [self._channels(group) for group, _ in members], ())
        spoken = _spoken([p.name for p in found])
        values = iter([_expression(value, spoken) if isinstance(value, Raw) else None for value in replaced])
        kept = iter(literals(body))
        filled = fill(body, iter([value or lit for value, lit in zip(values, kept, strict=True)]))
        name = _free(_block_name(members[0][0].kind), {block.name for block in self.blocks})
        params = {spoken[p.name]: p.default if p.has_default else None for p in found}
        self.blocks.append(Block(name, params, filled))
        for i, (group, _) in enumerate(members):
            given = {
                spoken[p.name]: Lit(p.values[i], p.name, p.default) if p.has_default else Lit(p.values[i], p.name)
                for p in found
            }
            self.made[group.path] = (Entry("use", {"block": name, "with": given}, group.path),)

    def _channels(self, group: Group) -> tuple[int, int]:
        values = [group.units[0].main.inputs[0], group.units[-1].last.name]
        before, after = (self.graph.value(name) for name in values)
        return tuple(v.shape[-1 if v.kind == "tokens" else 1] for v in (before, after))  # type: ignore[return-value]  # two


def _groups(plan: Plan, wiring: Wiring) -> Iterator[tuple[Group, tuple[Group, ...]]]:
    """Every group a plan is made of, with the groups directly inside it."""
    for step in plan:
        if isinstance(step, Fork):
            for path in step.paths:
                yield from _groups(path, wiring)
        elif isinstance(step, Group):
            inside = list(_groups(wiring.plan(step) or (), wiring))
            yield from inside
            yield step, tuple(group for group, _ in inside)


def _by_kind(groups: Iterable[tuple[Group, tuple[Group, ...]]]) -> Iterator[list[Group]]:
    """Groups of one kind together, those inside others first; a container is a kind of its own."""
    found = list(groups)
    needs: dict[str, set[str]] = {}
    for group, inner in found:
        needs.setdefault(_key(group), set()).update(map(_key, inner))
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError:  # a kind inside itself
        yield from ([group] for group, _ in found)
        return
    for kind in order:
        yield [group for group, _ in found if _key(group) == kind]


def _key(group: Group) -> str:
    return group.kind or f"container {group.path}"


def _spoken_for(group: Group, scopes: Mapping[str, str]) -> Group:
    """The group and those inside under the kind that its source says it is, or none."""
    said = [kind for kind in (scopes.get(group.path, ""), group.kind) if kind not in _CONTAINERS]
    named = next((kind for kind in said if kind != group.path.rpartition(".")[2]), "")
    inside = tuple(_spoken_for(part, scopes) if isinstance(part, Group) else part for part in group.children)
    return replace(group, kind=named, children=inside)


# -- shortcuts ---------------------------------------------------------------------------------------------------------


def _shortcut(branch: Body, shortcut: Body) -> str | None:
    """The word for a shortcut: nothing on it, or the projection the language makes of the defaults; None for others."""
    if not shortcut:
        return "identity"
    (entry, *more) = shortcut
    if more or entry.tag != "conv":
        return None
    plain = all(entry.args[name].implied for name in ("bias", "norm", "dilation", "groups", "pad_mode"))
    strides = prod(e.args["stride"].value for e in branch if isinstance(e.args.get("stride"), Lit))
    fits = entry.args["kernel"].value == 1 and entry.args["stride"].value == strides
    return "project" if plain and fits and entry.args["act"].value == "none" else None


def _with_optional_residuals(bodies: Sequence[tuple[Group, Body]]) -> list[tuple[Group, Body]]:
    """Where some groups of a kind are residuals without an activation and others the same layers without shortcut."""
    inner = {
        (group.kind, _skeleton(_named(body[0].args["layers"], group.path)))
        for group, body in bodies
        if len(body) == 1 and body[0].tag == "residual" and _word(body[0]) == "identity" and body[0].args["act"].implied
    }
    result = []
    for group, body in bodies:
        if (group.kind, _skeleton(_named(body, group.path))) in inner:
            args = {"act": Lit("none", "act", "none"), "shortcut": Lit("none", "shortcut", "identity"), "layers": body}
            body = (Entry("residual", args),)
        result.append((group, body))
    return result


def _word(entry: Entry) -> str | None:
    shortcut = entry.args.get("shortcut")
    return shortcut.value if isinstance(shortcut, Lit) else None


def _shortcuts_of_all(bodies: Sequence[Body]) -> list[Body]:
    """Bodies whose shortcuts say what holds for all: ``identity_or_project`` where some are, some are not."""
    words = [[lit.value for lit in literals(body) if lit.name == "shortcut"] for body in bodies]
    columns = zip(*words, strict=True)
    merged = ["_or_".join(w for w in ("identity", "project", "none") if w in column) for column in columns]
    result = []
    for body in bodies:
        rest = iter(merged)
        values = [replace(lit, value=next(rest)) if lit.name == "shortcut" else lit for lit in literals(body)]
        result.append(fill(body, iter(values)))
    return result


# -- names and skeletons -----------------------------------------------------------------------------------------------


def _named(body: Body, path: str) -> Body:
    """Names relative to ``path``; inside a block only plain ones stay."""
    result = []
    for entry in body:
        name = entry.name.removeprefix(f"{path}.").replace("#", "_")
        valid = re.fullmatch(r"[A-Za-z_]\w*" if path else r"[A-Za-z_]\w*(\.\w+)*", name)
        args = dict(entry.args)
        for key in ("layers", "shortcut"):
            if isinstance(args.get(key), tuple):
                args[key] = _named(args[key], path)
        if "paths" in args:
            args["paths"] = {key: _named(inner, path) for key, inner in args["paths"].items()}
        result.append(replace(entry, name=name if valid else "", args=args))
    return tuple(result)


def _skeleton(data: Data) -> Hashable:
    """Everything but numbers, and whether a shortcut is the identity, a projection or none."""

    def blank(lit: Lit) -> Data:
        word = isinstance(lit.value, (str, bool, Mapping)) and lit.name != "shortcut"
        return repr(lit.value) if word else f"<{lit.name}>"

    return repr(fill(data, iter([blank(lit) for lit in literals(data)])))


def _places(body: Body) -> list[tuple[str, str]]:
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


def _path_names(fork: Fork) -> list[str]:
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


def _spoken(names: Sequence[str]) -> dict[str, str]:
    """Torch's names for parameters in the language's words."""
    inner = [name for name in names if re.search(r"_channels\d*$", name) and name not in _SPOKEN]
    words = {name: "width" if [name] == inner else re.sub(r"_channels(\d*)$", r"\1", name) for name in names}
    words |= {name: word for name, word in _SPOKEN.items() if name in words}
    counted = list(words.values())
    return {name: word if counted.count(word) == 1 else name for name, word in words.items()}


def _expression(value: Raw, spoken: Mapping[str, str]) -> Raw:
    text = re.sub(r"[A-Za-z_]\w*", lambda word: spoken.get(word[0], word[0]), value.text)
    return Raw(f"${text}" if text.isidentifier() else f"${{{text}}}")


def _block_name(kind: str) -> str:
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", re.sub(r"\W", "_", kind)).lower().strip("_")
    return word if word[:1].isalpha() else f"block_{word}".rstrip("_")


def _free(name: str, taken: set[str]) -> str:
    return next(n for n in (name, *(f"{name}{i}" for i in range(2, 10_000))) if n not in taken)


def _hashable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return repr(value)
    return tuple(map(_hashable, value)) if isinstance(value, (list, tuple)) else value
