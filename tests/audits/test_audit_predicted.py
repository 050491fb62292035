"""What architectures promise, measured; random weights; pictures of worst cases."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from audit_jobs import Heard, job
from small_networks import QuarterTurns, circular, flattened, plain, seeded, trained
from torch import nn

from cnnscope.analysis import equivariance
from cnnscope.audits.protocol.protocol import Draw, Protocol, shift
from cnnscope.audits.record import Prediction, verdict
from cnnscope.audits.run import finish, predicted, work
from cnnscope.audits.run.finish import Merged, baseline, collect, facts, total_stride
from cnnscope.audits.run.job import Job, open_job
from cnnscope.audits.run.predicted import Checked, check
from cnnscope.audits.run.shards import Ranks


def colours(folder: Path, module: nn.Module) -> Job:
    """A network on 12 pictures of random pixels, larger than its input, so that shifts bring in others."""
    path = folder / "colours.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (12, 48, 48, 3), dtype=np.uint8))
    network = replace(trained(module), data=path)
    network = replace(network, preprocess=replace(network.preprocess, resize=48, mean=(0.5,) * 3, std=(0.3,) * 3))
    return open_job(network, size=12, batch=64)


def checked(made: Job) -> tuple[Checked, dict[str, Prediction]]:
    prepared, _ = made.read(made.pieces[0])
    found = check(made, prepared)
    return found, {prediction.transform: prediction for prediction in found.predictions}


def merged(made: Job, folder: Path) -> Merged:
    work.work(made, folder, Ranks(), Heard())
    return collect(made, folder, Heard())


def test_wrapped_convolutions_pooled_globally_are_exact_at_multiples_of_the_stride_only(tmp_path: Path) -> None:
    made = colours(tmp_path, circular())
    assert total_stride(made.network.graph) == (4, 4)
    _, found = checked(made)
    whole, part = found["circular shift +4,+4"], found["circular shift +1,+1"]
    assert (whole.claim, whole.agrees) == ("exact", True)
    assert whole.measured is not None
    assert whole.measured < 1e-5
    assert (part.claim, part.agrees) == ("not_guaranteed", None)
    assert part.measured is not None
    assert part.measured > 1e-2


def test_dense_layers_on_positions_promise_nothing(tmp_path: Path) -> None:
    _, found = checked(colours(tmp_path, flattened()))
    shifted = found["circular shift +2,+2"]
    assert shifted.claim == "not_guaranteed"
    assert shifted.measured is not None
    assert shifted.measured > 0.1
    assert shifted.detail == "3: a weight for each position"
    assert found["flip horizontal"].claim != "exact"


def test_a_network_symmetrised_over_quarter_turns_is_exact_on_them(tmp_path: Path) -> None:
    _, found = checked(colours(tmp_path, QuarterTurns(plain())))
    turned = found["rotate 90"]
    assert turned.measured is not None
    assert turned.measured < 1e-5


def test_maps_move_with_the_image_inside_and_not_at_the_border(tmp_path: Path) -> None:
    body = seeded(nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    ), gain=2)  # fmt: skip
    made = colours(tmp_path, body)
    made = replace(made, layers=("0", "2", "4", "5"))
    found, claims = checked(made)
    assert [(error.layer, error.transform) for error in found.maps] == [
        ("0", "shift +2,+2"), ("2", "shift +2,+2"), ("4", "shift +4,+4"), ("5", "shift +4,+4"),
    ]  # fmt: skip
    shares = [error.interior_share for error in found.maps]
    for error in found.maps:
        assert error.interior is not None
        assert error.border is not None
        assert error.interior < 1e-5
        assert error.border > 1e-2
        assert claims[f"{error.transform} inside {error.layer}"].agrees
    assert all(a is not None and b is not None and a > b for a, b in pairwise(shares))


def test_a_wrong_promise_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An analysis that takes zero padding for wrapped: its claims are exact, the measurement says otherwise."""
    made = colours(tmp_path, circular())
    zeros = colours(tmp_path, plain())
    lies = equivariance.equivariance(made.network.graph)
    monkeypatch.setattr(predicted, "equivariance", lambda graph: lies)
    monkeypatch.setattr(predicted, "total_stride", lambda graph: (4, 4))
    found, claims = checked(replace(zeros, layers=()))
    assert claims["circular shift +4,+4"].agrees is False
    known = replace(facts(zeros, merged(zeros, tmp_path)), predictions=found.predictions)
    said = verdict(known)
    assert (said.code, said.word) == (4, "invalid")
    assert "circular shift +4,+4" in said.text


