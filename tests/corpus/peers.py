"""Small networks of the kinds that the tests of other tools for summaries, pictures and costs are about.

Each has the rows that a reader expects: one for every layer and every function that computes, in the order of the run.
"""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import torch
from kinds import Make, kind
from oracles import Arguments, images, sized
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by


@dataclass(frozen=True)
class Peer:
    """A network, its inputs for cnnscope and for torch, and the names of its rows."""

    make: Make
    rows: str
    inputs: tuple[str, ...] = ("3x8x8",)
    arguments: Arguments = images
    """Arguments for ``forward`` in the order of ``inputs``."""


class Digits(nn.Module):
    """The network of many first lessons, of functions and layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5)
        self.drop, self.fc1, self.fc2 = nn.Dropout2d(), nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.drop(self.conv2(x)), 2)).view(-1, 320)
        return F.log_softmax(self.fc2(F.dropout(F.relu(self.fc1(x)), training=self.training)), dim=1)


class Recursive(nn.Module):
    """One convolution over and over."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor, depth: int = 3) -> Tensor:
        return x if depth == 0 else self.forward(self.conv(x), depth - 1)


class Language(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.lstm, self.head = nn.Embedding(20, 30), nn.LSTM(30, 16, 2, batch_first=True), nn.Linear(16, 20)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.lstm(self.words(words))[0])


class Optional(nn.Module):
    """Runs another branch if there is a second input."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor, y: Tensor | None = None, scale: float = 2.0, *more: Any, **named: Any) -> Any:
        return self.a(x) * scale if y is None else self.b(y)


class Containers(nn.Module):
    """Layers in every container that torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.list = nn.ModuleList([nn.Conv2d(3, 3, 1), nn.Identity()])
        self.dict = nn.ModuleDict({"act": nn.LeakyReLU(), "off": nn.Linear(2, 2)})
        self.empty, self.nothing = nn.Sequential(), None
        self.row = nn.Sequential(OrderedDict(up=nn.Upsample(scale_factor=2), down=nn.AvgPool2d(2)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.list:
            x = layer(x)
        return self.row(self.empty(self.dict["act"](x)))


class Hidden(nn.Module):
    """Parameters that are registered by name, one of them None, one behind another, one never used."""

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("bias", None)
        self.register_parameter("gain", nn.Parameter(torch.ones(3, 1, 1)))
        self.register_parameter("spare", nn.Parameter(torch.ones(9)))
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.gain


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.pool = nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2, return_indices=True)
        self.unpool, self.up = nn.MaxUnpool2d(2), nn.ConvTranspose2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y, places = self.pool(self.down(x))
        return self.up(self.unpool(y, places))


class Actor(nn.Module):
    """Two heads in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.policy, self.value = nn.Linear(8, 16), nn.Linear(16, 4), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x).tanh()
        return {"policy": self.policy(y).softmax(-1), "value": self.value(y)}


Result = namedtuple("Result", "logits features")


def tied() -> nn.Module:
    first = nn.Linear(8, 8)
    return nn.Sequential(first, nn.ReLU(), first, nn.Sequential(first))


def half_scripted() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)))


PEERS: dict[str, Peer] = {
    "digits": Peer(Digits, "conv1 maxpool relu conv2 drop maxpool#2 relu#2 view fc1 relu#3 dropout fc2 "
                   "logsoftmax", ("1x28x28",), sized((1, 28, 28))),
    "recursive": Peer(Recursive, "conv conv#2 conv#3"),
    "language": Peer(Language, "words lstm head", ("7:int64",), sized((7,), whole=True)),
    "optional": Peer(Optional, "a mul"),
    "both": Peer(Optional, "b", ("x=3x8x8", "y=3x8x8"), sized((3, 8, 8), (3, 8, 8))),
    "containers": Peer(Containers, "list.0 list.1 dict.act empty row.up row.down"),
    "hidden": Peer(Hidden, "sub gain mul"),
    "autoencoder": Peer(Autoencoder, "down pool unpool up"),
    "actor": Peer(Actor, "body tanh policy softmax value", ("8",), sized((8,))),
    "named": Peer(kind(lambda m, x: Result(m.head(m.conv(x).mean((2, 3))), x), conv=lambda: nn.Conv2d(3, 4, 1),
                       head=lambda: nn.Linear(4, 2)), "conv mean head"),
    "tied": Peer(tied, "0 1 0#2 0#3", ("8",), sized((8,))),
    "nested": Peer(lambda: nn.Sequential(nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.ReLU()), nn.Flatten(),
                   nn.Linear(144, 2)), "0.0.0 0.1 1 2"),
    "nothing": Peer(lambda: nn.Sequential(), ""),
    "parameters": Peer(kind(lambda m, x: x @ m.w[0] + m.w[1], w=lambda: nn.ParameterList([torch.ones(8, 8), torch.ones(
                       8)])), "w.0 matmul w.1 add"),
    "functional": Peer(kind(lambda m, x: F.conv2d(F.relu(x, inplace=False), m.w, stride=2), w=lambda: nn.Parameter(
                       torch.ones(4, 3, 3, 3))), "relu conv"),
    "in_place": Peer(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Hardswish(inplace=True)),
                     "0 1 2"),
    "padded": Peer(lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(3, 4, (3, 1), padding="same"), nn.ZeroPad2d(
                   (1, 0, 2, 0))), "0 1 2"),
    "packed": Peer(kind(lambda m, x: m.gru(x.flatten(2).mT.unbind(1)[0][:, None])[0], gru=lambda: nn.GRU(
                   3, 4, batch_first=True)), "flatten transpose select unsqueeze gru"),
    "ragged": Peer(lambda: nn.Sequential(nn.Conv1d(3, 6, 4, 3, 2, 1, 3), nn.MaxPool1d(3, 2, 1, ceil_mode=True)), "0 1",
                   ("3x23",), sized((3, 23))),
    "volume": Peer(lambda: nn.Sequential(nn.Conv3d(1, 2, (1, 3, 3), dilation=(1, 2, 1)), nn.AdaptiveAvgPool3d((1, None,
                   2))), "0 1", ("1x4x8x8",), sized((1, 4, 8, 8))),
    "grouped": Peer(lambda: nn.Sequential(nn.ConvTranspose2d(6, 6, 2, stride=2, groups=3)), "0", ("6x8x8",), sized(
                    (6, 8, 8))),
    "siamese": Peer(kind(lambda m, x: m.net(x) - m.net(x.flip(3)), net=lambda: nn.Sequential(
                    nn.Conv2d(3, 4, 3), nn.ReLU())), "net.0 net.1 flip net.0#2 net.1#2 sub"),
    "repeated": Peer(lambda: nn.Sequential(*[nn.Conv2d(3, 3, 1)] * 2, *(nn.BatchNorm2d(3) for _ in range(2))),
                     "0 0#2 2 3"),
    "squeezed": Peer(kind(lambda m, x: x * m.up(m.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid(),
                     down=lambda: nn.Conv2d(3, 1, 1), up=lambda: nn.Conv2d(1, 3, 1)),
                     "globalavgpool down relu up sigmoid mul"),
    "mixed": Peer(half_scripted, "0 1.0 1.1"),
}  # fmt: skip
