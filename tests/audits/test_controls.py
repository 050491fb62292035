"""Every control passes on a sound audit, and fails once its fault is planted, and then no unrelated one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from audit_jobs import Heard, digits, job
from torch import Tensor, nn

from cnnscope.audits import controls
from cnnscope.audits.controls.evidence import Evidence, Tools
from cnnscope.audits.controls.predictions import precision
from cnnscope.audits.measure import BatchOutcome, measure_batch
from cnnscope.audits.outcomes import Outcomes
from cnnscope.audits.protocol.protocol import Border, Transform, mirror, rotate, shift, zoom
from cnnscope.audits.protocol.transforms import canvas, sample, window
from cnnscope.audits.record import Control
from cnnscope.audits.run.work import Batch, outcomes_of

SLOTS = (
    shift(1, 0), shift(0, -2), shift(4, 0), rotate(10), rotate(30), rotate(90), zoom(0.9), zoom(0.7),
    mirror("horizontal"),
)  # fmt: skip
NAMES = {
    "whole shifts are exact", "sampler is exact at pixels", "quarter turns are exact",
    "round trip restores the image",
    "border fill is as named", "transforms change pixels", "predictions vary", "labels match the classes",
    "border fill does not matter", "repeats exactly",
}  # fmt: skip
UNSAMPLED = {"sampler is exact at pixels", "quarter turns are exact", "round trip restores the image"}
"""What fails with a sampler that is off everywhere."""


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    opened = job(120, SLOTS, size=120)
    prepared, _ = opened.read(opened.pieces[0])
    outcomes, _ = outcomes_of(opened, prepared, Batch(64), Heard())
    pixels = torch.from_numpy(prepared.pixels[:24])
    return Evidence(opened.network, pixels, prepared.key[:24], outcomes, opened.protocol, batch=64)


def failed(evidence: Evidence) -> set[str]:
    return {control.name for control in controls.run(evidence) if control.passed is False}


def named(evidence: Evidence, name: str) -> Control:
    return next(control for control in controls.run(evidence) if control.name == name)


def test_a_sound_audit_passes(evidence: Evidence) -> None:
    found = controls.run(evidence)
    assert {control.name for control in found} == NAMES
    assert all(control.passed for control in found), found
    assert named(evidence, "whole shifts are exact").value == 0
    assert named(evidence, "repeats exactly").value == 0


# -- broken tools ------------------------------------------------------------------------------------------------------


def half_a_pixel_off(x: Tensor, transforms: Sequence[Transform], size: tuple[int, int]) -> Tensor:
    return sample(x, [replace(t, dx=t.dx + 0.5) for t in transforms], size)


def turned_the_other_way(x: Tensor, transforms: Sequence[Transform], size: tuple[int, int]) -> Tensor:
    return sample(x, [replace(t, angle=-t.angle) for t in transforms], size)


def corners_aligned(x: Tensor, transforms: Sequence[Transform], size: tuple[int, int]) -> Tensor:
    """The classic mistake: a grid made under one convention and read under the other."""
    from cnnscope.audits.protocol.transforms import grids

    grid = grids(transforms, size, x)[:, None].expand(-1, len(x), -1, -1, -1)
    return torch.stack([nn.functional.grid_sample(x, g, align_corners=True) for g in grid])


def nearest(x: Tensor, transforms: Sequence[Transform], size: tuple[int, int]) -> Tensor:
    from cnnscope.audits.protocol.transforms import grids

    grid = grids(transforms, size, x)[:, None].expand(-1, len(x), -1, -1, -1)
    return torch.stack([nn.functional.grid_sample(x, g, "nearest", align_corners=False) for g in grid])


def one_pixel_off(x: Tensor, t: Transform, size: tuple[int, int]) -> Tensor:
    return window(x, replace(t, dy=t.dy + 1), size)


def turned_back(x: Tensor, t: Transform, size: tuple[int, int]) -> Tensor:
    return window(x, replace(t, angle=-t.angle), size)


def filled_with_grey(x: Tensor, size: Any, margin: int, border: Border, black: Tensor, room: int = 0) -> Tensor:
    """Zero after normalisation instead of black, or instead of a mirror image."""
    return canvas(x, size, margin, "circular" if border == "circular" else "mean", black, room)


def border_pixel_repeated(x: Tensor, size: Any, margin: int, border: Border, black: Tensor, room: int = 0) -> Tensor:
    if border not in ("crop", "reflect") or margin == 0:
        return canvas(x, size, margin, border, black, room)
    middle = canvas(x, size, 0, border, black)
    return torch.from_numpy(np.pad(middle.numpy(), ((0, 0), (0, 0), (margin, margin), (margin, margin)), "symmetric"))


@pytest.mark.parametrize(("tools", "expected"), [
    (Tools(sample=half_a_pixel_off), UNSAMPLED),
    (Tools(sample=turned_the_other_way), {"quarter turns are exact"}),
    (Tools(sample=corners_aligned), UNSAMPLED),
    (Tools(sample=nearest), {"round trip restores the image"}),
    (Tools(window=one_pixel_off), {"whole shifts are exact", "quarter turns are exact"}),
    (Tools(window=turned_back), {"quarter turns are exact"}),
    (Tools(canvas=border_pixel_repeated), {"border fill is as named"}),
], ids=lambda value: sorted(value)[0] if isinstance(value, set) else None)  # fmt: skip
def test_broken_warps(evidence: Evidence, tools: Tools, expected: set[str]) -> None:
    assert failed(replace(evidence, tools=tools)) == expected


def test_a_wrong_fill(evidence: Evidence) -> None:
    """With a mean that is not 0, as ImageNet's, so that grey is not black."""
    preprocess = replace(evidence.network.preprocess, mean=(0.4,), std=(0.3,))
    other = replace(evidence, network=replace(evidence.network, preprocess=preprocess))
    assert "border fill is as named" not in failed(other)
    assert "border fill is as named" in failed(replace(other, tools=Tools(canvas=filled_with_grey)))


