"""Expressions in values, ``$w`` or ``"${4 * w}"``, and the parameters that are in force.

Expressions have whole and decimal numbers, names, ``+ - * / //``, parentheses, the `FUNCTIONS`, and at most one
comparison. ``/`` of whole numbers must have no remainder. Decimals are those of Python, as in the frameworks that
scale networks with them; a result without a fraction is a whole number. Expressions are parsed with `ast` and evaluated
by a walk over the tree; nothing is ever run as Python.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError
from cnnscope.ops.arguments import MAX_INT, shown
from cnnscope.spec.marks import Marked

if TYPE_CHECKING:
    from cnnscope.spec.network import Scope


MAX_LENGTH = 200
MAX_DEPTH = 40

_NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_BRACED = re.compile(r"\$\{(.*)\}", re.DOTALL)
_ALLOWED = "use names, numbers, + - * / //, parentheses, round(x, 8), ceil, min, max and one comparison"

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
}  # fmt: skip
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv)
_COMPARISON: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip


class ExpressionError(Exception):
    """An expression that cannot be read or evaluated."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def rounded(x: float, n: float) -> int:
    """The multiple of ``n`` that is nearest to ``x`` (the higher at a tie), at least ``n``, and never less than 90 % of
    ``x``: then the next one.

    Source: ``_make_divisible`` of the MobileNets' published code, which torchvision, timm and Keras have unchanged.
    """
    if x < 0 or n < 1 or n != int(n):
        raise ExpressionError(f"`round` is for a number >= 0 and a whole number >= 1, not {x:g} and {n:g}")
    step = int(n)
    multiple = max(step, int(x + step / 2) // step * step)
    return multiple + step if multiple < 0.9 * x else multiple


FUNCTIONS: Mapping[str, tuple[Callable[..., float], int, int | None]] = {
    "round": (rounded, 2, 2), "ceil": (math.ceil, 1, 1), "min": (min, 2, None), "max": (max, 2, None),
}  # fmt: skip
"""What an expression may call: the function, and the fewest and most arguments."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression; ``names`` are the parameters whose values it needs."""

    source: str
    tree: ast.expr
    names: frozenset[str]

    @property
    def name(self) -> str | None:
        """The name of the parameter, if the expression is nothing else; then any value passes through, not only
        numbers.
        """
        return self.tree.id if isinstance(self.tree, ast.Name) else None

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """Returns the result; raises `ExpressionError`. Every name must be in ``values``."""
        result = _Evaluation(self.source, values).of(self.tree)
        return int(result) if isinstance(result, float) and result.is_integer() else result


def is_expression(value: object) -> bool:
    """Returns whether a YAML value is meant as an expression: a string with a ``$``."""
    return isinstance(value, str) and "$" in value


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """Returns the expression in ``text``; raises `ExpressionError` if it is none."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression of {len(text)} characters; at most {MAX_LENGTH} are read")
    if match := _NAME.fullmatch(text):
        name = match[1]
        return Expression(name, ast.Name(name, ast.Load()), frozenset({name}))
    braced = _BRACED.fullmatch(text)
    if not braced:
        raise ExpressionError(f"`{text}` is not an expression", hint='write `$name` or "${4 * name}"')
    source = " ".join(braced[1].split())
    if not source:
        raise ExpressionError("the expression is empty", hint=_ALLOWED)
    try:
        with warnings.catch_warnings():  # Python warns about odd literals
            warnings.simplefilter("ignore")
            tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"`{source}` is not an expression", hint=_ALLOWED) from None
    names: set[str] = set()
    _check(tree, source, names, MAX_DEPTH, comparison=True)
    return Expression(source, tree, frozenset(names))


def _check(node: ast.expr, source: str, names: set[str], depth: int, *, comparison: bool = False) -> None:
    if depth == 0:
        raise ExpressionError(f"the expression nests deeper than {MAX_DEPTH} operations")
    match node:
        case ast.Name(id=name):
            names.add(name)
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            _bounded(number)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, source, names, depth - 1)
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
            _check(left, source, names, depth - 1)
            _check(right, source, names, depth - 1)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            _, low, high = FUNCTIONS[name]
            if len(args) < low or (high is not None and len(args) > high):
                wanted = f"{low} argument{'s' if low > 1 else ''}" if high == low else f"at least {low} arguments"
                hint = "the second number is what it becomes a multiple of" if name == "round" else None
                raise ExpressionError(f"`{name}` takes {wanted} but gets {len(args)}", hint=hint)
            for arg in args:
                _check(arg, source, names, depth - 1)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if comparison and type(op) in _COMPARISON:
            _check(left, source, names, depth - 1)
            _check(right, source, names, depth - 1)
        case _:
            raise ExpressionError(f"`{_written(node, source)}` has no place in an expression", hint=_ALLOWED)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One evaluation of a checked tree."""

    source: str
    values: Mapping[str, Any]

    def of(self, node: ast.expr) -> Any:
        match node:
            case ast.Name(id=name):
                return self.values[name]
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(op=op, operand=operand):
                return -self.number(operand) if isinstance(op, ast.USub) else self.number(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return _bounded(self.binary(op, self.number(left), self.number(right), node))
            case ast.Call(func=ast.Name(id=name), args=args):
                return _bounded(FUNCTIONS[name][0](*map(self.number, args)))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return _COMPARISON[type(op)](self.number(left), self.number(right))
        raise AssertionError(ast.dump(node))

    def number(self, node: ast.expr) -> int | float:
        value = self.of(node)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ExpressionError(f"`{_written(node, self.source)}` is {shown(value)} here, not a number")
        return value

    def binary(self, op: ast.operator, left: float, right: float, node: ast.expr) -> float:
        if type(op) in _ARITHMETIC:
            result: float = _ARITHMETIC[type(op)](left, right)
            return result
        if right == 0:
            raise ExpressionError(f"`{_written(node, self.source)}` divides by zero")
        if isinstance(op, ast.FloorDiv):
            return int(left // right)
        if isinstance(left, int) and isinstance(right, int):
            if left % right:
                written = _written(node, self.source)
                raise ExpressionError(f"`{written}` is {left} / {right}, not a whole number", hint="`//` rounds down")
            return left // right
        return left / right


def _written(node: ast.expr, source: str) -> str:
    """Returns a part of an expression as it was written."""
    if node.end_col_offset is None:
        return source
    return source.encode()[node.col_offset : node.end_col_offset].decode()


def _bounded(number: float) -> float:
    if not abs(number) <= MAX_INT:
        raise ExpressionError("a number in this expression is beyond 64 bits")
    return number


CHANNELS = "channels"
"""The name that stands for the number of channels entering the list it is used in."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The value of a parameter, without expressions, and the scope in which names in it are looked up."""

    mark: Marked
    scope: Scope | None = None


Env = Mapping[str, Bound]


def evaluate(mark: Marked, env: Env, channels: int | None) -> Marked:
    """Returns ``mark`` with every expression replaced by its result; raises E206.

    A bare ``$name`` passes the parameter's value on unchanged, with the place where it was written. Any other result
    has the place of the expression.
    """
    if isinstance(mark.value, list):
        return Marked([evaluate(item, env, channels) for item in mark.value], mark.span)
    if isinstance(mark.value, dict):
        entries = {key: evaluate(item, env, channels) for key, item in mark.value.items()}
        return Marked(entries, mark.span, mark.keys)
    if not is_expression(mark.value):
        return mark
    expression = parse(str(mark.value))
    if CHANNELS in expression.names and channels is None:
        raise CnnscopeError.of(
            "E206", "`channels` has no value here: the network has several inputs", span=mark.span,
            hint="`channels` works inside blocks, residuals and paths",
        )  # fmt: skip
    if expression.name == CHANNELS:
        return Marked(channels, mark.span)
    if expression.name is not None:
        value = env[expression.name].mark
        return Marked(value.value, value.span or mark.span, value.keys)
    numbers: dict[str, Any] = {name: env[name].mark.plain() for name in expression.names - {CHANNELS}}
    try:
        return Marked(expression.evaluate(numbers | {CHANNELS: channels}), mark.span)
    except ExpressionError as error:
        raise CnnscopeError.of("E206", error.message, span=mark.span, hint=error.hint) from None


def bind(mark: Marked, env: Env, channels: int | None, scope: Scope | None) -> Bound:
    """Returns the value of a parameter set to ``mark``. A parameter that is passed on keeps the scope in which its
    value was written.
    """
    if isinstance(mark.value, str) and is_expression(mark.value):
        name = parse(mark.value).name
        if name is not None and name != CHANNELS:
            return env[name]
    return Bound(evaluate(mark, env, channels), scope)
