"""Filters of layers as a result: figures, the atlas, and which filters are dead, which only images can show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnscope.analysis.fuse import fuse
from cnnscope.errors import CnnscopeError
from cnnscope.learned.features.layers import RECTIFIERS
from cnnscope.learned.filters.atlas import draw
from cnnscope.learned.filters.layer_filters import Chosen, choose, is_coloured, layer_filters, weights_of
from cnnscope.learned.filters.mosaic import Panel
from cnnscope.options.group import part
from cnnscope.options.running import Running, names
from cnnscope.options.trained import FilterOptions
from cnnscope.progress import SILENT, Progress
from cnnscope.render.filters import FiltersReport
from cnnscope.render.illustrated import Illustrated, file_name
from cnnscope.render.style import shortened
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.images import Sample, open_images
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


BATCH = 64

Extremes = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(channels,) least and greatest activation."""


@dataclass(frozen=True)
class Life:
    """For each layer by name, whether each filter is dead (None where it cannot be told) and by what rule.

    ``images`` were run, ``skipped`` gave no image.
    """

    dead: dict[str, tuple[bool, ...] | None]
    rules: dict[str, str]
    images: int
    skipped: int


@dataclass(frozen=True)
class _Watched:
    """Where to look for a layer's output after its activation: the row to capture, and the activation's type."""

    row: str
    activation: str | None


def life(
    network: TrainedNetwork,
    layers: Sequence[Chosen],
    data: str | Path,
    limit: int | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Life:
    """Runs up to ``limit`` images through the network and looks which filters ever answer; ``tick`` hears how many ran.

    `CnnscopeError`: E460 where there are no images, E461 and others where they cannot be read.
    """  # fmt: skip
    watched = {chosen.name: _watch(network, chosen) for chosen in layers}
    seen = {chosen.name: w for chosen in layers if (w := watched[chosen.name]).row in network.layer_names()}
    found: dict[str, Extremes] = {}
    images = 0
    count = _Count()
    pixels = islice(_pixels(network, data, count), limit)
    with torch.inference_mode(), network.capture({w.row for w in seen.values()}) as outputs:
        while batch := list(islice(pixels, BATCH)):
            network.module(network.input(torch.from_numpy(np.stack(batch))))
            for name, w in seen.items():
                found[name] = _merged(found.get(name), outputs[w.row])
            images += len(batch)
            tick(images)
    if not images:
        raise CnnscopeError.of("E460", f"none of the images in `{data}` can be read", hint="use PNG or JPEG files")
    sizes = {chosen.name: int(chosen.node.op.arguments()["out"]) for chosen in layers}
    dead = {name: _dead(found.get(name), watched[name], sizes[name]) for name in watched}
    return Life(dead, {name: _rule(w) for name, w in watched.items()}, images, count.skipped)


def _watch(network: TrainedNetwork, chosen: Chosen) -> _Watched:
    """The norm and the activation behind a convolution belong to it, in whatever rows they stand."""
    unit = next(unit for unit in fuse(network.graph) if chosen.node in unit.nodes)
    last = unit.last
    return _Watched(last.layer, last.op.tag if last.op.category == "activation" else None)


def _rule(watched: _Watched) -> str:
    if watched.activation in RECTIFIERS:
        return f"never above 0 after {watched.activation}"
    return f"never varies after {watched.activation or 'the convolution'}"


@dataclass
class _Count:
    """Grows while images are read."""

    skipped: int = 0


def _pixels(network: TrainedNetwork, data: str | Path, count: _Count) -> Iterator[NDArray[np.uint8]]:
    samples: Iterable[object] = open_images(Path(data))
    for sample in samples:
        if isinstance(sample, Sample):
            yield network.preprocess.pixels(sample.image)
        else:
            count.skipped += 1


def _merged(before: Extremes | None, output: Tensor) -> Extremes:
    """Extremes over images and positions of (N, C, ...), joined with those of earlier batches."""
    flat = output.detach().float().transpose(0, 1).flatten(1)
    low, high = flat.amin(dim=1).cpu().numpy(), flat.amax(dim=1).cpu().numpy()
    return (low, high) if before is None else (np.minimum(before[0], low), np.maximum(before[1], high))


def _dead(extremes: Extremes | None, watched: _Watched, filters: int) -> tuple[bool, ...] | None:
    """None where the captured output is not the filters' own, or no number."""
    if extremes is None or len(extremes[0]) != filters:
        return None
    low, high = extremes
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return None
    still = high <= 0 if watched.activation in RECTIFIERS else high == low
    return tuple(map(bool, still))
