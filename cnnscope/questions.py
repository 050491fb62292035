"""Every question a network can be asked, as a function of whatever `cnnscope.load` takes.

import cnnscope
cnnscope.summary("lenet5")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.api import Settings, Sizes, Source, load
from cnnscope.render.checks import CheckReport
from cnnscope.render.layers import LayerReport

if TYPE_CHECKING:
    from cnnscope.audits.result import AuditResult
    from cnnscope.render.difference import DifferenceReport
    from cnnscope.render.equivariance import EquivarianceReport


def summary(source: Source, *, input: Sizes | None = None, set: Settings = None, **options: Any) -> LayerReport:
    """`Model.summary` of whatever `load` takes."""
    return load(source, input=input, set=set).summary(**options)


def shapes(source: Source, *, input: Sizes | None = None, set: Settings = None, **options: Any) -> LayerReport:
    """`Model.shapes` of whatever `load` takes."""
    return load(source, input=input, set=set).shapes(**options)


def params(source: Source, *, input: Sizes | None = None, set: Settings = None, **options: Any) -> LayerReport:
    """`Model.params` of whatever `load` takes."""
    return load(source, input=input, set=set).params(**options)


def flops(source: Source, *, input: Sizes | None = None, set: Settings = None, **options: Any) -> LayerReport:
    """`Model.flops` of whatever `load` takes."""
    return load(source, input=input, set=set).flops(**options)


def memory(source: Source, *, input: Sizes | None = None, set: Settings = None, **options: Any) -> LayerReport:
    """`Model.memory` of whatever `load` takes."""
    return load(source, input=input, set=set).memory(**options)


def receptive_field(source: Source, *, input: Sizes | None = None, set: Settings = None, **options: Any) -> LayerReport:
    """`Model.receptive_field` of whatever `load` takes."""
    return load(source, input=input, set=set).receptive_field(**options)


def diff(a: Source, b: Source, *, input: Sizes | None = None) -> DifferenceReport:
    """`Model.diff` of whatever `load` takes."""
    return load(a, input=input).diff(load(b, input=input))


def equivariance(source: Source, *, input: Sizes | None = None, set: Settings = None) -> EquivarianceReport:
    """`Model.equivariance` of whatever `load` takes."""
    return load(source, input=input, set=set).equivariance()


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


def check(source: Source, *, input: Sizes | None = None, set: Settings = None) -> CheckReport:
    """`Model.check` of whatever `load` takes."""
    return load(source, input=input, set=set).check()
