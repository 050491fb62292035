"""A result with the gates that someone asks for, and beside an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cnnscope.audits.result import AuditResult
from cnnscope.audits.statistics import comparison, gates
from cnnscope.audits.statistics.intervals import Bootstrap
from cnnscope.errors import CnnscopeError


def judged(
    result: AuditResult, fail_under: Sequence[str] = (), baseline: tuple[str, AuditResult] | None = None,
    max_regression: float | None = None,
) -> AuditResult:  # fmt: skip
    """The result with its gates decided and its comparison with ``baseline`` (where it was read from, and what it is).

    What is not asked anew stays as it was stored. `CnnscopeError`: E476 for a gate that cannot be read, E477
    for one about what was not measured, E409 for ``max_regression`` without a baseline.
    """
    if max_regression is not None and baseline is None:
        raise CnnscopeError.of("E409", "`--max-regression` is from a `--baseline`", hint="name an audit's folder")
    bootstrap = Bootstrap(len(result.outcomes))
    bounds = [gates.check(gates.parse(text), result.outcomes, bootstrap) for text in fail_under]
    kept = bounds or [gate for gate in result.gates if not gate.difference]
    if baseline is None:
        return replace(result, gates=(*kept, *(gate for gate in result.gates if gate.difference)))
    source, earlier = baseline
    found = comparison.compare(earlier, result)
    falls = () if max_regression is None else comparison.regressions(found, max_regression)
    sides = comparison.side(earlier, source), comparison.side(result, "this audit")
    return replace(result, gates=(*kept, *falls), against=comparison.record(found, *sides))
