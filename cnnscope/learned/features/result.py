"""Feature maps on an image, or a page about one channel, as a result with a picture and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError
from cnnscope.learned.features import channel_page, montage
from cnnscope.learned.features.channel import arrays, channel_row, look
from cnnscope.learned.layers import check_channel, choose
from cnnscope.learned.maps import LayerMaps, first_image, label_of, maps_of
from cnnscope.options.group import part
from cnnscope.options.running import Running, names
from cnnscope.options.trained import FeatureOptions
from cnnscope.pictures import read_picture
from cnnscope.progress import SILENT, Progress
from cnnscope.render.documents.network import WeightedModel
from cnnscope.render.features import FeaturesDocument, FeaturesReport, LayerRow
from cnnscope.render.illustrated import Illustrated, file_name
from cnnscope.render.style import shortened
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.images import open_images
from cnnscope.trained.loading import open_network
from cnnscope.trained.network import TrainedNetwork

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Features(Illustrated):
    """Feature maps of layers, or the page about a channel."""

    @property
    def remarks(self) -> Sequence[str]:
        """Remarks about the channel; empty for maps."""
        assert isinstance(self.report, FeaturesReport)
        channel = self.report.document.channel
        return () if channel is None else channel.remarks()


def features(model: Loaded, options: FeatureOptions, progress: Progress = SILENT) -> Features:
    """The maps of ``options.layer`` on an image; with ``options.channel`` a page about that channel.

    `CnnscopeError`: E450 to E455 the network or its weights, E409 the channel, E205 and E464 layers, E607 no image.
    """
    place = parse_channel(options.channel, names(options.layer))
    network = open_network(model, part(options, Running), scores=False)
    for note in network.notes:
        progress.note(note)
    return _maps(network, options) if place is None else _channel(network, *place, options, progress)


def parse_channel(text: str | None, layers: Sequence[str] = ()) -> tuple[str, int] | None:
    """``c3:5`` as layer and channel; E409 where it is none, or where ``layers`` are given too."""
    if text is None:
        return None
    layer, _, number = text.rpartition(":")
    if not layer or not number.isdecimal() or len(number) > 9:
        raise CnnscopeError.of("E409", f"`{text}` names no channel", hint="write LAYER:C, as `--channel c3:5`")
    if layers:
        raise CnnscopeError.of(
            "E409", "`--channel` makes a page about one channel, `--layer` shows maps", hint="ask for one at a time"
        )
    return layer, int(number)


def _maps(network: TrainedNetwork, options: FeatureOptions) -> Features:
    layers = choose(network, names(options.layer))
    found = _picture(network, options.image)
    if found is None:
        raise CnnscopeError.of("E607", f"there is no image to look at: `{network.source}` comes with none",
                               hint="name one: `--image FILE`, or a set of them: `--data PATH`")  # fmt: skip
    name, pixels = found
    maps = maps_of(network, layers, pixels)
    shown = [LayerMaps(layer, maps[layer.name]) for layer in layers]
    rows = tuple(
        LayerRow(one.layer.name, one.layer.op, one.layer.shape, low=one.low, high=one.high, still=one.still)
        for one in shown
    )
    report = FeaturesReport(FeaturesDocument(model=_model(network), image=name, layers=rows, channel=None))

    def draw(kind: str) -> bytes:
        title, under = _title(network), f"{name}\n{_weights(network)}"
        return montage.draw(shown, pixels, title, under, network.labels, kind)

    raw = {layer.name: maps[layer.name][:, 0, 0] if layer.vector else maps[layer.name] for layer in layers}
    return Features(report, draw, f"{file_name(network.graph.name)}-features", {"pixels": pixels, **raw})


def _channel(network: TrainedNetwork, name: str, number: int, options: FeatureOptions, progress: Progress) -> Features:
    (layer,) = choose(network, [name])
    check_channel(layer, number)
    images = None if network.data is None else open_images(network.data)
    shown = None if options.image is None else _picture(network, options.image)
    found = look(network, layer, number, images, options.limit, image=shown, steps=options.steps, seed=options.seed,
                 tick=progress)  # fmt: skip
    row = channel_row(found, images, options.seed)
    shown_name = None if shown is None else shown[0]
    report = FeaturesReport(FeaturesDocument(model=_model(network), image=shown_name, layers=(), channel=row))

    def draw(kind: str) -> bytes:
        remarks = [f"{row.op}; {_weights(network)}", *row.kernel_remark(), *row.remarks()]
        return channel_page.draw(found, f"{_title(network)}: channel {number} of layer {row.layer}", remarks, kind)

    title = f"{file_name(network.graph.name)}-{file_name(f'{name}-{number}')}"
    return Features(report, draw, title, arrays(found))


def _picture(network: TrainedNetwork, image: str | Path | None) -> tuple[str, NDArray[Any]] | None:
    """Name and pixels (C, H, W) of the chosen image, else of the first of the data; None without data."""
    if image is not None:
        return Path(image).name, network.preprocess.pixels(read_picture(Path(image)))
    if network.data is None:
        return None
    images = open_images(network.data)
    sample = first_image(images)
    label = label_of(images, sample.label)
    return sample.name if label is None else f"{sample.name} ({label})", network.preprocess.pixels(sample.image)


def _model(network: TrainedNetwork) -> WeightedModel:
    return WeightedModel.of(
        network.graph, network.source, weights=network.weights, weights_sha256=network.weights_sha256,
        trained=network.trained,
    )  # fmt: skip


def _title(network: TrainedNetwork) -> str:
    return shortened(network.graph.name, 40)


def _weights(network: TrainedNetwork) -> str:
    return f"weights {shortened(network.weights, 40)}{'' if network.trained else ': nothing is learned'}"
