"""SOURCE on the command line, and the options of loading one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cnnscope.errors import CnnscopeError
from cnnscope.options.group import Option, group
from cnnscope.sources.resolve import examples

if TYPE_CHECKING:
    from cnnscope.api import Model

DEFAULT = "lenet5-digits"
"""The network of a verb about trained networks that is given no SOURCE: weights and images come with it."""


def complete_source(incomplete: str) -> list[str]:
    """Names of the zoo, for the shell's completion."""
    from cnnscope.sources import zoo

    return [name for name in zoo.names() if name.startswith(incomplete)]


SOURCE_HELP = f"A model of the zoo (`cnnscope zoo` lists them); {examples()}."

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE", autocompletion=complete_source, help=SOURCE_HELP + " Several make one comparison table."
    ),
]
OptionalSources = Annotated[
    list[str] | None, typer.Argument(metavar="SOURCE", autocompletion=complete_source, help=SOURCE_HELP)
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", autocompletion=complete_source, help=SOURCE_HELP)]
DefaultSource = Annotated[str, typer.Argument(metavar="SOURCE", autocompletion=complete_source, help=SOURCE_HELP)]


@group("Rows and columns")
class Sorting:
    """In which order rows are shown, and how many."""

    sort: Annotated[
        str | None, Option("Largest first by a column, named as in `-f csv`: macs, params.", metavar="COLUMN")
    ] = None
    top: Annotated[
        int | None,
        Option("Rows to show, without --sort those that are largest. JSON and CSV have all.", metavar="N", min=1),
    ] = None


@group("Network")
class Loading:
    """How a SOURCE is loaded."""

    input: Annotated[
        list[str] | None,
        Option(
            "Size of the input as its author writes it: 3x224x224; of one of several inputs: left=3x64x64, "
            "ids=128:int64.",
            metavar="SIZE",
        ),
    ] = None
    set: Annotated[
        list[str] | None,
        Option("Another value for a parameter of the spec, or an argument of the factory.", metavar="NAME=VALUE"),
    ] = None
    trace_batch: Annotated[
        int,
        Option("Images in the run of a torch module that needs several; figures stay those of one if they can.", min=1),
    ] = 1

    def load(self, source: str, *, in_table: bool = False) -> Model:
        """The network; its notes go to stderr, with the remarks that are not ``in_table``. `CnnscopeError` where it
        cannot be loaded.
        """
        from cnnscope import api
        from cnnscope.sources.inputs import parse_inputs

        model = api.load(source, input=parse_inputs(self.input or ()), set=self.settings, trace_batch=self.trace_batch)
        for note in (*model.notes, *(() if in_table else model.remarks)):
            print(f"note: {note}", file=sys.stderr)
        return model

    @property
    def settings(self) -> dict[str, str]:
        """The values of ``--set width=32`` as texts by name; E406 for a text without ``=``."""
        values = {}
        for setting in self.set or ():
            name, equals, value = setting.partition("=")
            if not equals or not name:
                raise CnnscopeError.of("E406", f"`--set {setting}` sets nothing", hint="write `--set width=32`")
            values[name] = value
        return values
