"""Shapes worked out without torch, against torch: the same shape, strides and type, or nothing at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cnnscope.sources.torch.shortcuts import SHORTCUTS


def on_meta(a: Any) -> Any:
    if isinstance(a, Tensor):
        return torch.empty_strided(a.shape, a.stride(), dtype=a.dtype, device="meta")
    return [on_meta(item) for item in a] if isinstance(a, (list, tuple)) else a


def assert_agrees(name: str, *args: Any, **kwargs: Any) -> bool:
    """Whether there is an answer; it must be torch's. There is none where torch refuses."""
    found = SHORTCUTS[name](*map(on_meta, args), **kwargs)
    try:
        expected = getattr(torch.ops.aten, name)(*args, **kwargs)
    except (RuntimeError, IndexError):
        assert found is None
        return False
    if found is None:
        return False
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert found.stride() == expected.stride()
    return True


def test_every_shortcut_is_a_function_of_aten() -> None:
    assert all(hasattr(torch.ops.aten, name) for name in SHORTCUTS)


X = torch.rand(2, 6, 5, 4)
UNARY = [
    "relu", "relu6", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh", "leaky_relu", "elu",
    "mish", "relu_", "relu6_", "silu_", "hardswish_", "hardsigmoid_", "hardtanh_", "leaky_relu_",
]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize(
    "x", [X, X.permute(0, 2, 3, 1), X.transpose(0, 3), X.double(), X.mT.contiguous()], ids=lambda x: str(x.stride())
)
def test_functions_of_one_tensor(name: str, x: Tensor) -> None:
    assert assert_agrees(name, x.clone(memory_format=torch.preserve_format))


@pytest.mark.parametrize(
    ("x", "y", "answered"),
    [
        (X, X, True), (X, 2.0, True), (X.transpose(1, 3), 2, True), (X, X[:1], True), (X, X[0, :, :, :1].clone(), True),
        (X, X.double(), False), (X[:1], X, False), (X, X.transpose(0, 1), False), (X, torch.rand(3), False),
        (torch.arange(3), 2.0, False), (X, X.permute(0, 2, 3, 1), False), (X[:, :, :1], X[:, :, :, :1], False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div"])
def test_functions_of_two(name: str, x: Tensor, y: Any, answered: bool) -> None:
    assert assert_agrees(name, x, y) is answered


def test_sums_in_place() -> None:
    assert assert_agrees("add_", X.clone(), X)
    assert not assert_agrees("add_", X.clone(), X[:, :, :, :1])


@pytest.mark.parametrize(
    ("name", "args", "answered"),
    [
        ("softmax", (X, -1), True), ("softmax", (X.transpose(1, 2), 1), False), ("softmax", (X, 7), False),
        ("softmax", (X, 1, torch.float64), False),
        ("roll", (X, [1, 2], [2, 3]), True), ("roll", (X, [1], []), False), ("roll", (X, [1, 2], [1]), False),
        ("batch_norm", (X, None, None, torch.ones(6), torch.ones(6), False, 0.1, 1e-5, False), True),
        ("batch_norm", (X, None, None, torch.ones(5), torch.ones(6), False, 0.1, 1e-5, False), False),
        ("batch_norm", (X, torch.ones(6), None, None, None, True, 0.1, 1e-5, False), False),
        ("layer_norm", (X, [5, 4], torch.ones(5, 4)), True), ("layer_norm", (X, [4, 4]), False),
        ("layer_norm", (X, [4], torch.ones(3)), False),
        ("linear", (X, torch.ones(3, 4), torch.ones(3)), True), ("linear", (X, torch.ones(3, 5)), False),
        ("linear", (X, torch.ones(3, 4), torch.ones(2)), False), ("linear", (X.double(), torch.ones(3, 4)), False),
        ("linear", (X, torch.ones(4)), False), ("linear", (torch.ones(4), torch.ones(3, 4)), True),
        ("matmul", (X, X.mT), True), ("matmul", (X, X), False), ("matmul", (X, X[0].mT), False),
        ("matmul", (X[:, :1], X.mT), False),
        ("cat", ([X, X], 1), True), ("cat", ([X, X[:, :2].clone()], 1), True), ("cat", ([X, X[:, :, :2]], 1), False),
        ("cat", ([X, X[0]], 1), False), ("cat", ([X, X.double()], 1), False), ("cat", ([X, X], -1), True),
        ("cat", ([X, X], 9), False), ("cat", ([torch.zeros(0), X], 1), False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_others(name: str, args: tuple[Any, ...], answered: bool) -> None:
    assert assert_agrees(name, *args) is answered


@given(
    channels=st.integers(1, 4), out=st.integers(1, 4), groups=st.integers(1, 3), extra=st.integers(0, 1),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)), kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3)), pad=st.integers(0, 2),
    dilation=st.integers(1, 2), bias=st.booleans(),
)  # fmt: skip
@settings(max_examples=150)
def test_convolution(
    channels: int, out: int, groups: int, extra: int, size: tuple[int, int], kernel: tuple[int, int], stride: Any,
    pad: int, dilation: int, bias: bool,
) -> None:  # fmt: skip
    x = torch.rand(1, channels * groups + extra, *size)
    weight = torch.rand(out * groups, channels, *kernel)
    given = torch.rand(out * groups) if bias else None
    stride = [stride] if isinstance(stride, int) else list(stride)
    fits = all(n + 2 * pad >= dilation * (k - 1) + 1 for n, k in zip(size, kernel, strict=True))
    answered = assert_agrees("conv2d", x, weight, given, stride, [pad, pad], [dilation], groups)
    assert answered is (fits and not extra)
