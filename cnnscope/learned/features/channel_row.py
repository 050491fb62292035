"""A channel in figures, for the document, and its arrays, for files."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnscope.learned.features.channel import Channel
from cnnscope.learned.features.features import label_of
from cnnscope.render.documents.features import DataRow, MaximisedRow, PatchRow
from cnnscope.render.features import ChannelRow
from cnnscope.trained.images import ImageSet


def channel_row(found: Channel, images: ImageSet | None, seed: int) -> ChannelRow:
    """The figures of a channel that was looked at with ``images`` and ``seed``."""
    answers, best, layer, kernel = found.answers, found.maximised, found.layer, found.kernel
    data: DataRow | None = None
    patches: tuple[PatchRow, ...] = ()
    maximised: MaximisedRow | None = None
    if answers is not None and images is not None:
        data = DataRow(
            answers.images, answers.skipped, images.sha256, answers.low, answers.high, answers.above, answers.dead,
            answers.rule,
        )  # fmt: skip
        patches = tuple(
            PatchRow(p.sample, label_of(images, p.label), p.activation, layer.position(p.position), p.seen.exact)
            for p in answers.patches
        )
    if best.activation is not None and best.start is not None:
        maximised = MaximisedRow(
            layer.position(best.position), best.seen.exact, best.steps, seed, best.jitter, best.smoothness, best.start,
            best.activation,
        )  # fmt: skip
    return ChannelRow(
        layer.name, layer.op, found.number, None if kernel is None else kernel.layer,
        None if kernel is None else kernel.figures, data, patches, tuple(found.projections), maximised,
        found.via, found.notes, found.missing,
    )  # fmt: skip


def arrays(found: Channel) -> dict[str, Any]:
    """By name; patches (n, C, H, W) are whole images of 8 bits, and projections as large.

    Which of their pixels a unit sees is in the figures.
    """
    result: dict[str, Any] = {}
    if found.kernel is not None:
        result["kernel"] = found.kernel.weights
    if found.answers is not None:
        result["patches"] = np.stack([patch.pixels for patch in found.answers.patches])
        result["maxima"] = found.answers.maxima
    result |= {name.replace(" ", "-"): values for name, values in found.projections.items()}
    if found.maximised.pixels is not None:
        result["maximised"] = found.maximised.pixels
    if found.on_image is not None:
        result |= {"image": found.on_image.pixels, "map": found.on_image.map}
    return result
