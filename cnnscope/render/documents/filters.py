"""Documents of kernels and filters: designed ones, an example of one, and those that a network has learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from cnnscope.render.documents.document import (
    OMITTED,
    Count,
    Document,
    Matrix,
    Omitted,
    Ordinal,
    Share,
    keywords,
)
from cnnscope.render.documents.network import WeightedModel

Pass = Literal["low-pass", "band-pass", "high-pass", "all-pass"]
Angle = Annotated[float, keywords(minimum=0, exclusiveMaximum=180)]


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
    """direction of the stripes that it responds to, anticlockwise from the horizontal"""
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