# -- broken networks, labels and outcomes ------------------------------------------------------------------------------


def test_a_constant_classifier(evidence: Evidence) -> None:
    constant = replace(evidence.outcomes, top1_clean=np.full_like(evidence.outcomes.top1_clean, 3))
    assert failed(replace(evidence, outcomes=constant)) == {"predictions vary"}
    control = named(replace(evidence, outcomes=constant), "predictions vary")
    assert (control.value, control.limit, control.detail) == (1.0, 0.95, "`3` is predicted for 100.0% of the images")


def test_random_weights_that_are_a_constant_classifier() -> None:
    opened = job(40, SLOTS[:2], source="lenet5-digits", size=40)
    from cnnscope.trained.loading import randomised

    untrained = replace(opened, network=randomised(digits(), 3))
    prepared, _ = untrained.read(untrained.pieces[0])
    outcomes, _ = outcomes_of(untrained, prepared, Batch(64), Heard())
    assert (outcomes.top1 == outcomes.top1_clean[:, None]).all()  # it seems to be perfectly invariant
    pixels = torch.from_numpy(prepared.pixels[:12])
    few = Evidence(untrained.network, pixels, prepared.key[:12], outcomes, untrained.protocol)
    assert "predictions vary" in failed(few)


def test_images_of_one_class_may_have_one_answer(evidence: Evidence) -> None:
    ones = np.flatnonzero(evidence.outcomes.label == 1)
    few, many = (replace(evidence, outcomes=evidence.outcomes.select(np.tile(ones, n))) for n in (1, 2))
    assert named(many, "predictions vary").passed is True
    undecided = named(few, "predictions vary")
    assert (undecided.passed, undecided.detail) == (None, f"{len(ones)} images: too few to tell")


