"""Every method of `Model` as a function of anything that `cnnscope.load` takes, and functions that need no network.

import cnnscope
cnnscope.summary("lenet5")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from cnnscope.api import Model, Settings, Sizes, Source, load, sizes
from cnnscope.errors import CnnscopeError, did_you_mean, explained
from cnnscope.options.group import takes, takes_alone
from cnnscope.options.trained import Gates, KernelOptions

P = ParamSpec("P")
Result = TypeVar("Result", covariant=True)

if TYPE_CHECKING:
    from cnnscope.audits.audit import Audit
    from cnnscope.edits.change import Change
    from cnnscope.render.ablation import AblationReport
    from cnnscope.render.audit.report import CompareReport
    from cnnscope.render.comparison import ZooReport
    from cnnscope.render.diagram.difference import Difference
    from cnnscope.render.illustrated import Illustrated, Text
    from cnnscope.render.reference import OpList, OpReference, WordReference
    from cnnscope.render.sliding import SlideReport


class Question(Protocol[P, Result]):
    """A method of `Model` as a function of anything that `load` takes."""

    def __call__(
        self, source: Source, input: Sizes | None = None, set: Settings = None, example: object = None,
        trace_batch: int = 1, *args: P.args, **kwargs: P.kwargs,
    ) -> Result: ...  # fmt: skip


def question(method: Callable[Concatenate[Model, P], Result]) -> Question[P, Result]:
    """The function that loads a network and calls the method: ``summary("lenet5", input=(1, 64, 64), level="op")``."""

    def call(
        source: Source, input: Sizes | None = None, set: Settings = None, example: object = None,
        trace_batch: int = 1, *args: P.args, **kwargs: P.kwargs,
    ) -> Result:  # fmt: skip
        model = load(source, input=input, set=set, example=example, trace_batch=trace_batch)
        return method(model, *args, **kwargs)

    kinds = Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD
    own = [parameter for parameter in signature(call).parameters.values() if parameter.kind not in kinds]
    _, *options = (p.replace(kind=Parameter.KEYWORD_ONLY) for p in signature(method).parameters.values())
    call.__signature__ = signature(method).replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # for `help`
    call.__doc__, call.__name__, call.__qualname__ = method.__doc__, method.__name__, method.__name__
    return call


summary = question(Model.summary)
shapes = question(Model.shapes)
params = question(Model.params)
flops = question(Model.flops)
memory = question(Model.memory)
receptive_field = question(Model.receptive_field)
unit = question(Model.unit)
unit_values = question(Model.unit_values)
growth = question(Model.growth)
diagram = question(Model.diagram)
page = question(Model.page)
equivariance = question(Model.equivariance)
check = question(Model.check)
check_weights = question(Model.check_weights)
map_weights = question(Model.map_weights)
export = question(Model.export)
transfer = question(Model.transfer)
filters = question(Model.filters)
features = question(Model.features)
attribute = question(Model.attribute)
audit = question(Model.audit)


def diff(
    a: Source, b: Source, *, input: Sizes | None = None, set: Settings = None, example: object = None,
    trace_batch: int = 1,
) -> Difference:  # fmt: skip
    """What changes layer by layer from ``a`` to ``b``; how they are loaded is said for both."""
    first, second = (load(x, input=input, set=set, example=example, trace_batch=trace_batch) for x in (a, b))
    return first.diff(second)


def ablate(
    source: Source, *removals: str | Sequence[str], input: Sizes | None = None, set: Settings = None,
    example: object = None, trace_batch: int = 1,
) -> AblationReport:  # fmt: skip
    """`Model.ablate` of anything that `load` takes: ``ablate("alexnet", "fc7", ["conv3", "conv4"])``."""
    return load(source, input=input, set=set, example=example, trace_batch=trace_batch).ablate(*removals)


def edit(
    source: Source, *changes: str | Change, set: Settings = None, example: object = None, trace_batch: int = 1,
    **options: Any,
) -> Model:  # fmt: skip
    """`Model.edit` of anything that `load` takes: ``edit("resnet18", "conv1.stride=1", scale=0.5)``."""
    return load(source, set=set, example=example, trace_batch=trace_batch).edit(*changes, **options)


@explained
def expand(source: str | Path, *, input: Sizes | None = None, set: Settings = None) -> Text:
    """A spec with all blocks, repeats, defaults and expressions expanded; E410 for a source that is not a spec."""
    from cnnscope.render.illustrated import Text
    from cnnscope.sources import spec_file
    from cnnscope.sources.resolve import resolve
    from cnnscope.spec.emit import expand as flat

    if resolve(str(source)).name not in ("zoo", "spec"):
        raise CnnscopeError.of("E410", f"`{source}` is not a spec", hint="`expand` takes a spec or a model of the zoo")
    text = flat(spec_file.read(str(source), sizes(input), set))
    return Text(text.rstrip("\n"), "spec", Path(source).stem)


@explained
def zoo(*names: str) -> ZooReport:
    """The models that come with cnnscope, with parameters, MACs, receptive field and origin.

    ``names`` select some: ``resnet*``, or ``resnet`` for all with these letters. E401 where one selects nothing.
    """
    from cnnscope.render.comparison import ZooDocument, ZooModel, ZooReport
    from cnnscope.render.documents.network import Conventions, field_of
    from cnnscope.sources import zoo as models

    def entry(name: str) -> ZooModel:
        model = load(name)
        found = model.summary().summary
        return ZooModel(
            name=name,
            title=model.name,
            inputs=tuple(value.features for value in model.graph.inputs.values()),
            params=found.totals.params,
            macs=None if found.unsupported else found.totals.macs,
            receptive_field=field_of(found.receptive_field),
            year=model.about.get("year"),
            source=model.about.get("source"),
        )

    return ZooReport(ZooDocument(conventions=Conventions(), models=tuple(map(entry, models.matching(names)))))


def layer_types(name: str | None = None) -> OpList | OpReference | WordReference:
    """The reference of layer types, or of one: arguments, defaults, worked examples. E201 for an unknown name.

    A name may be another framework's, ``Conv2d``; `use`, `residual`, `reuse` and `heads` are explained too.
    """
    from cnnscope.ops import REGISTRY
    from cnnscope.ops.base import named
    from cnnscope.render.reference import OpList, OpReference, WordReference
    from cnnscope.spec.structures import STRUCTURES_EXPLAINED

    if name is None:
        return OpList.of_registry()
    if name in STRUCTURES_EXPLAINED:
        return WordReference(name)
    op = named(name)
    if op is None:
        hint = did_you_mean(name.lower(), [*REGISTRY, *STRUCTURES_EXPLAINED]) or "`cnnscope ops` lists them"
        raise CnnscopeError.of("E201", f"unknown layer type `{name}`", hint=hint)
    return OpReference(op)


@explained
@takes_alone(KernelOptions)
def kernels(options: KernelOptions) -> SlideReport | Illustrated:
    """Designed kernels on an image; with ``kernel`` and ``input`` every step of one over numbers."""
    from cnnscope.learned.filters.sliding import kernels

    return kernels(options)


@explained
@takes(Gates)
def report(result: str | Path, options: Gates) -> Audit:
    """A finished audit from its folder or ``audit.json``, checked against gates; nothing runs again.

    `CnnscopeError`: E475 no result, E476 and E477 gates that cannot be read or decided, E409 a bound without baseline.
    """
    from cnnscope.audits.audit import report

    return report(result, options)


@explained
def compare(first: str | Path, *others: str | Path) -> CompareReport:
    """Finished audits beside the first; on the same images, image by image. E475 and E477 where that cannot be."""
    from cnnscope.audits.audit import compare

    return compare(first, *others)
