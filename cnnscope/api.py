"""The library: load a network from anywhere, ask it anything.

    import cnnscope
    model = cnnscope.load("resnet50", input=(3, 256, 256))
    model.summary()                  # a table in a notebook, `print` it elsewhere
    model.flops().to_dict()["totals"]["macs"]

Every question is also a function that takes whatever `load` takes: ``cnnscope.summary("lenet5")``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cnnscope.analysis.summary import Level, Summary, summarize
from cnnscope.errors import explained, explained_methods
from cnnscope.ir import Graph
from cnnscope.options.group import takes
from cnnscope.options.network import LayerOptions
from cnnscope.render.checks import CheckReport, Comparand
from cnnscope.render.fields import Exact
from cnnscope.render.layers import LayerReport, Verb
from cnnscope.render.unit import UnitReport
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import Extras
from cnnscope.sources.resolve import load as load_source

if TYPE_CHECKING:
    from torch import nn

    from cnnscope.render.ablation import AblationReport
    from cnnscope.render.difference import DifferenceReport
    from cnnscope.render.equivariance import EquivarianceReport
    from cnnscope.trained.network import TrainedNetwork
    from cnnscope.trained.weighted import Weighted
    from cnnscope.training.report import TransferReport

Sizes = str | Sequence[int] | Sequence[InputSize] | Mapping[str, str | Sequence[int]]
"""Sizes of inputs, channels first and without batch: one, or by name where there are several."""


@explained_methods
@dataclass(frozen=True)
class Model:
    """A network and what can be asked of it.

    ``reference`` has known totals, ``about`` year and origin, ``notes`` what to know about how it was loaded,
    ``extras`` what it takes to run it.
    """

    graph: Graph
    source: str
    reference: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extras: Extras = field(default_factory=Extras)

    @property
    def name(self) -> str:
        """The title its author gave it."""
        return self.graph.name

    @cached_property
    def _summary(self) -> Summary:
        return summarize(self.graph)

    @takes(LayerOptions)
    def summary(self, options: LayerOptions) -> LayerReport:
        """Every layer's output shape, parameters, MACs and receptive field."""
        return self.layers("summary", options)

    @takes(LayerOptions)
    def shapes(self, options: LayerOptions) -> LayerReport:
        """The shapes that every layer reads and makes."""
        return self.layers("shapes", options)

    @takes(LayerOptions)
    def params(self, options: LayerOptions) -> LayerReport:
        """Parameters (trainable, frozen) and buffers of every layer."""
        return self.layers("params", options)

    @takes(LayerOptions)
    def flops(self, options: LayerOptions) -> LayerReport:
        """MACs and FLOPs of every layer for one image."""
        return self.layers("flops", options)

    @takes(LayerOptions)
    def memory(self, options: LayerOptions) -> LayerReport:
        """Bytes of parameters and activations, and the peak of what is alive at inference."""
        return self.layers("memory", options)

    def receptive_field(self, *, level: Level = "layer", exact: bool = True) -> LayerReport:
        """Theoretical receptive fields, and with ``exact`` their clipped extremes at this input size (needs numpy)."""
        return self.layers("rf", LayerOptions(level=level), exact=exact)

    def unit(self, layer: str, position: Sequence[int]) -> UnitReport:
        """What the unit at ``position`` (an index per spatial axis, from 0) of ``layer`` sees (needs numpy).

        `CnnscopeError` for an unknown layer (E205), no position of it (E203), or one behind an unsupported op (E306).
        """
        from cnnscope.analysis.receptive_field import theoretical
        from cnnscope.analysis.receptive_field.exact import exact
        from cnnscope.analysis.receptive_field.places import find

        answers = exact(self.graph, [layer])
        full, local = answers.box(layer, position), answers.box(layer, position, local=True)
        field = theoretical(self.graph)[find(self.graph, layer)]
        return UnitReport(self.graph, self.source, layer, tuple(position), field.box(position), local, full, field.via)

    def page(self, image: str | Path | None = None) -> str:
        """The network as an interactive page: HTML that needs nothing else. ``image`` lies under receptive fields.

        `CnnscopeError` where the image cannot be read (E606) or fits no input (E607), or Graphviz fails.
        """
        from cnnscope.render.page.document import html
        from cnnscope.render.page.image import data_uri

        picture = None if image is None else data_uri(Path(image), self.graph)
        return html(self.graph, self.source, self._summary, about=self.about, image=picture)

    def diff(self, other: Source) -> DifferenceReport:
        """What changes layer by layer from this network to ``other``, which is whatever `load` takes."""
        from cnnscope.analysis.diff import diff as compare
        from cnnscope.render.difference import DifferenceReport

        b = load(other)
        return DifferenceReport(compare(self.graph, b.graph), self.source, b.source)

    def ablate(self, *removals: str | Sequence[str]) -> AblationReport:
        """What is left without the layers of each removal: ``model.ablate("fc7", ["conv3", "conv4"])``, intact first.

        `CnnscopeError` for an unknown layer (E205) and for one the rest cannot do without (E490, E491, E492).
        """
        from cnnscope.analysis.ablate import ablate
        from cnnscope.render.ablation import AblationReport, Variant

        variants = [Variant((), self.graph, self._summary)]
        for removal in removals:
            names = (removal,) if isinstance(removal, str) else tuple(removal)
            rest = ablate(self.graph, names)
            variants.append(Variant(names, rest, summarize(rest)))
        return AblationReport(self.source, tuple(variants))

    def transfer(
        self, classes: int, *, freeze: Sequence[str] = (), head: str | None = None, batch: int = 32
    ) -> TransferReport:
        """Another head for ``classes`` classes: ways of training it side by side; ``plan.graph`` is the new network.

        ``freeze`` names layers, groups or patterns. `CnnscopeError`: E493 without a head, E494 for a pattern that
        freezes nothing, E495 for fewer than 2 classes.
        """
        from cnnscope.training.plan import plan
        from cnnscope.training.report import TransferReport

        return TransferReport(self.graph, self.source, plan(self.graph, classes, freeze=freeze, head=head, batch=batch))

    def equivariance(self) -> EquivarianceReport:
        """Which shifts, flips and quarter turns of the image change nothing or move the maps along, and why not.

        From the architecture alone; `CnnscopeError` (E308) for a network without an image.
        """
        from cnnscope.analysis.equivariance import equivariance as analyse
        from cnnscope.render.equivariance import EquivarianceReport

        return EquivarianceReport(self.graph, self.source, analyse(self.graph))

    def check(self) -> CheckReport:
        """Parameters and MACs against ``reference``."""
        totals = self._summary.totals
        macs = None if self._summary.unsupported else totals.macs
        comparands = (
            Comparand(self.source, "params", totals.params, self.reference.get("params")),
            Comparand(self.source, "macs", macs, self.reference.get("macs")),
        )
        origin = self.reference.get("source")
        return CheckReport(comparands, {self.source: str(origin)} if origin else {})

    def module(self, *, seed: int = 0, weights: str | Path | None = None) -> nn.Module:
        """A torch module of the same graph, its weights from a file or drawn from ``seed``, under the graph's names.

        `CnnscopeError` where the file is none of weights (E420 to E423) or does not fit (E425).
        """
        from cnnscope.nn.build import build
        from cnnscope.nn.weights import load_weights

        network = build(self.graph, seed=seed)
        if weights is not None:
            load_weights(network, self.graph, weights)
        return network

    def weighted(self, *, weights: str | Path | None = None, seed: int = 0) -> Weighted:
        """Any network with weights, whatever it reads and answers; see `cnnscope.trained.weighted.open_weighted`."""
        from cnnscope.trained.weighted import open_weighted

        return open_weighted(self.graph, self.source, self.extras, weights=weights, seed=seed)

    def trained(
        self,
        *,
        weights: str | Path | None = None,
        seed: int = 0,
        device: str = "auto",
        dtype: str = "float32",
        preprocess: Mapping[str, Any] | None = None,
        labels: str | Path | None = None,
        data: str | Path | None = None,
    ) -> TrainedNetwork:
        """The network with weights and what running it on images takes; see `cnnscope.trained.loading.open_network`."""
        from cnnscope.trained.loading import open_network

        return open_network(
            self.graph, self.source, self.extras, weights=weights, seed=seed, device=device, dtype=dtype,
            preprocess=preprocess, labels=labels, data=data,
        )  # fmt: skip

    def layers(self, verb: Verb, options: LayerOptions | None = None, *, exact: bool = False) -> LayerReport:
        """The table of the verb of that name; with ``exact`` it has clipped receptive fields (needs numpy)."""
        options = options or LayerOptions()
        plain = options == LayerOptions()
        level, batch, dtype = options.level, options.batch_size, options.dtype
        summary = self._summary if plain else summarize(self.graph, level=level, batch=batch, dtype=dtype)
        ranges = _exact_ranges(self.graph, summary) if exact else {}
        return LayerReport(verb, self.graph, self.source, summary, level, batch, dtype, ranges)


