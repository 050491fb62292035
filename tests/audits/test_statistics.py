"""Statistics of audits against enumeration, scikit-learn and closed forms, and how often their intervals are right."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from math import comb, isclose, sqrt

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from synthetic_outcomes import ALL, FLIPS, grid, outcomes, turns, zooms

from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.statistics import curves
from cnnscope.audits.statistics import metrics as statistics
from cnnscope.audits.statistics.groups import families, group, main_groups
from cnnscope.audits.statistics.intervals import UNKNOWN, Bootstrap, Estimate, share, wilson

BOOT = Bootstrap(60)


def known(estimate: Estimate | None) -> tuple[float, float, float]:
    """Value, low and high, of which none is unknown."""
    assert estimate is not None
    found = [x for x in (estimate.value, estimate.low, estimate.high) if x is not None]
    assert len(found) == 3
    return found[0], found[1], found[2]


def test_groups_keep_what_lies_on_the_grid_apart() -> None:
    found = group(ALL)
    assert [g.name for g in found] == [
        "translation@1", "translation@2", "translation@4", "translation@8", "translation@0.5",
        "scale@0.7", "scale@0.85", "scale@1.15", "scale@1.3",
        "rotation@15", "rotation@30", "rotation@90", "rotation@180", "rotation@270", "flip@horizontal", "flip@vertical",
    ]  # fmt: skip
    assert [len(g.members) for g in found] == [4, 4, 4, 4, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1]
    assert [g.label for g in main_groups(found, "rotation")] == ["15", "30"]
    assert [g.label for g in main_groups(found, "translation")] == ["1", "2", "4", "8"]
    assert [g.label for g in main_groups(group(turns(90, 180)), "rotation")] == ["90", "180"]
    assert families(group((*FLIPS, *zooms(2)))) == ("scale", "flip")
    assert [g.title for g in (found[0], found[5], found[9], found[-1])] == ["1 px", "x0.7", "15°", "vertical"]


def test_agreement_accuracy_and_drop_against_counting() -> None:
    o = outcomes()
    for g in group(o.transforms):
        same = [[o.top1[i, t] == o.top1_clean[i] for t in g.members] for i in range(len(o))]
        right = [[o.top1[i, t] == o.label[i] for t in g.members] for i in range(len(o))]
        assert np.allclose(statistics.agreement(o, g), [sum(row) / len(row) for row in same])
        assert np.allclose(statistics.accuracy(o, g), [sum(row) / len(row) for row in right])
        clean = sum(o.top1_clean == o.label) / len(o)
        drop = statistics.mean(statistics.accuracy_drop(o, g), BOOT)
        assert drop.value is not None
        assert isclose(drop.value, clean - sum(map(sum, right)) / sum(map(len, right)), abs_tol=1e-12)


def test_without_labels_accuracy_is_unknown_and_with_some_it_is_of_those() -> None:
    o = outcomes(labels=False)
    g = group(o.transforms)[0]
    assert np.isnan(statistics.accuracy(o, g)).all()
    assert share(statistics.accuracy(o, g)) == UNKNOWN
    assert statistics.mean(statistics.accuracy_drop(o, g), BOOT) == UNKNOWN
    some = outcomes()
    some.label[10:] = -1
    kept = share(statistics.accuracy(some, g)).value
    assert kept == share(statistics.accuracy(outcomes().select(range(10)), g)).value


@pytest.mark.parametrize("seed", range(3))
def test_kappa_against_scikit_learn(seed: int) -> None:
    o = outcomes(images=200, transforms=turns(15, 25, 40, 60), seed=seed)
    each = statistics.kappa_each(o, group(o.transforms), Bootstrap(200))
    for g, alone in zip(group(o.transforms), each, strict=True):
        expected = cohen_kappa_score(o.top1_clean, o.top1[:, g.members[0]])
        estimate = statistics.kappa(o, [g], Bootstrap(200))
        assert known(estimate) == pytest.approx(known(alone), abs=1e-6)
        assert estimate.value is not None
        assert isclose(estimate.value, expected, abs_tol=1e-12)


def test_kappa_of_a_network_that_always_says_one_class_is_unknown() -> None:
    o = outcomes()
    constant = replace(o, top1=np.full_like(o.top1, 3), top1_clean=np.full_like(o.top1_clean, 3))
    g = group(o.transforms)[0]
    assert share(statistics.agreement(constant, g)).value == 1.0
    assert statistics.kappa(constant, [g], BOOT) == UNKNOWN
    assert curves.area(constant, main_groups(group(o.transforms), "translation"), BOOT) == UNKNOWN


def test_resampled_kappa_against_working_it_out_anew_for_every_resample() -> None:
    o = outcomes(images=300, transforms=turns(35))
    (g,) = group(o.transforms)
    boot = Bootstrap(300, seed=5)
    estimate = statistics.kappa(o, [g], boot)
    after = o.top1[:, 0]
    anew = [cohen_kappa_score(np.repeat(o.top1_clean, n), np.repeat(after, n)) for n in boot.counts[:400]]
    _, low, high = known(estimate)
    assert np.allclose((low, high), np.percentile(anew, [2.5, 97.5]), atol=0.01)


def test_consistency_against_all_pairs() -> None:
    o = outcomes(transforms=grid(1, 4))
    members = range(8)
    pairs = list(combinations(members, 2))
    expected = [sum(row[a] == row[b] for a, b in pairs) / len(pairs) for row in o.top1]
    assert np.allclose(statistics.consistency(o, members), expected)
    assert np.isnan(statistics.consistency(o, [0])).all()
    assert statistics.consistency(o.select([]), members).shape == (0,)


@pytest.mark.parametrize("k", [1, 2, 3, 8])
def test_the_worst_of_k_against_all_subsets(k: int) -> None:
    o = outcomes(transforms=grid(4, 8))
    same = o.top1 == o.top1_clean[:, None]
    subsets = list(combinations(range(8), k))
    expected = np.mean([same[:, list(subset)].all(1) for subset in subsets])
    estimate = curves.worst_of_k(o, range(8), BOOT, k)
    assert isclose(known(estimate)[0], float(expected), abs_tol=1e-12)


def test_survival_in_closed_form() -> None:
    found = curves.survival(np.arange(13), 12, 5)
    assert np.allclose(found, [comb(m, 5) / comb(12, 5) for m in range(13)], atol=1e-15)
    with pytest.raises(ValueError, match="worst of 13 of 12"):
        curves.survival(np.arange(3), 12, 13)
    assert curves.worst_of_k(outcomes(transforms=grid(1)), range(4), BOOT) is None


def test_worst_transform_and_worst_per_image() -> None:
    o = outcomes(transforms=grid(1, 8))
    found = curves.worst_transform(o, range(8))
    shares = (o.top1 == o.top1_clean[:, None]).mean(0)
    assert found is not None
    assert found.name == o.transforms[int(shares.argmin())].name
    assert found.agreement.value == shares.min()
    alone = share((o.top1 == o.top1_clean[:, None])[:, int(shares.argmin())].astype(float))
    assert known(found.agreement)[1] < known(alone)[1]
    always = [float((row == c).all()) for row, c in zip(o.top1, o.top1_clean, strict=True)]
    assert curves.always(o, range(8)).tolist() == always
    right = curves.always_right(o, range(8))
    assert right.tolist() == [
        float((row == y).all() and c == y) for row, c, y in zip(o.top1, o.top1_clean, o.label, strict=True)
    ]


def test_steps_of_chains_and_of_neighbouring_shifts() -> None:
    o = outcomes(transforms=grid(1, 2))
    names = [t.name for t in o.transforms]
    chain = [names[6], names[2], "clean", names[3], names[7]]
    assert statistics.steps(o, [chain]) == [(6, 2), (2, -1), (-1, 3), (3, 7)]
    found = {frozenset(pair) for pair in statistics.steps(o, [])}
    assert found == {frozenset(p) for p in ((-1, 0), (-1, 1), (-1, 2), (-1, 3), (0, 4), (1, 5), (2, 6), (3, 7))}
    assert statistics.steps(outcomes(transforms=zooms(0.9)), []) == []
    changed, moved = statistics.step_changes(o, statistics.steps(o, [chain]))
    place = {name: i for i, name in enumerate(names)}
    for i in range(len(o)):
        answers = [o.top1_clean[i] if n == "clean" else o.top1[i, place[n]] for n in chain]
        sure = [float(o.confidence_clean[i] if n == "clean" else o.clean_class_probability[i, place[n]]) for n in chain]
        assert isclose(changed[i], sum(a != b for a, b in pairwise(answers)) / 4)
        assert isclose(moved[i], sum(abs(a - b) for a, b in pairwise(sure)) / 4, abs_tol=1e-12)


def test_wobble_divergence_and_probability_change_against_loops() -> None:
    o = outcomes()
    g = group(o.transforms)[2]
    sure = [[float(o.clean_class_probability[i, t]) for t in g.members] for i in range(len(o))]
    clean = [float(c) for c in o.confidence_clean]
    spans = [max([*row, c]) - min([*row, c]) for row, c in zip(sure, clean, strict=True)]
    moves = [sum(abs(p - c) for p in row) / len(row) for row, c in zip(sure, clean, strict=True)]
    assert isclose(statistics.wobble(o, g.members, BOOT).value or 0, sum(spans) / 60, abs_tol=1e-12)
    assert isclose(known(statistics.mean(statistics.probability_change(o, g), BOOT))[0], sum(moves) / 60, abs_tol=1e-12)
    js = statistics.mean(statistics.divergence(o, g), BOOT).value
    assert isclose(js or 0, float(o.js[:, list(g.members)].astype(float).mean()), abs_tol=1e-7)


def test_the_area_under_kappa_against_numpy() -> None:
    o = outcomes()
    members = main_groups(group(o.transforms), "translation")
    curve = [1.0, *(statistics.kappa(o, [g], BOOT).value or 0 for g in members)]
    found = curves.area(o, members, BOOT)
    assert isclose(found.value or 0, float(np.trapezoid(curve, [0, 1, 2, 4, 8])) / 8, abs_tol=1e-12)
    scales = main_groups(group(o.transforms), "scale")
    kappas = {g.magnitude: statistics.kappa(o, [g], BOOT).value or 0 for g in scales}
    octaves = {m: abs(np.log2(m)) for m in kappas}
    sides = [
        np.trapezoid([1, kappas[a], kappas[b]], [0, octaves[a], octaves[b]]) for a, b in ((0.85, 0.7), (1.15, 1.3))
    ]
    assert isclose(curves.area(o, scales, BOOT).value or 0, sum(sides) / (octaves[0.7] + octaves[1.3]), abs_tol=1e-12)
    assert curves.area(o, main_groups(group(o.transforms), "flip"), BOOT) == UNKNOWN


def test_a_network_that_never_changes_has_area_1_and_an_honest_lower_bound() -> None:
    o = outcomes()
    still = replace(o, top1=np.repeat(o.top1_clean[:, None], len(ALL), 1))
    members = main_groups(group(o.transforms), "translation")
    value, low, high = known(curves.area(still, members, BOOT))
    assert (value, high) == (pytest.approx(1.0), pytest.approx(1.0))
    assert 0.9 < low < 0.96


def test_radii() -> None:
    members = main_groups(group(ALL), "translation")

    def estimates(*lows: float) -> list[Estimate]:
        return [Estimate(low + 0.01, low, low + 0.02) for low in lows]

    assert curves.radii(members, estimates(0.95, 0.91, 0.8, 0.93)) == (curves.Radius("", 0.9, 2.0, False),)
    assert curves.radii(members, estimates(0.95, 0.91, 0.9, 0.93)) == (curves.Radius("", 0.9, 8.0, True),)
    assert curves.radii(members, estimates(0.89, 0.91, 0.9, 0.93)) == (curves.Radius("", 0.9, None, False),)
    assert curves.radii(members, [UNKNOWN] * 4)[0].magnitude is None
    scales = main_groups(group(ALL), "scale")
    assert curves.radii(scales, estimates(0.5, 0.92, 0.95, 0.8)) == (
        curves.Radius("smaller", 0.9, 0.85, False), curves.Radius("larger", 0.9, 1.15, False)
    )  # fmt: skip


def test_layer_curves_are_ratios_of_means_over_images_where_both_are_known() -> None:
    o = outcomes()
    o.distance[5, 0, 3] = np.nan
    o.spread[7, 1] = np.nan
    groups = group(o.transforms)
    for layer, found in enumerate(curves.layer_curves(o, groups, BOOT)):
        keep = [i for i in range(60) if i != (5, 7)[layer]]
        assert found.images == 59
        for g, estimate in zip(groups, found.distance, strict=True):
            moved = np.mean([[float(o.distance[i, layer, t]) for t in g.members] for i in keep])
            ratio = moved / np.mean([float(o.spread[i, layer]) for i in keep])
            value, low, high = known(estimate)
            assert isclose(value, float(ratio), rel_tol=1e-6)
            assert low < value < high
    unknown = replace(o, spread=np.full_like(o.spread, np.nan))
    assert curves.layer_curves(unknown, groups, BOOT)[0].distance[0] == UNKNOWN


def test_the_bootstrap_against_the_normal_approximation() -> None:
    values = np.random.default_rng(0).exponential(size=2000)
    found = statistics.mean(values, Bootstrap(2000))
    half = 1.96 * values.std(ddof=1) / sqrt(2000)
    _, low, high = known(found)
    assert isclose(low, values.mean() - half, abs_tol=0.12 * half)
    assert isclose(high, values.mean() + half, abs_tol=0.12 * half)
    assert Bootstrap(2000).counts.sum(1).tolist() == [2000] * 1000
    assert np.array_equal(Bootstrap(50).counts, Bootstrap(50).counts)


@pytest.mark.parametrize(("k", "n", "low", "high"), [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
])  # fmt: skip
def test_wilson_against_newcombe_1998_table_1(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k / n, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def covered(n: int, p: float, rng: np.random.Generator, repeats: int) -> float:
    """How often the interval from n single outcomes holds p."""
    hits = {}
    for k in np.unique(drawn := rng.binomial(n, p, repeats)):
        _, low, high = known(share((np.arange(n) < k).astype(float)))
        hits[k] = low <= p <= high
    return float(np.mean([hits[k] for k in drawn]))


@pytest.mark.parametrize("n", [360, 2000])
@pytest.mark.parametrize("p", [0.8, 0.9, 0.95, 0.98, 0.99, 0.995])
def test_intervals_of_single_outcomes_cover_what_they_promise(n: int, p: float) -> None:
    assert 0.93 <= covered(n, p, np.random.default_rng(n), 20_000) <= 0.975


@pytest.mark.parametrize(("p", "alike"), [(0.9, 0.1), (0.9, 0.9), (0.98, 0.5), (0.995, 0.5)])
def test_intervals_of_averages_of_several_outcomes_cover_at_least_that(p: float, alike: float) -> None:
    """20 transforms an image, correlated within images (beta-binomial), 360 images."""
    rng = np.random.default_rng(1)
    a = (1 - alike) / alike
    hits = []
    for _ in range(600):
        values = rng.binomial(20, rng.beta(p * a, (1 - p) * a, 360)) / 20
        _, low, high = known(share(values))
        hits.append(low <= p <= high)
    assert np.mean(hits) >= 0.93


def test_no_image_is_unknown() -> None:
    nothing: Outcomes = outcomes().select([])
    groups = group(nothing.transforms)
    boot = Bootstrap(0)
    assert share(statistics.agreement(nothing, groups[0])) == UNKNOWN
    assert statistics.kappa(nothing, groups[:1], boot) == UNKNOWN
    assert statistics.mean(statistics.divergence(nothing, groups[0]), boot) == UNKNOWN
    assert curves.worst_transform(nothing, [0, 1]) is None
    assert curves.layer_curves(nothing, groups, boot)[0].distance[0] == UNKNOWN


def test_one_image_is_no_certainty() -> None:
    one = outcomes().select([0])
    found = share(statistics.agreement(one, group(one.transforms)[0]))
    value, low, _ = known(found)
    assert value == 1.0
    assert low < 0.21
