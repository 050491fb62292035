"""The library: load a network from anywhere and ask about it.

    import cnnscope
    model = cnnscope.load("resnet50", input=(3, 256, 256))
    model.summary()                  # a table in a notebook, `print` it elsewhere
    model.flops().to_dict()["totals"]["macs"]
    model.diagram(view="volumes").write("resnet50.svg")

Every method is also a function of anything that `load` takes: ``cnnscope.summary("lenet5")``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from cnnscope.analysis.summary import Level, Summary, summarize
from cnnscope.errors import CnnscopeError, explained, explained_methods
from cnnscope.ir import Graph
from cnnscope.options.group import part, takes
from cnnscope.options.network import DiagramOptions, ExportFormat, ExportOptions, LayerOptions, PageOptions, ThemeName
from cnnscope.options.running import Running
from cnnscope.options.trained import AttributionOptions, AuditOptions, FeatureOptions, FilterOptions, TransferOptions
from cnnscope.render.checks import CheckedTotal, CheckReport, Quantity
from cnnscope.render.fields import Exact
from cnnscope.render.layers import LayerReport, Verb
from cnnscope.render.numbers import count, printable
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.resolve import Extras, Loaded, no_trace
from cnnscope.sources.resolve import load as load_source

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cnnscope.audits.audit import Audit
    from cnnscope.edits.change import Change, Heads, Resize
    from cnnscope.learned.features.result import Features
    from cnnscope.nn.checkpoint import Checkpoint
    from cnnscope.render.ablation import AblationReport
    from cnnscope.render.diagram.difference import Difference
    from cnnscope.render.edit import EditReport
    from cnnscope.render.equivariance import EquivarianceReport
    from cnnscope.render.export import OnnxExport
    from cnnscope.render.illustrated import Drawing, Illustrated, Page, Text
    from cnnscope.render.unit import Unit
    from cnnscope.render.unit_values import UnitValues
    from cnnscope.render.weights import WeightsCheck, WeightsMap
    from cnnscope.trained.network import TrainedNetwork
    from cnnscope.trained.weighted import Weighted
    from cnnscope.training.report import TransferReport
    from cnnscope.trust.session import Attributions

Sizes = str | int | Sequence[int] | Sequence[InputSize] | Mapping[str, str | int | Sequence[int]]
"""Sizes of inputs, channels first and without batch: one size, or sizes by name for several inputs."""


@explained_methods
@dataclass(frozen=True, repr=False)
class Model(Loaded):
    """A network, and everything that can be computed about it.

    Every method that computes something returns a result: `print` shows its table, a notebook shows it or its picture,
    ``to_dict()`` is its JSON document, ``write(path)`` writes it in the format that the suffix names.
    """

    @property
    def name(self) -> str:
        """The title its author gave it."""
        return self.graph.name

    def __repr__(self) -> str:
        totals = self._summary.totals
        costs = "some ops unknown" if self._summary.unsupported else f"{count(totals.macs)} MACs"
        more = ">= " if self._summary.uncounted else ""
        layers = f"{len(self._summary.rows)} layers, {more}{count(totals.params)} parameters, {costs}"
        return f"<Model {printable(self.name)} ({printable(self.source)}): {layers}>"

    def _repr_html_(self) -> str:
        html: str = self.summary()._repr_mimebundle_()["text/html"]
        return html

    @cached_property
    def _summary(self) -> Summary:
        return summarize(self.graph)

    # -- from the architecture ---------------------------------------------------------------------------------------

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

    def layers(self, verb: Verb, options: LayerOptions | None = None, *, exact: bool = False) -> LayerReport:
        """The table of the verb of that name; with ``exact`` it has clipped receptive fields (needs numpy)."""
        options = options or LayerOptions()
        level, batch, dtype = options.level, options.batch_size, options.dtype
        plain = options == LayerOptions()
        summary = self._summary if plain else summarize(self.graph, level=level, batch=batch, dtype=dtype)
        ranges = _exact_ranges(self.graph, summary) if exact else {}
        return LayerReport(verb, self.graph, self.source, summary, level, batch, dtype, ranges, remarks=self.remarks)

    def unit(self, layer: str, position: Sequence[int], image: str | Path | None = None) -> Unit:
        """What the unit at ``position`` (an index per spatial axis, from 0) of ``layer`` sees (needs numpy).

        ``write("unit.png")`` draws it, over ``image`` if there is one.

        `CnnscopeError` for an unknown layer (E205), no position of it (E203), or one behind an unsupported op (E306).
        """
        from cnnscope.render.unit import unit

        return unit(self.graph, self.source, layer, tuple(position), None if image is None else Path(image))

    def unit_values(
        self, layer: str, index: Sequence[int], image: str | Path | None = None, weights: str | Path | None = None
    ) -> UnitValues:
        """What the unit at ``index``, (channel, y, x), of ``layer`` computes on an image (needs torch).

        The image is by default the first of the network's. ``write("unit.png")`` draws windows, weights and sums.

        `CnnscopeError` for an unknown layer (E205), no unit of it (E203), or a layer of another type (E464).
        """
        from cnnscope.learned.unit_values import unit_values
        from cnnscope.options.running import Running

        return unit_values(self, layer, index, image, Running(weights=weights))

    def growth(self, *, level: Level = "layer") -> Drawing:
        """A plot of receptive fields against depth. Drawing it raises E607 for a network without an image."""
        from cnnscope.render.growth import drawing

        return drawing(self.graph, self.layers("rf", LayerOptions(level=level)).summary)

    @takes(DiagramOptions)
    def diagram(self, options: DiagramOptions) -> Drawing:
        """The architecture as a picture: svg, png, pdf, tex, dot, json or mmd."""
        from cnnscope.render.diagram.views import diagram

        return diagram(self.graph, options)

    @takes(PageOptions)
    def page(self, options: PageOptions) -> Page:
        """The network as an interactive page: HTML that needs no other file.

        It has histograms of weights where the source has or names weights, or ``weights`` does. `CnnscopeError` where
        the image cannot be read (E606) or fits no input (E607), or the weights cannot be used (E42x, E44x, E450).
        """
        from cnnscope.render.html import photograph
        from cnnscope.render.illustrated import Page, file_name
        from cnnscope.render.page.document import html

        picture = None if options.image is None else photograph(Path(options.image), self.graph)
        weights = None
        if options.weights is not None or self.extras.has_weights:
            try:
                from cnnscope.trained.histograms import histograms

                weights = histograms(self, options.weights)
            except (CnnscopeError, ImportError) as error:
                if options.weights is not None:
                    raise
                weights = f"not shown, for they cannot be read: {error}", {}
        text = html(self.graph, self.source, self._summary, about=self.about, image=picture, weights=weights)
        return Page(text, "html", file_name(self.name))

    def diff(self, other: Source, *, theme: ThemeName = "light") -> Difference:
        """What changes layer by layer from this network to ``other``, anything that `load` takes.

        ``write("diff.svg")`` draws both, on a background of ``theme``.
        """
        from cnnscope.analysis.diff import diff as compare
        from cnnscope.render.diagram.difference import Difference

        b = load(other)
        return Difference(compare(self.graph, b.graph), self.source, b.source, theme=theme)

    def ablate(self, *removals: str | Sequence[str]) -> AblationReport:
        """What remains without the layers of each removal: ``model.ablate("fc7", ["conv3", "conv4"])``, intact first.

        `CnnscopeError` for an unknown layer (E205) and for one that the rest needs (E490, E491, E492).
        """
        from cnnscope.analysis.ablate import ablate
        from cnnscope.render.ablation import AblationReport, Variant

        variants = [Variant((), self.graph, self._summary)]
        for removal in removals:
            names = (removal,) if isinstance(removal, str) else tuple(removal)
            rest = ablate(self.graph, names)
            variants.append(Variant(names, rest, summarize(rest)))
        return AblationReport(self.source, tuple(variants))

    def edit(
        self, *changes: str | Change, input: Sizes | None = None, scale: float | None = None, round: int = 8,
        keep_ratio: bool = True, only: str | Sequence[str] = (), exclude: str | Sequence[str] = (),
        heads: Heads = "dim",
    ) -> Model:  # fmt: skip
        """The network with other arguments, layers, widths or sizes, all at once: ``model.edit("conv1.stride=1",
        "maxpool=none", scale=0.5)``.

        A change is a text (``conv1.stride=1``, ``conv1.out=48``, ``relu=silu``, ``maxpool=none``,
        ``after=conv1:relu``) or one of `cnnscope.edits`. Weights are kept where they fit. `CnnscopeError`: E491 where a
        layer does not fit, with what would make it fit; E492 for what cannot be carried over; E20x for unknown names.
        """
        from cnnscope.edits.options import scale_of
        from cnnscope.render.edit import edited

        scales = [] if scale is None else [scale_of(scale, round, keep_ratio, only, exclude, heads)]
        report = edited(self.graph, self.source, [*changes, *resizes(sizes(input)), *scales])
        return self._changed(report)

    def _changed(self, report: EditReport) -> Model:
        """This network as an edit left it, with the weights that still fit; the error of an edit that does not fit."""
        if report.edited is None:
            raise report.error()
        graph = report.edited.graph
        return Model(graph, self.source, about=self.about, notes=self.notes, extras=_kept_extras(self.extras, graph))

    def equivariance(self) -> EquivarianceReport:
        """Which shifts, flips and quarter turns of the image leave the output unchanged or move the maps, and why not.

        From the architecture alone; `CnnscopeError` (E308) for a network without an image.
        """
        from cnnscope.analysis.equivariance import equivariance as analyse
        from cnnscope.render.equivariance import EquivarianceReport

        return EquivarianceReport(self.graph, self.source, analyse(self.graph))

    def check(self) -> CheckReport:
        """Parameters and MACs against ``reference``."""
        totals = self._summary.totals
        macs = None if self._summary.unsupported else totals.macs
        origin = self.reference.get("source")
        stated = str(origin) if origin else None

        def total(quantity: Quantity, found: int | None) -> CheckedTotal:
            expected = self.reference.get(quantity)
            ok = None if expected is None else found == expected
            return CheckedTotal(
                source=self.source, quantity=quantity, found=found, expected=expected, ok=ok, reference=stated
            )

        return CheckReport((total("params", totals.params), total("macs", macs)))

    # -- with weights ------------------------------------------------------------------------------------------------

    def module(self, *, seed: int = 0, weights: str | Path | None = None) -> nn.Module:
        """A torch module of the same graph, its weights from a file or drawn from ``seed``, under the graph's names.

        `CnnscopeError` where the file has no weights (E420 to E423) or does not fit (E425).
        """
        from cnnscope.nn.build import build
        from cnnscope.nn.weights import load_weights

        network = build(self._with_numbers(), seed=seed)
        theirs = None if weights is None or self.extras.own_format is None else self.extras.own_format(Path(weights))
        if theirs is not None:
            network.load_state_dict(theirs)
        elif weights is not None:
            load_weights(network, self.graph, weights)
        return network

    def weighted(self, *, weights: str | Path | None = None, seed: int = 0) -> Weighted:
        """The network with weights, for any inputs and outputs; see `cnnscope.trained.weighted.open_weighted`."""
        from cnnscope.trained.weighted import open_weighted

        return open_weighted(self, weights=weights, seed=seed)

    @takes(Running)
    def trained(self, options: Running) -> TrainedNetwork:
        """The network with weights and what running it on images takes; see `cnnscope.trained.loading.open_network`."""
        from cnnscope.trained.loading import open_network

        return open_network(self, options)

    def check_weights(self, file: str | Path, *, map: str | None = None) -> WeightsCheck:
        """Names and shapes in a file of weights beside the network's; only the file's header is read.

        `CnnscopeError`: E420 to E423 no file of weights, E424 and E425 a mapping that cannot be used.
        """
        from cnnscope.nn.mapping import name_map
        from cnnscope.nn.weights import compare
        from cnnscope.render.weights import WeightsCheck

        checkpoint = self._checkpoint(file)
        comparison = compare(self.graph, checkpoint, name_map(self.graph, checkpoint, map))
        return WeightsCheck(self.graph, self.source, checkpoint, comparison)

    def map_weights(self, file: str | Path) -> WeightsMap:
        """Which tensor of a file is which weight of the network, by shape and order; E420 to E423 for no such file."""
        from cnnscope.nn.mapping import propose
        from cnnscope.render.weights import WeightsMap

        checkpoint = self._checkpoint(file)
        return WeightsMap(self.graph, self.source, checkpoint, propose(self.graph, checkpoint))

    def _checkpoint(self, file: str | Path) -> Checkpoint:
        """The contents of a file of weights: of torch, or of the format of the network's own file."""
        from cnnscope.nn.checkpoint import held, read_header

        theirs = None if self.extras.own_format is None else self.extras.own_format(Path(file))
        return read_header(file) if theirs is None else held(Path(file), theirs)

    def export(
        self, to: ExportFormat, *, weights: str | Path | None = None, map: str | None = None
    ) -> Text | OnnxExport:
        """The network as ``pytorch`` code, ``onnx``, a ``spec`` or ``json``; ``weights`` are for ONNX alone.

        `CnnscopeError`: E400 weights for another format, E420 to E425 weights that do not fit, E43x what cannot be
        written in that format.
        """
        from cnnscope.render.export import export

        graph = self._with_numbers() if to in ("pytorch", "onnx") else self.graph
        return export(graph, to, ExportOptions(weights=weights, map=map))

    def _with_numbers(self) -> Graph:
        """The graph with numbers of buffers that nobody stores, for which the module may have to be made."""
        from cnnscope.sources.torch.numbers import with_numbers

        return with_numbers(self.graph, self.extras.make)

    @takes(TransferOptions)
    def transfer(self, options: TransferOptions) -> TransferReport:
        """Another head for ``classes`` classes: ways of training it side by side; ``plan.graph`` is the new network.

        With ``train`` one of them is run, and ``write("net.safetensors")`` writes the weights. `CnnscopeError`: E493
        without a head, E494 for a pattern that freezes nothing, E495 for fewer than 2 classes, E496 to E498 for images,
        training and options that do not go together.
        """
        from cnnscope.training.result import transfer

        return transfer(self, options)

    @takes(FilterOptions)
    def filters(self, options: FilterOptions) -> Illustrated:
        """The filters of layers beside what chance gives: norm, orientation, bandwidth, twins, dead ones."""
        from cnnscope.learned.filters.result import filters

        return filters(self, options)

    @takes(FeatureOptions)
    def features(self, options: FeatureOptions) -> Features:
        """Feature maps on an image; with ``channel`` a page about that channel."""
        from cnnscope.learned.features.result import features

        return features(self, options)

    @takes(AttributionOptions)
    def attribute(self, options: AttributionOptions) -> Attributions:
        """Which pixels of an image the score of a class is due to, by several methods and checkpoints."""
        from cnnscope.trust.session import attributions

        return attributions(self, options)

    @takes(AuditOptions)
    def audit(self, options: AuditOptions) -> Audit:
        """How much predictions and features change when images move, with controls.

        ``output`` is the folder for shards, result and report, which an interrupted audit continues from; without it
        nothing is kept but what is returned. `CnnscopeError` where the network cannot run (E45x), images cannot be used
        (E46x) or the audit cannot be made (E40x, E47x).
        """
        from cnnscope.trained.loading import open_network

        network = open_network(self, part(options, Running))
        from cnnscope.audits.audit import audit  # only now, so that a missing torch is missed first

        return audit(network, options)


