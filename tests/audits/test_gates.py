"""Gates: how they are written, what they decide, and what an audit comes to. Differences between audits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import comb

import numpy as np
import pytest
from synthetic_outcomes import ALL, FLIPS, grid, outcomes, result, turns

from cnnscope.audits.comparison import compare, regressions
from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.record import AuditFacts, Control, Prediction, verdict
from cnnscope.audits.result import AuditResult
from cnnscope.audits.statistics import METRICS, gates
from cnnscope.audits.statistics.gates import Gate, GateResult
from cnnscope.audits.statistics.intervals import (
    Bootstrap,
    Estimate,
    independent_difference,
    mcnemar,
    paired_difference,
    share,
)
from cnnscope.errors import CnnscopeError

BOOT = Bootstrap(60)


def refusal(expression: str, o: Outcomes | None = None) -> tuple[str, str, str | None]:
    def ask() -> None:
        gate = gates.parse(expression)
        assert o is not None
        gates.check_measurable([gate], o.transforms, bool((o.label >= 0).any()))

    with pytest.raises(CnnscopeError) as caught:
        ask()
    (diagnostic,) = caught.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.hint


def test_gates_are_read() -> None:
    for text, family, label, metric, bound in (
        ("translation@1.agreement=0.95", "translation", "1", "agreement", 0.95),
        ("translation.agreement=.9", "translation", None, "agreement", 0.9),
        ("scale@0.7.kappa=1e-1", "scale", "0.7", "kappa", 0.1),
        ("rotation@-30.worst=0", "rotation", "-30", "worst", 0),
        ("flip@horizontal.accuracy=1", "flip", "horizontal", "accuracy", 1),
        (" translation @ 0.5 . consistency = 0.5 ", "translation", "0.5", "consistency", 0.5),
        ("rotation.kappa=-0.5", "rotation", None, "kappa", -0.5),
    ):
        assert gates.parse(text) == Gate(text, family, label, metric, bound)


WRITE = "write FAMILY@MAGNITUDE.METRIC=BOUND, as `translation@1.agreement=0.95`, or without @MAGNITUDE for their mean"
UNREADABLE = [
    ("translation", "`translation` is no gate", WRITE),
    ("translation.agreement", "`translation.agreement` is no gate", WRITE),
    ("translation.agreement>0.9", "`translation.agreement>0.9` is no gate", WRITE),
    ("", "`` is no gate", WRITE),
    ("rotaton.agreement=0.9", "`rotaton.agreement=0.9`: no probe is called `rotaton`", "did you mean `rotation`?"),
    ("shear.agreement=0.9", "`shear.agreement=0.9`: no probe is called `shear`",
     "the probes are translation, scale, rotation, flip"),
    ("scale.agrement=0.9", "`scale.agrement=0.9`: no metric is called `agrement`", "did you mean `agreement`?"),
    ("scale.f1=0.9", "`scale.f1=0.9`: no metric is called `f1`",
     "the metrics are agreement, kappa, accuracy, consistency, worst"),
    ("scale.1f=0.9", "`scale.1f=0.9` is no gate", WRITE),
    ("scale.loss=0.9", "`scale.loss=0.9`: no metric is called `loss`",
     "the metrics are agreement, kappa, accuracy, consistency, worst"),
    ("scale.agreement=95", "`scale.agreement=95`: `95` is no share", "bounds are from 0 to 1"),
    ("scale.agreement=0.9.1", "`scale.agreement=0.9.1`: `0.9.1` is no share", "bounds are from 0 to 1"),
    ("scale.agreement=-0.1", "`scale.agreement=-0.1`: `-0.1` is no share", "bounds are from 0 to 1"),
    ("scale.agreement=1e999", "`scale.agreement=1e999`: `1e999` is no share", "bounds are from 0 to 1"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint"), UNREADABLE, ids=[text for text, *_ in UNREADABLE])
def test_what_is_no_gate_is_refused(text: str, message: str, hint: str) -> None:
    assert refusal(text) == ("E476", message, hint)


def test_gates_about_what_was_not_measured_are_refused() -> None:
    o = outcomes(labels=False, transforms=(*grid(1, 4), *turns(90)))
    assert refusal("translation@3.agreement=0.9", o) == (
        "E477",
        "`translation@3.agreement=0.9`: the audit has no translation@3",
        "it has translation@1, translation@4",
    )
    assert refusal("scale.kappa=0.9", o) == (
        "E477",
        "`scale.kappa=0.9`: the audit has no scale",
        "it measures translation, rotation",
    )
    assert refusal("scale@0.7.kappa=0.9", o) == (
        "E477",
        "`scale@0.7.kappa=0.9`: the audit has no scale@0.7",
        "it measures translation, rotation",
    )
    assert refusal("translation.accuracy=0.9", o)[:2] == (
        "E477",
        "`translation.accuracy=0.9`: the images have no labels",
    )
    assert refusal("rotation@90.consistency=0.9", o)[:2] == (
        "E477", "`rotation@90.consistency=0.9`: consistency is of two transforms or more")  # fmt: skip


def test_a_gate_holds_where_the_lower_bound_does() -> None:
    o = outcomes(images=360)
    boot = Bootstrap(360)
    estimate = share((o.top1[:, :4] == o.top1_clean[:, None]).mean(1))
    assert estimate.value is not None
    assert estimate.low is not None
    for bound, passed in ((estimate.low - 1e-9, True), (estimate.low + 1e-9, False), (estimate.value, False)):
        found = gates.check(Gate("x", "translation", "1.0", "agreement", bound), o, boot)
        assert (found.passed, found.value, found.low) == (passed, estimate.value, estimate.low)


def test_a_gate_without_a_magnitude_is_about_the_mean_over_magnitudes_on_one_grid() -> None:
    o = outcomes(images=100, transforms=(*grid(1, 8), *turns(-30, 30, 15, 90, 180)))
    same = o.top1 == o.top1_clean[:, None]
    found = gates.check(gates.parse("rotation.agreement=0.5"), o, Bootstrap(100))
    fifteen, thirty = same[:, 10].mean(), same[:, [8, 9]].mean()
    assert found.value == pytest.approx((fifteen + thirty) / 2)  # neither by transform nor with quarter turns
    worst = gates.check(gates.parse("rotation.worst=0.5"), o, Bootstrap(100))
    assert worst.value == same[:, [8, 9, 10]].all(1).mean()
    quarter = gates.check(gates.parse("rotation@90.agreement=0.5"), o, Bootstrap(100))
    assert quarter.value == same[:, 11].mean()


def test_every_metric_can_be_a_gate() -> None:
    o = outcomes()
    for metric, family in product(METRICS, ("translation", "scale", "rotation", "flip")):
        found = gates.check(gates.parse(f"{family}.{metric}=0"), o, BOOT)
        assert found.value is not None
        assert found.low is not None
        assert found.low <= found.value


def test_unknown_is_not_kept() -> None:
    o = outcomes()
    constant = replace(o, top1=np.zeros_like(o.top1), top1_clean=np.zeros_like(o.top1_clean))
    found = gates.check(gates.parse("translation.kappa=-1"), constant, BOOT)
    assert (found.passed, found.value) == (False, None)
    assert found.detail == "unknown: the network always predicts the same class"


def facts(**changes: object) -> AuditFacts:
    return replace(result(images=8).facts, **changes)  # type: ignore[arg-type]


def test_verdicts() -> None:
    kept = GateResult("translation.agreement=0.5", True, 0.9, 0.8, 0.95, 0.5)
    broken = replace(kept, passed=False, expression="scale.kappa=0.9")
    failing = Control("rot90 is exact", False, 0.3, 0.0)
    alarm = Prediction("shift by 32 px", "exact", 0.2, False)
    for given, gates_given, code, word, text in (
        (facts(), (), 0, "pass", "2 of 2 controls passed"),
        (facts(controls=()), (), 0, "pass", "no control was run"),
        (facts(), (kept,), 0, "pass", "2 of 2 controls passed; 1 gate passed"),
        (facts(), (kept, broken), 1, "fail", "1 gate failed: scale.kappa=0.9"),
        (facts(controls=(failing,)), (broken,), 4, "invalid", "1 control failed: rot90 is exact"),
        (facts(predictions=(alarm,)), (), 4, "invalid", "the measurement contradicts the architecture: shift by 32 px"),
        (facts(controls=(failing,), predictions=(alarm,)), (), 4, "invalid", "1 control failed: rot90 is exact; the "
         "measurement contradicts the architecture: shift by 32 px"),
        (facts(shards=4, shards_done=3, controls=(failing,)), (broken,), 5, "incomplete",
         "3 of 4 shards are there; run the audit again to go on"),
    ):  # fmt: skip
        found = verdict(given, gates_given)
        assert (found.code, found.word, found.text) == (code, word, text)


def test_mcnemar_against_the_binomial_written_out() -> None:
    for gains, losses in product(range(7), repeat=2):
        values = np.array([1.0] * gains + [-1.0] * losses + [0.0] * 20)
        n = gains + losses
        as_uneven = sum(comb(n, i) for i in range(n + 1) if abs(2 * i - n) >= abs(gains - losses))
        assert mcnemar(values) == pytest.approx(as_uneven / 2**n)
    assert mcnemar(np.array([0.5, 0.0])) is None
    assert mcnemar(np.array([1.0] * 3000 + [-1.0] * 3000)) == 1.0
    assert mcnemar(np.array([1.0] * 3000 + [-1.0] * 2000)) == pytest.approx(0, abs=1e-40)


def test_independent_differences_against_newcombe_1998b_table_2() -> None:
    a, b = (share((np.arange(n) < k).astype(float)) for k, n in ((48, 80), (56, 70)))
    found = independent_difference(a, b)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


@pytest.mark.parametrize(("gain", "loss"), [(0.05, 0.05), (0.01, 0.03), (0.2, 0.1), (0.005, 0.005)])
def test_paired_intervals_cover_what_they_promise(gain: float, loss: float) -> None:
    rng = np.random.default_rng(3)
    hits = []
    for counts in rng.multinomial(360, [gain, loss, 1 - gain - loss], 2000):
        found = paired_difference(np.repeat([1.0, -1.0, 0.0], counts))
        if counts[:2].any():  # without any change the answer is about these images, and exact
            assert found.low is not None
            assert found.high is not None
            hits.append(found.low <= gain - loss <= found.high)
    assert np.mean(hits) >= 0.93


def changed(audit: AuditResult, share_of_images: float, seed: int = 0) -> AuditResult:
    """The same audit, some images of which no longer give the answer that they gave when shifted."""
    o = audit.outcomes
    top1 = o.top1.copy()
    chosen = np.random.default_rng(seed).random(len(o)) < share_of_images
    top1[np.ix_(chosen, range(16))] = (o.top1_clean[chosen, None] + 1) % 10
    return replace(audit, outcomes=replace(o, top1=top1))


def test_an_audit_compared_with_itself() -> None:
    audit = result(images=100)
    found = compare(audit, audit)
    assert (found.paired, found.images, found.shared, found.warnings) == (True, (100, 100), 100, ())
    zero = Estimate(0.0, 0.0, 0.0)
    assert {d.difference for d in found.differences} == {zero}
    assert all(gate.passed for gate in regressions(found, 0.0))


def test_images_are_matched_by_content_in_any_order() -> None:
    audit = result(images=100)
    order = np.random.default_rng(0).permutation(100)
    shuffled = replace(audit, outcomes=audit.outcomes.select(order))
    renamed = replace(shuffled.outcomes, name=tuple(f"x/{n}" for n in shuffled.outcomes.name))
    found = compare(audit, replace(shuffled, outcomes=renamed))
    assert found.paired
    assert {d.difference.value for d in found.differences} == {0.0}


def test_paired_differences_are_narrower_and_have_the_right_sign() -> None:
    audit = result(images=360)
    worse = changed(audit, 0.1)
    paired = compare(audit, worse)
    other = replace(audit, outcomes=replace(worse.outcomes, key=tuple(f"{i:064}" for i in range(360))))
    independent = compare(audit, other)
    assert not independent.paired
    assert independent.shared == 0
    assert independent.warnings[0] == (
        "the images are not the same (360 and 360, 0 of them the same): compared as independent samples"
    )
    for one, two in zip(paired.differences, independent.differences, strict=True):
        if one.family == "translation" and one.metric == "agreement" and one.on_grid:
            assert one.difference.value == pytest.approx(two.difference.value)
            low, high = one.difference.low, one.difference.high
            assert low is not None
            assert high is not None
            assert two.difference.low is not None
            assert two.difference.high is not None
            assert low < high < 0
            assert high - low < two.difference.high - two.difference.low
    (first,) = [d for d in paired.differences if (d.family, d.label, d.metric) == ("translation", "0.5", "agreement")]
    assert first.p_value is not None
    assert {d.p_value for d in independent.differences} == {None}
    verdicts = {gate.expression.split(".")[0]: gate.passed for gate in regressions(paired, 0.01)}
    assert verdicts == {"translation": False, "scale": True, "rotation": True, "flip": True}
    assert all(gate.passed for gate in regressions(paired, 0.2))


def test_what_cannot_be_compared_is_said() -> None:
    a, b = result(images=40), result(images=40, transforms=(*ALL[:4], *FLIPS))
    facts = replace(b.facts, protocol_hash="00", dtype="bfloat16")
    relabelled = replace(b.outcomes, label=(b.outcomes.label + 1) % 10)
    found = compare(a, replace(b, facts=facts, outcomes=relabelled))
    assert found.warnings[0].startswith("the protocols differ: ")
    assert "the same images have other labels: accuracies are not of the same question" in found.warnings
    assert "dtype: float32 against bfloat16" in found.warnings
    assert any(w.startswith("measured in one only: translation@2, ") for w in found.warnings)
    assert {d.family for d in found.differences} == {"clean", "translation", "flip"}
