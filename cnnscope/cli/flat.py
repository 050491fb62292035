"""Functions of groups of options, as typer wants them: functions of the options themselves."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from cnnscope.options.group import Field, combine, fields

_KINDS = {
    str | Path | None: Path | None,
    Sequence[str]: list[str] | None,
    str | Sequence[str]: list[str] | None,
    str | Path | Sequence[str | Path]: list[str] | None,
}
"""Types on the command line for types in Python."""


def flat(function: Callable[..., Any] | None = None, /, **helps: str) -> Callable[..., Any]:
    """The function with the options of its groups as its own parameters; ``helps`` explains some of them differently.

    TypeError where two groups share the name or the flag of an option: where the verb is defined, not when it is used.
    """
    if function is None:
        return lambda real: flat(real, **helps)
    hints = get_type_hints(function, include_extras=True)
    signature = inspect.signature(function)
    groups = {name: hints[name] for name in signature.parameters if fields(hints[name])}
    found: dict[str, Field] = {}
    for group in groups.values():
        combine(found, fields(group), function.__name__)
    taken = {name: p.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY)
             for name, p in signature.parameters.items() if name not in groups}  # fmt: skip
    shared = next((name for name in taken if name in found), None)
    if shared is not None:
        raise TypeError(f"`{function.__name__}`: two groups have an option `{shared}`")

    def run(**given: Any) -> Any:
        built = {name: group(**_given(group, given)) for name, group in groups.items()}
        return function(**{name: given[name] for name in taken}, **built)

    options = {name: _parameter(one, helps.get(name)) for name, one in found.items()}
    everything = {**taken, **options}
    run.__signature__ = inspect.Signature(list(everything.values()))  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {name: parameter.annotation for name, parameter in everything.items()}
    run.__doc__, run.__name__, run.__module__ = function.__doc__, function.__name__, function.__module__
    return run


def _given(group: type, given: dict[str, Any]) -> dict[str, Any]:
    """The values of a group's fields; what was not given has its default."""
    return {one.name: given[one.name] for one in fields(group) if given[one.name] is not None}


def _parameter(one: Field, help: str | None) -> Parameter:
    option = one.option
    info = typer.Option(
        *one.flags,
        help=help or option.help,
        rich_help_panel=one.panel,
        metavar=option.metavar,
        min=option.min,
        max=option.max,
        readable=not option.written,
    )
    kind = option.kind or _KINDS.get(one.type)
    kind, default = (one.type, one.default) if kind is None else (kind, None)
    if one.default is dataclasses.MISSING:
        default = Parameter.empty
    return Parameter(one.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info])
