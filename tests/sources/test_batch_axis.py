"""The batch never becomes an axis of the image: torch at batches of 1, 2 and 3 shows which axis of an output it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cnnscope.ir import Graph
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.torch.module import from_module

Network = tuple[nn.Module, tuple[int, ...]]
MAP, GREY, TOKENS = (8, 6, 6), (1, 6, 6), (11, 12)


class Function(nn.Module):
    """``function(self, x)`` as a module that has ``parts``."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def plain(function: Callable[[Tensor], Any], shape: tuple[int, ...] = MAP) -> Network:
    return Function(lambda net, x: function(x)), shape


def attention(batch_first: bool) -> nn.Module:
    return nn.MultiheadAttention(12, 3, batch_first=batch_first)


def warp(net: Any, x: Tensor) -> Tensor:
    theta = net.locate(x.mean((2, 3))).view(-1, 2, 3)
    return functional.grid_sample(x, functional.affine_grid(theta, list(x.shape), False), align_corners=False)


def assigned(x: Tensor) -> Tensor:
    z = x.new_zeros(x.shape[0], 12, *x.shape[2:])
    z[:, 2:10] = x
    z[:, 0] = x[:, 0]
    return z


def unpooled(x: Tensor) -> Tensor:
    y, indices = functional.max_pool2d(x, 2, return_indices=True)
    return functional.max_unpool2d(y, indices, 2)


def windows(net: Any, x: Tensor) -> Tensor:
    n, c, _, _ = x.shape
    y = x.permute(0, 2, 3, 1).view(n, 2, 3, 2, 3, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 9, c)
    return net.fc(y).view(n, 2, 2, 3, 3, c).permute(0, 1, 3, 2, 4, 5).reshape(n, 6, 6, c)


def seeds_first(net: Any, x: Tensor) -> Tensor:
    y = x.transpose(0, 1)
    return net.attention(y, y, y)[0].transpose(0, 1)


