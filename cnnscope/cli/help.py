"""What ``--help`` prints: usage, what the command does, and a box of options for each heading, at any width.

Names of options and what they take stand on the left, where they are never cut; what does not fit there has a line of
its own above its explanation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from inspect import cleandoc
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from cnnscope.render import style
from cnnscope.render.folding import cells, folded, padded

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text
    from typer._click import Context, HelpFormatter

_WIDEST = 100
"""Characters of a line of help: longer ones are hard to read."""
_LEFT = 30
"""Characters for the names of options; less where all names are shorter or the terminal is narrow."""
_NAMES = {"str": "TEXT", "int": "N", "float": "N", "path": "PATH", "file": "FILE"}
"""What an option takes, by the name of its type, where it has no name of its own."""


class Explained:
    """What a command or a group of typer inherits first to print this help."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Prints the help; ``formatter`` stays empty."""
        from rich.console import Console

        assert isinstance(self, TyperCommand | TyperGroup)
        width = min(get_terminal_size().columns, _WIDEST)
        console = Console(width=width)
        for part in _parts(self, ctx, width):
            console.print(part, highlight=False)


class ExplainedCommand(Explained, TyperCommand):
    """A command with this help."""


class ExplainedGroup(Explained, TyperGroup):
    """A group of commands with this help."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line on the left, such as ``--layer, -l NAME``, and what explains it."""

    name: str
    about: str


def sections(command: TyperCommand | TyperGroup, context: Context) -> Iterator[tuple[str, list[Entry]]]:
    """The headings of a command's help with what is below them: arguments, commands, options."""
    found: dict[str, list[Entry]] = {}
    for parameter in command.get_params(context):
        if isinstance(parameter, TyperArgument | TyperOption) and not parameter.hidden:
            argument = isinstance(parameter, TyperArgument)
            heading = parameter.rich_help_panel or ("Arguments" if argument else "Options")
            found.setdefault(heading, []).append(_entry(parameter, context))
    first = [(name, found.pop(name)) for name in ("Arguments",) if name in found]
    yield from first
    if isinstance(command, TyperGroup):
        yield from _commands(command, context)
    yield from found.items()


def _commands(group: TyperGroup, context: Context) -> Iterator[tuple[str, list[Entry]]]:
    found: dict[str, list[Entry]] = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            about = cleandoc(command.short_help or command.help or "").partition("\n\n")[0]
            found.setdefault(getattr(command, "rich_help_panel", None) or "Commands", []).append(Entry(name, about))
    yield from found.items()


def _entry(parameter: TyperOption | TyperArgument, context: Context) -> Entry:
    about = [parameter.help or "", *_facts(parameter, context)]
    if isinstance(parameter, TyperArgument):
        return Entry(parameter.metavar or parameter.display_name_raw, " ".join(filter(None, about)))
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    return Entry(" ".join(filter(None, (names, _takes(parameter, context)))), " ".join(filter(None, about)))


def _takes(parameter: TyperOption, context: Context) -> str:
    """``FILE``; nothing for a switch. The choices of an option are listed in its explanation."""
    if parameter.is_bool_flag:
        return ""
    kind = _kind(parameter, context)
    return parameter.metavar or ("NAME" if "|" in kind else _NAMES.get(kind.split(" ")[0], kind.upper()))


def _kind(parameter: TyperOption | TyperArgument, context: Context) -> str:
    """The name of the type, ``int range`` or ``path``; choices are joined by bars."""
    return parameter.display_type(context).strip("<>").removeprefix("list[").removesuffix("]")


def _facts(parameter: TyperOption | TyperArgument, context: Context) -> Iterator[str]:
    """What an option takes, what it must be, and what it is if it is not given."""
    if "|" in (choices := _kind(parameter, context)) and not parameter.metavar:
        yield f"One of {choices.replace('|', ', ')}."
    ends = ((">=", parameter.min), ("<=", parameter.max))
    bounds = [f"N {sign} {end:g}" for sign, end in ends if end is not None]
    if bounds:
        yield f"[{', '.join(bounds)}]"
    default = parameter.get_default(context, call=False)
    if parameter.required:
        yield "[required]"
    elif not (default is None or default is False or default in ((), [], "") or callable(default)):
        yield f"[default: {_default(parameter, default)}]"


def _default(parameter: TyperOption | TyperArgument, default: Any) -> str:
    if default is True:
        return parameter.opts[0].lstrip("-")
    if isinstance(default, list | tuple):
        return ", ".join(map(str, default))
    return str(default.value if isinstance(default, Enum) else default)


def _parts(command: TyperCommand | TyperGroup, context: Context, width: int) -> Iterator[RenderableType]:
    """The help from top to bottom, no line wider than ``width``."""
    from rich.panel import Panel
    from rich.text import Text

    yield Text("\n".join(["", *_paragraph(command.get_usage(context), width), ""]), style=style.TITLE)
    for paragraph in cleandoc(command.help or "").split("\n\n"):
        yield Text("\n".join([*_paragraph(paragraph, width), ""]))
    found = list(sections(command, context))
    widest = max((cells(entry.name) for _, entries in found for entry in entries), default=0)
    left = min(widest, _LEFT, (width - 4) * 2 // 5)
    for heading, entries in found:
        lines = Text("\n").join(_lines(entry, left, width - 4) for entry in entries)
        yield Panel(lines, title=heading, title_align="left", border_style=style.DIM, width=width)
    if command.epilog:
        yield Text("\n".join(["", *_paragraph(command.epilog, width)]), style=style.DIM)


def _paragraph(text: str, width: int) -> list[str]:
    return [f" {line}" for line in folded(" ".join(text.split()), width - 2)]


def _lines(entry: Entry, left: int, width: int) -> Text:
    """An entry: its name in a column of ``left`` cells, beside it or, where it is longer, below what explains it."""
    from rich.text import Text

    names, about = folded(entry.name, width), folded(entry.about, width - left - 2)
    beside = cells(entry.name) <= left
    lines = [] if beside else [Text(name, style.NOTE) for name in names]
    for i, line in enumerate(about):
        name = padded(entry.name if beside and i == 0 else "", left)
        lines.append(Text.assemble((name, style.NOTE), "  ", line))
    return Text("\n").join(lines)
