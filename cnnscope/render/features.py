"""Feature maps and channels in figures: the ``cnnscope.features`` document, and the manifest beside a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from cnnscope.render import numbers
from cnnscope.render.documents.document import OMITTED, Count, Document, Omitted, Ordinal, Range, Shape, Share, keywords
from cnnscope.render.documents.network import WeightedModel
from cnnscope.render.filters import FilterRow
from cnnscope.render.result import Cell, DocumentReport
from cnnscope.render.table import Line, Table, left, right


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer's maps of the image: ``shape`` is (channels, height, width), or (numbers,) of a vector."""

    name: str
    op: str
    shape: Shape = dataclasses.field(metadata={"key": "output_shape"})
    low: float = dataclasses.field(metadata={"key": "min"})
    high: float = dataclasses.field(metadata={"key": "max"})
    still: int | None = dataclasses.field(metadata={"key": "unvarying"})
    """maps that are the same all over the image; null where maps are single numbers"""


@dataclass(frozen=True, slots=True)
class PatchRow:
    """Where an image raises the channel most: ``position`` in its map, and the pixels that unit sees, per axis."""

    image: str
    label: str | None
    """what the set of images calls its class"""
    activation: float
    position: Sequence[Count]
    """row and column in the map; empty for a vector"""
    field: Sequence[Range] = dataclasses.field(metadata={"key": "exact"})
    """first and last pixel of the image that the unit sees, an axis at a time"""


@dataclass(frozen=True, slots=True)
class DataRow:
    """A channel over images."""

    images: Ordinal
    skipped: Count
    sha256: str
    low: float = dataclasses.field(metadata={"key": "min"})
    high: float = dataclasses.field(metadata={"key": "max"})
    above: Share = dataclasses.field(metadata={"key": "above_zero"})
    """share of all activations"""
    dead: bool
    rule: str = dataclasses.field(metadata={"key": "dead_rule"})


@dataclass(frozen=True, slots=True)
class MaximisedRow:
    """The unit at ``position`` from its ``start`` on noise to its ``activation`` after ``steps``."""

    position: Sequence[Count]
    """row and column in the map; empty for a vector"""
    field: Sequence[Range] = dataclasses.field(metadata={"key": "exact"})
    """first and last pixel of the image that the unit sees, an axis at a time"""
    steps: int
    seed: int
    jitter: int
    """pixels"""
    smoothness: float
    """weight of total variation"""
    start: float
    activation: float
    """reached, with pixels in their range"""


@dataclass(frozen=True, kw_only=True)
class ChannelKernel:
    """The kernel of a channel with its figures, as in the document of filters."""

    layer: str
    norm: float
    orientation: float | None = dataclasses.field(metadata={"key": "orientation_deg"})
    coherence: float | None
    coherence_p: float | None
    bandwidth: float | None = dataclasses.field(metadata={"key": "bandwidth_octaves"})
    band: str | None
    nearest: str | None = dataclasses.field(metadata={"key": "nearest_kernel"})
    similarity: float | None
    similarity_p: float | None
    twin: int | None
    redundancy: float | None
    redundancy_p: float | None

    @classmethod
    def of(cls, layer: str, row: FilterRow) -> ChannelKernel:
        """The figures of ``row``, which is one of the filters of ``layer``."""
        shared = {part.name: getattr(row, part.name) for part in dataclasses.fields(cls) if part.name != "layer"}
        return cls(layer=layer, **shared)


@dataclass(frozen=True, kw_only=True)
class ChannelFigures:
    """All results for one channel.

    A result that is None could not be computed, and ``missing`` gives the reason.
    """

    layer: str
    op: str
    number: Count = dataclasses.field(metadata={"key": "channel"})
    kernel: ChannelKernel | None
    """as in the document of filters"""
    data: DataRow | None
    patches: Annotated[Sequence[PatchRow], keywords(maxItems=9)]
    projections: Sequence[str]
    maximised: MaximisedRow | None
    via: Sequence[str]
    notes: Sequence[str]
    missing: Sequence[str]
    """what could not be had, and why"""

    def kernel_remark(self) -> list[str]:
        """A line with the figures of the kernel; empty where there is none."""
        return [] if self.kernel is None else [f"kernel of {self.kernel.layer}: {kernel_words(self.kernel)}"]

    def remarks(self) -> list[str]:
        """Remarks about the channel, one a line."""
        lines = []
        if self.data is not None:
            data = self.data
            state = "dead" if data.dead else "alive"
            left = f", {data.skipped} skipped" if data.skipped else ""
            lines.append(f"{state} on {data.images:,} images{left} (dead: {data.rule}); activations "
                         f"{data.low:.3g} to {data.high:.3g}, {100 * data.above:.0f} % above 0")  # fmt: skip
            if data.low == data.high:
                lines.append(f"constant: {data.low:.3g} whatever the image, so the patches mean nothing")
            elif data.high <= 0:
                lines.append("never above 0 on these images: the patches are where it is least negative")
        if self.maximised is not None:
            best = "" if self.data is None else f"; the best of the images reaches {self.data.high:.5g}"
            lines.append(f"maximised from {self.maximised.start:.5g} to {self.maximised.activation:.5g} in "
                         f"{self.maximised.steps} steps{best}")  # fmt: skip
        if self.via:
            lines.append(f"depends on the whole image, through {', '.join(self.via)}")
        return [*lines, *self.notes, *self.missing]


