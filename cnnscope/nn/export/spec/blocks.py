"""Groups of layers as blocks of a spec, whose parameters are the numbers that differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from cnnscope.analysis.hierarchy import CONTAINERS, Group, hierarchy
from cnnscope.ir import Graph
from cnnscope.nn.code import Lit, Raw, fill, free_name, literals
from cnnscope.nn.export.parameters import parameters
from cnnscope.nn.export.spec import folding
from cnnscope.nn.export.spec.branches import Fork, Plan, Wiring
from cnnscope.nn.export.spec.entries import Body, Defaults, Entry, entries

_CONTAINERS = CONTAINERS | {"", "path", "head"}


@dataclass(frozen=True)
class Block:
    """A block of the spec: its parameters with their defaults (None: required), and its layers."""

    name: str
    params: Mapping[str, Any]
    body: Body


@dataclass
class Blocks:
    """Makes lists of layers of the groups of a graph; groups that recur become uses of a block."""

    graph: Graph
    defaults: Defaults
    blocks: list[Block] = field(default_factory=list)
    made: dict[str, Body] = field(default_factory=dict)

    def whole(self) -> Body | None:
        """The network's layers, or None if it is no list of layers. `blocks` then has the blocks that it uses."""
        wiring = Wiring(self.graph)
        root = _spoken_for(hierarchy(self.graph), self.graph.scopes)
        parts = wiring.parts(root)
        plan = wiring.steps(parts, next(iter(self.graph.inputs)), self.graph.outputs[0])
        if plan is None:
            return None
        for groups in _by_kind(_groups(plan, wiring)):
            bodies = [(group, self._body(wiring.plan(group) or ())) for group in groups]
            self._define(folding.with_optional_residuals(bodies))
        return folding.named(self._body(plan), "")

    def _body(self, plan: Plan) -> Body:
        body: list[Entry] = []
        for step in plan:
            if isinstance(step, Fork):
                body.append(self._join(step))
            elif isinstance(step, Group):
                body += self.made[step.path]
            else:
                body += entries(self.graph, step, step.name, self.defaults)
        return folding.runs(tuple(body))

    def _join(self, fork: Fork) -> Entry:
        (said,) = entries(self.graph, fork.join, fork.join.name, self.defaults)
        paths = [self._body(path) for path in fork.paths]
        if said.tag == "add" and len(paths) == 2 and any(paths):
            branch, shortcut = sorted(paths, key=len, reverse=True)
            if len(shortcut) < len(branch):
                kind = folding.shortcut_word(branch, shortcut)
                args = {"act": said.args["act"], "shortcut": Lit(kind, "shortcut", "identity") if kind else shortcut}
                return Entry("residual", {**args, "layers": branch})
        names = folding.path_names(fork)
        return Entry(said.tag, {**said.args, "paths": dict(zip(names, paths, strict=True))})

    def _define(self, bodies: Sequence[tuple[Group, Body]]) -> None:
        """Adds a block for several groups with one skeleton; a single group keeps its layers."""
        alike: dict[Hashable, list[tuple[Group, Body]]] = {}
        for group, body in bodies:
            alike.setdefault((group.kind, folding.skeleton(folding.named(body, group.path))), []).append((group, body))
        for members in alike.values():
            if len(members) == 1 or not members[0][0].kind:
                self.made |= {group.path: body for group, body in members}
            else:
                self._block(members)

    def _block(self, members: Sequence[tuple[Group, Body]]) -> None:
        bodies = folding.shortcuts_of_all([folding.named(body, group.path) for group, body in members])
        body, rows = bodies[0], [literals(body) for body in bodies]
        columns = [[replace(lit, value=folding.hashable(lit.value)) for lit in row] for row in rows]
        found, replaced = parameters(folding.places(body), columns, [self._channels(group) for group, _ in members], ())
        spoken = folding.spoken_names([p.name for p in found])
        values = iter([folding.expression(value, spoken) if isinstance(value, Raw) else None for value in replaced])
        kept = iter(literals(body))
        filled = fill(body, iter([value or lit for value, lit in zip(values, kept, strict=True)]))
        name = free_name(folding.block_name(members[0][0].kind), {block.name for block in self.blocks})
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
    """Every group in a plan, with the groups directly inside it."""
    for step in plan:
        if isinstance(step, Fork):
            for path in step.paths:
                yield from _groups(path, wiring)
        elif isinstance(step, Group):
            inside = list(_groups(wiring.plan(step) or (), wiring))
            yield from inside
            yield step, tuple(group for group, _ in inside)


def _by_kind(groups: Iterable[tuple[Group, tuple[Group, ...]]]) -> Iterator[list[Group]]:
    """Groups of one kind together, inner kinds first. Each container is a kind of its own."""
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
    """The group and its inner groups with the kind that the source gives them, or none."""
    said = [kind for kind in (scopes.get(group.path, ""), group.kind) if kind not in _CONTAINERS]
    named = next((kind for kind in said if kind != group.path.rpartition(".")[2]), "")
    inside = tuple(_spoken_for(part, scopes) if isinstance(part, Group) else part for part in group.children)
    return replace(group, kind=named, children=inside)
