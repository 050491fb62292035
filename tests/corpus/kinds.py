"""Small modules for one thing each that forward passes do: every ``KINDS[name]()`` is a fresh one for 3x8x8."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

Make = Callable[[], nn.Module]
Run = Callable[[Any, Tensor], Any]


class Body(nn.Module):
    """A module whose parts and forward pass are given."""

    def __init__(self, run: Run, parts: dict[str, Any]) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def kind(run: Run, **parts: Callable[[], Any]) -> Make:
    """What makes a `Body`, with parts of its own each time."""
    return lambda: Body(run, {name: make() for name, make in parts.items()})


def conv(into: int = 4, **options: Any) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(3, into, 3, **options)


def weight(*shape: int) -> Callable[[], nn.Parameter]:
    return lambda: nn.Parameter(torch.rand(shape))


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


class Standardised(nn.Conv2d):
    """Weight standardisation (Qiao and others 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * 2


def in_place(act: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    """What ``act`` leaves of a copy, its result thrown away as scripts do."""

    def run(x: Tensor) -> Tensor:
        y = x.clone()
        act(y)
        return y

    return run


def data_of(x: Tensor) -> Tensor:
    y = torch.empty(1)
    y.data = x.flatten(2)
    return y


def grid(device: torch.device) -> Tensor:
    lines = torch.arange(8.0, device=device), torch.ones(8, device=device)
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).sum(0)


def assigned(x: Tensor) -> Tensor:
    z = torch.zeros_like(x)
    z[:, :2] = x[:, 1:]
    z[..., 0] = 1
    return z


def stacked_cells(m: Any, x: Tensor) -> Tensor:
    hidden = x.new_zeros(len(x), 5)
    for step in tokens(x)[:, :4].unbind(1):
        hidden = m.cell(step, hidden)
    return hidden


def sampled(m: Any, x: Tensor) -> Tensor:
    theta = m.head(x.flatten(1)).view(-1, 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, [len(x), 3, 5, 6], align_corners=False), align_corners=False)


def unpooled(m: Any, x: Tensor) -> Tensor:
    y, places = F.max_pool2d(m.conv(x), 2, return_indices=True)
    return F.max_unpool2d(y, places, 2)


@torch.library.custom_op("corpus::halved", mutates_args=())
def halved(x: Tensor) -> Tensor:
    """An operator of which torch knows no shape without values."""
    return x[..., ::2].clone()


@torch.jit.script
def leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, x * slope)


