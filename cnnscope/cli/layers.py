"""The commands ``summary shapes params flops memory rf``: the layers of a network, each with columns of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import Pictured, Writing
from cnnscope.errors import CnnscopeError, Diagnostic, PartialError, UnsupportedError
from cnnscope.options.group import Option, group
from cnnscope.options.network import LayerOptions, LevelOptions

if TYPE_CHECKING:
    from cnnscope.api import Model
    from cnnscope.render.layers import LayerReport, Verb


@group("Rows and columns")
class Looking(o.Sorting):
    """Which rows and columns of the table are shown."""

    columns: Annotated[str | None, Option("Columns to show, by the names that `-f csv` has.", metavar="A,B,...")] = None
    depth: Annotated[int | None, Option("Fold groups of layers that are nested deeper than this.", min=1)] = None
    strict: Annotated[bool, Option("Exit with 3 if an op is not supported.")] = False

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that were named."""
        return () if self.columns is None else tuple(key.strip() for key in self.columns.split(","))


@dataclass(frozen=True, slots=True)
class Question:
    """The verb, and what its options say: which networks to load, what to show of them, where to write it."""

    verb: Verb
    sources: Sequence[str]
    loading: o.Loading
    layers: LayerOptions
    looking: Looking
    writing: Writing
    exact: bool = False


def show(question: Question) -> None:
    """Prints the layers of one network, or the totals of several."""
    if len(question.sources) > 1:
        _compare(question)
        return
    (source,) = question.sources
    try:
        report = _report(question.loading.load(source, in_table=True), question)
    except PartialError as error:
        if question.writing.output is None:
            _show_what_works(error, source, question)
        raise
    question.writing.emit(_view(report, question))


def _report(model: Model, question: Question) -> LayerReport:
    report = model.layers(question.verb, question.layers, exact=question.exact)
    if question.looking.strict and report.summary.unsupported:
        rows = {row.name: row for row in report.summary.rows}
        raise UnsupportedError(
            *(
                Diagnostic("E407", f"`{name}` is not supported: {rows[name].label}", rows[name].span)
                for name in report.summary.unsupported
            )
        )
    return report


def _view(report: LayerReport, question: Question) -> LayerReport:
    from cnnscope.render.columns import FIGURES

    every = tuple(key for key, _ in FIGURES.items() if key != "rf_exact" or report.exact)
    columns = question.looking.keys or (every if question.writing.verbose else ())
    return report.view(
        columns=columns, depth=question.looking.depth, sort=question.looking.sort, top=question.looking.top
    )


def _show_what_works(error: PartialError, source: str, question: Question) -> None:
    """The layers up to the one that is wrong, where the error knows them."""
    from cnnscope.api import Model

    if error.graph is not None and error.graph.nodes:
        report = _report(Model(error.graph, source), question)
        question.writing.emit(replace(_view(report, question), complete=False))


def _compare(question: Question) -> None:
    from cnnscope.render.comparison import Comparison

    reports, wrong = [], []
    for source in question.sources:
        try:
            reports.append(_report(question.loading.load(source), question))
        except CnnscopeError as error:
            wrong.append(error)
    if wrong:
        merged = CnnscopeError(*(diagnostic for error in wrong for diagnostic in error.diagnostics))
        merged.exit_code = max(error.exit_code for error in wrong)
        raise merged
    looking = question.looking
    question.writing.emit(Comparison(tuple(reports), looking.keys, looking.sort, looking.top))


def _verb(verb: Verb, about: str) -> Callable[..., None]:
    def run(sources: o.Sources, loading: o.Loading, layers: LayerOptions, looking: Looking, writing: Writing) -> None:
        show(Question(verb, sources, loading, layers, looking, writing))

    run.__doc__, run.__name__ = about, verb
    return flat(run, verbose=_EVERY)


_EVERY = "Show all columns that there are."


@group("Rows and columns")
class SummaryLooking(Looking):
    """Which rows and columns of a summary are shown, or what else of the network."""

    view: Annotated[
        Literal["layers", "sheet"],
        Option("A row for each layer, or the table of the papers: equal blocks in series in one row."),
    ] = "layers"


@flat(verbose=_EVERY)
def summary(
    sources: o.Sources, loading: o.Loading, layers: LayerOptions, looking: SummaryLooking, writing: Writing
) -> None:
    """Layers with output shape, parameters, MACs and receptive field."""
    question = Question("summary", sources, loading, layers, looking, writing)
    if looking.view == "layers":
        show(question)
    else:
        _show_sheet(question)


