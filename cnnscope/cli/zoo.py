"""``zoo``: the models that come with cnnscope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnscope.cli import options as o
from cnnscope.cli.output import Color, Output

if TYPE_CHECKING:
    from cnnscope.render.listing import Entry


def zoo(
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """List the models of the zoo with parameters, MACs, receptive field and origin."""
    from cnnscope.render.listing import ZooReport
    from cnnscope.sources import zoo as models

    output = Output.of(form, path, color, quiet)
    output.emit(ZooReport(tuple(map(_entry, models.names())), quiet))


def _entry(name: str) -> Entry:
    from cnnscope import api
    from cnnscope.render.listing import Entry

    model = api.load(name)
    summary = model.summary().summary
    return Entry(
        name=name,
        title=model.name,
        inputs=tuple(value.features for value in model.graph.inputs.values()),
        params=summary.totals.params,
        macs=None if summary.unsupported else summary.totals.macs,
        receptive_field=summary.receptive_field,
        year=model.about.get("year"),
        source=model.about.get("source"),
    )
