"""Every question a network can be asked, as a function of whatever `cnnscope.load` takes.

import cnnscope
cnnscope.summary("lenet5")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from cnnscope.api import Model, Settings, Sizes, Source, load
from cnnscope.errors import explained

P = ParamSpec("P")
Answer = TypeVar("Answer", covariant=True)

if TYPE_CHECKING:
    from cnnscope.audits.result import AuditResult
    from cnnscope.render.difference import DifferenceReport


class Question(Protocol[P, Answer]):
    """A method of `Model` as a function of whatever `load` takes."""

    def __call__(
        self, source: Source, input: Sizes | None = None, set: Settings = None, *args: P.args, **kwargs: P.kwargs
    ) -> Answer: ...


def question(method: Callable[Concatenate[Model, P], Answer]) -> Question[P, Answer]:
    """The function that loads a network and calls the method: ``summary("lenet5", input=(1, 64, 64), level="op")``."""

    def call(
        source: Source, input: Sizes | None = None, set: Settings = None, *args: P.args, **kwargs: P.kwargs
    ) -> Answer:
        return method(load(source, input=input, set=set), *args, **kwargs)

    own = [parameter for name, parameter in signature(call).parameters.items() if name in ("source", "input", "set")]
    _, *options = signature(method).parameters.values()
    call.__signature__ = signature(method).replace(parameters=[*own, *options])  # type: ignore[attr-defined]  # for `help`
    call.__doc__, call.__name__, call.__qualname__ = method.__doc__, method.__name__, method.__name__
    return call


summary = question(Model.summary)
shapes = question(Model.shapes)
params = question(Model.params)
flops = question(Model.flops)
memory = question(Model.memory)
receptive_field = question(Model.receptive_field)
equivariance = question(Model.equivariance)
check = question(Model.check)


def diff(a: Source, b: Source, *, input: Sizes | None = None) -> DifferenceReport:
    """`Model.diff` of whatever `load` takes."""
    return load(a, input=input).diff(load(b, input=input))


@explained
def audit(
    source: Source, *, out: str | Path | None = None, input: Sizes | None = None, set: Settings = None,
    weights: str | Path | None = None, data: str | Path | None = None, labels: str | Path | None = None,
    preprocess: Mapping[str, Any] | None = None, device: str = "auto", dtype: str = "float32", seed: int = 0,
    fail_under: Sequence[str] = (), baseline: str | Path | None = None, max_regression: float | None = None,
    **options: Any,
) -> AuditResult:  # fmt: skip
    """How much a network's answers and features change when its images move, as ``cnnscope audit`` measures it.

    ``out`` is the folder for shards, result and report, which an interrupted audit goes on from; without it nothing is
    kept but what is returned. ``options`` are those of `cnnscope.audits.run.job.open_job`: ``preset``, ``limit``,
    ``border``, ``batch``, ``layers``, ``strict``, ``size``.

    `CnnscopeError` where the network cannot run (E45x), images cannot be used (E46x) or the audit not be made (E47x).
    """
    from cnnscope.audits.run.audit import Asked, run_alone
    from cnnscope.audits.run.job import open_job

    asked = Asked.of(fail_under, None if baseline is None else Path(baseline), max_regression)
    network = load(source, input=input, set=set).trained(
        weights=weights, seed=seed, device=device, dtype=dtype, preprocess=preprocess, labels=labels, data=data
    )
    return run_alone(open_job(network, seed=seed, **options), None if out is None else Path(out), asked)
