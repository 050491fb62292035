"""The options verbs share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cnnscope.cli.output import Color, Format, Output
from cnnscope.options.group import Option, group

if TYPE_CHECKING:
    from cnnscope.api import Model

_OUTPUT = "Output"
_NETWORK = "Network"


def complete_source(incomplete: str) -> list[str]:
    """Names of the zoo, for the shell's completion."""
    from cnnscope.sources import zoo

    return [name for name in zoo.names() if name.startswith(incomplete)]


SOURCE_HELP = (
    "A model of the zoo (`cnnscope zoo` lists them), spec.yaml (or - for standard input), torchvision:NAME, timm:NAME, "
    "model.keras or model.json; file.py:FACTORY and pkg.mod:FACTORY run that code."
)

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
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="SIZE", rich_help_panel=_NETWORK,
        help="Size of the input as its author writes it: 3x224x224; of one of several: left=3x64x64, ids=128:int64.",
    ),
]  # fmt: skip
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", rich_help_panel=_NETWORK, help="Another value for a spec's parameter."),
]
LevelName = Literal["layer", "op"]
Level = Annotated[
    LevelName,
    typer.Option(rich_help_panel=_NETWORK, help="One row a layer as written, or one an op (conv, its norm, its act)."),
]
Batch = Annotated[
    int, typer.Option(min=1, rich_help_panel=_NETWORK, help="Images at a time; scales activation bytes only.")
]
Dtype = Annotated[
    Literal["float32", "float16", "bfloat16", "float64"],
    typer.Option(rich_help_panel=_NETWORK, help="Precision that bytes are counted in."),
]
Strict = Annotated[
    bool, typer.Option("--strict", rich_help_panel=_NETWORK, help="Exit with 3 if an op is not supported.")
]

FormatOption = Annotated[
    Format | None, typer.Option("--format", "-f", rich_help_panel=_OUTPUT, help="How to write the result.")
]
OutputPath = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", readable=False, rich_help_panel=_OUTPUT,
        help="Write to a file; where several formats exist, .json .csv .tsv .md .txt pick one.",
    ),
]  # fmt: skip
Columns = Annotated[
    str | None,
    typer.Option(metavar="A,B,...", rich_help_panel=_OUTPUT, help="Which columns, by the names that `-f csv` shows."),
]
Depth = Annotated[
    int | None, typer.Option(min=1, rich_help_panel=_OUTPUT, help="Collapse groups of layers nested deeper than this.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=_OUTPUT, help="The table alone, no remarks around it.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel=_OUTPUT, help="All columns.")]
ColorOption = Annotated[Color, typer.Option("--color", rich_help_panel=_OUTPUT, help="Colours; NO_COLOR is respected.")]
Debug = Annotated[bool, typer.Option("--debug", rich_help_panel=_OUTPUT, help="Show the traceback of an error.")]


@group("Network")
class Loading:
    """How a SOURCE is loaded."""

    input: Annotated[
        list[str] | None,
        Option(
            "Size of the input, channels first: 3x224x224; of one of several inputs: left=3x64x64, ids=128:int64.",
            metavar="SIZE",
        ),
    ] = None
    set: Annotated[
        list[str] | None,
        Option("Another value for a parameter of the spec or factory.", metavar="NAME=VALUE"),
    ] = None

    def load(self, source: str) -> Model:
        """The network; its notes go to stderr. `CnnscopeError` where it cannot be loaded."""
        from cnnscope.cli.layers import load

        return load(source, self.input or (), self.set or ())


@group("Output")
class Writing:
    """How a result is written, and where to."""

    form: Annotated[Format | None, Option("How to write the result.", flags=("--format", "-f"))] = None
    output: Annotated[
        Path | None,
        Option(
            "Write to a file; its suffix picks the format: .json .csv .tsv .md .txt.",
            flags=("--output", "-o"),
            metavar="FILE",
        ),
    ] = None
    quiet: Annotated[bool, Option("The result alone, without notes around it.", flags=("--quiet", "-q"))] = False
    color: Annotated[Color, Option("When to use colours; NO_COLOR is respected.")] = Color.auto
    debug: Annotated[bool, Option("Show the traceback of an error.")] = False

    def out(self) -> Output:
        """Where a result that is text goes. E404 for a file whose suffix names no format."""
        return Output.of(self.form, self.output, self.color, self.quiet)