@dataclass(frozen=True, kw_only=True)
class FeaturesDocument(Document):
    """Feature maps of an image, or one channel: ``cnnscope features``."""

    format: Literal["cnnscope.features"] = "cnnscope.features"
    model: WeightedModel
    image: str | None
    layers: Sequence[LayerRow]
    channel: ChannelFigures | None
    picture: str | Omitted = OMITTED
    """in the manifest beside a picture: the picture's file"""
    arrays: Mapping[str, str] | Omitted = OMITTED
    """in the manifest: files of arrays by name"""


class FeaturesReport(DocumentReport[FeaturesDocument]):
    """Layers on one image, or one channel over many."""

    def records(self) -> list[dict[str, Cell]]:
        if self.document.channel is None:
            return [
                {"layer": row.name, "op": row.op, "shape": numbers.shape(row.shape), "min": f"{row.low:g}",
                 "max": f"{row.high:g}", "unvarying": row.still} for row in self.document.layers
            ]  # fmt: skip
        return [
            {"image": row.image, "label": row.label, "activation": f"{row.activation:g}",
             "position": _place(row.position), "field": _box(row.field)} for row in self.document.channel.patches
        ]  # fmt: skip

    def table(self) -> Table:
        title = self.document.model.title
        found = self._layers(title) if self.document.channel is None else _patches(self.document.channel, title)
        return replace(found, notes=() if self.bare else (self.document.model.weights_remark, *found.notes))

    def _layers(self, title: str) -> Table:
        columns = (*left("layer"), *left("op", rank=1), *right("output", "min", "max", "unvarying"))
        lines = tuple(
            Line((row.name, row.op, numbers.shape(row.shape), f"{row.low:.4g}", f"{row.high:.4g}",
                  numbers.ABSENT if row.still is None else str(row.still))) for row in self.document.layers
        )  # fmt: skip
        notes = ("unvarying: maps that are the same all over this image",)
        return Table(f"{title} on {numbers.printable(str(self.document.image))}", columns, lines, notes=notes)


def _patches(channel: ChannelFigures, title: str) -> Table:
    columns = (*left("image", "label"), *right("activation", "position"), *left("sees"))
    lines = tuple(
        Line((numbers.printable(row.image), row.label or numbers.UNKNOWN, f"{row.activation:.4g}",
              _place(row.position) or numbers.ABSENT, _box(row.field))) for row in channel.patches
    )  # fmt: skip
    notes = (*channel.kernel_remark(), *channel.remarks())
    title = f"{title}, channel {channel.number} of layer {channel.layer} ({channel.op})"
    return Table(title, columns, lines, notes=notes)


def kernel_words(kernel: ChannelKernel) -> str:
    """A kernel's figures in a line, each beside what chance gives."""
    parts = [f"norm {kernel.norm:.3g}"]
    if kernel.orientation is not None and kernel.coherence_p is not None:
        parts.append(f"stripes at {kernel.orientation:.0f}° (p = {kernel.coherence_p:.3f})")
    if kernel.nearest is not None and kernel.similarity is not None and kernel.similarity_p is not None:
        parts.append(
            f"nearest designed kernel {kernel.nearest}, |cos| {kernel.similarity:.2f} (p = {kernel.similarity_p:.3f})"
        )
    if kernel.band is not None:
        octaves = f", {kernel.bandwidth:.1f} octaves" if kernel.bandwidth is not None else ""
        parts.append(f"{kernel.band}{octaves}")
    return "; ".join(parts)


def _place(position: Sequence[int]) -> str:
    return ",".join(map(str, position))


def _box(field: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{axis} {low} to {high}" for axis, (low, high) in zip("yx", field, strict=True))