def _show_sheet(question: Question) -> None:
    from cnnscope.render.diagram.sheet.report import SheetReport

    looking, layers = question.looking, question.layers
    told = {
        "--columns": looking.columns, "--depth": looking.depth, "--sort": looking.sort, "--top": looking.top,
        "--level": None if layers.level == "layer" else layers.level, "--dtype": layers.dtype,
        "--batch-size": None if layers.batch_size == 1 else layers.batch_size,
    }  # fmt: skip
    if given := next((name for name, value in told.items() if value is not None), None):
        raise CnnscopeError.of("E409", f"`{given}` is for rows of layers", hint=f"leave out {given} or --view sheet")
    if len(question.sources) > 1:
        raise CnnscopeError.of("E409", "a sheet shows one network", hint="name one, or leave out --view sheet")
    (source,) = question.sources
    question.writing.emit(SheetReport(_report(question.loading.load(source), question)))


shapes = _verb("shapes", "The shapes that every layer reads and makes.")
params = _verb("params", "Parameters: trainable, frozen, buffers, and which layers have them.")
flops = _verb("flops", "MACs and FLOPs of one image, and which layers cost them.")
memory = _verb("memory", "Bytes of parameters and activations, and the peak of what is alive at inference.")


@group("Picture")
class UnitOptions:
    """What is drawn: all layers, or one unit."""

    unit: Annotated[
        str | None, Option("The pixels that one unit sees; with --values LAYER:C,Y,X.", metavar="LAYER:Y,X")
    ] = None
    values: Annotated[
        bool, Option("What the unit computes on an image: the inputs it meets, the weights, the sums.")
    ] = False
    image: Annotated[
        Path | None,
        Option("A picture: for --values, or to draw under the field of --unit, with -o out.png.", metavar="FILE"),
    ] = None
    weights: Annotated[
        str | None, Option("Weights for --values, where the source has none: a file, or `pretrained`.", metavar="FILE")
    ] = None


@flat(output="Write to a file: .svg .png .pdf draw growth against depth, or the field of --unit; "
      ".json .csv .tsv .md .txt have the table.", verbose=_EVERY)  # fmt: skip
def rf(
    sources: o.Sources, loading: o.Loading, level: LevelOptions, drawn: UnitOptions, looking: Looking,
    writing: Pictured,
) -> None:  # fmt: skip
    """Receptive fields: theoretical, and clipped to this input's pixels."""
    _refuse(sources, drawn, looking, writing)
    layers = LayerOptions(level=level.level)
    if drawn.unit is not None:
        layer, position = parse_unit(drawn.unit)
        if drawn.values:
            model = loading.load(sources[0])
            writing.deliver(model.unit_values(layer, position, drawn.image, drawn.weights))
            return
        writing.deliver(loading.load(sources[0]).unit(layer, position, drawn.image))
    elif writing.picture is not None:
        writing.deliver(loading.load(sources[0]).growth(level=level.level))
    else:
        show(Question("rf", sources, loading, layers, looking, writing, exact=len(sources) == 1))


def _refuse(sources: Sequence[str], drawn: UnitOptions, looking: Looking, writing: Pictured) -> None:
    """E409 for options that do not go together."""
    if (drawn.unit or writing.picture) and (looking.sort or looking.top):
        raise CnnscopeError.of("E409", "`--sort` and `--top` are about the rows of a table")
    if drawn.unit is not None and len(sources) > 1:
        raise CnnscopeError.of("E409", "`--unit` looks at one SOURCE")
    if writing.picture is not None and len(sources) > 1:
        raise CnnscopeError.of("E409", f"`-o {writing.picture.name}` draws one SOURCE")
    if (drawn.values or drawn.weights) and (drawn.unit is None or not drawn.values):
        name = "values" if drawn.values else "weights"
        raise CnnscopeError.of("E409", f"`--{name}` is about what one unit computes",
                               hint="write `--unit conv3:0,5,7 --values`, the channel first")  # fmt: skip
    if drawn.image is not None and not drawn.values and (drawn.unit is None or writing.picture is None):
        raise CnnscopeError.of("E409", "`--image` lies under one unit's field",
                               hint="write `--unit conv3:5,7 --image cat.png -o out.png`")  # fmt: skip


def parse_unit(text: str) -> tuple[str, tuple[int, ...]]:
    """``conv3:5,7`` as layer and position, ``fc`` as a layer without positions; E409 where it is neither."""
    layer, colon, position = text.partition(":")
    indices = position.split(",") if colon else []
    if not layer or not all(index.strip().isdecimal() and len(index) < 19 for index in indices):
        raise CnnscopeError.of("E409", f"`{text}` names no unit", hint="write LAYER:y,x, as `--unit conv3:5,7`")
    return layer, tuple(map(int, indices))
