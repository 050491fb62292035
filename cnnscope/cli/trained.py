"""The commands ``filters features kernels attribute transfer``: what a network has learned, and can learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.attribution.methods import METHODS
from cnnscope.cli import options as o
from cnnscope.cli.flat import flat
from cnnscope.cli.output import Animated, Pictured, WeightsWriting
from cnnscope.errors import CnnscopeError
from cnnscope.options.trained import AttributionOptions, FeatureOptions, FilterOptions, KernelOptions, TransferOptions
from cnnscope.progress import on_stderr
from cnnscope.trained.images import known
from cnnscope.trust.checks import CHECKS

if TYPE_CHECKING:
    from cnnscope.training.report import TransferReport

_DATA = f"Images: {known()}."
_WITH_ARRAYS = (
    "Write to a file: .svg .png .pdf with the arrays and a manifest beside it; .json .csv .tsv .md .txt have the "
    "figures alone."
)


@flat(data=_DATA, output=_WITH_ARRAYS)
def filters(options: FilterOptions, loading: o.Loading, writing: Pictured, source: o.DefaultSource = o.DEFAULT) -> None:
    """Filters of a layer: norm, orientation, bandwidth, nearest designed kernel, twins; with -o out.png the atlas.

    Images, from --data or the network's own, show which filters are dead.
    """
    from cnnscope.learned.filters.result import filters

    model = loading.load(source)
    with on_stderr(writing.quiet) as progress, writing.announced("comparing filters with random ones"):
        found = filters(model, options, progress)
    writing.deliver(found)


@flat(data=_DATA, output=f"{_WITH_ARRAYS} NAME-features.png in this folder without it.")
def features(
    options: FeatureOptions, loading: o.Loading, writing: Pictured, source: o.DefaultSource = o.DEFAULT
) -> None:
    """Feature maps on an image; with --channel a page about one channel, from images of --data or the network's own.

    The page has the kernel and its spectrum, how activations are distributed, the nine images that activate it most,
    cut out by what the unit sees, their deconvolution and guided backpropagation, and the image that maximises it.
    """
    from cnnscope.learned.features.result import features

    model = loading.load(source)
    with on_stderr(writing.quiet) as progress:
        found = features(model, options, progress)
    with writing.announced("drawing"):
        writing.deliver(found, Path(f"{found.name}.png"))
    if writing.output is None or writing.picture:
        writing.say(*(f"note: {line}" for line in found.remarks))


@flat(
    output="Write to a file: .svg .png .pdf, and of numbers .gif, a step a frame; kernels on an image have arrays and "
    "a manifest beside it; .json .csv .tsv .md .txt have the figures alone."
)
def kernels(options: KernelOptions, writing: Animated) -> None:
    """Designed kernels and what they do to an image; with --kernel and --input, every step of one.

    `cnnscope kernels --kernel "-1 1" --input "0 1 0 1 1"` shows windows, products, sums and the Toeplitz matrix.
    """
    from cnnscope.learned.filters.sliding import kernels

    writing.deliver(kernels(options))


@flat(method=f"Names of methods, or `all`; may be repeated, or name several as A,B: {', '.join(METHODS.names())}.",
      trust=f"Check each attribution: {', '.join(CHECKS.names())}.", data=_DATA, output=_WITH_ARRAYS)  # fmt: skip
def attribute(
    options: AttributionOptions, loading: o.Loading, writing: Pictured, source: o.DefaultSource = o.DEFAULT
) -> None:
    """Attributions: which pixels a class score is due to, as a picture, raw arrays and figures.

    Writes NAME-attribution.png here unless -o says otherwise, with a .npy for each tile and a JSON manifest beside it.
    """
    from cnnscope.attribution.session import chosen_methods
    from cnnscope.trust.session import attributions

    chosen_methods(options)  # a wrong name is an error before the network is loaded
    model = loading.load(source)
    with on_stderr(writing.quiet) as progress:
        found = attributions(model, options, progress)
    place = writing.picture or (Path(f"{found.name}.png") if writing.output is None else None)
    if place is None:
        writing.emit(found)
        return
    files = found.write(place)
    arrays = len(files) - 2
    writing.say(f"wrote {place}, {arrays} array{'s' if arrays > 1 else ''} and {place.with_suffix('.json').name}")
    writing.show(found.at(place))


@flat(
    train=f"Train on these images: {known()}.",
    output="Write the trained weights (.safetensors .pt .pth), or the report (.json .csv .tsv .md .txt).",
    verbose="List the plan layer by layer, with all columns.",
)
def transfer(
    options: TransferOptions, loading: o.Loading, writing: WeightsWriting,
    source: o.DefaultSource = o.DEFAULT,
) -> None:  # fmt: skip
    """Give a network another head for other classes: what is kept, frozen and trained, and what training costs."""
    from cnnscope.training.result import transfer

    target = writing.picture
    if target is not None and options.train is None:
        raise CnnscopeError.of("E498", f"there are no weights to write to `{target}`", hint="train with `--train PATH`")
    model = loading.load(source)
    with on_stderr(writing.quiet) as progress:
        report = replace(transfer(model, options, progress), verbose=writing.verbose)
    if target is None:
        writing.emit(report)
        return
    report.write(target)
    writing.show(report)
    writing.say(f"wrote {target}; {how_to_load(report, source, target, loading, options.head)}")


def how_to_load(report: TransferReport, source: str, path: Path, loading: o.Loading, head: str | None) -> str:
    """How to load the weights again: with the source if it can have that many classes, else in Python."""
    from cnnscope import api
    from cnnscope.ops.traced import Traced
    from cnnscope.sources.inputs import parse_inputs

    graph, classes, inputs, given = report.plan.graph, report.plan.classes, loading.input or (), loading.settings
    wanted = {key: param.shape for key, param in graph.stored.items()}
    for name in (None, "classes", "num_classes"):
        changed: Mapping[str, str] = given if name is None else {**given, name: str(classes)}
        try:
            found = api.load(source, input=parse_inputs(inputs), set=changed).graph
        except CnnscopeError:  # it has no such parameter
            continue
        if {key: param.shape for key, param in found.stored.items()} == wanted:
            words = [*(f" --input {size}" for size in inputs), *(f" --set {k}={v}" for k, v in changed.items())]
            return f"load it with `{source}{''.join(words)} --weights {path}`"
    if any(isinstance(node.op, Traced) for node in graph.nodes):
        return f"load it with `load_state_dict` into a module of {classes} classes"
    size = f", input={inputs[0]!r}" if len(inputs) == 1 and "=" not in inputs[0] else ""
    named = f", head={head!r}" if head else ""
    made = f"cnnscope.load({source!r}{size}{f', set={given!r}' if given else ''}).transfer({classes}{named}).plan.graph"
    return f"load it in Python with `cnnscope.load({made}).module(weights={str(path)!r})`"
