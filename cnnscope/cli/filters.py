"""``filters``: what the filters of a network look like, in a picture and in figures beside what chance gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cnnscope.cli import options as o
from cnnscope.cli import trained as t
from cnnscope.cli.layers import load
from cnnscope.cli.output import Color, Output, picture_kind
from cnnscope.cli.page import announced
from cnnscope.render.formats import PICTURES

if TYPE_CHECKING:
    from cnnscope.api import Model
    from cnnscope.learned.filters.dead import Life
    from cnnscope.learned.filters.layer_filters import Chosen
    from cnnscope.learned.filters.mosaic import Panel
    from cnnscope.trained.network import TrainedNetwork
    from cnnscope.trained.weighted import Weighted

_FILTERS = "Filters"


def filters(
    source: t.Source = t.DEFAULT,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", rich_help_panel=_FILTERS, help="A layer, or several; else the first."),
    ] = None,
    sort: Annotated[
        Literal["norm", "orientation", "redundancy"], typer.Option(rich_help_panel=_FILTERS, help="Which come first.")
    ] = "norm",
    weights: t.Weights = None,
    data: t.Data = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel="Images", help="Images to look for dead filters with.")
    ] = 1000,
    preprocess: t.Preprocess = None,
    device: t.Device = "auto",
    seed: t.Seed = 0,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Filters of a layer: norm, orientation, bandwidth, nearest designed kernel, twins; with -o out.png the atlas.

    Images, of --data or the network's own, tell which filters are dead.
    """
    from cnnscope.learned.filters.layer_filters import choose

    kind = picture_kind(path, form, PICTURES)
    output = Output.of(form, None if kind else path, color, quiet)
    opening = t.Opening(input or (), set or (), weights, device, "float32", seed, preprocess or (), None, data)
    model = load(source, opening.inputs, opening.settings)
    weighted = model.weighted(weights=weights, seed=seed)
    t.say(weighted.notes, quiet)
    chosen = choose(model.graph, layer or ())
    living = data is not None or model.extras.data is not None
    life = _life(t.trained(model, opening, quiet=True), chosen, limit, quiet) if living else None
    _answer(model, weighted, chosen, sort, life, kind, path, output)


def _answer(
    model: Model, weighted: Weighted, chosen: Sequence[Chosen], sort: Literal["norm", "orientation", "redundancy"],
    life: Life | None, kind: str | None, path: Path | None, output: Output,
) -> None:  # fmt: skip
    from cnnscope.learned.filters.layer_filters import is_coloured, layer_filters, weights_of
    from cnnscope.learned.filters.mosaic import Panel
    from cnnscope.render.filters import FiltersReport

    state = weighted.module.state_dict()
    arrays = {one.name: weights_of(one, state) for one in chosen}
    panels = []
    with announced("comparing filters with random ones", output.quiet):
        for one in chosen:
            dead, rule = (None, None) if life is None else (life.dead[one.name], life.rules[one.name])
            found = layer_filters(one, arrays[one.name], sort, dead, rule)
            panels.append(Panel(found, arrays[one.name], is_coloured(model.graph, one)))
    report = FiltersReport(
        model.graph, model.source, weighted.weights, weighted.weights_sha256, weighted.trained, sort,
        tuple(panel.layer for panel in panels), life.images if life else None, life.skipped if life else 0,
        output.quiet,
    )  # fmt: skip
    if kind is None or path is None:
        output.emit(report)
        return
    from cnnscope.cli.beside import emit_with_arrays

    emit_with_arrays(output, path, kind, _picture(model, weighted, panels, sort, kind), report, arrays)


def _picture(model: Model, weighted: Weighted, panels: Sequence[Panel], sort: str, kind: str) -> bytes:
    from cnnscope.learned.filters.atlas import draw
    from cnnscope.render.plots.style import shortened

    weights = shortened(weighted.weights.replace("`", ""), 30)
    title = f"{shortened(model.name, 40)}, weights {weights}, filters by {sort}"
    return draw(panels, title, kind)


def _life(network: TrainedNetwork, chosen: Sequence[Chosen], limit: int, quiet: bool) -> Life:
    from cnnscope.learned.filters.dead import life

    assert network.data is not None
    with announced("looking for dead filters", quiet):
        return life(network, chosen, network.data, limit)
