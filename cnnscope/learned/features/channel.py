"""One channel: its kernel, its activations, the images on which it is most active, and the image that maximises it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnnscope.attribution.contract import fitting
from cnnscope.attribution.engine.rules import Rule
from cnnscope.errors import CnnscopeError
from cnnscope.learned.features.maximise import STEPS, Maximised, maximise
from cnnscope.learned.features.patches import RULES, Activity, Patch, activations, activity, canonical_up_to, project
from cnnscope.learned.filters.layer_filters import choose, is_coloured, layer_filters, weights_of
from cnnscope.learned.layers import FeatureLayer, Fields, check_channel, unit_of
from cnnscope.learned.maps import Maps, label_of, maps_of
from cnnscope.progress import SILENT, Progress
from cnnscope.render.features import ChannelFigures, ChannelKernel, DataRow, MaximisedRow, PatchRow
from cnnscope.render.filters import FilterRow
from cnnscope.trained.images import ImageSet
from cnnscope.trained.network import TrainedNetwork

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Kernel:
    """The weights (input channels, height, width) of the channel's filter; ``largest`` is that of the layer."""

    layer: str
    weights: Values
    largest: float
    coloured: bool
    figures: FilterRow


@dataclass(frozen=True)
class OnImage:
    """The channel's map (height, width) for an image's ``pixels`` (C, H, W); ``low`` and ``high`` are the layer's."""

    name: str
    pixels: NDArray[np.uint8]
    map: Values
    low: float
    high: float


@dataclass(frozen=True)
class Channel:
    """All that is known of a channel; ``missing`` says what is not, and why.

    ``projections`` are (patches, C, H, W), by the name of their rule. ``via`` names the reductions through which the
    unit also sees the whole image.
    """

    layer: FeatureLayer
    number: int
    kernel: Kernel | None
    activity: Activity | None
    projections: dict[str, Values]
    maximised: Maximised
    on_image: OnImage | None
    via: tuple[str, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]


def look(
    network: TrainedNetwork,
    layer: FeatureLayer,
    number: int,
    images: ImageSet | None,
    limit: int,
    *,
    image: tuple[str, NDArray[np.uint8]] | None = None,
    steps: int = STEPS,
    seed: int = 0,
    tick: Progress = SILENT,
) -> Channel:
    """Computes everything about channel ``number`` of a layer.

    `CnnscopeError`: E203 no such channel, E460, E461 images that cannot be read, E465 activations that are not finite.
    """  # fmt: skip
    check_channel(layer, number)
    kernel = _kernel(network, layer, number)
    missing = [kernel] if isinstance(kernel, str) else []
    found = None
    projections: dict[str, Values] = {}
    notes: tuple[str, ...] = ()
    if images is None:
        missing.append(
            "no patches, no distribution, unknown whether it is dead: there are no images, name some with `--data`"
        )
    else:
        found = activity(network, layer, number, images, limit, tick=lambda done: tick("running images", done, None))
        projections, notes, reason = _projections(network, layer, number, found.patches)
        missing += reason
    best = maximise(
        network, layer, number, steps=steps, seed=seed, patch=None if found is None else found.patches[0],
        tick=lambda done: tick("maximising", done, steps),
    )  # fmt: skip
    if best.reason is not None:
        missing.append(f"no maximised image: {best.reason}")
    fields = Fields(network.graph, layer)
    if not fields.known:
        missing.append("what its units see is not known: an op before it has no rule, so patches are whole images")
    return Channel(
        layer=layer, number=number, kernel=None if isinstance(kernel, str) else kernel, activity=found,
        projections=projections, maximised=best, via=fields.via, notes=notes, missing=tuple(missing),
        on_image=None if image is None else _on_image(network, layer, number, *image),
    )  # fmt: skip


def _kernel(network: TrainedNetwork, layer: FeatureLayer, number: int) -> Kernel | str:
    """The filter of the convolution to which the layer belongs as its norm or activation, or why there is none."""
    main = unit_of(network.graph, layer.name).main
    try:
        (chosen,) = choose(network.graph, [main.layer])
    except CnnscopeError:
        return f"no kernel: {layer.name} is {layer.op}, which has no filters"
    weights = weights_of(chosen, network.module.state_dict())
    if len(weights) != layer.channels:
        return f"no kernel: {layer.name} has other channels than {chosen.name}, the convolution before it"
    found = layer_filters(chosen, weights)
    figures = next(row for row in found.rows if row.index == number)
    return Kernel(chosen.name, weights[number], found.largest, is_coloured(network.graph, chosen), figures)


