"""``summary shapes params flops memory``: the layers of a network, each verb with columns of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import Output
from cnnscope.errors import CnnscopeError, Diagnostic, PartialError, UnsupportedError
from cnnscope.options.group import Option, group
from cnnscope.options.network import LayerOptions

if TYPE_CHECKING:
    from cnnscope.api import Model
    from cnnscope.render.layers import LayerReport, Verb


@group("Output")
class Looking:
    """Which rows and columns of the table are shown."""

    columns: Annotated[str | None, Option("Columns to show, by the names that `-f csv` has.", metavar="A,B,...")] = None
    depth: Annotated[int | None, Option("Fold groups of layers that are nested deeper than this.", min=1)] = None
    verbose: Annotated[bool, Option("Show all columns.", flags=("--verbose", "-v"))] = False
    strict: Annotated[bool, Option("Exit with 3 if an op is not supported.")] = False


@dataclass(frozen=True, slots=True)
class Question:
    """The verb, and what its options say: which networks to load, and what to show of them."""

    verb: Verb
    sources: Sequence[str]
    loading: o.Loading
    layers: LayerOptions
    looking: Looking
    exact: bool = False


def answer(question: Question, output: Output) -> None:
    """Prints the layers of one network, or the totals of several."""
    if len(question.sources) > 1:
        _compare(question, output)
        return
    (source,) = question.sources
    try:
        report = _report(question.loading.load(source), question)
    except CnnscopeError as error:
        if output.path is None:
            _show_what_works(error, source, question, output)
        raise
    output.emit(_view(report, question, output))


def load(source: str, inputs: Sequence[str], settings: Sequence[str]) -> Model:
    """The network with the options that concern it."""
    from cnnscope import api
    from cnnscope.sources.inputs import parse_inputs

    model = api.load(source, input=parse_inputs(inputs), set=parse_settings(settings))
    for note in model.notes:
        print(f"note: {note}", file=sys.stderr)
    return model


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """``["width=32"]`` as texts by name; E406 where there is no ``=``."""
    values = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise CnnscopeError.of("E406", f"`--set {setting}` sets nothing", hint="write `--set width=32`")
        values[name] = value
    return values


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


def _view(report: LayerReport, question: Question, output: Output) -> LayerReport:
    from cnnscope.render.columns import FIGURES

    every = tuple(key for key in FIGURES if key != "rf_exact" or report.exact)
    keys = _split(question.looking.columns) or (every if question.looking.verbose else ())
    return report.view(columns=keys, depth=question.looking.depth, bare=output.quiet)


def _split(columns: str | None) -> tuple[str, ...]:
    return () if columns is None else tuple(key.strip() for key in columns.split(","))


def _show_what_works(error: CnnscopeError, source: str, question: Question, output: Output) -> None:
    """The layers up to the one that is wrong, where the error knows them."""
    from dataclasses import replace

    from cnnscope.api import Model

    if isinstance(error, PartialError) and error.graph is not None and error.graph.nodes:
        report = _report(Model(error.graph, source), question)
        output.emit(replace(_view(report, question, output), complete=False))


def _compare(question: Question, output: Output) -> None:
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
    output.emit(Comparison(tuple(reports), _split(question.looking.columns), output.quiet))


def _verb(verb: Verb, about: str) -> Callable[..., None]:
    def run(sources: o.Sources, loading: o.Loading, layers: LayerOptions, looking: Looking, writing: o.Writing) -> None:
        answer(Question(verb, sources, loading, layers, looking), writing.out())

    run.__doc__, run.__name__ = about, verb
    return flat(run)


summary = _verb("summary", "Layers with output shape, parameters, MACs and receptive field.")
shapes = _verb("shapes", "What every layer reads and makes.")
params = _verb("params", "Parameters: trainable, frozen, buffers, and which layers hold them.")
flops = _verb("flops", "MACs and FLOPs an image, and which layers cost them.")
memory = _verb("memory", "Bytes of parameters and activations, and the peak of what is alive at inference.")
