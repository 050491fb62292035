"""``summary shapes params flops memory``: the layers of a network, each verb with columns of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnscope.cli import options as o
from cnnscope.cli.output import Color, Output
from cnnscope.errors import CnnscopeError, Diagnostic, UnsupportedError

if TYPE_CHECKING:
    from cnnscope.api import Model
    from cnnscope.render.layers import LayerReport, Verb


@dataclass(frozen=True, slots=True)
class Question:
    """What to load and how to look at it: the options that every verb of this kind has."""

    verb: Verb
    sources: Sequence[str]
    inputs: Sequence[str]
    settings: Sequence[str]
    level: o.LevelName
    batch: int
    dtype: str
    strict: bool
    columns: str | None
    depth: int | None
    verbose: bool
    exact: bool = False


def answer(question: Question, output: Output) -> None:
    """Prints the layers of one network, or the totals of several."""
    if len(question.sources) > 1:
        _compare(question, output)
        return
    (source,) = question.sources
    try:
        report = _report(load(source, question.inputs, question.settings), question)
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
    report = model.report(
        question.verb, level=question.level, batch=question.batch, dtype=question.dtype, exact=question.exact
    )
    if question.strict and report.summary.unsupported:
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
    keys = _split(question.columns) or (every if question.verbose else ())
    return report.view(columns=keys, depth=question.depth, bare=output.quiet)


def _split(columns: str | None) -> tuple[str, ...]:
    return () if columns is None else tuple(key.strip() for key in columns.split(","))


def _show_what_works(error: CnnscopeError, source: str, question: Question, output: Output) -> None:
    """The layers up to the one that is wrong, where the error knows them."""
    from dataclasses import replace

    from cnnscope.api import Model
    from cnnscope.ir import Graph

    partial = getattr(error, "partial", None)
    if isinstance(partial, Graph) and partial.nodes:
        report = _report(Model(partial, source), question)
        output.emit(replace(_view(report, question, output), complete=False))


def _compare(question: Question, output: Output) -> None:
    from cnnscope.render.comparison import Comparison

    reports, wrong = [], []
    for source in question.sources:
        try:
            reports.append(_report(load(source, question.inputs, question.settings), question))
        except CnnscopeError as error:
            wrong.append(error)
    if wrong:
        merged = CnnscopeError(*(diagnostic for error in wrong for diagnostic in error.diagnostics))
        merged.exit_code = max(error.exit_code for error in wrong)
        raise merged
    output.emit(Comparison(tuple(reports), _split(question.columns), output.quiet))


def _verb(verb: Verb, about: str) -> Callable[..., None]:
    def run(
        sources: o.Sources,
        input: o.Input = None,
        set: o.Settings = None,
        level: o.Level = "layer",
        batch: o.Batch = 1,
        dtype: o.Dtype = "float32",
        strict: o.Strict = False,
        form: o.FormatOption = None,
        path: o.OutputPath = None,
        columns: o.Columns = None,
        depth: o.Depth = None,
        quiet: o.Quiet = False,
        verbose: o.Verbose = False,
        color: o.ColorOption = Color.auto,
        debug: o.Debug = False,
    ) -> None:
        output = Output.of(form, path, color, quiet)
        question = Question(verb, sources, input or (), set or (), level, batch, dtype, strict, columns, depth, verbose)
        answer(question, output)

    run.__doc__ = about
    return run


VERBS: dict[str, Callable[..., None]] = {
    "summary": _verb("summary", "Layers with output shape, parameters, MACs and receptive field."),
    "shapes": _verb("shapes", "What every layer reads and makes."),
    "params": _verb("params", "Parameters: trainable, frozen, buffers, and which layers hold them."),
    "flops": _verb("flops", "MACs and FLOPs an image, and which layers cost them."),
    "memory": _verb("memory", "Bytes of parameters and activations, and the peak of what is alive at inference."),
}