def test_errors_are_measured_against_torch(tmp_path: Path) -> None:
    made = colours(tmp_path, plain())
    prepared, _ = made.read(made.pieces[0])
    middle = made.protocol.margin
    x = made.preprocess.normalise(torch.from_numpy(prepared.pixels))[:, :, middle:-middle, middle:-middle]
    with torch.no_grad():
        before, after = (made.network.module(each) for each in (x, x.flip(3)))
    _, found = checked(made)
    expected = float((after - before).norm() / before.norm())
    assert found["flip horizontal"].measured == pytest.approx(expected, rel=1e-4)


# -- random weights ----------------------------------------------------------------------------------------------------


def test_random_weights_are_measured_group_by_group() -> None:
    made = job()
    prepared, _ = made.read(made.pieces[0])
    points = baseline(made, prepared, Heard())
    assert [(point.family, point.name) for point in points] == [
        ("translation", "1"), ("translation", "4"), ("scale", "0.7"), ("rotation", "10"), ("rotation", "90"),
        ("flip", "horizontal"),
    ]  # fmt: skip
    assert all(point.agreement is not None and 0 <= point.agreement <= 1 for point in points)
    assert points == baseline(made, prepared, Heard())


def test_a_network_that_always_answers_the_same_agrees_with_itself_and_kappa_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = job()
    prepared, _ = made.read(made.pieces[0])
    constant = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10)).requires_grad_(False)
    constant[1].weight.zero_()
    network = replace(trained(constant, (1, 32, 32)), preprocess=made.network.preprocess)
    monkeypatch.setattr("cnnscope.audits.run.finish.randomised", lambda network_, seed: network)
    points = baseline(replace(made, layers=("1",)), prepared, Heard())
    assert {(point.agreement, point.kappa) for point in points} == {(1.0, None)}


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_pictures_are_of_the_case_before_and_after(tmp_path: Path) -> None:
    drawn = Draw("translation", 8, "px", "drawn", (8, 8), (0, 0))
    made = job(slots=(shift(0, -8), drawn))
    all_ = merged(made, tmp_path)
    found = finish.gallery(made, all_)
    assert len(found.cases) == 16
    for case, before, after in zip(found.cases, found.original, found.transformed, strict=True):
        assert (before.shape, before.max() > 0) == ((32, 32, 1), True)
        expected = np.zeros_like(before)
        if case.transform == 0:
            expected[:, :-8] = before[:, 8:]
        else:
            expected[8:] = before[:-8]
        assert np.array_equal(after, expected)
    image = found.cases[0].image
    (prepared,) = (finish.at(made, [all_.places[image]]),)
    assert prepared.name == (all_.outcomes.name[image],)
    assert np.array_equal(prepared.pixels[0, 0], found.original[0, ..., 0])


def test_no_case_is_no_picture(tmp_path: Path) -> None:
    made = job(slots=(shift(0, 0),))
    assert len(finish.gallery(made, merged(made, tmp_path)).cases) == 0


def test_a_subset_is_spread_over_the_images_and_in_order(tmp_path: Path) -> None:
    made = job()
    all_ = merged(made, tmp_path)
    few = finish.some(made, all_, 5)
    assert few.name == tuple(all_.outcomes.name[i] for i in (0, 8, 16, 24, 32))
    assert few.key == tuple(all_.outcomes.key[i] for i in (0, 8, 16, 24, 32))
    assert few.label.tolist() == [int(all_.outcomes.label[i]) for i in (0, 8, 16, 24, 32)]
    assert len(finish.some(made, all_, 99)) == 40


def test_facts_count_every_image(tmp_path: Path) -> None:
    made = job()
    all_ = merged(made, tmp_path)
    known = facts(made, all_)
    assert (known.data.images, known.data.used, known.data.skipped) == (40, 40, ())
    assert known.model.stride == (4, 4)
    assert (known.shards, known.shards_done, known.complete) == (3, 3, True)
    assert known.protocol_hash == Protocol("other", "", made.protocol.slots, "zero").hash(0)
    assert known.labels == tuple("0123456789")
