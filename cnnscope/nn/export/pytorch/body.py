"""The body of a class as data, its parts in an `nn.Sequential`, and names for classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from cnnscope.nn.code import Call, Expr, Items, Lit, Raw, Repeat, blank, fill, free_name, literals
from cnnscope.nn.export.parameters import Parameter
from cnnscope.nn.export.pytorch.scopes import ANONYMOUS, Scope
from cnnscope.ops.base import REGISTRY
from cnnscope.ops.composite import Composite


@dataclass(frozen=True)
class Step:
    """One step of a forward pass: the numbers of the values it computes, the expression for them, and a name."""

    yields: tuple[int, ...]
    expression: Expr
    name: str
    training_only: bool = False


@dataclass(frozen=True)
class Body:
    """Attributes and forward pass of a class.

    Values are numbered: 0 to ``inputs`` - 1 are the inputs, each step adds its own. A body without ``steps`` is an
    `nn.Sequential` of its ``fields``. ``stored`` are the parameters that steps use.
    """

    fields: tuple[tuple[str, Expr], ...]
    inputs: int
    steps: tuple[Step, ...] = ()
    outputs: tuple[int, ...] = ()
    stored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Class:
    """A class of the file, and the scopes that it is written for."""

    name: str
    body: Body
    parameters: tuple[Parameter, ...]
    scopes: tuple[Scope, ...]


# -- sequences ---------------------------------------------------------------------------------------------------------


def sequential(fields: Sequence[tuple[str, Expr]]) -> Expr:
    """The sequence of modules under these names."""
    names = [name for name, _ in fields]
    if names == [str(i) for i in range(len(names))]:
        return Call("nn.Sequential", tuple(_fold([made for _, made in fields])))
    if not all(map(str.isidentifier, names)):
        entries = tuple(Call("", (Lit(name), made)) for name, made in fields)
        return Call("nn.Sequential", (Call("OrderedDict", (Items(entries),)),))
    return Call("nn.Sequential", (Call("OrderedDict", (), tuple(fields)),))


def _fold(modules: Sequence[Expr]) -> list[Expr]:
    """Modules, with three or more equal ones in a row, or four that count up in one number, as a comprehension."""
    result: list[Expr] = []
    i = 0
    while i < len(modules):
        length, repeat = _run(modules[i:])
        result += [repeat] if repeat else modules[i : i + length]
        i += length
    return result


def _run(modules: Sequence[Expr]) -> tuple[int, Expr | None]:
    first = [lit.value for lit in literals(modules[0])]
    rows = [first]
    for module in modules[1:]:
        if blank(module) != blank(modules[0]):
            break
        rows.append([lit.value for lit in literals(module)])
    same = next((n for n, row in enumerate(rows) if row != first), len(rows))
    if same >= 3:
        return same, Repeat(modules[0], "_", f"range({same})")
    if len(rows) >= 4:
        length, place, step = _counting(rows)
        if length >= 4:
            lits = list(literals(modules[0]))
            variable = lits[place].name or "n"
            values = iter([Raw(variable) if k == place else lit for k, lit in enumerate(lits)])
            start = first[place]
            counted = f"range({start}, {start + length * step}" + (f", {step})" if step != 1 else ")")
            return length, Repeat(fill(modules[0], values), variable, counted)
    return 1, None


def _counting(rows: Sequence[Sequence[Any]]) -> tuple[int, int, int]:
    """How many rows differ from each other in one place only and by the same step; that place, and the step."""
    differing = [k for k, (a, b) in enumerate(zip(rows[0], rows[1], strict=True)) if a != b]
    if len(differing) != 1 or not isinstance(rows[0][differing[0]], int):
        return 1, 0, 0
    place, row = differing[0], list(rows[0])
    step = rows[1][place] - row[place]
    length = 0
    while length < len(rows) and list(rows[length]) == row:
        length += 1
        row[place] += step
    return (length, place, step) if step > 0 else (1, 0, 0)


# -- names -------------------------------------------------------------------------------------------------------------


@dataclass
class Names:
    """The class names in use. ``parts`` has, for each kind of block, the parts of the first of its classes."""

    taken: set[str]
    parts: dict[str, frozenset[str]] = field(default_factory=dict)

    def root(self, title: str) -> str:
        """The name of the network's own class, which no other class may have."""
        return self._free(camel(title))

    def of(self, scopes: Sequence[Scope], body: Body) -> str:
        """A name for the class of scopes with this body; a variant of a block is named after the difference."""
        scope = scopes[0]
        if scope.is_row:
            return self._free("".join(_family(made) for _, made in body.fields) or camel(scope.path))
        name = _word(scope)
        own = frozenset(item.name.partition("_")[0] for item in scope.items)
        first = self.parts.setdefault(name, own)
        more, less = own - first, first - own
        if name in self.taken and len(more | less) in (1, 2) and not (more and less):
            difference = "".join(map(camel, sorted(more | less)))
            return self._free(f"{name}{'With' if more else 'Without'}{difference}")
        return self._free(name)

    def _free(self, name: str) -> str:
        result = free_name(name, self.taken)
        self.taken.add(result)
        return result


def _word(scope: Scope) -> str:
    """The name of a block: its author's, unless that is the name of a join or no more than a letter."""
    last = scope.path.rpartition(".")[2]
    op = REGISTRY.get(scope.kind)
    if op is not None:
        return op.__name__ if issubclass(op, Composite) else camel(last)
    if scope.kind in ANONYMOUS:
        return camel(last) if not last.isdigit() else "Block"
    return camel(scope.kind) if len(scope.kind) > 1 else f"Block{camel(scope.kind)}"


def _family(made: object) -> str:
    """``Conv`` of ``nn.Conv2d(...)``."""
    callee = made.callee if isinstance(made, Call) else ""
    return re.sub(r"\d+d$", "", callee.rpartition(".")[2])


def camel(words: str) -> str:
    """``ResNet-50`` -> ``ResNet50``, ``inception_3a`` -> ``Inception3a``."""
    parts = [part for part in re.split(r"[^0-9A-Za-z]+", words) if part]
    name = "".join(part[0].upper() + part[1:] for part in parts) or "Block"
    return f"Net{name}" if name[0].isdigit() or iskeyword(name) else name
