"""Python expressions as data, and how they are laid out on lines of 100 columns.

`ruff format` would not change the layout: one line if it fits, else one argument a line with a trailing comma.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

T = TypeVar("T")

WIDTH = 100
UNSET: Any = object()
"""The default of a literal that must always be written."""


@dataclass(frozen=True)
class Lit:
    """A literal for the argument ``name``. It is not written where it equals ``default``."""

    value: Any
    name: str = ""
    default: Any = UNSET

    @property
    def implied(self) -> bool:
        return self.default is not UNSET and bool(self.value == self.default)


@dataclass(frozen=True)
class Ref:
    """A value of the forward pass, by number."""

    index: int


@dataclass(frozen=True)
class Raw:
    """Code that is written as it is: a name, a parameter."""

    text: str


@dataclass(frozen=True)
class Call:
    """``callee(args, name=value)``, or ``target.callee(...)``."""

    callee: str
    args: tuple[Expr, ...] = ()
    named: tuple[tuple[str, Expr], ...] = ()
    target: Expr | None = None


@dataclass(frozen=True)
class Infix:
    """Operands joined by an operator: ``a + b``."""

    operator: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class Index:
    """``target[index]``: the index written out, with ``{}`` for each of ``values``."""

    target: Expr
    index: str
    values: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Items:
    """A list display."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Repeat:
    """``*(element for variable in range(...))``: equal elements, or with one literal that counts up."""

    element: Expr
    variable: str
    span: str


Leaf = Lit | Ref | Raw
Expr = Leaf | Call | Infix | Index | Items | Repeat


# -- what is inside ----------------------------------------------------------------------------------------------------


def inside(data: Any) -> Iterator[Any]:
    """The expressions directly inside an expression, or inside any data made of dataclasses, mappings and sequences."""
    values: Iterable[Any] = ()
    if isinstance(data, Call):
        values = (data.target, data.args, data.named)  # in the order they are written
    elif isinstance(data, Mapping):
        values = data.values()
    elif isinstance(data, (tuple, list)):
        values = data
    elif is_dataclass(data) and not isinstance(data, Leaf):
        values = (getattr(data, item.name) for item in fields(data))
    for value in values:
        if isinstance(value, Expr):
            yield value
        else:
            yield from inside(value)


def leaves(data: Any) -> Iterator[Leaf]:
    """Every literal, value and piece of code, in the order they are written."""
    if isinstance(data, Leaf):
        yield data
    for inner in inside(data):
        yield from leaves(inner)


def swap(data: T, change: Callable[[Leaf], Any]) -> T:
    """The same data with ``change`` of each leaf in its place."""
    result: Any = data
    if isinstance(data, Leaf):
        result = change(data)
    elif isinstance(data, Mapping):
        result = {key: swap(value, change) for key, value in data.items()}
    elif isinstance(data, (tuple, list)):
        result = tuple(swap(value, change) for value in data)
    elif is_dataclass(data) and not isinstance(data, type):
        names = [item.name for item in fields(data)]
        names.sort(key="target".__ne__)  # what a method is called on is written first
        result = replace(data, **{name: swap(getattr(data, name), change) for name in names})
    return cast("T", result)


def literals(data: Any) -> list[Lit]:
    """Every literal, in the order they are written."""
    return [leaf for leaf in leaves(data) if isinstance(leaf, Lit)]


def refs(data: Any) -> list[int]:
    """The number of every value used."""
    return [leaf.index for leaf in leaves(data) if isinstance(leaf, Ref)]


def fill(data: T, values: Iterator[Any]) -> T:
    """The data with the next of ``values`` for each literal."""
    return swap(data, lambda leaf: next(values) if isinstance(leaf, Lit) else leaf)


def place(data: T, names: Mapping[int, Expr]) -> T:
    """The data with each value replaced by the expression for it."""
    return swap(data, lambda leaf: names[leaf.index] if isinstance(leaf, Ref) else leaf)


def blank(data: Any) -> str:
    """All but the values of literals, as text to compare."""
    return repr(swap(data, lambda leaf: Lit(None, leaf.name) if isinstance(leaf, Lit) else leaf))


# -- text --------------------------------------------------------------------------------------------------------------


def literal(value: Any) -> str:
    """A Python literal as a formatter writes it."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and value in (float("inf"), -float("inf")):
        return "torch.inf" if value > 0 else "-torch.inf"
    if isinstance(value, float) and value != value:
        return "torch.nan"
    return repr(value)


def text(expr: Expr) -> str:
    """The expression on one line."""
    match expr:
        case Lit(value):
            return literal(value)
        case Raw(code):
            return code
        case Call():
            return f"{_head(expr)}({', '.join(_arguments(expr))})"
        case Infix(operator, operands):
            return f" {operator} ".join(_operand(operand) for operand in operands)
        case Index(target, index, values):
            return f"{_operand(target)}[{_filled(index, list(map(text, values)))}]"
        case Items(items):
            return f"[{', '.join(map(text, items))}]"
        case Repeat(element, variable, span):
            return f"*({text(element)} for {variable} in {span})"
    raise TypeError(expr)


def _filled(index: str, values: Sequence[str]) -> str:
    """The index with values in place. Like a formatter, it sets spaces round the colons of slices with expressions."""
    rest = iter(values)
    parts = []
    for part in index.split(", "):
        given = [next(rest) if bound == "{}" else bound for bound in part.split(":")]
        simple = all(re.fullmatch(r"-?\w*", bound) for bound in given)
        parts.append((":" if simple else " : ").join(given).strip())
    return ", ".join(parts)


def _operand(expr: Expr) -> str:
    return f"({text(expr)})" if isinstance(expr, Infix) else text(expr)


def _head(call: Call) -> str:
    return call.callee if call.target is None else f"{_operand(call.target)}.{call.callee}"


def _written(call: Call) -> Iterator[tuple[str, Expr]]:
    for arg in call.args:
        yield "", arg
    for name, value in call.named:
        if not (isinstance(value, Lit) and value.implied):
            yield f"{name}=", value


def _arguments(call: Call) -> Iterator[str]:
    for prefix, value in _written(call):
        yield prefix + text(value)


def lines(expr: Expr, indent: int, before: str = "", after: str = "") -> list[str]:
    """``before`` + expression + ``after`` with an indent, on as many lines as it needs."""
    pad = " " * indent
    whole = f"{pad}{before}{text(expr)}{after}"
    if len(whole) <= WIDTH:
        return [whole]
    match expr:
        case Call():
            opening, closing, inner = f"{_head(expr)}(", ")", list(_written(expr))
        case Items(items):
            opening, closing, inner = "[", "]", [("", item) for item in items]
        case _:
            return [whole]
    if not inner:
        return [whole]
    result = [f"{pad}{before}{opening}"]
    for prefix, value in inner:
        result += lines(value, indent + 4, prefix, ",")
    return [*result, f"{pad}{closing}{after}"]


def signature(head: str, parameters: Sequence[str], tail: str, indent: int) -> list[str]:
    """A ``def`` statement, on one line if it fits, else with one parameter a line."""
    pad = " " * indent
    whole = f"{pad}{head}({', '.join(parameters)}){tail}"
    if len(whole) <= WIDTH:
        return [whole]
    return [f"{pad}{head}(", *(f"{pad}    {parameter}," for parameter in parameters), f"{pad}){tail}"]


def free_name(name: str, taken: Collection[str], separator: str = "") -> str:
    """The name, or with the first number from 2 on with which it is not taken."""
    return next(n for n in (name, *(f"{name}{separator}{i}" for i in range(2, 10_000))) if n not in taken)
