"""Feature maps and channels in figures: the ``cnnscope.features`` document, and the manifest beside a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cnnscope.ir import Graph
from cnnscope.render import numbers
from cnnscope.render.documents.document import Document
from cnnscope.render.documents.features import (
    ChannelFigures,
    ChannelKernel,
    DataRow,
    FeaturesDocument,
    LayerRow,
    MaximisedRow,
    PatchRow,
)
from cnnscope.render.documents.filters import FilterRow
from cnnscope.render.documents.network import WeightedModel
from cnnscope.render.numbers import ABSENT, UNKNOWN
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Column, Line, Table


@dataclass(frozen=True)
class ChannelRow:
    """All results for one channel. A result that is None could not be computed, and ``missing`` gives the reason."""

    layer: str
    op: str
    number: int
    kernel_layer: str | None
    kernel: FilterRow | None
    data: DataRow | None
    patches: tuple[PatchRow, ...]
    projections: tuple[str, ...]
    maximised: MaximisedRow | None
    via: tuple[str, ...]
    notes: tuple[str, ...]
    missing: tuple[str, ...]

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


@dataclass(frozen=True)
class FeaturesReport(Result):
    """Layers on one ``image``, or one channel over many."""

    graph: Graph
    source: str
    weights: str
    weights_sha256: str
    trained: bool
    image: str | None
    layers: tuple[LayerRow, ...] = ()
    channel: ChannelRow | None = None
    bare: bool = False

    def as_document(self) -> Document:
        return FeaturesDocument(
            model=WeightedModel.with_weights(
                self.graph, self.source, weights=self.weights, sha256=self.weights_sha256, trained=self.trained
            ),
            image=self.image, layers=self.layers, channel=None if self.channel is None else _channel(self.channel),
        )  # fmt: skip

    def records(self) -> list[dict[str, Cell]]:
        if self.channel is None:
            return [
                {"layer": row.name, "op": row.op, "shape": numbers.shape(row.shape), "min": f"{row.low:g}",
                 "max": f"{row.high:g}", "unvarying": row.still} for row in self.layers
            ]  # fmt: skip
        return [
            {"image": row.image, "label": row.label, "activation": f"{row.activation:g}",
             "position": _place(row.position), "field": _box(row.field)} for row in self.channel.patches
        ]  # fmt: skip

    def table(self) -> Table:
        title = f"{numbers.printable(self.graph.name)} ({numbers.printable(self.source)})"
        weights = f"weights {self.weights}{'' if self.trained else ', which are random: nothing is learned'}"
        found = self._layers(title) if self.channel is None else _patches(self.channel, title)
        return replace(found, notes=() if self.bare else (weights, *found.notes))

    def _layers(self, title: str) -> Table:
        columns = (Column("layer"), Column("op"), Column("output", True), Column("min", True), Column("max", True),
                   Column("unvarying", True))  # fmt: skip
        lines = tuple(
            Line((row.name, row.op, numbers.shape(row.shape), f"{row.low:.4g}", f"{row.high:.4g}",
                  ABSENT if row.still is None else str(row.still))) for row in self.layers
        )  # fmt: skip
        notes = ("unvarying: maps that are the same all over this image",)
        return Table(f"{title} on {numbers.printable(str(self.image))}", columns, lines, notes=notes)


def _patches(channel: ChannelRow, title: str) -> Table:
    columns = (Column("image"), Column("label"), Column("activation", True), Column("position", True), Column("sees"))
    lines = tuple(
        Line((numbers.printable(row.image), row.label or UNKNOWN, f"{row.activation:.4g}",
              _place(row.position) or ABSENT, _box(row.field))) for row in channel.patches
    )  # fmt: skip
    notes = tuple(_kernel_words(channel) + channel.remarks())
    title = f"{title}, channel {channel.number} of layer {channel.layer} ({channel.op})"
    return Table(title, columns, lines, notes=notes)


def kernel_words(kernel: FilterRow) -> str:
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


def _kernel_words(channel: ChannelRow) -> list[str]:
    if channel.kernel is None:
        return []
    return [f"kernel of {channel.kernel_layer}: {kernel_words(channel.kernel)}"]


def _channel(row: ChannelRow) -> ChannelFigures:
    kernel = row.kernel
    return ChannelFigures(
        layer=row.layer, op=row.op, channel=row.number,
        kernel=None if kernel is None or row.kernel_layer is None else ChannelKernel(
            layer=row.kernel_layer, norm=kernel.norm, orientation_deg=kernel.orientation, coherence=kernel.coherence,
            coherence_p=kernel.coherence_p, bandwidth_octaves=kernel.bandwidth, band=kernel.band,
            nearest_kernel=kernel.nearest, similarity=kernel.similarity, similarity_p=kernel.similarity_p,
            twin=kernel.twin, redundancy=kernel.redundancy, redundancy_p=kernel.redundancy_p,
        ),
        data=row.data, patches=row.patches, projections=row.projections, maximised=row.maximised, via=row.via,
        notes=row.notes, missing=row.missing,
    )  # fmt: skip


def _place(position: Sequence[int]) -> str:
    return ",".join(map(str, position))


def _box(field: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{axis} {low} to {high}" for axis, (low, high) in zip("yx", field, strict=True))
