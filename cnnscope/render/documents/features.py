"""Documents of what a network does with images: feature maps, channels and attributions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cnnscope.render.documents.document import (
    OMITTED,
    Count,
    Document,
    Omitted,
    Ordinal,
    Range,
    Shape,
    Share,
    keywords,
)
from cnnscope.render.documents.network import WeightedModel


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
    orientation_deg: float | None
    coherence: float | None
    coherence_p: float | None
    bandwidth_octaves: float | None
    band: str | None
    nearest_kernel: str | None
    similarity: float | None
    similarity_p: float | None
    twin: int | None
    redundancy: float | None
    redundancy_p: float | None


@dataclass(frozen=True, kw_only=True)
class ChannelFigures:
    """All results for one channel."""

    layer: str
    op: str
    channel: Count
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


# -- attributions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """A network by its name and where it was read from."""

    name: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """How far values are from adding up to what the method promises."""

    relative_error: Annotated[float, keywords(minimum=0)]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check of trust found."""

    title: str
    value: float | None
    """null where unknown; `why` gives the reason"""
    limit: float | None
    """the value has to be beyond it"""
    better: Literal["high", "low"]
    verdict: Literal["pass", "fail", "unknown"]
    controls: Mapping[str, float]
    """what else was measured in the same way"""
    rule: str
    why: str | None
    settings: Mapping[str, Any]
    """how it was measured"""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One attribution: a method, a network and its target."""

    method: str
    weights: str
    weights_sha256: str
    target: Count
    label: str
    probability: Share
    baseline: str | None
    """null where the method takes none"""
    signed: bool
    extreme: float
    """the value of largest magnitude"""
    completeness: Completeness | None
    """how far values are from adding up to what the method promises; null where it promises nothing"""
    notes: Sequence[str]
    array: str | None
    """a .npy file beside the picture, channels x height x width"""
    trust: Annotated[Mapping[str, Finding], keywords(minProperties=1)] | Omitted = OMITTED
    """with --trust: what each check found, by name"""

    @property
    def findings(self) -> Mapping[str, Finding]:
        """What each check found; empty where none was asked for."""
        return {} if self.trust is OMITTED else self.trust


@dataclass(frozen=True, kw_only=True)
class AttributionDocument(Document):
    """Attributions of one image: ``cnnscope attribute``."""

    format: Literal["cnnscope.attribution"] = "cnnscope.attribution"
    model: NamedModel
    image: str
    picture: str | None
    tiles: Annotated[Sequence[Tile], keywords(minItems=1)]
