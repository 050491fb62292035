"""``weights``: does a weight file fit a network, and which name stands for which."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnscope.cli import options as o
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Output

if TYPE_CHECKING:
    from cnnscope.ir import Graph
    from cnnscope.nn.checkpoint import Checkpoint
    from cnnscope.nn.weights import NameMap

app = typer.Typer(help="Weight files beside a network.", no_args_is_help=True, rich_markup_mode="markdown")

WeightFile = Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors, .pt or .pth file of weights.")]
MapFile = Annotated[
    str | None,
    typer.Option(
        "--map", metavar="MAP", rich_help_panel="Network",
        help="A mapping that `cnnscope weights map` wrote, or `auto` for what it proposes.",
    ),
]  # fmt: skip
AUTO = "auto"
_WEIGHTS = (".safetensors", ".pt", ".pth")


@app.command()
def check(
    source: o.Source,
    file: WeightFile,
    mapping: MapFile = None,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", rich_help_panel="Output", help="Every tensor.")] = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> int:
    """Compare names and shapes in FILE with the network's, reading its header only; exit with 1 if it does not fit."""
    from cnnscope.nn.checkpoint import read_header
    from cnnscope.nn.weights import compare
    from cnnscope.render.weights import WeightsCheck

    output = Output.of(form, path, color, quiet)
    graph = load(source, input or (), set or ()).graph
    checkpoint = read_header(file)
    comparison = compare(graph, checkpoint, name_map(graph, checkpoint, mapping))
    output.emit(WeightsCheck(graph, source, checkpoint, comparison, verbose, quiet))
    return 0 if comparison.fits else 1


@app.command("map")
def map_(
    source: o.Source,
    file: WeightFile,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel="Output",
            help="Write the mapping (.json), or the weights under the network's names (.safetensors .pt .pth).",
        ),
    ] = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> int:
    """Propose which tensor of FILE is which weight of the network, by shape and order; exit with 1 if some are left."""
    from cnnscope.nn.checkpoint import read_header
    from cnnscope.nn.mapping import propose
    from cnnscope.render.weights import WeightsMap

    renamed = path is not None and path.suffix in _WEIGHTS
    output = Output.of(form, None if renamed else path, color, quiet)
    graph = load(source, input or (), set or ()).graph
    checkpoint = read_header(file)
    proposal = propose(graph, checkpoint)
    if path is not None and renamed and proposal.complete:
        _write(graph, checkpoint, path)
        if not quiet:
            typer.echo(f"wrote {path}", err=True)
    output.emit(WeightsMap(graph, source, checkpoint, proposal, quiet))
    return 0 if proposal.complete else 1


def _write(graph: Graph, checkpoint: Checkpoint, path: Path) -> None:
    from cnnscope.nn.checkpoint import write_weights
    from cnnscope.nn.weights import compare, state_dict

    comparison = compare(graph, checkpoint, name_map(graph, checkpoint, AUTO))
    write_weights(state_dict(graph, checkpoint.path, comparison), path)


def name_map(graph: Graph, checkpoint: Checkpoint, mapping: str | None) -> NameMap | None:
    """The names ``--map`` asks for; E425 where the proposal it asks for is incomplete."""
    from cnnscope.errors import CnnscopeError
    from cnnscope.nn.mapping import propose, read_name_map
    from cnnscope.nn.weights import NameMap

    if mapping is None:
        return None
    if mapping != AUTO:
        return read_name_map(mapping)
    proposal = propose(graph, checkpoint)
    if not proposal.complete:
        raise CnnscopeError.of(
            "E425",
            f"no mapping of `{checkpoint.path.name}` onto `{graph.name}` is complete",
            hint="`cnnscope weights map` shows what is left; edit what it writes and name it with `--map`",
        )
    return NameMap(proposal.pairs)
