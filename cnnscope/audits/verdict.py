"""What an audit comes to, as an exit code and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cnnscope.audits.result import AuditFacts
from cnnscope.audits.statistics.gates import GateResult

PASS: Final = 0
FAILED: Final = 1
INVALID: Final = 4
INCOMPLETE: Final = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """``code`` is the exit code: 0 pass, 1 a gate failed, 4 a control failed, 5 incomplete; ``text`` says why."""

    code: Literal[0, 1, 4, 5]
    word: Literal["pass", "fail", "invalid", "incomplete"]
    text: str


def verdict(facts: AuditFacts, gates: Sequence[GateResult] = ()) -> Verdict:
    """Whether the audit can be trusted comes before what it found.

    An incomplete audit says nothing of what is missing; a failed control, or an exact prediction that the measurement
    contradicts, means that the audit or the prediction is wrong, and gates mean nothing then.
    """
    if not facts.complete:
        text = f"{facts.shards_done} of {facts.shards} shards are there; run the audit again to go on"
        return Verdict(INCOMPLETE, "incomplete", text)
    controls = [control.name for control in facts.controls if control.passed is False]
    alarms = [p.transform for p in facts.predictions if p.claim == "exact" and p.agrees is False]
    if controls or alarms:
        parts = [f"{_count(len(controls), 'control')} failed: {', '.join(controls)}"] if controls else []
        parts += [f"the measurement contradicts the architecture: {', '.join(alarms)}"] if alarms else []
        return Verdict(INVALID, "invalid", "; ".join(parts))
    failed = [gate.expression for gate in gates if not gate.passed]
    if failed:
        return Verdict(FAILED, "fail", f"{_count(len(failed), 'gate')} failed: {', '.join(failed)}")
    passed = sum(control.passed is True for control in facts.controls)
    open_ = len(facts.controls) - passed
    checked = f"{_count(passed, 'control')} passed" if facts.controls else "no control was run"
    checked += f", {open_} could not tell" if open_ else ""
    return Verdict(PASS, "pass", f"{checked}, {_count(len(gates), 'gate')} kept" if gates else f"{checked}; no gates")


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