@pytest.mark.parametrize("order", [[1, 0, *range(2, 10)], [*range(1, 10), 0], [*range(9, -1, -1)]], ids=str)
def test_a_mislabelled_class_order(evidence: Evidence, order: list[int]) -> None:
    renamed = replace(evidence.outcomes, label=np.array(order, np.int32)[evidence.outcomes.label])
    assert failed(replace(evidence, outcomes=renamed)) == {"labels match the classes"}


def test_a_poor_classifier_is_not_taken_for_a_mislabelled_one(evidence: Evidence) -> None:
    random = np.random.default_rng(0)
    guesses = random.integers(0, 10, len(evidence.outcomes)).astype(np.int32)
    guessed = replace(evidence, outcomes=replace(evidence.outcomes, top1_clean=guesses))
    assert named(guessed, "labels match the classes").passed
    one_each = evidence.outcomes.select([int(np.flatnonzero(evidence.outcomes.label == c)[0]) for c in range(10)])
    control = named(replace(evidence, outcomes=one_each), "labels match the classes")
    assert (control.passed, control.value, control.detail) == (None, None, "0 images: too few to tell")
    unlabelled = replace(evidence.outcomes, label=np.full_like(evidence.outcomes.label, -1))
    assert "labels match the classes" not in {c.name for c in controls.run(replace(evidence, outcomes=unlabelled))}


def test_transforms_that_do_nothing(evidence: Evidence) -> None:
    def without(change: Callable[[np.ndarray], None]) -> Outcomes:
        distance = evidence.outcomes.distance.copy()
        change(distance)
        return replace(evidence.outcomes, distance=distance)

    still = without(lambda d: d[:, :, 3].fill(0))
    control = named(replace(evidence, outcomes=still), "transforms change pixels")
    assert (control.passed, control.value, control.detail) == (False, 0.0, "`rotate 10` changes no pixel")
    swapped = without(lambda d: d[:, :, [0, 2]].__imul__(0) is None or d[:, :, 2].__imul__(0.1))
    control = named(replace(evidence, outcomes=swapped), "transforms change pixels")
    assert not control.passed
    assert control.detail == "the largest translation changes fewer than the smallest"


class Frame(nn.Module):
    """Answers by the brightness of the first row alone."""

    def forward(self, x: Tensor) -> Tensor:
        edge = x[:, 0, 0].mean(1, keepdim=True)
        return torch.cat([edge * 100, torch.full_like(edge, 20), torch.zeros(len(x), 8)], 1)


def test_a_network_that_looks_at_the_border(evidence: Evidence) -> None:
    from small_networks import trained

    network = trained(Frame().eval(), (1, 32, 32))
    bright = torch.full_like(evidence.pixels, 200)
    moved = replace(evidence, network=network, pixels=bright)
    assert not named(moved, "border fill does not matter").passed


def test_measurements_that_do_not_repeat(evidence: Evidence) -> None:
    calls = iter(range(1000))

    def noisy(*given: Any) -> BatchOutcome:
        found = measure_batch(*given)
        return replace(found, js=found.js + np.float32(1e-6 * next(calls)))

    assert failed(replace(evidence, tools=Tools(measure=noisy))) == {"repeats exactly"}


def test_precision_that_does_not_suffice(evidence: Evidence) -> None:
    half = replace(evidence, network=digits(dtype="bfloat16"))
    sound = precision(half)
    assert sound is not None
    assert sound.passed
    assert sound.detail == "predictions in bfloat16 as in float32"
    assert precision(evidence) is None
    import copy

    coarse = copy.deepcopy(half.network.module)
    for parameter in coarse.parameters():
        parameter.data = (parameter.data * 4).round() / 4  # as a format of too few bits would
    broken = precision(replace(half, network=replace(half.network, module=coarse)), reference=digits())
    assert broken is not None
    assert not broken.passed
