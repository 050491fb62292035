"""The filters of layers as a result: their figures beside what chance gives, with an atlas and the raw weights."""

from __future__ import annotations

from collections.abc import Sequence

from cnnscope.learned.filters.atlas import draw
from cnnscope.learned.filters.dead import Life, life
from cnnscope.learned.filters.layer_filters import Chosen, choose, is_coloured, layer_filters, weights_of
from cnnscope.learned.filters.mosaic import Panel
from cnnscope.options.group import part
from cnnscope.options.trained import FilterOptions, Running, names
from cnnscope.progress import SILENT, Progress
from cnnscope.render.filters import FiltersReport
from cnnscope.render.illustrated import Illustrated, file_name
from cnnscope.render.style import shortened
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.loading import open_network
from cnnscope.trained.weighted import Weighted, open_weighted


def filters(model: Loaded, options: FilterOptions, progress: Progress = SILENT) -> Illustrated:
    """Norm, orientation, bandwidth, nearest designed kernel and twins of each filter of ``options.layer``.

    Which filters are dead is known where there are images. The arrays are weights as torch stores them, by layer.
    `CnnscopeError`: E205 and E464 layers, E420 to E450 weights, E451 to E463 running the network on images.
    """
    weighted = open_weighted(model, weights=options.weights, seed=options.seed)
    for note in weighted.notes:
        progress.note(note)
    chosen = choose(model.graph, names(options.layer))
    living = _life(model, chosen, options)
    state = weighted.module.state_dict()
    arrays = {one.name: weights_of(one, state) for one in chosen}
    panels = []
    for one in chosen:
        dead, rule = (None, None) if living is None else (living.dead[one.name], living.rules[one.name])
        found = layer_filters(one, arrays[one.name], options.sort, dead, rule)
        panels.append(Panel(found, arrays[one.name], is_coloured(model.graph, one)))
    report = FiltersReport(
        model.graph, model.source, weighted.weights, weighted.weights_sha256, weighted.trained, options.sort,
        tuple(panel.layer for panel in panels), living.images if living else None, living.skipped if living else 0,
    )  # fmt: skip
    title = _title(model, weighted, options.sort)
    return Illustrated(report, lambda kind: draw(panels, title, kind), f"{file_name(model.graph.name)}-filters", arrays)


def _life(model: Loaded, chosen: Sequence[Chosen], options: FilterOptions) -> Life | None:
    """Which filters are dead; None where there are no images to tell."""
    if options.data is None and model.extras.data is None:
        return None
    network = open_network(model, part(options, Running))
    assert network.data is not None
    return life(network, chosen, network.data, options.limit)


def _title(model: Loaded, weighted: Weighted, sort: str) -> str:
    weights = shortened(weighted.weights.replace("`", ""), 30)
    return f"{shortened(model.graph.name, 40)}, weights {weights}, filters by {sort}"
