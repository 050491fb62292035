"""Adaptive polyphase sampling: which grid it takes, and that every shift is one of the output."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from cnnscope.nn.ops.resize import adaptive_polyphase


def circular_shifts(y: torch.Tensor) -> list[torch.Tensor]:
    return [torch.roll(y, by, (1, 2)) for by in product(range(y.shape[1]), range(y.shape[2]))]


@pytest.mark.parametrize(("stride", "p"), [((2, 2), 2.0), ((3, 2), 1.0), ((4, 3), 3.0)])
def test_every_shift_of_the_input_is_one_of_the_output(stride: tuple[int, int], p: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    plain = adaptive_polyphase(x, stride, p)
    for by in [(1, 0), (0, 1), (2, 5), (7, 11), (-3, 4)]:
        shifted = adaptive_polyphase(torch.roll(x, by, (2, 3)), stride, p)
        for before, after in zip(plain, shifted, strict=True):
            assert sum(torch.equal(after, other) for other in circular_shifts(before)) == 1


def test_a_fixed_grid_does_not_do_that() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 12, 12)
    after = torch.roll(x, 1, 2)[0, :, ::2, ::2]
    assert not any(torch.equal(after, other) for other in circular_shifts(x[0, :, ::2, ::2]))


def test_the_largest_norm_wins_and_each_image_has_its_own() -> None:
    x = torch.zeros(2, 1, 4, 4)
    x[0, 0, 1, 2], x[0, 0, 0, 0] = 3.0, 2.0
    x[1, 0, 0, 0] = -5.0
    y = adaptive_polyphase(x, (2, 2), 2.0)
    assert y[0].tolist() == [[[0.0, 3.0], [0.0, 0.0]]]
    assert y[1].tolist() == [[[-5.0, 0.0], [0.0, 0.0]]]


def test_the_norm_decides_what_is_large() -> None:
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, ::2, ::2] = 1.0
    x[0, 0, 1, 1] = 3.0
    assert adaptive_polyphase(x, (2, 2), 1.0).sum() == 4
    assert adaptive_polyphase(x, (2, 2), 2.0).sum() == 3


def test_any_pixel_may_decide() -> None:
    """As its reads say: one large pixel anywhere changes what every output position shows."""
    torch.manual_seed(0)
    x = torch.rand(1, 1, 4, 4)
    seen = torch.zeros(2, 2, dtype=torch.bool)
    for row, column in product(range(4), repeat=2):
        changed = x.clone()
        changed[0, 0, row, column] = 100.0
        seen |= (adaptive_polyphase(changed, (2, 2), 2.0) != adaptive_polyphase(x, (2, 2), 2.0))[0, 0]
    assert seen.all()
