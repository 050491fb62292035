"""All commands, and how they become commands of typer: each is imported when it is called or explained."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.main import get_command_from_info, get_group_from_info
from typer.models import CommandInfo, TyperInfo

from cnnscope.cli.help import ExplainedCommand, ExplainedGroup
from cnnscope.plugins import OPTION
from cnnscope.registry import Registry

if TYPE_CHECKING:
    from typer._click import Command, Context

_HEADINGS = {
    "Look at a network": {
        **{name: f"layers:{name}" for name in ("summary", "shapes", "params", "flops", "memory")},
        "rf": "layers:rf",
        "diff": "architecture:diff",
        "equivariance": "architecture:equivariance",
        "ablate": "architecture:ablate",
    },
    "Change it": {
        "edit": "edit:edit",
    },
    "Draw it": {"diagram": "architecture:diagram", "page": "architecture:page"},
    "Audit": {"audit": "audit:audit", "report": "audit:report", "compare": "audit:compare"},
    "See what it has learned": {
        "filters": "trained:filters",
        "attribute": "trained:attribute",
        "transfer": "trained:transfer",
        "features": "trained:features",
        "kernels": "trained:kernels",
    },
    "Weights and export": {"weights": "weights:app", "export": "architecture:export"},
    "Specs and layer types": {
        "check": "specs:check",
        "expand": "specs:expand",
        "zoo": "specs:zoo",
        "ops": "specs:ops",
        "schema": "specs:schema",
    },
}
"""The built-in commands under the headings of ``cnnscope --help``, as places in ``cnnscope.cli``."""
_FROM_OTHERS = "From packages and plugins"

COMMANDS: Registry[Callable[..., object]] = Registry(
    "cnnscope.commands",
    "command",
    {name: f"cnnscope.cli.{place}" for commands in _HEADINGS.values() for name, place in commands.items()},
    code="E400",
)
"""Functions with the options of typer, or apps of typer with commands of their own."""

Plugins = Annotated[
    list[str] | None,
    typer.Option(
        OPTION,
        metavar="FILE.py",
        rich_help_panel="Plugins",
        help="A Python file to run first: it adds layer types, sources, methods and more. May be repeated.",
    ),
]


class Commands(ExplainedGroup):
    """The commands as a group of typer."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Names of all commands that can be imported."""
        return [name for name, _ in COMMANDS.items()]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """The command of that name; `CnnscopeError` where it comes from a package and cannot be imported."""
        return _command(cmd_name, COMMANDS.find(cmd_name)) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The command that is called; an unknown one is an error with the nearest names."""
        self.commands = dict.fromkeys(COMMANDS, self)  # typer looks for near names among the keys
        return super().resolve_command(ctx, args)


def _command(name: str, found: Callable[..., object]) -> Command:
    heading = next((heading for heading, names in _HEADINGS.items() if name in names), _FROM_OTHERS)
    if not isinstance(found, typer.Typer):
        info = CommandInfo(name=name, cls=ExplainedCommand, callback=_with_plugins(found), rich_help_panel=heading)
        return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode="markdown")
    group = copy.copy(found)
    group.registered_commands = [copy.copy(info) for info in found.registered_commands]
    for info in group.registered_commands:
        info.cls = ExplainedCommand
        if info.callback is not None:
            info.name = info.name or info.callback.__name__
            info.callback = _with_plugins(info.callback)
    about = TyperInfo(group, name=name, cls=ExplainedGroup, rich_help_panel=heading)
    return get_group_from_info(about, pretty_exceptions_short=True, suggest_commands=True, rich_markup_mode="markdown")


def _with_plugins(function: Callable[..., object]) -> Callable[..., object]:
    """The function with an option that `main` has already seen to: here it is for the help alone."""

    @functools.wraps(function)
    def run(*, _plugins: object = None, **given: Any) -> object:
        return function(**given)

    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    own = [parameter.replace(annotation=hints.get(parameter.name, Any)) for parameter in parameters]
    option = Parameter("_plugins", Parameter.KEYWORD_ONLY, default=None, annotation=Plugins)
    run.__signature__ = inspect.Signature([*own, option])  # type: ignore[attr-defined]  # read by typer
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, option)}
    return run
