"""``features``: the feature maps of layers on an image, or everything there is to see of one channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cnnscope.cli import options as o
from cnnscope.cli import trained as t
from cnnscope.cli.diagram import file_name
from cnnscope.cli.output import Color, Output, picture_kind
from cnnscope.cli.page import announced
from cnnscope.errors import CnnscopeError
from cnnscope.progress import on_stderr
from cnnscope.render.formats import PICTURES

if TYPE_CHECKING:
    from cnnscope.render.features import FeaturesReport
    from cnnscope.trained.network import TrainedNetwork

_FEATURES = "Features"


def features(
    source: t.Source = t.DEFAULT,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            metavar="NAME",
            rich_help_panel=_FEATURES,
            help="A layer whose maps to show; may be repeated. The first convolutions.",
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER:C",
            rich_help_panel=_FEATURES,
            help="A page about one channel: its kernel, the images it answers to most, the image that maximises it.",
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel="Images", help="A picture; else the first image of the data."),
    ] = None,
    data: t.Data = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel="Images", help="Images to look for patches in.")
    ] = 1000,
    steps: Annotated[
        int, typer.Option(min=1, max=100_000, rich_help_panel=_FEATURES, help="Of maximising a channel's activation.")
    ] = 256,
    weights: t.Weights = None,
    labels: t.Labels = None,
    preprocess: t.Preprocess = None,
    device: t.Device = "auto",
    dtype: t.Dtype = "float32",
    seed: t.Seed = 0,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            rich_help_panel="Output",
            help="png, svg or pdf, with the arrays and a manifest beside it; .json .csv .tsv .md .txt have the "
            "figures alone. Else NAME-features.png here.",
        ),
    ] = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Feature maps on an image; with --channel a page about one channel, from images of --data or the network's own.

    The page has the kernel and its spectrum, how activations are distributed, the nine images it answers to most, cut
    out by what the unit sees, their deconvolution and guided backpropagation, and the image that maximises it.
    """
    place = parse_channel(channel, layer or ())
    kind = "png" if path is None else picture_kind(path, form, PICTURES)
    output = Output.of(form, None if kind else path, color, quiet)
    opening = t.Opening(input or (), set or (), weights, device, dtype, seed, preprocess or (), labels, data)
    network = t.open_trained(source, opening, quiet)
    if place is None:
        report, draw, arrays = _maps(network, layer or (), image, quiet)
        default = f"{file_name(network.graph.name)}-features.png"
    else:
        report, draw, arrays = _channel(network, *place, image, limit, steps, seed, quiet)
        default = f"{file_name(network.graph.name)}-{file_name(f'{place[0]}-{place[1]}')}.png"
    if kind is None:
        output.emit(report)
        return
    from cnnscope.cli.beside import emit_with_arrays

    with announced("drawing", quiet):
        picture = draw(kind)
    emit_with_arrays(output, path or Path(default), kind, picture, report, arrays)
    _remark(report, quiet)


def parse_channel(text: str | None, layers: Sequence[str]) -> tuple[str, int] | None:
    """``c3:5`` as layer and channel; E409 where it is none, or where ``layers`` are asked for as well."""
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


Answer = tuple["FeaturesReport", Any, Mapping[str, Any]]
"""The figures, what draws the picture in a format, and the arrays in it."""


def _picture(network: TrainedNetwork, image: Path | None) -> tuple[str, Any] | None:
    """The name and the (C, H, W) pixels of the image asked for, or of the first of the data; None without either."""
    if image is not None:
        from cnnscope.trained.images.decode import read_picture

        return image.name, network.preprocess.pixels(read_picture(image))
    if network.data is None:
        return None
    from cnnscope.learned.features.features import first_image, label_of
    from cnnscope.trained.images import open_images

    images = open_images(network.data)
    sample = first_image(images)
    label = label_of(images, sample.label)
    return sample.name if label is None else f"{sample.name} ({label})", network.preprocess.pixels(sample.image)


def _maps(network: TrainedNetwork, names: Sequence[str], image: Path | None, quiet: bool) -> Answer:
    from cnnscope.learned.features.features import LayerMaps, choose, maps_of
    from cnnscope.render.documents.learned import LayerRow
    from cnnscope.render.features import FeaturesReport

    layers = choose(network, names)
    found = _picture(network, image)
    if found is None:
        raise CnnscopeError.of("E607", f"there is no image to look at: `{network.source}` comes with none",
                               hint="name one: `--image FILE`, or a set of them: `--data PATH`")  # fmt: skip
    name, pixels = found
    with announced("running the network", quiet):
        arrays = maps_of(network, layers, pixels)
    shown = [LayerMaps(layer, arrays[layer.name]) for layer in layers]
    rows = tuple(LayerRow(one.layer.name, one.layer.op, one.layer.shape, one.low, one.high, one.still) for one in shown)
    report = FeaturesReport(*_model(network), name, rows, bare=quiet)

    def draw(kind: str) -> bytes:
        from cnnscope.learned.features.montage import draw

        title, weights = _title(network), _weights(network)
        return draw(shown, pixels, title, f"{name}\n{weights}", network.labels, kind)

    raw = {
        name: values[:, 0, 0] if layer.vector else values
        for layer, (name, values) in zip(layers, arrays.items(), strict=True)
    }
    return report, draw, {"pixels": pixels, **raw}


def _channel(
    network: TrainedNetwork, name: str, number: int, image: Path | None, limit: int, steps: int, seed: int, quiet: bool
) -> Answer:
    from cnnscope.learned.features.channel import look
    from cnnscope.learned.features.channel_row import arrays, channel_row
    from cnnscope.learned.features.features import check_channel, choose
    from cnnscope.render.features import FeaturesReport, kernel_words
    from cnnscope.trained.images import open_images

    (layer,) = choose(network, [name])
    check_channel(layer, number)
    images = None if network.data is None else open_images(network.data)
    shown = None if image is None else _picture(network, image)
    with on_stderr(quiet) as tick:
        found = look(network, layer, number, images, limit, image=shown, steps=steps, seed=seed, tick=tick)
    row = channel_row(found, images, seed)
    report = FeaturesReport(*_model(network), None if shown is None else shown[0], channel=row, bare=quiet)

    def draw(kind: str) -> bytes:
        from cnnscope.learned.features.channel_page import draw

        kernel = [] if row.kernel is None else [f"kernel of {row.kernel_layer}: {kernel_words(row.kernel)}"]
        remarks = [f"{row.op}; {_weights(network)}", *kernel, *row.remarks()]
        return draw(found, f"{_title(network)}: channel {number} of layer {row.layer}", remarks, kind)

    return report, draw, arrays(found)


def _model(network: TrainedNetwork) -> tuple[Any, str, str, str, bool]:
    return network.graph, network.source, network.weights, network.weights_sha256, network.trained


def _title(network: TrainedNetwork) -> str:
    from cnnscope.render.plots.style import shortened

    return shortened(network.graph.name, 40)


def _weights(network: TrainedNetwork) -> str:
    from cnnscope.render.plots.style import shortened

    return f"weights {shortened(network.weights, 40)}{'' if network.trained else ': nothing is learned'}"


def _remark(report: FeaturesReport, quiet: bool) -> None:
    """What to know of a channel goes to stderr, as the picture goes to a file."""
    import sys

    if report.channel is not None and not quiet:
        for line in report.channel.remarks():
            print(f"note: {line}", file=sys.stderr)
