"""``rf``: what every layer sees of the image, or one unit of it."""

from __future__ import annotations

from cnnscope.cli import options as o
from cnnscope.cli.layers import Question, answer
from cnnscope.cli.output import Color, Output


def rf(
    sources: o.Sources,
    input: o.Input = None,
    set: o.Settings = None,
    level: o.Level = "layer",
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
    """Receptive fields: theoretical, and clipped to this input's pixels."""
    output = Output.of(form, path, color, quiet)
    question = Question(
        "rf", sources, input or (), set or (), level, 1, "float32", strict, columns, depth, verbose
    )
    answer(question, output)
