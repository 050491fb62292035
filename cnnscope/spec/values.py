"""Parameters in force, and expressions worked out with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError
from cnnscope.spec import expressions
from cnnscope.spec.expressions import ExpressionError
from cnnscope.spec.marks import Marked

if TYPE_CHECKING:
    from cnnscope.spec.scope import Scope

CHANNELS = "channels"
"""The name that stands for the number of channels entering the list it is used in."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A parameter's value, free of expressions, and the scope in which a name in it is looked up."""

    mark: Marked
    scope: Scope | None = None


Env = Mapping[str, Bound]


def evaluate(mark: Marked, env: Env, channels: int | None) -> Marked:
    """``mark`` with every expression replaced by its result, or E206.

    A bare ``$name`` passes the parameter's value on as it is, place included; anything else is written here.
    """
    if isinstance(mark.value, list):
        return Marked([evaluate(item, env, channels) for item in mark.value], mark.span)
    if isinstance(mark.value, dict):
        entries = {key: evaluate(item, env, channels) for key, item in mark.value.items()}
        return Marked(entries, mark.span, mark.keys)
    if not expressions.is_expression(mark.value):
        return mark
    expression = expressions.parse(str(mark.value))
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
    """The value of a parameter set to ``mark``; a parameter passed on keeps the scope its value was written in."""
    if isinstance(mark.value, str) and expressions.is_expression(mark.value):
        name = expressions.parse(mark.value).name
        if name is not None and name != CHANNELS:
            return env[name]
    return Bound(evaluate(mark, env, channels), scope)
