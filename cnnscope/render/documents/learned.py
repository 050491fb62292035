"""Documents of what a network has learned: kernels, filters, feature maps, channels, attributions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cnnscope.render.documents.document import (
    OMITTED,
    Count,
    Document,
    Matrix,
    Omitted,
    Ordinal,
    Range,
    Shape,
    Share,
    keywords,
)
from cnnscope.render.documents.network import Model

Pass = Literal["low-pass", "band-pass", "high-pass", "all-pass"]
Angle = Annotated[float, keywords(minimum=0, exclusiveMaximum=180)]


@dataclass(frozen=True, kw_only=True)
class WeightedModel(Model):
    """A network with its weights."""

    weights: str
    weights_sha256: str
    trained: bool
    """false where weights are random"""


# -- kernels -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Extremes:
    """The smallest and the largest value."""

    min: float
    max: float


@dataclass(frozen=True, kw_only=True)
class DesignedKernel:
    """A kernel with its figures."""

    name: str
    family: Literal["smooth", "edge"]
    """smooth: the weights add up to 1"""
    about: str
    weights: Matrix
    sum: float
    orientation_deg: float | None
    """of the stripes it answers to, anticlockwise from the horizontal"""
    coherence: Share | None
    frequency_cycles_per_pixel: float | None
    bandwidth_octaves: float | None
    """between half amplitudes; null where an end is open, see band"""
    band: Pass | None
    response: Extremes
    """to the image, pixels from 0 to 1"""


@dataclass(frozen=True, kw_only=True)
class KernelImage:
    """The image that kernels respond to."""

    name: str
    height: int
    width: int


@dataclass(frozen=True, kw_only=True)
class ExampleStep:
    """The kernel in one place of an example."""

    position: Sequence[Count]
    window: Sequence[float]
    products: Sequence[float]
    sum: float


@dataclass(frozen=True, kw_only=True)
class KernelExample:
    """A kernel that slides over an input."""

    kernel: Matrix
    input: Matrix
    stride: int
    pad: int
    dilation: int
    steps: Sequence[ExampleStep]
    output: Matrix
    flipped_output: Matrix
    """of a convolution in the sense of signal processing"""
    matrix: Matrix
    """times the flattened input it is the flattened output"""


@dataclass(frozen=True, kw_only=True)
class KernelsDocument(Document):
    """Designed kernels and their responses, or an example of one: ``cnnscope kernels``."""

    format: Literal["cnnscope.kernels"] = "cnnscope.kernels"
    kernels: Sequence[DesignedKernel]
    """empty in an example"""
    image: KernelImage | None
    example: KernelExample | None
    picture: str | Omitted = OMITTED
    """in a manifest: the picture beside it"""
    arrays: Mapping[str, str] | Omitted = OMITTED
    """in a manifest: the .npy files beside it"""


# -- filters -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One filter. A figure is None where it does not exist: 1x1 kernels and filters of zeros have no orientation.

    ``orientation`` in degrees of the stripes, ``frequency`` in cycles a pixel, ``bandwidth`` in octaves; each ``..._p``
    is how often a random filter of the same shape reaches the figure before it. ``dead`` is None where no images were
    given.
    """

    index: Count = dataclasses.field(metadata={"key": "filter"})
    norm: Annotated[float, keywords(minimum=0)]
    orientation: Angle | None = dataclasses.field(metadata={"key": "orientation_deg"})
    coherence: Share | None
    coherence_p: Share | None
    frequency: float | None = dataclasses.field(metadata={"key": "frequency_cycles_per_pixel"})
    bandwidth: float | None = dataclasses.field(metadata={"key": "bandwidth_octaves"})
    band: Pass | None
    nearest: str | None = dataclasses.field(metadata={"key": "nearest_kernel"})
    similarity: Share | None
    """absolute cosine with the nearest kernel, times the best weight per channel"""
    similarity_p: Share | None
    """how often a random filter is as similar to any kernel"""
    twin: int | None
    """the filter of the layer nearest to this one"""
    redundancy: Share | None
    """absolute cosine with the twin"""
    redundancy_p: Share | None
    dead: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Percentiles:
    """Of a figure over random filters of the same shape."""

    median: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class ChanceFigures:
    """What random filters of the same shape reach."""

    coherence: Percentiles | Omitted | None = OMITTED
    """percentiles of random filters of the same shape; null where there is no such figure"""
    similarity: Percentiles | Omitted | None = OMITTED
    """percentiles of random filters of the same shape; null where there is no such figure"""
    redundancy: Percentiles | Omitted | None = OMITTED
    """percentiles of random filters of the same shape; null where there is no such figure"""


@dataclass(frozen=True, kw_only=True)
class FilteredLayer:
    """The filters of a layer."""

    name: str
    op: str
    shape: tuple[int, int, int, int]
    """filters, input channels of each, height, width"""
    groups: int
    largest_weight: Annotated[float, keywords(minimum=0)]
    chance: ChanceFigures
    dead: int | None
    dead_rule: str | None
    filters: Sequence[FilterRow]


@dataclass(frozen=True, kw_only=True)
class FilterData:
    """The images that dead filters were looked for with."""

    images: Ordinal
    skipped: Count


@dataclass(frozen=True, kw_only=True)
class FiltersDocument(Document):
    """The filters of layers with their figures: ``cnnscope filters``."""

    format: Literal["cnnscope.filters"] = "cnnscope.filters"
    model: WeightedModel
    sort: Literal["norm", "orientation", "redundancy"]
    data: FilterData | None
    """what dead filters were looked for with"""
    layers: Annotated[Sequence[FilteredLayer], keywords(minItems=1)]
    picture: str | Omitted = OMITTED
    """in a manifest: the picture beside it"""
    arrays: Mapping[str, str] | Omitted = OMITTED
    """in a manifest: the .npy files beside it"""


# -- features ----------------------------------------------------------------------------------------------------------


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
    """All there is to say of a channel."""

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
    """null where unknown; why says why"""
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


@dataclass(frozen=True, kw_only=True)
class AttributionDocument(Document):
    """Attributions of one image: ``cnnscope attribute``."""

    format: Literal["cnnscope.attribution"] = "cnnscope.attribution"
    model: NamedModel
    image: str
    picture: str | None
    tiles: Annotated[Sequence[Tile], keywords(minItems=1)]