NETWORKS: Mapping[str, Network] = {
    "attention, batch first": (Function(lambda net, x: net.a(x, x, x)[0], a=attention(True)), TOKENS),
    "attention weights": (Function(lambda net, x: net.a(x, x, x)[1], a=attention(True)), TOKENS),
    "attention without its weights":
        (Function(lambda net, x: net.a(x, x, x, need_weights=False)[0], a=attention(True)), TOKENS),
    "attention, batch second": (Function(seeds_first, attention=attention(False)), TOKENS),
    "transformer": (nn.TransformerEncoderLayer(12, 3, 24, batch_first=True), TOKENS),
    "transformer, batch second":
        (Function(lambda net, x: net.t(x.flatten(2).permute(2, 0, 1)).mean(0), t=nn.TransformerEncoderLayer(8, 2)),
         MAP),
    "stack": plain(lambda x: torch.stack([x, x * 2], 0)),
    "sum of a stack": plain(lambda x: torch.stack([x, x * 2], 0).sum(0)),
    "mean of a stack": plain(lambda x: torch.stack([x, x * 2]).mean(0).flatten(1)),
    "maximum of a stack": plain(lambda x: torch.stack([x, x * 2]).max(0)[0]),
    "gather": plain(lambda x: x.flatten(2).gather(2, x.flatten(2).argsort(2)[:, :, :5])),
    "topk": plain(lambda x: x.flatten(2).topk(5, 2)[0]),
    "take_along_dim": plain(lambda x: torch.take_along_dim(x, x.argmax(1, keepdim=True), 1)),
    "grid_sample": (Function(warp, locate=nn.Linear(8, 6)), MAP),
    "slice assignment": plain(assigned),
    "list of places": plain(lambda x: x[:, :, [0, 2, 4]]),
    "constant mask": plain(lambda x: x[:, torch.tensor([True, False] * 4)]),
    "max_unpool": plain(unpooled),
    "window attention": (Function(windows, fc=nn.Linear(8, 8)), MAP),
    "bmm": plain(lambda x: torch.bmm(x.flatten(2), x.flatten(2).transpose(1, 2))),
    "cdist": plain(lambda x: torch.cdist(x.flatten(2), x.flatten(2))),
    "scatter": plain(lambda x: torch.zeros_like(x).scatter(1, x.argmax(1, keepdim=True), 1.0)),
    "fft": plain(lambda x: torch.fft.rfft2(x).abs()),
    "inverse": plain(torch.linalg.inv, (3, 4, 4)),
    "einsum": plain(lambda x: torch.einsum("bcn,bdn->bcd", x.flatten(2), x.flatten(2))),
    "einsum of pixels": plain(lambda x: torch.einsum("bchw,bcij->bhwij", x, x)),
    "einsum with a weight":
        (Function(lambda net, x: torch.einsum("bchw,cd->bdhw", x, net.w), w=nn.Parameter(torch.ones(8, 5))), MAP),
    "one_hot": plain(lambda x: functional.one_hot(x.argmax(1), 8)),
    "two lists of places": plain(lambda x: x[:, :, [0, 2, 4], [1, 2, 3]]),
    "places that are computed":
        plain(lambda x: x.flatten(2)[torch.arange(x.shape[0])[:, None], :, x.flatten(2).argmax(1)[:, :3]]),
    "upper triangle": plain(lambda x: x[:, :, *torch.triu_indices(6, 6)]),
    "diagonal": plain(lambda x: x.diagonal(dim1=2, dim2=3)),
    "diag_embed": plain(lambda x: torch.diag_embed(x.mean((2, 3)))),
    "a kernel for each image":
        (Function(lambda net, x: functional.conv2d(x.reshape(1, -1, 6, 6), net.w.repeat(x.shape[0], 1, 1, 1),
                                                   groups=x.shape[0]).view(x.shape[0], -1, 4, 4),
                  w=nn.Parameter(torch.ones(4, 8, 3, 3))), MAP),
    "image by image": plain(lambda x: torch.stack([image * 2 for image in x])),
    "last state": (Function(lambda net, x: net.r(x)[1][0], r=nn.LSTM(12, 4, batch_first=True)), TOKENS),
    "zeros of the batch": plain(lambda x: torch.zeros(x.shape[0], 4) + x.mean((1, 2, 3))[:, None]),
    "softmax over the batch": plain(lambda x: x.mean((2, 3)).softmax(0)),
    "one channel, merged": plain(lambda x: x.view(x.shape[0], 1, -1), GREY),
    "one channel, squeezed": plain(lambda x: x.squeeze(1), GREY),
    "one channel, permuted": plain(lambda x: x.permute(1, 0, 2, 3).reshape(1, -1, 36), GREY),
    "one channel, new axis": plain(lambda x: x.unsqueeze(0), GREY),
    "order of axes": plain(lambda x: x.permute(2, 3, 0, 1).reshape(36, -1, 8).permute(1, 0, 2)),
    "joined and parted": plain(lambda x: torch.cat(torch.chunk(torch.cat([x, -x]), 2), 1)),
    "joined along the batch": plain(lambda x: torch.cat([x, x.flip(3)]).view(2, -1, 8, 6, 6).mean(0)),
    "channel shuffle": plain(lambda x: x.view(x.shape[0], 2, 4, 6, 6).transpose(1, 2).reshape(x.shape[0], -1, 6, 6)),
    "shuffle in one group":
        plain(lambda x: x.view(x.shape[0], 1, 8, 6, 6).transpose(1, 2).reshape(x.shape[0], -1, 6, 6)),
    "sum over the batch": plain(lambda x: x.sum(0)),
    "one image": plain(lambda x: x[0]),
    "frames":
        (Function(lambda net, x: net.c(x.flatten(0, 1)).unflatten(0, (-1, 6)), c=nn.Conv2d(3, 4, 3)), (6, 3, 8, 8)),
    "recurrent over frames":
        (Function(lambda net, x: net.r(net.c(x.flatten(0, 1)).mean((2, 3)).view(x.shape[0], 6, -1))[0],
                  c=nn.Conv2d(3, 4, 3), r=nn.LSTM(4, 5, batch_first=True)), (6, 3, 8, 8)),
}  # fmt: skip


