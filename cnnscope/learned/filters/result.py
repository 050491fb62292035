"""Filters of layers as a result: figures, the atlas, and which filters are dead, which only images can show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnscope.analysis.fuse import fuse
from cnnscope.errors import CnnscopeError
from cnnscope.learned.filters.atlas import draw
from cnnscope.learned.filters.layer_filters import Chosen, choose, is_coloured, layer_filters, weights_of
from cnnscope.learned.filters.mosaic import Panel
from cnnscope.learned.layers import Outlet, outlet
from cnnscope.learned.maps import BATCH, readable
from cnnscope.options.group import part
from cnnscope.options.running import Running, names
from cnnscope.options.trained import FilterOptions
from cnnscope.progress import SILENT, Progress
from cnnscope.render.documents.network import WeightedModel
from cnnscope.render.filters import FilterData, FiltersDocument, FiltersReport
from cnnscope.render.illustrated import Illustrated, file_name
from cnnscope.render.style import shortened
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.images import open_images
from cnnscope.trained.loading import open_network
from cnnscope.trained.network import TrainedNetwork
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
    document = FiltersDocument(
        model=WeightedModel.of(
            model.graph, model.source, weights=weighted.weights, weights_sha256=weighted.weights_sha256,
            trained=weighted.trained,
        ),
        sort=options.sort, layers=[panel.layer for panel in panels],
        data=FilterData(images=living.images, skipped=living.skipped) if living else None,
    )  # fmt: skip
    title = _title(model, weighted, options.sort)
    return Illustrated(
        FiltersReport(document),
        lambda kind: draw(panels, title, kind),
        f"{file_name(model.graph.name)}-filters",
        arrays,
    )


def _life(model: Loaded, chosen: Sequence[Chosen], options: FilterOptions) -> Life | None:
    """Which filters are dead; None where there are no images to tell."""
    if options.data is None and model.extras.data is None:
        return None
    network = open_network(model, part(options, Running), scores=False)
    assert network.data is not None
    return life(network, chosen, network.data, options.limit)


def _title(model: Loaded, weighted: Weighted, sort: str) -> str:
    weights = shortened(weighted.weights.replace("`", ""), 30)
    return f"{shortened(model.graph.name, 40)}, weights {weights}, filters by {sort}"


Extremes = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(channels,) smallest and largest activations."""


@dataclass(frozen=True)
class Life:
    """For each layer by name, whether each of its filters is dead (None where that is unknown), and by which rule.

    ``images`` were run, ``skipped`` could not be read.
    """

    dead: dict[str, tuple[bool, ...] | None]
    rules: dict[str, str]
    images: int
    skipped: int


def life(
    network: TrainedNetwork,
    layers: Sequence[Chosen],
    data: str | Path,
    limit: int | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Life:
    """Runs up to ``limit`` images through the network and finds the filters whose output carries no information.

    ``tick`` is called with the number of images that have run.

    `CnnscopeError`: E460 where there are no images, E461 and others where they cannot be read.
    """  # fmt: skip
    units = fuse(network.graph)
    ends = {chosen.name: outlet(next(unit for unit in units if chosen.node in unit.nodes)) for chosen in layers}
    seen = {name: end.row for name, end in ends.items() if end.row in network.layer_names()}
    found: dict[str, Extremes] = {}
    run, skipped = 0, list[str]()
    samples = readable(open_images(Path(data)), limit, lambda name, reason: skipped.append(name))
    with torch.inference_mode(), network.capture(set(seen.values())) as outputs:
        while batch := [network.preprocess.pixels(sample.image) for sample in islice(samples, BATCH)]:
            network.module(network.input(torch.from_numpy(np.stack(batch))))
            for name, row in seen.items():
                found[name] = _merged(found.get(name), outputs[row])
            run += len(batch)
            tick(run)
    if not run:
        raise CnnscopeError.of("E460", f"none of the images in `{data}` can be read", hint="use PNG or JPEG files")
    sizes = {chosen.name: int(chosen.node.op.arguments()["out"]) for chosen in layers}
    dead = {name: _dead(found.get(name), end, sizes[name]) for name, end in ends.items()}
    return Life(dead, {name: end.rule("the convolution") for name, end in ends.items()}, run, len(skipped))


def _merged(before: Extremes | None, output: Tensor) -> Extremes:
    """Extremes over images and positions of (N, C, ...), joined with those of earlier batches."""
    flat = output.detach().float().transpose(0, 1).flatten(1)
    low, high = flat.amin(dim=1).cpu().numpy(), flat.amax(dim=1).cpu().numpy()
    return (low, high) if before is None else (np.minimum(before[0], low), np.maximum(before[1], high))


def _dead(extremes: Extremes | None, end: Outlet, filters: int) -> tuple[bool, ...] | None:
    """None where the captured output is not that of the filters, or not finite."""
    if extremes is None or len(extremes[0]) != filters or not np.isfinite(extremes).all():
        return None
    return tuple(map(bool, end.dead(*extremes)))
