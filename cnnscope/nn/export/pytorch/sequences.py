"""Sequences of modules: what an exported file puts into one `nn.Sequential`, and what it calls one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cnnscope.nn.code import Call, Expr, Items, Lit, Raw, Repeat, children, fill, literals, rebuild


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
    """Three or more equal modules in a row, or four that count up in one number, as a comprehension."""
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
        if _blank(module) != _blank(modules[0]):
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
    """How many rows differ from each other in one place only, by one step; which place, which step."""
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


def _blank(expr: Expr) -> Expr:
    return Lit(None) if isinstance(expr, Lit) else rebuild(expr, [_blank(inner) for inner in children(expr)])