Source = str | Path | Graph | Model | Callable[..., Any]
"""What `load` takes; torch modules are callable."""
Settings = Mapping[str, Any] | None
"""Other values for a spec's parameters, or arguments of a factory."""


@explained
def load(source: Source, *, input: Sizes | None = None, set: Settings = None) -> Model:
    """The network ``source`` names, or `CnnscopeError`.

    ``source`` is what the command line takes (``"resnet50"``, ``"net.yaml"``, ``"timm:vit_tiny_patch16_224"``), a path,
    a graph, a torch module (which stays as it is), or a function that makes one.
    ``input`` replaces the input's size, channels first and without batch: ``(3, 224, 224)``, ``"3x224x224"``, or by
    name ``{"left": (3, 64, 64), "ids": "128:int64"}``. ``set`` gives a spec's parameters other values, or a factory its
    arguments.
    """
    if isinstance(source, Model):
        return source
    if isinstance(source, Graph):
        return Model(source, source.name)
    if isinstance(source, (str, Path)):
        loaded = load_source(str(source), inputs=_sizes(input), settings=set)
    else:
        from cnnscope.sources.torch.models import load_live

        loaded = load_live(source, _sizes(input), set or {})
    return Model(loaded.graph, loaded.source, loaded.reference, loaded.about, loaded.notes, loaded.extras)


def _exact_ranges(graph: Graph, summary: Summary) -> dict[str, Exact]:
    """Extremes of the clipped local field by row, where there is one."""
    from cnnscope.analysis.receptive_field.exact import exact

    rows = [row.name for row in summary.rows if row.receptive_field is not None]
    answers = exact(graph, rows)
    ranges = ((name, answers.range(name, local=True)) for name in rows)
    return {name: {"min": list(found.min), "max": list(found.max)} for name, found in ranges if found}


def _sizes(sizes: Sizes | None) -> tuple[InputSize, ...]:
    if not sizes:
        return ()
    if isinstance(sizes, Mapping):
        return tuple(_size(size, name) for name, size in sizes.items())
    if not isinstance(sizes, str) and any(isinstance(size, InputSize) for size in sizes):
        return tuple(size for size in sizes if isinstance(size, InputSize))
    return (_size(cast("str | Sequence[int]", sizes), None),)


def _size(size: str | Sequence[int], name: str | None) -> InputSize:
    text = size if isinstance(size, str) else "x".join(map(str, size))
    return InputSize.parse(text if name is None else f"{name}={text}")