def _on_image(
    network: TrainedNetwork, layer: FeatureLayer, number: int, name: str, pixels: NDArray[np.uint8]
) -> OnImage:
    maps: Maps = maps_of(network, (layer,), pixels)[layer.name]
    return OnImage(name, pixels, maps[number], float(maps.min()), float(maps.max()))


def _projections(
    network: TrainedNetwork, layer: FeatureLayer, number: int, patches: Sequence[Patch]
) -> tuple[dict[str, Values], tuple[str, ...], list[str]]:
    """The projections by the name of their rule, notes on them, and what is missing."""
    part = canonical_up_to(network.module, layer.name)
    if isinstance(part, str):
        return {}, (), [f"no projections: {part}"]
    x = network.input(torch.from_numpy(np.stack([patch.pixels for patch in patches])))
    places = [patch.position for patch in patches]
    order = None if layer.vector else layer.order

    def all_of(rule: Rule, size: int) -> Values:
        parts = (
            project(part, order, x[i : i + size], number, places[i : i + size], rule) for i in range(0, len(x), size)
        )
        return np.concatenate([piece.float().cpu().numpy() for piece in parts])

    found = {name: fitting(len(x), partial(all_of, rule)) for name, rule in RULES.items()}
    kinds = activations(part)
    others = [kind for kind in kinds if kind != "ReLU"]
    notes = []
    if not kinds:
        notes.append("no activation up to this layer: deconvolution and guided backpropagation are the plain gradient")
    elif others:
        notes.append(f"deconvolution and guided backpropagation, made for ReLU, act on {', '.join(others)} here")
    return found, tuple(notes), []


def channel_row(found: Channel, images: ImageSet | None, seed: int) -> ChannelFigures:
    """The figures of a channel that `look` returned for ``images`` and ``seed``."""
    activity, best, layer, kernel = found.activity, found.maximised, found.layer, found.kernel
    data: DataRow | None = None
    patches: tuple[PatchRow, ...] = ()
    maximised: MaximisedRow | None = None
    if activity is not None and images is not None:
        data = DataRow(
            images=activity.images, skipped=activity.skipped, sha256=images.sha256, low=activity.low,
            high=activity.high, above=activity.above, dead=activity.dead, rule=activity.rule,
        )  # fmt: skip
        patches = tuple(
            PatchRow(p.sample, label_of(images, p.label), p.activation, layer.position(p.position), p.seen.exact)
            for p in activity.patches
        )
    if best.activation is not None and best.start is not None:
        maximised = MaximisedRow(
            position=layer.position(best.position), field=best.seen.exact, steps=best.steps, seed=seed,
            jitter=best.jitter, smoothness=best.smoothness, start=best.start, activation=best.activation,
        )  # fmt: skip
    return ChannelFigures(
        layer=layer.name, op=layer.op, number=found.number,
        kernel=None if kernel is None else ChannelKernel.of(kernel.layer, kernel.figures), data=data, patches=patches,
        projections=tuple(found.projections), maximised=maximised, via=found.via, notes=found.notes,
        missing=found.missing,
    )  # fmt: skip


def arrays(found: Channel) -> dict[str, Any]:
    """Arrays by name. Patches (n, C, H, W) are whole images of 8 bits, and projections have the same size; the figures
    say which of their pixels a unit sees.
    """
    result: dict[str, Any] = {}
    if found.kernel is not None:
        result["kernel"] = found.kernel.weights
    if found.activity is not None:
        result["patches"] = np.stack([patch.pixels for patch in found.activity.patches])
        result["maxima"] = found.activity.maxima
    result |= {name.replace(" ", "-"): values for name, values in found.projections.items()}
    if found.maximised.pixels is not None:
        result["maximised"] = found.maximised.pixels
    if found.on_image is not None:
        result |= {"image": found.on_image.pixels, "map": found.on_image.map}
    return result
