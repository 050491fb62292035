"""Modules of Ultralytics as layers: what each is made of, with Ultralytics' names.

Source: github.com/ultralytics/ultralytics, ``nn/modules/conv.py``, ``block.py`` and ``head.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnscope.ir import Param
from cnnscope.ir.builder import Builder
from cnnscope.ir.steps import Permute, Reshape, Taps
from cnnscope.ops import activation, conv, merge, norm, pool
from cnnscope.ops.base import Op
from cnnscope.ops.call import Call, Input
from cnnscope.ops.generic import Elementwise, View
from cnnscope.ops.product import MatMul
from cnnscope.sources.placing import place, put


@dataclass
class Network:
    """The network so far: the outputs of its lines by number."""

    builder: Builder
    classes: int
    depth: float
    width: float
    most: float
    anchors: Any = None
    large: bool = False
    outputs: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    newer: bool = False
    """Whether the head has depthwise convolutions, as from YOLO11 on: a `C3k2` says so."""

    def channels(self, x: str) -> int:
        return self.builder.values[x].shape[1]

    def add(self, kind: type[Op], row: str, *x: str, part: str = "", **settings: Any) -> str:
        return place(self.builder, kind, settings, *x, layer=row, part=part)

    def conv(
        self, row: str, x: str, out: int, k: int = 1, s: int = 1, p: Any = None, g: int = 1, d: int = 1, act: Any = True
    ) -> str:
        """`Conv`: a convolution without bias, batch normalisation and SiLU."""
        pad = (d * (k - 1) + 1) // 2 if p is None else p
        x = self.add(
            conv.Conv, row, x, part="conv", out=out, kernel=k, stride=s, pad=pad, groups=g, dilation=d, bias=False
        )
        x = self.add(norm.BatchNorm, row, x, part="bn", eps=1e-3, momentum=0.03)
        return self.add(activation.SiLU, row, x, part="act") if act is True else x

    def bottleneck(
        self, row: str, x: str, out: int, shortcut: bool = True, g: int = 1, k: Sequence[int] = (3, 3), e: float = 0.5
    ) -> str:
        """`Bottleneck`: two convolutions, and the input added to them if it has as many channels."""
        y = self.conv(f"{row}.cv1", x, int(out * e), k[0])
        y = self.conv(f"{row}.cv2", y, out, k[1], g=g)
        return self.add(merge.Add, f"{row}.add", x, y) if shortcut and self.channels(x) == out else y

    def split(self, row: str, x: str, parts: int = 2) -> list[str]:
        """Returns a map in equal parts along the channels."""
        n = self.channels(x) // parts
        cuts = [View("slice", (Taps.picked(1, range(i * n, i * n + n)),), batch=(0,)) for i in range(parts)]
        return [put(self.builder, cut, x, layer=f"{row}.split", part=str(i), kind="map") for i, cut in enumerate(cuts)]


# -- modules -----------------------------------------------------------------------------------------------------------


def _c3(
    net: Network,
    row: str,
    x: str,
    out: int,
    n: int = 1,
    shortcut: bool = True,
    g: int = 1,
    e: float = 0.5,
    k: Sequence[int] = (1, 3),
) -> str:
    c = int(out * e)
    y = net.conv(f"{row}.cv1", x, c)
    for i in range(n):
        y = net.bottleneck(f"{row}.m.{i}", y, c, shortcut, g, k, 1.0)
    y = net.add(merge.Concat, f"{row}.concat", y, net.conv(f"{row}.cv2", x, c))
    return net.conv(f"{row}.cv3", y, out)


def _c2f(
    net: Network,
    row: str,
    x: str,
    out: int,
    n: int = 1,
    shortcut: bool = False,
    g: int = 1,
    e: float = 0.5,
    inner: Callable[[str, str, int], str] | None = None,
) -> str:
    c = int(out * e)
    parts = net.split(row, net.conv(f"{row}.cv1", x, 2 * c))
    for i in range(n):
        block = f"{row}.m.{i}"
        parts.append(
            inner(block, parts[-1], c) if inner else net.bottleneck(block, parts[-1], c, shortcut, g, (3, 3), 1.0)
        )
    return net.conv(f"{row}.cv2", net.add(merge.Concat, f"{row}.concat", *parts), out)


def _c3k2(
    net: Network,
    row: str,
    x: str,
    out: int,
    n: int = 1,
    c3k: bool = False,
    e: float = 0.5,
    g: int = 1,
    shortcut: bool = True,
) -> str:
    def inner(block: str, y: str, c: int) -> str:
        if c3k:
            return _c3(net, block, y, c, 2, shortcut, g, 0.5, (3, 3))
        return net.bottleneck(block, y, c, shortcut, g)

    net.newer = True
    return _c2f(net, row, x, out, n, shortcut, g, e, inner)


def _sppf(net: Network, row: str, x: str, out: int, k: int = 5) -> str:
    parts = [net.conv(f"{row}.cv1", x, net.channels(x) // 2)]
    for i in range(3):
        parts.append(net.add(pool.MaxPool, f"{row}.m", parts[-1], part=f"{i}", kernel=k, stride=1, pad=k // 2))
    return net.conv(f"{row}.cv2", net.add(merge.Concat, f"{row}.concat", *parts), out)


def _spp(net: Network, row: str, x: str, out: int, k: Sequence[int] = (5, 9, 13)) -> str:
    y = net.conv(f"{row}.cv1", x, net.channels(x) // 2)
    pools = [net.add(pool.MaxPool, f"{row}.m.{i}", y, kernel=n, stride=1, pad=n // 2) for i, n in enumerate(k)]
    return net.conv(f"{row}.cv2", net.add(merge.Concat, f"{row}.concat", y, *pools), out)


def _c2psa(net: Network, row: str, x: str, out: int, n: int = 1, e: float = 0.5) -> str:
    c = int(out * e)
    a, b = net.split(row, net.conv(f"{row}.cv1", x, 2 * c))
    for i in range(n):
        block = f"{row}.m.{i}"
        b = net.add(merge.Add, f"{block}.add", b, _attention(net, f"{block}.attn", b, max(c // 64, 1)))
        y = net.conv(f"{block}.ffn.1", net.conv(f"{block}.ffn.0", b, 2 * c), c, act=False)
        b = net.add(merge.Add, f"{block}.add", b, y)
    return net.conv(f"{row}.cv2", net.add(merge.Concat, f"{row}.concat", a, b), out)


def _attention(net: Network, row: str, x: str, heads: int) -> str:
    """Attention over positions: keys of half the width, and a depthwise convolution of the values as positions."""
    (_, c, h, w), b = net.builder.values[x].shape, net.builder
    wide, n = c // heads, h * w
    key = wide // 2
    y = net.conv(f"{row}.qkv", x, c + 2 * key * heads, act=False)

    def view(op: View, source: str, part: str, kind: Any = None) -> str:
        return put(b, op, source, layer=row, part=part, kind=kind)

    y = view(View("view", (Reshape((1, heads, 2 * key + wide, n)),), batch=(0,)), y, "heads")
    ends = (0, key, 2 * key, 2 * key + wide)
    q, k, v = (view(View("slice", (Taps.picked(2, range(start, stop)),), batch=(0,)), y, part)
               for start, stop, part in zip(ends[:-1], ends[1:], "qkv", strict=True))  # fmt: skip
    turn = View("transpose", (Permute((0, 1, 3, 2)),), batch=(0,))
    scores = put(b, MatMul(), view(turn, q, "turned"), k, layer=row, part="scores")
    factor = Call("mul", (Input(0), key**-0.5), (), None)
    scores = put(b, Elementwise("mul", call=factor), scores, layer=row, part="scale")
    weights = put(b, activation.Softmax(axis=3), scores, layer=row, part="softmax")
    mixed = put(b, MatMul(), v, view(turn, weights, "weights"), layer=row, part="mixed")
    back = View("view", (Reshape((1, c, h, w)),), batch=(0,))
    place_ = net.conv(f"{row}.pe", view(back, v, "values", "map"), c, 3, g=c, act=False)
    return net.conv(
        f"{row}.proj", net.add(merge.Add, f"{row}.add", view(back, mixed, "map", "map"), place_), c, act=False
    )


def detect(net: Network, row: str, levels: Sequence[str], classes: int, anchors: Any = None) -> str:
    """The head: per level, boxes as 4 distributions over 16 distances, and classes; older ones have anchors instead."""
    if anchors is not None:
        boxes = len(net.anchors[0]) // 2 if isinstance(net.anchors, list) and isinstance(net.anchors[0], list) else 3
        net.ends += [
            net.add(conv.Conv, f"{row}.m.{i}", x, out=boxes * (classes + 5), kernel=1) for i, x in enumerate(levels)
        ]
        return net.ends[-1]
    first = net.channels(levels[0])
    wide, narrow = max(16, first // 4, 64), max(first, min(classes, 100))
    for i, x in enumerate(levels):
        box, kind = f"{row}.cv2.{i}", f"{row}.cv3.{i}"
        y = net.conv(f"{box}.1", net.conv(f"{box}.0", x, wide, 3), wide, 3)
        y = net.add(conv.Conv, f"{box}.2", y, out=64, kernel=1)
        if net.newer:
            z = net.conv(f"{kind}.0.1", net.conv(f"{kind}.0.0", x, net.channels(x), 3, g=net.channels(x)), narrow)
            z = net.conv(f"{kind}.1.1", net.conv(f"{kind}.1.0", z, narrow, 3, g=narrow), narrow)
        else:
            z = net.conv(f"{kind}.1", net.conv(f"{kind}.0", x, narrow, 3), narrow, 3)
        z = net.add(conv.Conv, f"{kind}.2", z, out=classes, kernel=1)
        net.ends.append(net.add(merge.Concat, f"{row}.concat", y, z, part=str(i)))
    net.builder.param(f"{row}.dfl.conv.weight", Param((1, 16, 1, 1), trainable=False))
    return net.ends[-1]


REPEATED: Mapping[str, Callable[..., str]] = {"C3": _c3, "C2f": _c2f, "C3k2": _c3k2, "C2PSA": _c2psa}
SCALED: Mapping[str, Callable[..., str]] = {
    "Conv": lambda net, row, x, *args: net.conv(row, x, *args),
    "DWConv": lambda net, row, x, out, k=1, s=1: net.conv(row, x, out, k, s, g=math.gcd(net.channels(x), out)),
    "Bottleneck": lambda net, row, x, *args: net.bottleneck(row, x, *args), "SPPF": _sppf, "SPP": _spp, **REPEATED,
}  # fmt: skip