Source = str | Path | Graph | Model | Callable[..., Any]
"""What `load` takes; torch modules are callable."""
Settings = Mapping[str, Any] | None
"""Other values for a spec's parameters, or arguments of a factory."""


@explained
def load(
    source: Source, *, input: Sizes | None = None, set: Settings = None, example: object = None, trace_batch: int = 1
) -> Model:
    """The network that ``source`` names; `CnnscopeError` where there is none.

    ``source`` is what the command line takes (``"resnet50"``, ``"net.yaml"``, ``"timm:vit_tiny_patch16_224"``), a path,
    a graph, a torch module (which stays as it is), or a function that makes one.
    ``input`` replaces the input's size, channels first and without batch: ``(3, 224, 224)``, ``"3x224x224"``, or by
    name ``{"left": (3, 64, 64), "ids": "128:int64"}``. ``set`` gives a spec's parameters other values, or a factory its
    arguments. ``example`` is for torch modules, in place of ``input``: what the module is called with, which may be a
    tensor, a tuple of arguments or a dict of them by name, in any nesting and with a batch. ``trace_batch`` images are
    in the run of a torch module that needs more than one; figures stay those of one image where images stay apart.
    """
    if not isinstance(trace_batch, int) or trace_batch < 1:
        raise CnnscopeError.of("E400", f"`trace_batch` is at least 1, not `{trace_batch}`")
    if example is not None and (input is not None or isinstance(source, (str, Path, Graph, Model))):
        what = "`example` and `input` exclude each other" if input is not None else "`example` is for torch modules"
        raise CnnscopeError.of("E403", what, hint="say `input=(3, 224, 224)` alone, or pass the module itself")
    if isinstance(source, (Model, Graph)) and trace_batch > 1:
        raise no_trace(source.name)
    if isinstance(source, Model):
        return source
    if isinstance(source, Graph):
        return Model(source, source.name)
    if isinstance(source, (str, Path)):
        loaded = load_source(str(source), inputs=sizes(input), settings=set, trace_batch=trace_batch)
    else:
        from cnnscope.sources.torch.models import load_live

        loaded = load_live(source, sizes(input), set or {}, example, trace_batch)
    return Model(
        loaded.graph, loaded.source, loaded.reference, loaded.about, loaded.notes, loaded.extras, loaded.remarks
    )