def batch_of_torch(module: nn.Module, shape: tuple[int, ...]) -> int | None:
    """The axis that has as many elements as there are images; None if none has."""
    shapes = []
    for batch in (1, 2, 3):
        with torch.no_grad():
            out = module.eval()(torch.rand(batch, *shape))
        shapes.append(tuple(out.shape))
    one, two, three = shapes
    found = [i for i, sizes in enumerate(zip(one, two, three, strict=True)) if sizes == (1, 2, 3)]
    return found[0] if found else None


def read(module: nn.Module, shape: tuple[int, ...]) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return from_module(module, [InputSize(shape)])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_batch_axis_is_torchs(name: str) -> None:
    module, shape = NETWORKS[name]
    graph = read(module, shape)
    assert graph.value(graph.outputs[0]).batch_axis == batch_of_torch(module, shape)


class Loud(nn.Module):
    """Prints, counts its calls, and picks its elements by a function without a rule, so that it is run again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        print("called")
        return x.diagonal(dim1=2, dim2=3)


def test_a_second_run_is_not_heard_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    module = Loud()
    assert read(module, MAP).nodes[-1].output.batch_axis == 0
    assert capsys.readouterr().out == "called\n"
    assert module.calls == 0


def notes(function: Callable[[Tensor], Any]) -> list[str]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        from_module(plain(function)[0], [InputSize(MAP)])
    return [str(each.message) for each in said]


def test_a_model_for_one_image_says_so() -> None:
    (note,) = notes(lambda x: x.view(1, 8, 36))
    run = "with input 8x6x6 and a batch of 2 the run stops in `Function`"
    assert note == f"`Function` needs batch 1: at batch 2, {run}: shape '[1, 8, 36]' is invalid for input of size 576"


@pytest.mark.parametrize(
    ("function", "row"),
    [
        (lambda x: x.mean((2, 3)).softmax(0), "softmax"),
        (lambda x: x.cumsum(0), "cumsum"),
        (lambda x: x - x.mean((0, 2, 3), keepdim=True), "mean"),
        (lambda x: functional.scaled_dot_product_attention(*[x.flatten(2).permute(1, 0, 2)] * 3), "attention"),
        (lambda x: x.flatten(1) @ x.flatten(1).t(), "matmul"),
        (lambda x: torch.cdist(x.flatten(1), x.flatten(1)), "cdist"),
        (lambda x: functional.linear(x.flatten(1), x.flatten(1)), "linear"),
        (lambda x: torch.outer(x[:, 0, 0, 0], x[:, 1, 0, 0]), "outer"),
        (lambda x: x.mean((1, 2, 3))[:, None] - x.mean((1, 2, 3))[None], "sub"),
    ],
)
def test_images_that_are_mixed_are_noted(function: Callable[[Tensor], Any], row: str) -> None:
    assert notes(function) == [f"images of a batch are mixed in `{row}`: results depend on the other images"]


def test_nothing_is_noted_of_images_apart() -> None:
    assert notes(lambda x: x.flatten(0, 1).softmax(-1).unflatten(0, (-1, 8)).softmax(1)) == []


def test_tokens_after_attention_are_printed_without_the_batch() -> None:
    module, shape = NETWORKS["attention, batch first"]
    graph = read(module, shape)
    assert graph.value(graph.outputs[0]).features == shape


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x @ x.t(),
        lambda x: torch.cdist(x, x),
        lambda x: functional.linear(x, x),
        lambda x: (x[:, None] - x[None]).norm(dim=-1),
        lambda x: functional.cosine_similarity(x[:, None], x[None], dim=-1),
        lambda x: torch.einsum("bi,ci->bc", x, x),
    ],
)
def test_every_image_with_every_other_has_no_batch_axis(function: Callable[[Tensor], Any]) -> None:
    graph = read(plain(function)[0], (6,))
    assert graph.value(graph.outputs[0]).batch_axis is None
    assert tuple(function(torch.rand(3, 6)).shape) == (3, 3)
