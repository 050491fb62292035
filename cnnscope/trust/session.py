"""The attributions of an image as a result, and the checks of each attribution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cnnscope.attribution.contract import Classifier
from cnnscope.attribution.finding import Finding
from cnnscope.attribution.montage import montage
from cnnscope.attribution.run import parse_target
from cnnscope.attribution.session import Explained, Session, chosen_methods, explain, explain_again, rows
from cnnscope.audits.protocol import transforms
from cnnscope.errors import CnnscopeError
from cnnscope.options.group import part
from cnnscope.options.running import Running, paths
from cnnscope.options.trained import AttributionOptions
from cnnscope.pictures import read_picture
from cnnscope.progress import SILENT, Progress
from cnnscope.render.attribution import AttributionDocument, AttributionReport, Completeness, NamedModel, Tile
from cnnscope.render.documents.document import OMITTED
from cnnscope.render.illustrated import Illustrated, file_name
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.images import Sample, open_images
from cnnscope.trained.loading import open_network, randomised
from cnnscope.trained.network import TrainedNetwork
from cnnscope.trust.checks import CHECKS
from cnnscope.trust.scene import Scene, Subject, margin

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image


@dataclass(frozen=True)
class Attributions(Illustrated):
    """Attributions with their montage; the arrays are (C, H, W), ``session`` has the networks."""

    session: Session | None = None

    def at(self, path: Path) -> AttributionReport:
        """The report of what is written to ``path``: it names the picture and the files of the arrays."""
        assert isinstance(self.report, AttributionReport)
        named = zip(self.report.document.tiles, self.arrays, strict=True)
        tiles = [replace(tile, array=f"{path.stem}.{name}.npy") for tile, name in named]
        document = replace(self.report.document, tiles=tiles, picture=path.name)
        return AttributionReport(document, bare=self.report.bare)

    def manifest(self, picture: str, arrays: Mapping[str, str]) -> dict[str, Any]:
        """The document beside the montage: each attribution names the file of its array."""
        return self.at(Path(picture)).to_dict()


def attributions(model: Loaded, options: AttributionOptions, progress: Progress = SILENT) -> Attributions:
    """Which pixels of an image the score of a class is due to, by each method and for each checkpoint.

    `CnnscopeError`: E450 to E455 the network or its weights, E480 to E484 methods, classes, images, E205 layers.
    """
    chosen_methods(options)  # a wrong name is an error before the network is opened
    running = part(options, Running)
    networks = [open_network(model, replace(running, weights=one)) for one in paths(options.weights) or (None,)]
    for note in networks[0].notes:
        progress.note(note)
    picture, name = _picture(networks[0], options.image)
    target = None
    if options.target is not None:
        target = parse_target(str(options.target), networks[0].labels, networks[0].classes)
    session = explain(networks, picture, options, target, progress)
    if options.trust:
        session = examined(session, picture, options, progress)
    for skipped, reason in session.skipped:
        progress.note(f"without {skipped}: {reason}")
    document = AttributionDocument(
        model=NamedModel(
            name=model.graph.name, source=model.source, trained=all(network.trained for network in networks)
        ),
        image=name, picture=None,
        tiles=[_figures(one) for one in session.explained],
    )  # fmt: skip
    title = f"{model.graph.name}: {name}"
    raw = {f"{i:02d}-{one.attribution.method}": one.attribution.raw for i, one in enumerate(session.explained, 1)}
    return Attributions(
        AttributionReport(document), lambda kind: montage(rows(session), title, kind),
        f"{file_name(model.graph.name)}-attribution", raw, session=session,
    )  # fmt: skip


def _picture(network: TrainedNetwork, image: str | Path | None) -> tuple[Image, str]:
    """The picture and its name: a file, or the first image that comes with the network."""
    if image is not None:
        return read_picture(Path(image)), Path(image).name
    if network.data is None:
        raise CnnscopeError.of("E483", f"there is no image to look at: none comes with `{network.source}`",
                               hint="name one: `--image FILE`")  # fmt: skip
    found = next((sample for sample in open_images(network.data) if isinstance(sample, Sample)), None)
    if found is None:
        raise CnnscopeError.of("E483", f"there is no image in `{network.data}`", hint="name one: `--image FILE`")
    return found.image, found.name


def _figures(one: Explained) -> Tile:
    made, network, error = one.attribution, one.network, one.attribution.completeness
    return Tile(
        method=made.method,
        weights=network.weights,
        weights_sha256=network.weights_sha256,
        target=made.target,
        label=network.label(made.target),
        probability=one.probability,
        signed=made.signed,
        extreme=float(made.values.flat[abs(made.values).argmax()]),
        baseline=one.baseline,
        completeness=None if error is None else Completeness(relative_error=error),
        notes=made.notes,
        array=None,
        trust={finding.name: finding.document() for finding in one.trust} or OMITTED,
    )


def examine(subject: Subject, tick: Callable[[float], None] = lambda done: None) -> tuple[Finding, ...]:
    """The findings of every check, in their order. ``tick`` is called with the share that is done."""
    found: list[Finding] = []
    every = sorted(CHECKS.values(), key=lambda check: check.order)
    for i, check in enumerate(every):
        part = replace(subject, tick=lambda done, i=i: tick((i + done) / len(every)))  # type: ignore[misc]
        found.extend(check.run(part))
        tick((i + 1) / len(every))
    return tuple(found)


def examined(session: Session, picture: Image, options: AttributionOptions, progress: Progress = SILENT) -> Session:
    """The session with findings for each attribution. ``options`` are those that it was made with."""
    scenes: dict[int, Scene] = {}
    found = []
    for one in session.explained:
        network, method = one.network, one.attribution.method
        if id(network) not in scenes:
            scenes[id(network)] = scene(network, picture, session.target, options.seed, options.batch_size)

        def explain(other: Classifier, x: Tensor, one: Explained = one) -> NDArray[np.float64]:
            return explain_again(one, other, x, options).values

        subject = Subject(scenes[id(network)], one.attribution, explain)
        findings = examine(subject, lambda done, method=method: progress(f"checking {method}", done, 1.0))  # type: ignore[misc]
        found.append(replace(one, trust=findings))
    return replace(session, explained=tuple(found))


def scene(network: TrainedNetwork, picture: Image, target: int, seed: int = 0, batch: int = 16) -> Scene:
    """The picture as a network reads it, with the surroundings that the moves need.

    These come from the picture as far as it reaches, then from the border that the network's preprocessing names, by
    default the mirrored picture.
    """
    preprocess = network.preprocess
    size = preprocess.size[1], preprocess.size[2]
    wide, resized = margin(size), preprocess.resized(picture)
    room = min(preprocess.room(resized), wide) // 2 * 2  # even, so that the middle does not move
    pixels = torch.tensor(preprocess.cropped(resized, room))[None]
    black = network.input(torch.zeros_like(pixels[:, :, :1, :1]))[0, :, 0, 0]
    canvas = transforms.canvas(network.input(pixels), size, wide, preprocess.border or "reflect", black, room)  # type: ignore[arg-type]
    x = network.input(torch.tensor(preprocess.pixels(picture))[None])
    return Scene(
        network=network, x=x, target=target, canvas=canvas, redraw=lambda seed: randomised(network, seed), seed=seed,
        batch=batch,
    )  # fmt: skip
