"""Parts of most documents: a network's inputs and outputs, conventions, totals, receptive fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from cnnscope.analysis.receptive_field import Field
from cnnscope.analysis.summary import Summary
from cnnscope.ir import Graph
from cnnscope.ir.steps import Via
from cnnscope.render.documents.document import OMITTED, Count, Omitted, Ordinal, Shape, keywords
from cnnscope.render.numbers import FLOPS, MAC, PIXEL_ORIGIN, titled

Rational = Annotated[Fraction, keywords(pattern="^-?[0-9]+(/[0-9]+)?$")]
PerAxis = Annotated[Sequence[int], keywords(maxItems=3)]
Paths = Sequence[Via]
"""What lets a unit see the whole image beside its local field."""


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """What the figures mean."""

    mac: str = MAC
    flops: str = FLOPS
    layout: Literal["CHW"] = "CHW"
    dtype: str = "float32"
    batch: Ordinal = 1
    pixel_origin: str = PIXEL_ORIGIN


@dataclass(frozen=True, kw_only=True)
class Value:
    """An input or output of the network."""

    name: str
    shape: Shape
    """without the batch, channel-first"""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network as a whole."""

    name: str
    source: str
    inputs: Annotated[Sequence[Value], keywords(minItems=1)]
    outputs: Sequence[Value]

    @property
    def title(self) -> str:
        """The network's name and where it was read from, for people."""
        return titled(self.name, self.source)

    @classmethod
    def of(cls, graph: Graph, source: str, **more: Any) -> Self:
        """The model of a graph that was read from ``source``; ``more`` are the further fields of a subclass."""
        inputs = [Value(name=name, shape=value.features) for name, value in graph.inputs.items()]
        return cls(name=graph.name, source=source, inputs=inputs, outputs=outputs(graph), **more)


def outputs(graph: Graph) -> list[Value]:
    """The outputs of the network in their order."""
    return [Value(name=name, shape=graph.value(name).features) for name in graph.outputs]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A place in a file."""

    file: str
    line: Ordinal
    column: Ordinal


@dataclass(frozen=True, kw_only=True)
class ExactField:
    """The smallest and the largest field over all positions of a layer, clipped to the image."""

    min: PerAxis
    max: PerAxis


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """A theoretical receptive field in input pixels, padding counted."""

    size: PerAxis | None
    """null where no local path remains; `via` gives the reason"""
    size_min: PerAxis | None
    stride: Sequence[Rational | None] | None
    padding: Sequence[int | None] | None
    centre0: Sequence[Rational | None] | None
    jitter: Sequence[Rational | None] | None
    via: Paths
    position_dependent: bool
    exact: ExactField | Omitted = OMITTED
    """rf only: clipped to the image, over all positions"""

    @classmethod
    def of(cls, field: Field, exact: ExactField | Omitted = OMITTED) -> ReceptiveField:
        """Of a field of `cnnscope.analysis.receptive_field`."""
        return cls(
            size=field.size, size_min=field.size_min, stride=field.stride, padding=field.padding,
            centre0=field.centre0, jitter=field.jitter, via=field.via, position_dependent=field.position_dependent,
            exact=exact,
        )  # fmt: skip


def field_of(field: Field | None) -> ReceptiveField | None:
    """A field of the analysis in a document; None where nothing sees the image."""
    return None if field is None else ReceptiveField.of(field)


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The figures of all layers together."""

    layers: Count
    params: Count
    trainable_params: Count
    frozen_params: Count
    buffers: Count
    transient_buffers: Count | Omitted = OMITTED
    """the part of `buffers` that is not persistent: in memory, in no state dict; left out where there is none"""
    macs: Count
    flops: Count
    param_bytes: Count
    buffer_bytes: Count
    activation_bytes: Count
    peak_activation_bytes: Count
    lower_bound: bool
    """MACs and FLOPs of what `unsupported` names are missing from the totals"""
    params_lower_bound: Literal[True] | Omitted = OMITTED
    """an operator without a rule may have weights that `params` does not count"""
    stored_params: Mapping[str, Count] | Omitted = OMITTED
    """the parameters of each type as they are stored; left out where all are real numbers"""
    macs_per_pass: Count | Omitted = OMITTED
    """the part of `macs` that depends on no image (weights computed from weights): once for a whole batch"""
    flops_per_pass: Count | Omitted = OMITTED
    """the same part of `flops`; both are left out where there is no such work"""

    @classmethod
    def of(cls, summary: Summary) -> Totals:
        """Of a summary; its totals are sums of what is known."""
        costs = summary.totals
        assert costs.macs is not None, "a sum of what is known is known"
        assert costs.flops is not None, "a sum of what is known is known"
        once = summary.per_pass
        per_pass = {"macs_per_pass": once.macs or 0, "flops_per_pass": once.flops} if once.flops else {}
        return cls(
            layers=len(summary.rows), params=costs.params, trainable_params=costs.trainable,
            frozen_params=costs.frozen, buffers=costs.buffers,
            transient_buffers=costs.transient or OMITTED, macs=costs.macs, flops=costs.flops,
            param_bytes=costs.param_bytes, buffer_bytes=costs.buffer_bytes, activation_bytes=costs.activation_bytes,
            peak_activation_bytes=summary.peak_activation_bytes, lower_bound=bool(summary.unsupported),
            params_lower_bound=True if summary.uncounted else OMITTED, stored_params=_stored(summary), **per_pass,
        )  # fmt: skip


def _stored(summary: Summary) -> Mapping[str, int] | Omitted:
    real = all(kind.startswith(("float", "bfloat")) for kind in summary.stored)
    return OMITTED if real else summary.stored


@dataclass(frozen=True, kw_only=True)
class WeightedModel(Model):
    """A network with its weights."""

    weights: str
    weights_sha256: str
    trained: bool
    """false where weights are random"""

    @property
    def title(self) -> str:
        """The network's name and where it was read from, and whether its weights are random."""
        return super().title + ("" if self.trained else ", random weights")

    @property
    def weights_remark(self) -> str:
        """What the weights are called, and whether they are random."""
        return f"weights {self.weights}{'' if self.trained else ', which are random: nothing is learned'}"
