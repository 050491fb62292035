"""Torch twins: the zoo's networks that no library publishes, written a second time as plain torch modules.

Read off the papers (and Caffe's prototxts where the paper leaves a size open), not off the specs. Only totals are
taken from them, so an activation that changes no count is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

Shape = tuple[int, ...]
Twin = tuple[Callable[[], nn.Module], tuple[Shape, ...]]
"""How to build it, and the shapes of its inputs without batch."""


def lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.AvgPool2d(2), nn.Conv2d(16, 120, 5),
        nn.Flatten(), nn.Linear(120, 84), nn.Linear(84, 10),
    )  # fmt: skip


def keras_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 64, 7, padding="same"), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding="same"), nn.Conv2d(128, 128, 3, padding="same"), nn.MaxPool2d(2),
        nn.Conv2d(128, 256, 3, padding="same"), nn.Conv2d(256, 256, 3, padding="same"), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2304, 128), nn.Linear(128, 64), nn.Linear(64, 10),
    )  # fmt: skip


def alexnet() -> nn.Module:
    pool = partial(nn.MaxPool2d, 3, stride=2)
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), pool(), nn.Conv2d(96, 256, 5, padding=2, groups=2), pool(),
        nn.Conv2d(256, 384, 3, padding=1), nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), pool(),
        nn.Flatten(), nn.Linear(256 * 6 * 6, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000),
    )  # fmt: skip


def zfnet() -> nn.Module:
    pool = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
    return nn.Sequential(
        nn.Conv2d(3, 96, 7, stride=2, padding=1), pool(), nn.Conv2d(96, 256, 5, stride=2), pool(),
        nn.Conv2d(256, 384, 3, padding=1), nn.Conv2d(384, 384, 3, padding=1), nn.Conv2d(384, 256, 3, padding=1), pool(),
        nn.Flatten(), nn.Linear(256 * 6 * 6, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 1000),
    )  # fmt: skip


def vgg16_conv() -> nn.Module:
    layers: list[nn.Module] = []
    before = 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            layers.append(nn.Conv2d(before, width, 3, padding=1))
            before = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Conv2d(512, 4096, 7), nn.Conv2d(4096, 4096, 1), nn.Conv2d(4096, 1000, 1))


class Inception(nn.Module):
    def __init__(self, c: int, n1: int, r3: int, n3: int, r5: int, n5: int, pool: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList([
            nn.Conv2d(c, n1, 1),
            nn.Sequential(nn.Conv2d(c, r3, 1), nn.Conv2d(r3, n3, 3, padding=1)),
            nn.Sequential(nn.Conv2d(c, r5, 1), nn.Conv2d(r5, n5, 5, padding=2)),
            nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(c, pool, 1)),
        ])  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([path(x) for path in self.paths], 1)


class GoogLeNet(nn.Module):
    """Its two auxiliary classifiers hold weights and, as at inference, run only where ``train_heads`` is set."""

    def __init__(self, *, aux: bool = True, train_heads: bool = False) -> None:
        super().__init__()
        pool = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
        self.low = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3), pool(), nn.Conv2d(64, 64, 1), nn.Conv2d(64, 192, 3, padding=1),
            pool(), Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64), pool(),
            Inception(480, 192, 96, 208, 16, 48, 64),
        )  # fmt: skip
        self.middle = nn.Sequential(
            Inception(512, 160, 112, 224, 24, 64, 64), Inception(512, 128, 128, 256, 24, 64, 64),
            Inception(512, 112, 144, 288, 32, 64, 64),
        )  # fmt: skip
        self.high = nn.Sequential(
            Inception(528, 256, 160, 320, 32, 128, 128), pool(), Inception(832, 256, 160, 320, 32, 128, 128),
            Inception(832, 384, 192, 384, 48, 128, 128), nn.AvgPool2d(7), nn.Flatten(), nn.Linear(1024, 1000),
        )  # fmt: skip
        self.heads = nn.ModuleList(self.classifier(c) for c in (512, 528)) if aux else nn.ModuleList()
        self.train_heads = train_heads

    @staticmethod
    def classifier(c: int) -> nn.Module:
        return nn.Sequential(
            nn.AvgPool2d(5, stride=3), nn.Conv2d(c, 128, 1), nn.Flatten(), nn.Linear(2048, 1024), nn.Linear(1024, 1000)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        low = self.low(x)
        middle = self.middle(low)
        heads = [head(y) for head, y in zip(self.heads, (low, middle), strict=True)] if self.train_heads else []
        return [self.high(middle), *heads]


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        widths = (64, 128, 256, 512, 1024)
        self.down = nn.ModuleList(self.double(c, d) for c, d in pairwise((1, *widths)))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, stride=2) for c in reversed(widths[:-1]))
        self.up = nn.ModuleList(self.double(2 * c, c) for c in reversed(widths[:-1]))
        self.out = nn.Conv2d(64, 2, 1)

    @staticmethod
    def double(c: int, d: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(c, d, 3), nn.Conv2d(d, d, 3))

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i, double in enumerate(self.down):
            x = double(x if i == 0 else nn.functional.max_pool2d(x, 2))
            skips.append(x)
        for enlarge, double, skip in zip(self.enlarge, self.up, reversed(skips[:-1]), strict=True):
            x = enlarge(x)
            top = (skip.shape[2] - x.shape[2]) // 2
            x = double(torch.cat([skip[:, :, top : top + x.shape[2], top : top + x.shape[3]], x], 1))
        return self.out(x)


def conv_bn(c: int, d: int, k: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(c, d, k, stride, k // 2, bias=False), nn.BatchNorm2d(d))


class DarkResidual(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(c, c // 2, 1), conv_bn(c // 2, c, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class YOLOv3(nn.Module):
    """darknet's yolov3.cfg: Darknet-53 without its classifier, and three detection scales."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 32, 3)
        self.stages = nn.ModuleList(
            nn.Sequential(conv_bn(w // 2, w, 3, 2), *(DarkResidual(w) for _ in range(n)))
            for w, n in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
        )
        self.five = nn.ModuleList(self.alternate(c, w) for c, w in ((1024, 512), (768, 256), (384, 128)))
        self.reduce = nn.ModuleList(conv_bn(2 * w, w, 1) for w in (256, 128))
        self.detect = nn.ModuleList(
            nn.Sequential(conv_bn(w, 2 * w, 3), nn.Conv2d(2 * w, 255, 1)) for w in (512, 256, 128)
        )

    @staticmethod
    def alternate(c: int, w: int) -> nn.Module:
        return nn.Sequential(
            conv_bn(c, w, 1), conv_bn(w, 2 * w, 3), conv_bn(2 * w, w, 1), conv_bn(w, 2 * w, 3), conv_bn(2 * w, w, 1)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        x = self.five[0](maps[4])
        found = [self.detect[0](x)]
        for i, skip in ((1, maps[3]), (2, maps[2])):
            x = self.five[i](torch.cat([interpolate(self.reduce[i - 1](x), scale_factor=2), skip], 1))
            found.append(self.detect[i](x))
        return found


class M5(nn.Module):
    """As the paper's Table 1 has it: "same" convolutions, pools that keep the ragged end."""

    def __init__(self, w: int = 128, stride: int = 4, classes: int = 10) -> None:
        super().__init__()
        pool = partial(nn.MaxPool1d, 4, ceil_mode=True)
        layers: list[nn.Module] = [nn.ZeroPad1d(((80 - stride) // 2, (80 - stride + 1) // 2))]
        layers += [nn.Conv1d(1, w, 80, stride), nn.BatchNorm1d(w), pool()]
        for c, d in ((w, w), (w, 2 * w), (2 * w, 4 * w)):
            layers += [nn.Conv1d(c, d, 3, padding=1), nn.BatchNorm1d(d), pool()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4 * w, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Conv2d(1, 64, 10), nn.MaxPool2d(2), nn.Conv2d(64, 128, 7), nn.MaxPool2d(2), nn.Conv2d(128, 128, 4),
            nn.MaxPool2d(2), nn.Conv2d(128, 256, 4), nn.Flatten(), nn.Linear(256 * 6 * 6, 4096),
        )  # fmt: skip
        self.same = nn.Linear(4096, 1)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.same((self.tower(left) - self.tower(right)).abs())


def mlp(*widths: int, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Flatten(), *(nn.Linear(c, d, bias) for c, d in pairwise(widths)))


TWINS: dict[str, Twin] = {
    **dict.fromkeys(("lenet5", "lenet5-digits", "lenet5-digits-augmented"), (lenet5, ((1, 32, 32),))),
    "keras-cnn": (keras_cnn, ((1, 28, 28),)),
    "alexnet": (alexnet, ((3, 227, 227),)),
    "zfnet": (zfnet, ((3, 224, 224),)),
    "vgg16-conv": (vgg16_conv, ((3, 224, 224),)),
    "googlenet": (GoogLeNet, ((3, 224, 224),)),
    "unet": (UNet, ((1, 572, 572),)),
    "yolov3": (YOLOv3, ((3, 416, 416),)),
    "m5": (M5, ((1, 32000),)),
    "siamese": (Siamese, ((1, 105, 105), (1, 105, 105))),
    "mlp": (partial(mlp, 784, 300, 100, 10), ((1, 28, 28),)),
    "mlp-200": (partial(mlp, 120_000, 40_000, bias=False), ((3, 200, 200),)),
    "conv-200": (partial(nn.Conv2d, 3, 20, 5, padding=4, bias=False), ((3, 200, 200),)),
    "mlp-426": (partial(mlp, 181_476, 16, 16, 10), ((1, 426, 426),)),
}


def count(build: Callable[[], nn.Module], shapes: tuple[Shape, ...]) -> tuple[int, int]:
    """Parameters and MACs of a torch module on the meta device, for one image in eval mode."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        module = build().eval()
        x = [torch.empty(1, *shape) for shape in shapes]
    with FlopCounterMode(display=False) as counter:
        module(*x)
    return sum(p.numel() for p in module.parameters()), counter.get_total_flops() // 2
