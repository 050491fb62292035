"""What the ops of a trace read, against the gradient: small modules, every element of their outputs.

The reads of all ops of the traced graph are followed from the input to the output; an output element reads exactly
the input elements it changes with.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from reads_reference import Sets, follow
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module


def masks(graph: Graph) -> dict[str, Sets]:
    """For every value, the set of input elements each of its elements reads, as bits."""
    (name,) = graph.inputs
    shape = graph.inputs[name].shape
    found = {name: np.array([1 << i for i in range(prod(shape))], dtype=object).reshape(shape)}
    for node in graph.nodes:
        result = np.zeros(node.output.shape, dtype=object)
        reads = node.op.reads(graph.values(node))
        for source, steps in zip(node.inputs, reads or (), strict=True):
            sets = found[source]
            for step in steps:
                sets = follow(step, sets)
            result = result | np.broadcast_to(sets, node.output.shape)
        found[node.name] = result
    return found


def assert_reads(module: nn.Module, *shape: int) -> Graph:
    """The traced reads are the non-zeros of the Jacobian at a random positive input. All parameters are positive."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    graph = from_module(module, [InputSize(shape)])
    module = module.double().eval()
    x = 0.5 + torch.rand((1, *shape), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(module, x).reshape(-1, x.numel())
    expected = [sum(1 << int(i) for i in row.nonzero().flatten()) for row in jacobian]
    assert list(masks(graph)[graph.outputs[0]].ravel()) == expected
    assert not [node.name for node in graph.nodes if node.op.tag == "unsupported"]
    return graph


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def shift_channels(x: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    out[:, :1, :, 1:] = x[:, :1, :, :-1]
    out[:, 1:] = x[:, 1:] * 2
    return out


def write_into_a_copy(x: Tensor) -> Tensor:
    y = x * 1
    y[:, :, ::2] = x[:, :, 1::2] + x[:, :, :2]
    y.transpose(2, 3)[:, :, 1] += 3 * x[:, :, 0]
    return y


def write_into_a_corner(x: Tensor) -> Tensor:
    y = x * 1
    y[:, :, 1:, 1:] = x[:, :, :1, :1]
    return y


def write_behind_a_view(x: Tensor) -> Tensor:
    y = x * 1
    flat = y.view(1, -1)
    y[:, 0] = x[:, 1]
    return flat * 2


def write_in_another_order(x: Tensor) -> Tensor:
    y = x * 1
    first = y[:, 0]
    y.transpose_(1, 2)
    y[:, :1] = x[:, :, 1:2].transpose(1, 2)
    return torch.cat([y.flatten(1), first], 1)


def write_on_the_transpose_of_a_view(x: Tensor) -> Tensor:
    y = x * 1
    y.view(1, 2, 3).transpose(1, 2).mul_(x.mean())
    return y


def sum_into(x: Tensor) -> Tensor:
    y = torch.zeros(1, 4, 3).to(x)
    torch.add(x[:, :1], x[:, 1:], out=y[:, 1:2])
    torch.neg(x, out=y[:, 2:])
    return y


def swap_data(x: Tensor) -> Tensor:
    y = x * 1
    y.data = x.flip(2)
    return y


def window_attention_layout(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    windows = x.roll((-1, -1), (2, 3)).view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
    windows = windows + windows.mean(1, keepdim=True)
    return windows.view(n, h // 2, w // 2, 2, 2, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w).roll((1, 1), (2, 3))


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "broadcast constant": (lambda x: x * torch.arange(1.0, 4).view(3, 1, 1), (3, 2, 2)),
    "stretched by a constant": (lambda x: x + torch.ones(2, 1, 3), (1, 3)),
    "gate": (lambda x: x * x.mean((2, 3), keepdim=True), (2, 3, 3)),
    "outer sum": (lambda x: x[:, :, :, None] + x[:, :, None, :], (2, 3)),
    "slice with a step": (lambda x: x[:, :, 1::2, -3:], (2, 5, 4)),
    "select": (lambda x: x[:, 1, 2], (2, 4, 3)),
    "narrow": (lambda x: x.narrow(2, 1, 2), (2, 4, 3)),
    "chunk and swap": (lambda x: torch.cat(x.chunk(3, 1)[::-1], 1), (5, 3)),
    "unbind": (lambda x: torch.stack(x.unbind(2)[1:], 1), (2, 3, 2)),
    "expand": (lambda x: x.mean(1, keepdim=True).expand(-1, 4, -1), (2, 3)),
    "flip": (lambda x: x.flip(2, 3), (1, 3, 4)),
    "quarter turns": (lambda x: torch.cat([x.rot90(k, (2, 3)).flatten(1) for k in range(-1, 4)], 1), (1, 3, 2)),
    "roll": (lambda x: x.roll((1, -2), (2, 3)), (2, 3, 4)),
    "roll of all": (lambda x: x.roll(2), (2, 3)),
    "repeat": (lambda x: x.repeat(1, 2, 3), (2, 3)),
    "repeat interleave": (lambda x: x.repeat_interleave(3, 2), (2, 3)),
    "index by constants": (lambda x: x[:, :, torch.tensor([2, 0, 0, -1])], (2, 4)),
    "index by a list of all": (lambda x: x[:, [2, 0, 1]].sum(1), (3, 2)),
    "mask": (lambda x: x[:, torch.tensor([True, False, True])], (3, 2)),
    "pad, zero": (lambda x: F.pad(x, (1, 2, 0, 1)), (1, 3, 3)),
    "pad, reflect": (lambda x: F.pad(x, (1, 2, 1, 1), mode="reflect"), (1, 3, 4)),
    "pad, circular": (lambda x: F.pad(x, (1, 2, 1, 1), mode="circular"), (1, 3, 4)),
    "pad by negative": (lambda x: F.pad(x, (-1, 1)), (2, 4)),
    "pad channels": (lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)), (2, 2, 2)),
    "space to depth": (lambda x: torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1), (1, 4, 4)),
    "channel shuffle": (lambda x: x.view(1, 2, 3, 2, 2).transpose(1, 2).reshape(1, 6, 2, 2), (6, 2, 2)),
    "pixel shuffle by hand": (
        lambda x: x.view(1, 1, 2, 2, 2, 3).permute(0, 1, 4, 2, 5, 3).reshape(1, 1, 4, 6), (4, 2, 3)
    ),
    "movedim": (lambda x: x.movedim(1, -1).flatten(1, 2), (2, 3, 2)),
    "transpose and view": (lambda x: x.flatten(2).transpose(1, 2), (3, 2, 2)),
    "unfold": (lambda x: F.unfold(x, 2, dilation=2, padding=1, stride=2), (2, 4, 5)),
    "fold": (lambda x: F.fold(x, (4, 5), 3, padding=1, stride=2), (9, 6)),
    "windows": (lambda x: x.unfold(2, 3, 2), (2, 7)),
    "row of windows": (lambda x: x.unfold(2, 2, 1).unfold(3, 2, 2), (1, 3, 4)),
    "cumsum": (lambda x: x.cumsum(2) + x.flip(2).cumsum(2).flip(2), (2, 3)),
    "layer norm over rows": (lambda x: F.layer_norm(x, (3,)), (2, 4, 3)),
    "softmax": (lambda x: x.softmax(2), (2, 3)),
    "matrix product": (lambda x: x @ x.transpose(1, 2), (3, 4)),
    "product with a constant": (lambda x: torch.ones(2, 3).to(x) @ x, (3, 4)),
    "vector products": (lambda x: (x @ torch.ones(4).to(x))[:, None] @ torch.ones(1, 3, 2).to(x), (3, 4)),
    "einsum": (lambda x: torch.einsum("nchw,ndhw->ncd", x, x), (2, 2, 2)),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x[:, :, :2], x[:, :, 2:]), (2, 4, 3)),
    "norm": (lambda x: x / x.norm(dim=1, keepdim=True), (3, 2)),
    "shift channels": (shift_channels, (2, 2, 3)),
    "writes into a copy": (write_into_a_copy, (2, 4, 4)),
    "writes into a corner": (write_into_a_corner, (1, 2, 3)),
    "writes behind a view": (write_behind_a_view, (2, 2)),
    "writes in another order": (write_in_another_order, (2, 3)),
    "writes on the transpose of a view": (write_on_the_transpose_of_a_view, (6,)),
    "flip of rows": (lambda x: x.fliplr() * x, (3, 4)),
    "flip of the first axis": (lambda x: x[0].flipud()[None], (3, 4)),
    "index by a list": (lambda x: x[:, [0, 2]], (4, 2)),
    "index by a list twice": (lambda x: x[:, :, [True, False, True]], (2, 3)),
    "slice scatter": (lambda x: x.slice_scatter(x[:, :, :1], 2, 2, 3), (2, 4)),
    "select scatter": (lambda x: x.select_scatter(x[:, 0] * 2, 1, 1), (3, 2)),
    "grid with a constant": (
        lambda x: torch.cat(torch.meshgrid(x[0, 0], torch.arange(3.0).to(x), indexing="xy"), 1)[None], (1, 4)
    ),
    "sum of products": (lambda x: torch.addbmm(x[0, 0], x[0], x[0].transpose(1, 2)).unsqueeze(0), (2, 3, 3)),
    "product with a sum": (lambda x: torch.addr(x[0], x[0, :, 0], x[0, 0]).unsqueeze(0), (2, 3)),
    "distances": (lambda x: torch.cdist(x[:, :2], x[:, 1:] * 2), (3, 2)),
    "squared error": (lambda x: F.mse_loss(x[:, :1], x[:, 1:], reduction="none"), (2, 3)),
    "error of a class": (lambda x: F.multi_margin_loss(x, torch.tensor([0]), margin=5, reduction="none"), (3,)),
    "real transform": (lambda x: torch.fft.rfft2(x[:, :, 1:]).abs(), (2, 4, 3)),
    "real transform and back": (lambda x: torch.fft.irfft(torch.fft.rfft(x) * torch.rand(2, 3).to(x), n=4), (2, 4)),
    "complex numbers": (lambda x: torch.view_as_complex(x).abs(), (3, 2)),
    "unbatched convolution": (lambda x: F.conv1d(x[0], torch.rand(3, 2, 2).to(x))[None], (2, 4)),
    "windows by hand": (window_attention_layout, (1, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    function, shape = FUNCTIONS[name]
    assert_reads(Function(function), *shape)


class Bilinear(nn.Bilinear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, 0, :2], x[:, 1, 2:])


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), (2, 5, 4)),
        (nn.Conv2d(1, 1, 2, padding="same", padding_mode="circular"), (1, 3, 3)),
        (nn.ConvTranspose2d(2, 2, 3, stride=2, output_padding=1), (2, 2, 3)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (1, 3, 2)),
        (nn.AdaptiveAvgPool2d((2, 3)), (1, 5, 4)),
        (nn.GLU(1), (4, 3)),
        (nn.GroupNorm(2, 4), (4, 3)),
        (nn.PixelUnshuffle(2), (1, 4, 2)),
        (Bilinear(2, 3, 2), (4, 5)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers(module: nn.Module, shape: tuple[int, ...]) -> None:
    assert_reads(module, *shape)


@pytest.mark.parametrize(
    ("function", "plain"),
    [
        (sum_into, lambda x: torch.cat([x[:, :1] * 0 + 1, x[:, :1] + x[:, 1:], -x], 1)),
        (swap_data, lambda x: x.flip(2)),
    ],
)
def test_what_autograd_does_not_follow_is_as_without_it(function: Callable[[Tensor], Tensor], plain: Any) -> None:
    graphs = [from_module(Function(f), [InputSize((2, 3))]) for f in (function, plain)]
    left, right = (masks(graph)[graph.outputs[0]][:, -3:] for graph in graphs)
    assert (left == right).all()


class Standardised(nn.Conv2d):
    """Weight standardisation: the weight is computed."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class Dynamic(nn.Module):
    """The kernel depends on the image."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.make(x.flatten(1)[:, :4]).view(1, 1, 2, 2))


def test_a_computed_weight_is_still_a_convolution() -> None:
    graph = assert_reads(Standardised(2, 3, 3, padding=1), 2, 4, 4)
    assert [node.layer for node in graph.nodes if node.op.tag == "conv"] == ["conv"]


def test_a_kernel_made_of_the_image_makes_every_output_read_what_made_it() -> None:
    assert_reads(Dynamic(), 1, 3, 3)