def resizes(sizes: tuple[InputSize, ...]) -> list[Resize]:
    """Sizes of inputs as a change; nothing where none is given."""
    from cnnscope.edits.change import Resize

    return [Resize({size.name or "": size.shape for size in sizes})] if sizes else []


def _kept_extras(extras: Extras, graph: Graph) -> Extras:
    """What is needed to run a changed network: the same weights where they fit."""

    def fitting(values: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        from cnnscope.nn.kept import kept

        return kept(graph, values())

    make, own, pretrained = extras.make, extras.own, extras.pretrained
    if own is None and make is not None and extras.own_weights is not None:
        own = lambda: make().state_dict()  # noqa: E731  # it is the source of the values
    return Extras(
        own=None if own is None else lambda: fitting(own), own_weights=extras.own_weights,
        pretrained=None if pretrained is None else lambda: fitting(pretrained),
        data=extras.data, labels=extras.labels, preprocess=extras.preprocess,
    )  # fmt: skip


def _exact_ranges(graph: Graph, summary: Summary) -> dict[str, Exact]:
    """Smallest and largest extent of each row's clipped local field; rows without a field are left out."""
    from cnnscope.analysis.receptive_field.exact import exact

    rows = [row.name for row in summary.rows if row.receptive_field is not None]
    answers = exact(graph, rows)
    ranges = ((name, answers.range(name, local=True)) for name in rows)
    return {name: {"min": list(found.min), "max": list(found.max)} for name, found in ranges if found}


def sizes(sizes: Sizes | None) -> tuple[InputSize, ...]:
    """Sizes in any form as one for each input."""
    if not sizes:
        return ()
    if isinstance(sizes, Mapping):
        return tuple(_size(size, name) for name, size in sizes.items())
    if not isinstance(sizes, (str, int)) and any(isinstance(size, InputSize) for size in sizes):
        return tuple(size for size in sizes if isinstance(size, InputSize))
    return (_size(cast("str | int | Sequence[int]", sizes), None),)


def _size(size: str | int | Sequence[int], name: str | None) -> InputSize:
    text = str(size) if isinstance(size, (str, int)) else "x".join(map(str, size)) or "scalar"
    return InputSize.parse(text if name is None else f"{name}={text}")
