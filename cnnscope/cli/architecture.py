"""The commands ``diff equivariance ablate diagram page export``: what follows from the architecture alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import Destination, Showing, Writing
from cnnscope.errors import CnnscopeError
from cnnscope.options.group import Option, group
from cnnscope.options.network import DiagramOptions, ExportFormat, ExportOptions, PageOptions, Theme
from cnnscope.render.diagram import views
from cnnscope.render.style import PICTURES, check_format


@group("Output")
class DifferenceWriting(Writing):
    """Where the difference of two networks is written."""

    KINDS: ClassVar[Sequence[str]] = (*PICTURES, "dot")


@flat(
    output="Write to a file: .svg .png .pdf .dot draw it, .json .csv .tsv .md .txt have the table.",
    verbose="List equal layers one by one, with all columns.",
)
def diff(
    a: Annotated[str, typer.Argument(metavar="A", autocompletion=o.complete_source, help="The network to start from.")],
    b: Annotated[str, typer.Argument(metavar="B", autocompletion=o.complete_source, help="The one to compare with.")],
    loading: o.Loading,
    theme: Theme,
    writing: DifferenceWriting,
) -> int:
    """Compare two architectures layer by layer; exit with 1 if they differ."""
    from dataclasses import replace

    first, second = (loading.load(source) for source in (a, b))
    report = replace(first.diff(second, theme=theme.theme), verbose=writing.verbose)
    writing.deliver(report)
    return 0 if report.equal else 1


@flat
def equivariance(source: o.Source, loading: o.Loading, writing: Writing) -> None:
    """Find which shifts, flips and quarter turns leave the output unchanged or move the maps, for any weights."""
    writing.emit(loading.load(source).equivariance())


@group("Network")
class Removals:
    """Which layers are left out."""

    remove: Annotated[
        list[str],
        Option(
            "Layers or groups of layers to leave out together; each --remove is a variant of its own.",
            metavar="A,B,...",
        ),
    ]


@flat
def ablate(source: o.Source, removals: Removals, loading: o.Loading, writing: Writing) -> None:
    """Leave layers out and compare what remains: parameters, MACs, receptive field, output."""
    variants = [parse_names(text) for text in removals.remove]
    writing.emit(loading.load(source).ablate(*variants))


def parse_names(text: str) -> tuple[str, ...]:
    """``conv3,conv4`` as names, each once; E490 where one is empty."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if not all(names):
        raise CnnscopeError.of("E490", f"`--remove {text}` names no layer", hint="write `--remove conv3,conv4`")
    return names


@flat(
    output=f"{', '.join(views.graph_formats())} by its suffix; NAME.svg in this folder without it.",
    view=f"What is drawn. {views.about()}.",
)
def diagram(
    source: o.Source, destination: Destination, options: DiagramOptions, loading: o.Loading, showing: Showing
) -> None:
    """Draw the architecture: folded blocks, stages, shapes, costs and receptive fields."""
    from cnnscope.render.diagram.views import Compromise, diagram
    from cnnscope.render.illustrated import kind_of

    if destination.output is not None:
        check_format(kind_of(destination.output), views.formats(views.chosen(options)))
    drawing = diagram(loading.load(source).graph, options)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", Compromise)
        files = drawing.write(destination.output or Path(f"{drawing.name}.svg"))
    showing.say(*(f"note: {one.message}" for one in found if issubclass(one.category, Compromise)))
    showing.files(files)


@flat(output="The file to write; NAME.html in this folder without it.")
def page(
    source: o.Source, destination: Destination, options: PageOptions, loading: o.Loading, showing: Showing,
    other: Annotated[str | None, typer.Argument(metavar="OTHER", autocompletion=o.complete_source,
                                                help="A second network to lay beside it.")] = None,
) -> None:  # fmt: skip
    """Write an interactive page: click a unit, see its receptive field; of two networks, what differs."""
    from cnnscope.render.illustrated import check_page

    if destination.output is not None:
        check_page(destination.output)
    model = loading.load(source)
    if other is None:
        with showing.announced(f"drawing {model.name}"):
            found = model.page(image=options.image, weights=options.weights)
    else:
        for name in ("image", "weights"):
            if getattr(options, name) is not None:
                raise CnnscopeError.of(
                    "E409", f"`--{name}` is for the page of one network", hint=f"leave out `--{name}`"
                )
        from cnnscope.render.page.pair import page as pair

        second = loading.load(other)
        with showing.announced(f"drawing {model.name} and {second.name}"):
            found = pair(model.diff(second))
    showing.files(found.write(destination.output or Path(f"{found.name}.html")))


@group("Output")
class Target:
    """The format of an export."""

    to: Annotated[ExportFormat | None, Option("What to write; by default what the suffix of -o says.")] = None


@flat(output="Write to a file: .py .onnx .yaml .json; to stdout without it, but for ONNX.")
def export(
    source: o.Source, target: Target, destination: Destination, options: ExportOptions, loading: o.Loading,
    showing: Showing,
) -> None:  # fmt: skip
    """Write the network as a PyTorch module, an ONNX file, a spec, or JSON."""
    from cnnscope.render.export import check, format_of

    path = destination.output
    to = target.to or format_of(path)
    check(to, options)
    if to == "onnx" and path is None:
        raise CnnscopeError.of("E400", "an ONNX file needs a name", hint="say `-o model.onnx`")
    exported = loading.load(source).export(to, weights=options.weights, map=options.map)
    if path is None:
        showing.put(str(exported))
        return
    files = exported.write(path)
    if showing.form is None:
        showing.say(f"wrote {path}")
    else:
        showing.files(files)
