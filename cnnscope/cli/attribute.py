"""``attribute``: which pixels the score of a class is due to, by several methods and checkpoints in one picture."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cnnscope.attribution.methods import METHODS
from cnnscope.cli import options as o
from cnnscope.cli import trained as t
from cnnscope.cli.diagram import file_name
from cnnscope.cli.output import Color, Output, picture_kind
from cnnscope.errors import CnnscopeError
from cnnscope.files import write_bytes, write_text
from cnnscope.progress import on_stderr
from cnnscope.render.formats import PICTURES

if TYPE_CHECKING:
    from PIL.Image import Image

    from cnnscope.attribution.session import Session
    from cnnscope.render.attribution import AttributionReport
    from cnnscope.trained.network import TrainedNetwork

_ATTRIBUTION = "Attribution"


def attribute(
    source: t.Source = t.DEFAULT,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", rich_help_panel="Images", help="A picture; else the network's first."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="N|NAME", rich_help_panel=_ATTRIBUTION, help="The class; else the network's answer."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="NAME",
            rich_help_panel=_ATTRIBUTION,
            help=f"One or several, or all: {', '.join(METHODS.names())}.",
        ),
    ] = None,
    baseline: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=_ATTRIBUTION, help="zero, mean, blur, black or white.")
    ] = "zero",
    layer: Annotated[
        str | None, typer.Option(metavar="NAME", rich_help_panel=_ATTRIBUTION, help="For Grad-CAM; else the last maps.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=_ATTRIBUTION, help="Steps, or samples.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=_ATTRIBUTION, help="Pixels of an occluded side.")
    ] = None,
    trust: Annotated[
        bool,
        typer.Option(
            "--trust",
            rich_help_panel=_ATTRIBUTION,
            help="Check each: random weights, insertion, deletion, equivariance.",
        ),
    ] = False,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            rich_help_panel="Weights and device",
            help="A checkpoint, or `pretrained`; several make a row each.",
        ),
    ] = None,
    data: t.Data = None,
    labels: t.Labels = None,
    preprocess: t.Preprocess = None,
    batch: Annotated[
        int, typer.Option("--batch-size", min=1, rich_help_panel="Weights and device", help="Images at a time at most.")
    ] = 16,
    device: t.Device = "auto",
    dtype: t.Dtype = "float32",
    seed: t.Seed = 0,
    input: o.Input = None,
    set: o.Settings = None,
    form: o.FormatOption = None,
    path: o.OutputPath = None,
    quiet: o.Quiet = False,
    color: o.ColorOption = Color.auto,
    debug: o.Debug = False,
) -> None:
    """Attributions: which pixels a class score is due to, as a picture, raw arrays and figures.

    Writes NAME-attribution.png here unless -o says otherwise, with a .npy for each tile and a JSON manifest beside it.
    """
    kind = "png" if path is None else picture_kind(path, form, PICTURES)
    output = Output.of(form, None if kind else path, color, quiet)
    methods, named = _methods(method or ())
    opening = t.Opening(input or (), set or (), None, device, dtype, seed, preprocess or (), labels, data)
    checkpoints = [replace(opening, weights=one) for one in weights] if weights else [opening]
    networks = [t.open_trained(source, one, quiet or i > 0) for i, one in enumerate(checkpoints)]
    picture, name = _picture(networks[0], image)
    wanted = None if target is None else _target(networks[0], target)
    from cnnscope.attribution.session import explain

    with on_stderr(quiet) as tick:
        session = explain(networks, picture, methods, wanted, baseline=baseline, strict=named, tick=tick, steps=steps,
                          layer=layer, window=window, seed=seed, batch=batch)  # fmt: skip
        if trust:
            from cnnscope.trust.session import examined

            session = examined(session, picture, baseline=baseline, tick=tick, steps=steps, layer=layer, window=window,
                               seed=seed, batch=batch)  # fmt: skip
    for skipped, reason in session.skipped if not quiet else ():
        print(f"note: without {skipped}: {reason}", file=sys.stderr)
    place = None if kind is None else path or Path(f"{file_name(networks[0].graph.name)}-attribution.png")
    report = _report(session, name, place, quiet)
    if place is not None and kind is not None:
        _write(session, report, place, kind)
        if not quiet:
            arrays = f"{len(report.tiles)} array{'s' if len(report.tiles) > 1 else ''}"
            print(f"wrote {place}, {arrays} and {place.with_suffix('.json').name}", file=sys.stderr)
    output.emit(report)


def _methods(asked: Sequence[str]) -> tuple[Sequence[str], bool]:
    """Names of methods, and whether the user chose each."""
    from cnnscope.attribution.session import DEFAULT_METHODS

    if not asked:
        return DEFAULT_METHODS, False
    if list(asked) == ["all"]:
        return METHODS.names(), False
    for name in asked:
        METHODS.check(name)
    return list(dict.fromkeys(asked)), True


def _picture(network: TrainedNetwork, image: Path | None) -> tuple[Image, str]:
    """The picture and its name: a file, or the first image that comes with the network."""
    from cnnscope.trained.images import Sample, open_images
    from cnnscope.trained.images.decode import read_picture

    if image is not None:
        return read_picture(image), image.name
    if network.data is None:
        raise CnnscopeError.of("E483", f"there is no image to look at: none comes with `{network.source}`",
                               hint="name one: `--image FILE`")  # fmt: skip
    found = next((sample for sample in open_images(network.data) if isinstance(sample, Sample)), None)
    if found is None:
        raise CnnscopeError.of("E483", f"there is no image in `{network.data}`", hint="name one: `--image FILE`")
    return found.image, found.name


def _target(network: TrainedNetwork, text: str) -> int:
    from cnnscope.attribution.run import parse_target

    return parse_target(text, network.labels, network.classes)


def _report(session: Session, image: str, place: Path | None, quiet: bool) -> AttributionReport:
    from cnnscope.render.attribution import AttributionReport, TileFigures

    tiles = []
    for i, one in enumerate(session.explained):
        answer, network = one.attribution, one.network
        extreme = float(answer.values.flat[abs(answer.values).argmax()])
        array = None if place is None else f"{place.stem}.{i + 1:02d}-{answer.method}.npy"
        tiles.append(TileFigures(
            answer.method, network.weights, network.weights_sha256, answer.target, network.label(answer.target),
            one.probability, answer.signed, extreme, one.baseline, answer.completeness, answer.notes, array,
            {finding.name: finding.document() for finding in one.trust} or None,
        ))  # fmt: skip
    network = session.explained[0].network
    picture = None if place is None else place.name
    return AttributionReport(network.graph.name, network.source, image, tuple(tiles), picture, quiet)


def _write(session: Session, report: AttributionReport, place: Path, kind: str) -> None:
    """The arrays (C, H, W), the manifest, and last the picture: where it is, all else is."""
    import numpy as np

    from cnnscope.attribution.montage import montage
    from cnnscope.attribution.session import rows

    content = montage(rows(session), f"{report.name}: {report.image}", kind)
    for tile, one in zip(report.tiles, session.explained, strict=True):
        buffer = io.BytesIO()
        np.save(buffer, one.attribution.raw, allow_pickle=False)
        write_bytes(place.with_name(str(tile.array)), buffer.getvalue())
    write_text(place.with_suffix(".json"), json.dumps(report.to_dict(), indent=2, ensure_ascii=False) + "\n")
    write_bytes(place, content)