def gradient(m: Any, x: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        y = x.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(m.conv(y).square().sum(), y)
    return m.conv(slope)


def through_numpy(m: Any, x: Tensor) -> Tensor:
    largest = float(x.detach().cpu().numpy().max())
    return m.conv(x / (1 + abs(largest)))


KINDS: dict[str, Make] = {
    # layers
    "conv": kind(lambda m, x: m.conv(x).relu(), conv=conv()),
    "grouped": kind(lambda m, x: m.norm(m.conv(x)), conv=conv(6, groups=3), norm=lambda: nn.BatchNorm2d(6)),
    "transposed": kind(lambda m, x: m.up(x), up=lambda: nn.ConvTranspose2d(3, 6, 3, 2, 1, 1, groups=3)),
    "circular": kind(lambda m, x: m.conv(x), conv=conv(padding=1, padding_mode="circular")),
    "linear": kind(lambda m, x: m.head(x.flatten(1)), head=lambda: nn.Linear(192, 5)),
    "norms": kind(lambda m, x: m.layer(m.group(m.instance(x))), layer=lambda: nn.LayerNorm([3, 8, 8]),
                  group=lambda: nn.GroupNorm(3, 3), instance=lambda: nn.InstanceNorm2d(3, affine=True)),
    "lstm": kind(lambda m, x: m.net(tokens(x))[0], net=lambda: nn.LSTM(3, 5, 2, batch_first=True)),
    "gru": kind(lambda m, x: m.net(tokens(x))[1][0], net=lambda: nn.GRU(3, 5, bidirectional=True, batch_first=True)),
    "cell": kind(stacked_cells, cell=lambda: nn.GRUCell(3, 5)),
    "attention": kind(lambda m, x: m.net(*[tokens(x)] * 3), net=lambda: nn.MultiheadAttention(3, 1, batch_first=True)),
    "transformer": kind(lambda m, x: m.net(x.flatten(2)),
                        net=lambda: nn.TransformerEncoderLayer(64, 4, 32, batch_first=True)),
    "bag": kind(lambda m, x: m.bag((x.flatten(1) > 0).long()), bag=lambda: nn.EmbeddingBag(2, 5)),
    "embedding": kind(lambda m, x: m.table((x[:, 0, 0] > 0).long()), table=lambda: nn.Embedding(2, 5)),
    "bilinear": kind(lambda m, x: m.net(x.mean((1, 2)), x.amax((1, 2))), net=lambda: nn.Bilinear(8, 8, 5)),
    "lrn": kind(lambda m, x: m.lrn(m.conv(x)), conv=conv(), lrn=lambda: nn.CrossMapLRN2d(3)),
    "own_list": kind(lambda m, x: m.weights[1] * m.more["a"] + x, weights=lambda: nn.ParameterList(
        [torch.ones(2), torch.ones(3, 1, 1)]), more=lambda: nn.ParameterDict({"a": torch.ones(8)})),
    # weights that are computed
    "weight_norm": kind(lambda m, x: m.conv(x), conv=lambda: parametrizations.weight_norm(conv()())),
    "spectral_norm": kind(lambda m, x: m.conv(x), conv=lambda: parametrizations.spectral_norm(conv()())),
    "orthogonal": kind(lambda m, x: m.net(x), net=lambda: parametrizations.orthogonal(nn.Linear(8, 4))),
    "old_weight_norm": kind(lambda m, x: m.conv(x), conv=lambda: nn.utils.weight_norm(conv()())),
    "standardised": kind(lambda m, x: m.conv(x), conv=lambda: Standardised(3, 4, 3)),
    "pruned": kind(lambda m, x: m.conv(x), conv=lambda: prune.l1_unstructured(conv()(), "weight", 0.5)),
    # views in place, storage, out=
    "transpose_": kind(lambda m, x: m.net(in_place(lambda y: y.transpose_(1, 3))(x)), net=lambda: nn.Linear(3, 5)),
    "swapaxes_": kind(lambda m, x: m.net(in_place(lambda y: y.swapaxes_(3, 1))(x)), net=lambda: nn.Linear(3, 5)),
    "swapdims_": kind(lambda m, x: m.net(in_place(lambda y: y.swapdims_(1, 2))(x)), net=lambda: nn.Conv2d(8, 5, 1)),
    "unsqueeze_": kind(lambda m, x: m.net(in_place(lambda y: y.unsqueeze_(2))(x)), net=lambda: nn.Conv3d(3, 2, 1)),
    "squeeze_": kind(lambda m, x: m.net(in_place(lambda y: y.squeeze_(1))(x[:, :1])), net=lambda: nn.Linear(8, 5)),
    "t_": kind(lambda m, x: m.net(in_place(lambda y: y.t_())(x.flatten(1)).t()), net=lambda: nn.Linear(192, 5)),
    "data": kind(lambda m, x: m.net(data_of(x)), net=lambda: nn.Linear(64, 5)),
    "resize_as_": kind(lambda m, x: m.conv(x.new().resize_as_(x).copy_(x)), conv=conv()),
    "set_": kind(lambda m, x: m.conv(x.new_empty(0).set_(x)), conv=conv()),
    "out_add": kind(lambda m, x: m.conv(torch.add(x, x, out=torch.empty_like(x))), conv=conv()),
    "out_cat": kind(lambda m, x: m.net(torch.cat([x, x], 1, out=x.new_empty(0))), net=lambda: nn.Conv2d(6, 2, 3)),
    "out_matmul": kind(lambda m, x: torch.matmul(x, m.w, out=x.new_empty(0)), w=weight(8, 5)),
    # no kernel without values
    "fake_quantize": kind(lambda m, x: m.conv(torch.fake_quantize_per_tensor_affine(x, 0.1, 0, -128, 127)),
                          conv=conv()),
    "histogram": kind(lambda m, x: m.conv(x) + torch.histc(x, bins=4).sum(), conv=conv()),
    "sparse": kind(lambda m, x: m.conv(x.to_sparse().to_dense()), conv=conv()),
    "quantized": kind(lambda m, x: m.conv(torch.quantize_per_tensor(x, 0.1, 0, torch.qint8).dequantize()), conv=conv()),
    # complex numbers
    "spectrum": kind(lambda m, x: torch.fft.fft2(F.conv2d(x, m.w, padding=1)).abs(), w=weight(8, 3, 3, 3)),
    "filtered": kind(lambda m, x: torch.fft.irfft2(torch.fft.rfft2(m.conv(x))), conv=conv(padding=1)),
    "parts": kind(lambda m, x: m.conv(torch.complex(x, x).real + torch.complex(x, x).imag), conv=conv()),
    "as_real": kind(lambda m, x: m.net(torch.view_as_real(torch.complex(x, x))), net=lambda: nn.Linear(2, 5)),
    # the batch
    "einsum": kind(lambda m, x: torch.einsum("bcn,bdn->bcd", x.flatten(2), m.conv(x).flatten(2)), conv=conv(padding=1)),
    "stacked": kind(lambda m, x: torch.stack([m.conv(x), m.conv(x)]).sum(0), conv=conv()),
    "one_hot": kind(lambda m, x: F.one_hot(m.conv(x).argmax(1), 4), conv=conv()),
    "gather": kind(lambda m, x: x.gather(1, x.argmax(1, keepdim=True)).expand(-1, 2, -1, -1)),
    "grid_sample": kind(sampled, head=lambda: nn.Linear(192, 6)),
    "assigned": kind(lambda m, x: m.conv(assigned(x)), conv=conv()),
    "masked": kind(lambda m, x: m.conv(x.clone().masked_fill_(x < 0, 0).index_fill(
                   1, torch.tensor([0], device=x.device), 1)), conv=conv()),
    "picked": kind(lambda m, x: m.net(x[:, [0, 2]]), net=lambda: nn.Conv2d(2, 4, 3)),
    "unpooled": kind(unpooled, conv=conv(padding=1)),
    "batch_softmax": kind(lambda m, x: m.conv(x).softmax(0), conv=conv()),
    "scattered": kind(lambda m, x: torch.slice_scatter(x, x[:, :1], 1, 1, 2).select_scatter(x[:, 0], 1, 2)),
    "vmap": kind(lambda m, x: torch.vmap(lambda image: F.conv2d(image[None], m.w)[0])(x), w=weight(4, 3, 3, 3)),
    # functions
    "flipped": kind(lambda m, x: m.conv(x.flip(3).flipud().fliplr().roll(2, 3).rot90(1, (2, 3))), conv=conv()),
    "addbmm": kind(lambda m, x: torch.addbmm(x[0, 0, :4, :4] * 0, x[:, 0, :4], x[:, 1, :, :4])),
    "cdist": kind(lambda m, x: torch.cdist(tokens(x), m.centres), centres=weight(4, 3)),
    "losses": kind(lambda m, x: F.mse_loss(m.conv(x), m.conv(x) * 2) + F.cross_entropy(x, x.argmax(1)), conv=conv()),
    "fractional": kind(lambda m, x: F.fractional_max_pool2d(m.conv(x), 2, output_size=3), conv=conv()),
    "coordinates": kind(lambda m, x: m.conv(x + grid(x.device).to(x.dtype)), conv=conv()),
    "resampled": kind(lambda m, x: m.conv(F.interpolate(x, scale_factor=1.5, mode="bicubic")), conv=conv()),
    "patches": kind(lambda m, x: F.fold(m.net(F.unfold(x, 2, stride=2).mT).mT, 8, 2, stride=2), net=lambda: nn.Linear(
        12, 8)),
    "shuffled": kind(lambda m, x: F.pixel_unshuffle(F.pixel_shuffle(m.conv(x), 2), 3), conv=conv()),
    "sorted": kind(lambda m, x: m.conv(x).flatten(1).sort(1).values.topk(3).values.cumsum(1), conv=conv()),
    "sdpa": kind(lambda m, x: F.scaled_dot_product_attention(tokens(x), tokens(x), tokens(x), is_causal=True)),
    "noisy": kind(lambda m, x: m.conv(F.dropout(x, 0.5, training=True) + torch.randn_like(x)), conv=conv()),
    "checked": kind(lambda m, x: torch.distributions.Categorical(logits=m.conv(x).mean((2, 3))).probs, conv=conv()),
    "own_function": kind(lambda m, x: m.conv(Doubled.apply(x)), conv=conv()),
    "functional_call": kind(lambda m, x: torch.func.functional_call(m.conv, dict(m.conv.named_parameters()), (x,)),
                            conv=conv()),
    "checkpoint": kind(lambda m, x: checkpoint(m.conv, x, use_reentrant=False), conv=conv()),
    "custom_op": kind(lambda m, x: halved(m.conv(x)), conv=conv()),
    "scripted": kind(lambda m, x: leaky(m.conv(x), 0.1), conv=conv()),
    "through_numpy": kind(through_numpy, conv=conv()),
    "pointer": kind(lambda m, x: m.conv(x) if x.data_ptr() is not None else x, conv=conv()),
    "lazy": kind(lambda m, x: m.head(m.conv(x).flatten(1)), conv=lambda: nn.LazyConv2d(4, 3),
                 head=lambda: nn.LazyLinear(5)),
    "lazy_norm": kind(lambda m, x: m.norm(m.up(x)), up=lambda: nn.LazyConvTranspose2d(4, 2),
                      norm=lambda: nn.LazyBatchNorm2d()),
    "empty_axis": kind(lambda m, x: m.conv(torch.cat([x, x[:, :0]], 1)), conv=conv()),
    "no_elements": kind(lambda m, x: (m.conv(x).tile(0).flatten(1), x[:, :0].mT.reshape(len(x), 2, 0)), conv=conv()),
    "no_images": kind(lambda m, x: m.conv(torch.cat([x[:0], x])), conv=conv()),
    "strided": kind(lambda m, x: m.conv(x.permute(0, 1, 3, 2)[..., ::2, 1:].contiguous()), conv=conv()),
    "table": kind(lambda m, x: m.conv(x + m.position), conv=conv(), position=lambda: nn.Buffer(
        torch.zeros(3, 8, 8), persistent=False)),
    "plain_tensor": kind(lambda m, x: F.conv2d(x, m.plain.to(x)), plain=lambda: torch.rand(4, 3, 3, 3)),
}  # fmt: skip
"""Each with its oracle in torch: the same shapes and MACs, no other parameters than its own."""

UNKNOWN = {"custom_op", "histogram", "orthogonal", "sparse", "spectrum"}
"""Those that call what has no cost of its own here: their totals are marked as a lower bound, as no others are."""
