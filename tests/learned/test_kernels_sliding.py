"""A kernel step by step: the lecture's example, torch's convolutions, autograd's Jacobian, numpy's convolution."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.nn.functional import conv1d, conv2d

from cnnscope.errors import CnnscopeError
from cnnscope.learned.filters.grids import grid, planes
from cnnscope.learned.filters.sliding import Setting, chosen, slide
from cnnscope.render.kernels import Rows, shown
from cnnscope.render.sliding import SlideReport


def floats(rows: Rows) -> np.ndarray[Any, Any]:
    return np.array([[float(value) for value in row] for row in rows])


def whole(shape: tuple[int, int], seed: int) -> Rows:
    values = np.random.default_rng(seed).integers(-4, 5, shape)
    return tuple(tuple(Fraction(int(value)) for value in row) for row in values)


def matrix(report: SlideReport) -> np.ndarray[Any, Any]:
    return floats(report.matrix)


def test_the_lectures_example() -> None:
    found = slide((grid("-1 1", "--kernel"),), (grid("0 1 0 1 1", "--input"),))
    assert found.output == ((1, -1, 1, 0),)
    assert [step.window for step in found.steps] == [(0, 1), (1, 0), (0, 1), (1, 1)]
    assert [step.products for step in found.steps] == [(0, 1), (-1, 0), (0, 1), (-1, 1)]
    np.testing.assert_array_equal(
        matrix(found), [[-1, 1, 0, 0, 0], [0, -1, 1, 0, 0], [0, 0, -1, 1, 0], [0, 0, 0, -1, 1]]
    )


def test_the_lectures_second_example() -> None:
    assert slide((grid("-1 1", "--kernel"),), (grid("0 1 -1 1 1", "--input"),)).output == ((1, -2, 2, 0),)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, 1, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize(("kernel", "signal"), [((1, 3), (1, 9)), ((3, 3), (7, 6)), ((2, 3), (6, 7)), ((1, 2), (5, 5))])
def test_sums_are_torchs_and_the_matrix_is_the_jacobian(
    kernel: tuple[int, int], signal: tuple[int, int], stride: int, pad: int, dilation: int
) -> None:
    w, x = whole(kernel, 1), whole(signal, 2)
    found = slide((w,), (x,), Setting(stride=stride, pad=pad, dilation=dilation))
    flat = signal[0] == 1
    weight = torch.from_numpy(floats(w))[None, None]

    def run(flattened: torch.Tensor) -> torch.Tensor:
        image = flattened.reshape(1, 1, *signal)
        if flat:
            return conv1d(image[:, :, 0], weight[:, :, 0], stride=stride, padding=pad, dilation=dilation).flatten()
        return conv2d(image, weight, stride=stride, padding=pad, dilation=dilation).flatten()

    point = torch.from_numpy(floats(x)).flatten()
    np.testing.assert_array_equal(floats(found.output).ravel(), run(point).numpy())
    jacobian = torch.autograd.functional.jacobian(run, point)
    assert isinstance(jacobian, torch.Tensor)
    np.testing.assert_array_equal(matrix(found), jacobian.numpy())


@pytest.mark.parametrize("kernel", [(1, 2), (1, 3), (1, 5)])
def test_flipped_is_the_convolution_of_signal_processing(kernel: tuple[int, int]) -> None:
    w, x = whole(kernel, 5), whole((1, 8), 6)
    found = slide((w,), (x,))
    np.testing.assert_array_equal(floats(found.flipped)[0], np.convolve(floats(x)[0], floats(w)[0], mode="valid"))
    np.testing.assert_array_equal(floats(found.output)[0], np.correlate(floats(x)[0], floats(w)[0], mode="valid"))


def test_with_stride_1_the_matrix_is_constant_along_diagonals() -> None:
    found = matrix(slide((whole((1, 3), 1),), (whole((1, 9), 2),), Setting(pad=2)))
    for offset in range(-found.shape[0] + 1, found.shape[1]):
        assert len(set(np.diagonal(found, offset))) == 1


def test_numbers_stay_exact() -> None:
    found = slide((grid("1/9 0.1", "--kernel"),), (grid("1 1 0.2", "--input"),))
    assert found.output == ((Fraction(19, 90), Fraction(1, 9) + Fraction(2, 100)),)
    written = {"3": "3", "-1/2": "-0.5", "1/9": "1/9", "0.0625": "0.0625", "-7": "-7"}
    assert {text: shown(Fraction(text)) for text in written} == written


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("-1 1", [[-1, 1]]), ("1,2, 3", [[1, 2, 3]]), ("1 0; 2 0;", [[1, 0], [2, 0]]), ("1\n2", [[1], [2]]),
        (".5 5. +1e1 -2E-1 1/4", [[0.5, 5, 10, -0.2, 0.25]]),
    ],
)  # fmt: skip
def test_ways_to_write_numbers(text: str, rows: list[list[float]]) -> None:
    np.testing.assert_allclose(floats(grid(text, "--kernel")), rows)


HINT = 'write numbers apart by spaces, rows apart by semicolons: "1 0 -1; 2 0 -2; 1 0 -1"'
BAD = [
    ("", "E487", "`--kernel` is empty", HINT),
    (" ; ", "E487", "`--kernel` is empty", HINT),
    ("1;;2", "E487", "`--kernel` has an empty row, the 2nd", HINT),
    ("1 x", "E487", "`x` in `--kernel` is no number", HINT),
    ("1 2j", "E487", "`2j` in `--kernel` is no number", HINT),
    ("1e999999", "E487", "`1e999999` in `--kernel` is no number", HINT),
    ("9" * 99, "E487", f"`{'9' * 24}...` in `--kernel` is no number", HINT),
    ("nan", "E487", "`--kernel` has `nan` in it, which is not finite", HINT),
    ("1 -inf", "E487", "`--kernel` has `-inf` in it, which is not finite", HINT),
    ("1/0", "E487", "`1/0` in `--kernel` divides by zero", HINT),
    ("1 2; 3", "E487", "the rows of `--kernel` differ in length: the first has 2 numbers, the 2nd 1",
     "give every row the same length"),
    ("1 | 1 2", "E487", "the channels of `--kernel` differ in size: the first is 1x1, the 2nd 1x2",
     "give every channel the same rows and columns"),
    ("1 |", "E487", "`--kernel` is empty", HINT),
    ("1 " * 1025, "E489", "`--kernel` has 1,025 numbers, more than anyone follows step by step", "give at most 1,024"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "message", "hint"), BAD, ids=[row[0][:12] for row in BAD])
def test_what_is_no_kernel(text: str, code: str, message: str, hint: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        planes(text, "--kernel")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.hint) == (code, message, hint)


@pytest.mark.parametrize(
    ("kernel", "signal", "options", "code", "message"),
    [
        ("1 2 3", "1 2", {}, "E488", "the kernel has 3 numbers, and the input 2"),
        ("1 2 3", "1 2 3", {"dilation": 2}, "E488",
         "the kernel has 3 numbers spread over 5 by its dilation, and the input 3"),
        ("1; 2; 3", "1 2 3", {"pad": 0}, "E488", "the kernel has 3 rows, and the input 1"),
        ("1 2 3 4 5 6", "1 2; 3 4", {"pad": 1}, "E488", "the kernel has 6 columns, and the input 2 and 2 of padding"),
        ("1 2 3 | 1 2 3", "1 2 3", {}, "E488", "the kernel has 2 channels, and the input 1"),
        ("1 1", "1 2", {"operation": "maxpool", "pad": 2}, "E488",
         "padding of 2 is more than half the window of 2: some windows would be empty"),
        ("1 1", "1 2", {"operation": "upconv", "pad": 2}, "E488",
         "padding of 2 cuts off all 3 numbers of the output"),
        ("1", "1 2", {"pad": 10**9}, "E489", "2,000,000,002 steps over 2 numbers are more than anyone follows"),
    ],
)  # fmt: skip
def test_what_does_not_fit(kernel: str, signal: str, options: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        slide(planes(kernel, "--kernel"), planes(signal, "--input"), Setting(**options))
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message) == (code, message)


def several(channels: int, shape: tuple[int, int], seed: int) -> tuple[Rows, ...]:
    return tuple(whole(shape, seed + channel) for channel in range(channels))


def stacked(planes: tuple[Rows, ...]) -> torch.Tensor:
    return torch.from_numpy(np.stack([floats(rows) for rows in planes]))


SIZES = [((1, 3), (1, 8)), ((2, 3), (5, 6)), ((1, 2), (3, 3))]


@pytest.mark.parametrize(("kernel", "signal"), SIZES)
@pytest.mark.parametrize(("stride", "pad", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 0, 2), (1, 1, 2)])
@pytest.mark.parametrize("operation", ["conv", "upconv"])
def test_channels_and_bias_are_torchs(
    operation: Any, kernel: tuple[int, int], signal: tuple[int, int], stride: int, pad: int, dilation: int
) -> None:
    """Sums over three channels; the matrix is the Jacobian of the flattened channels."""
    w, x = several(3, kernel, 10), several(3, signal, 20)
    found = slide(w, x, Setting(operation=operation, stride=stride, pad=pad, dilation=dilation, bias=Fraction(1, 2)))
    flat = kernel[0] == signal[0] == 1
    weight = stacked(w)[:, 0] if flat else stacked(w)
    name = {"conv": "conv", "upconv": "conv_transpose"}[operation] + ("1d" if flat else "2d")
    shaped = weight[None] if operation == "conv" else weight[:, None]

    def run(flattened: torch.Tensor) -> torch.Tensor:
        image = flattened.reshape(1, 3, *signal[1:] if flat else signal)
        torchs: torch.Tensor = getattr(functional, name)(
            image, shaped, torch.tensor([0.5], dtype=torch.float64), stride=stride, padding=pad, dilation=dilation
        )
        return torchs.flatten()

    point = stacked(x).flatten()
    np.testing.assert_array_equal(floats(found.output).ravel(), run(point).numpy())
    jacobian = torch.autograd.functional.jacobian(run, point)
    assert isinstance(jacobian, torch.Tensor)
    np.testing.assert_array_equal(matrix(found), jacobian.numpy())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("side", "stride", "pad"), [(2, 2, 0), (3, 2, 1), (3, 1, 0), (2, 3, 1)])
@pytest.mark.parametrize("signal", [(1, 9), (6, 7)])
def test_pooling_is_torchs(signal: tuple[int, int], side: int, stride: int, pad: int, seed: int) -> None:
    x = whole(signal, seed)
    flat = signal[0] == 1
    shape = (1, side) if flat else (side, side)
    image = torch.from_numpy(floats(x))
    for operation, weight in (("maxpool", Fraction(1)), ("avgpool", Fraction(1, shape[0] * shape[1]))):
        kernel = (((weight,) * shape[1],) * shape[0],)
        found = slide(kernel, (x,), Setting(operation=operation, stride=stride, pad=pad))  # type: ignore[arg-type]
        pool = getattr(functional, f"{operation[:3]}_pool{1 if flat else 2}d")
        torchs = pool(image[None] if flat else image[None, None], side, stride, pad)
        np.testing.assert_allclose(floats(found.output).ravel(), torchs.numpy().ravel(), rtol=0, atol=1e-15)
        np.testing.assert_allclose(matrix(found) @ floats(x).ravel(), torchs.numpy().ravel(), rtol=0, atol=1e-14)


def test_max_pooling_with_dilation_is_torchs() -> None:
    x = whole((7, 8), 3)
    found = slide((((Fraction(1),) * 3,) * 3,), (x,), Setting(operation="maxpool", stride=2, pad=1, dilation=2))
    torchs = functional.max_pool2d(torch.from_numpy(floats(x))[None, None], 3, 2, 1, dilation=2)
    np.testing.assert_array_equal(floats(found.output), torchs[0, 0].numpy())


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_activations_are_torchs(activation: str) -> None:
    x = (tuple(Fraction(i, 3) for i in range(-2400, 2401, 300)),)
    found = slide((((Fraction(1),),),), (x,), Setting(bias=Fraction(1, 4), activation=activation))
    torchs = getattr(torch, activation)(torch.from_numpy(floats(x)) + 0.25)
    np.testing.assert_allclose(floats(found.output), torchs.numpy(), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "`--steps ` names no steps", "write `--steps 1,2,5`"),
        ("1-3", "`--steps 1-3` names no steps", "write `--steps 1,2,5`"),
        ("0", "there is no step 0", "steps count from 1 to 4"),
        ("1,5", "there is no step 5", "steps count from 1 to 4"),
    ],
)
def test_steps_that_do_not_exist(text: str, message: str, hint: str) -> None:
    assert chosen("3, 1,3", 4) == (2, 0)
    with pytest.raises(CnnscopeError) as caught:
        chosen(text, 4)
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.message, diagnostic.hint) == ("E409", message, hint)
