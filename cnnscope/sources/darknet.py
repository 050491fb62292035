"""Networks of Darknet (``.cfg``): sections with ``key=value``, one a layer, read from top to bottom.

Source: github.com/pjreddie/darknet and github.com/AlexeyAB/darknet, ``src/parser.c``. Layers are numbered from 0 behind
``[net]``, and ``[route]`` and ``[shortcut]`` name them by number, or from their own place if that is negative. What a
``[yolo]`` layer reads is an output; it decodes boxes, which is no layer here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.files import read_named
from cnnscope.ir import Graph, Value
from cnnscope.ir.builder import Builder
from cnnscope.ops import activation, conv, merge, movement, norm, pool, product, rearrange, regularization, resize
from cnnscope.ops.base import Op
from cnnscope.sources import files
from cnnscope.sources.inputs import InputSize, fit, only_sizes
from cnnscope.sources.placing import place
from cnnscope.sources.resolve import Loaded

MAX_BYTES = 2**20
_ACTIVATIONS: Mapping[str, tuple[type[Op], Mapping[str, float]] | None] = {
    "linear": None, "leaky": (activation.LeakyReLU, {"slope": 0.1}), "relu": (activation.ReLU, {}),
    "relu6": (activation.ReLU6, {}), "mish": (activation.Mish, {}), "swish": (activation.SiLU, {}),
    "logistic": (activation.Sigmoid, {}), "tanh": (activation.Tanh, {}), "elu": (activation.ELU, {}),
    "selu": (activation.SELU, {}), "gelu": (activation.GELU, {"tanh": True}),
}  # fmt: skip
_ENDS = ("yolo", "region", "detection", "gaussian_yolo")


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the file: its name, line and settings."""

    kind: str
    line: int
    settings: Mapping[str, str]

    def number(self, key: str, default: int = 0) -> int:
        """Returns a whole number; E441 for anything else."""
        text = self.settings.get(key, str(default))
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise CnnscopeError.of("E441", f"line {self.line}: `{key}={text[:40]}` is no whole number")
        return int(text)

    def numbers(self, key: str) -> list[int]:
        """Returns a list of whole numbers, separated by commas."""
        parts = [part.strip() for part in self.settings.get(key, "").split(",") if part.strip()]
        return [Section(self.kind, self.line, {key: part}).number(key) for part in parts]


def load(source: str, inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the network in a ``.cfg`` file. E440 and E441 for files, E444 for layers without a rule, E3xx shapes."""
    if settings:
        raise CnnscopeError.of("E406", f"`{source}` is a file that has no parameters to set")
    path = Path(source)
    sections = _sections(path)
    with files.reading(path):
        return Loaded(_graph(path.stem, sections, inputs), source)


def _sections(path: Path) -> list[Section]:
    start = files.head(path)
    text = read_named(path, MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise files.too_large(path, f"it has more than {MAX_BYTES // 2**20} MiB")
    found: list[tuple[str, int, dict[str, str]]] = []
    for number, line in enumerate(text.decode(errors="replace").splitlines(), start=1):
        line = re.split("[#;]", line, maxsplit=1)[0].strip()
        if match := re.fullmatch(r"\[(\w+)\]", line):
            found.append((match[1], number, {}))
        elif "=" in line and found:
            key, _, value = line.partition("=")
            found[-1][2][key.strip()] = value.strip()
    if not found or found[0][0] not in ("net", "network"):
        raise files.not_a("a network of Darknet, which begins with `[net]`", path, start)
    return [Section(*section) for section in found]


@dataclass
class Network:
    """The network so far: the names of the outputs of its layers by number, and of the network."""

    builder: Builder
    outputs: list[str] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    last: str = "image"

    def at(self, section: Section, number: int) -> str:
        """Returns the output of a layer by its number, negative from here; E441 if there is none."""
        index = number + len(self.outputs) if number < 0 else number
        if not 0 <= index < len(self.outputs):
            raise CnnscopeError.of("E441", f"line {section.line}: there is no layer {number} before `[{section.kind}]`")
        return self.outputs[index]

    def add(self, kind: type[Op], row: str, *inputs: str, part: str = "", **settings: Any) -> str:
        """Adds an op and returns its name."""
        return place(self.builder, kind, settings, *(inputs or (self.last,)), layer=row, part=part)

    def activated(self, section: Section, row: str, x: str, default: str = "logistic") -> str:
        """Adds the activation of a layer, if it has one."""
        word = section.settings.get("activation", default)
        if word not in _ACTIVATIONS:
            hint = did_you_mean(word, _ACTIVATIONS) or f"known: {', '.join(_ACTIVATIONS)}"
            raise CnnscopeError.of("E444", f"line {section.line}: the activation `{word[:40]}` is not read", hint=hint)
        found = _ACTIVATIONS[word]
        return x if found is None else self.add(found[0], row, x, part="act", **found[1])


def _graph(name: str, sections: list[Section], inputs: tuple[InputSize, ...]) -> Graph:
    net, *layers = sections
    size = tuple(net.number(key, default) for key, default in (("channels", 3), ("height", 0), ("width", 0)))
    if min(size) <= 0 and not inputs:
        shape = "x".join(map(str, size))
        raise CnnscopeError.of("E403", f"the input is {shape} in the file", hint="say its size: `--input 3x416x416`")
    only_sizes(inputs, "a network of Darknet")
    if len(inputs) > 1:
        raise CnnscopeError.of("E403", "a network of Darknet has one input", hint="give one `--input`")
    given = fit(inputs, (InputSize(size),))[0].shape
    network = Network(Builder(name))
    network.builder.input("image", Value((1, *given), kind="map" if len(given) > 1 else "flat"))
    with network.builder.unfinished():
        for index, section in enumerate(layers):
            rule = _RULES.get(section.kind)
            if rule is None:
                hint = did_you_mean(section.kind, _RULES) or f"known: {', '.join(_RULES)}"
                raise CnnscopeError.of(
                    "E444", f"line {section.line}: the layer `[{section.kind}]` is not read", hint=hint
                )
            network.last = rule(network, section, f"{section.kind}{index}")
            network.outputs.append(network.last)
    if not network.outputs:
        raise CnnscopeError.of("E441", "it has no layers")
    return network.builder.graph(dict.fromkeys(network.ends or [network.last]))


# -- layers ------------------------------------------------------------------------------------------------------------


def _convolutional(net: Network, section: Section, row: str) -> str:
    size, number = section.number("size", 1), section.number
    pad = size // 2 if number("pad") else number("padding")
    if "dilation" in section.settings and number("pad"):
        pad = number("dilation", 1) * (size - 1) // 2
    normed = bool(number("batch_normalize"))
    x = net.add(
        conv.Conv, row, part="conv", out=number("filters", 1), kernel=size, stride=number("stride", 1), pad=pad,
        groups=number("groups", 1), dilation=number("dilation", 1), bias=not normed,
    )  # fmt: skip
    x = net.add(norm.BatchNorm, row, x, part="norm") if normed else x
    return net.activated(section, row, x)


def _connected(net: Network, section: Section, row: str) -> str:
    flat = len(net.builder.values[net.last].shape) == 2
    x = net.last if flat else net.add(movement.Flatten, row, part="flatten")
    normed = bool(section.number("batch_normalize"))
    x = net.add(product.Linear, row, x, part="linear", out=section.number("output", 1), bias=not normed)
    x = net.add(norm.BatchNorm, row, x, part="norm") if normed else x
    return net.activated(section, row, x)


def _maxpool(net: Network, section: Section, row: str) -> str:
    """Darknet pads ``padding`` pixels in all, the odd one behind; its default is one less than the window."""
    stride = section.number("stride", 1)
    size = section.number("size", stride)
    padding = section.number("padding", size - 1)
    extents = net.builder.values[net.last].spatial
    sides = []
    for n in extents:
        before = padding // 2
        out = (n + padding - size) // max(stride, 1) + 1
        sides.append((before, max(0, (out - 1) * stride + size - n - before)))
    words = (("top", "bottom"), ("left", "right"))
    pad = {word: n for pair, side in zip(words, sides, strict=False) for word, n in zip(pair, side, strict=True) if n}
    return net.add(pool.MaxPool, row, kernel=size, stride=stride, pad=pad or 0)


def _route(net: Network, section: Section, row: str) -> str:
    """Joins layers along the channels; of one that has ``groups``, only the channels of ``group_id``."""
    parts = [net.at(section, number) for number in section.numbers("layers")]
    if not parts:
        raise CnnscopeError.of("E441", f"line {section.line}: `[route]` names no layers")
    groups, chosen = section.number("groups", 1), section.number("group_id")
    if groups > 1:
        sizes = [net.builder.values[part].shape[1] // groups for part in parts]
        parts = [net.add(movement.Slice, row, part, part=f"group{i}", start=n * chosen, stop=n * (chosen + 1))
                 for i, (part, n) in enumerate(zip(parts, sizes, strict=True))]  # fmt: skip
    if len(parts) == 1:
        return parts[0] if groups > 1 else net.add(movement.Identity, row, parts[0])
    return net.add(merge.Concat, row, *parts)


def _shortcut(net: Network, section: Section, row: str) -> str:
    if section.settings.get("weights_type", "none") != "none":
        raise CnnscopeError.of("E444", f"line {section.line}: a `[shortcut]` with weights is not read")
    parts = [net.last, *(net.at(section, number) for number in section.numbers("from"))]
    return net.activated(section, row, net.add(merge.Add, row, *parts, part="add"), "linear")


def _scaled(net: Network, section: Section, row: str) -> str:
    """Squeeze and excite: the channels of a layer times what a pooled branch says of them."""
    other = [net.at(section, number) for number in section.numbers("from")]
    return net.activated(section, row, net.add(merge.Mul, row, *other, net.last, part="mul"), "linear")


def _end(net: Network, section: Section, row: str) -> str:
    net.ends.append(net.last)
    return net.last


def _passed(net: Network, section: Section, row: str) -> str:
    return net.last


_RULES: Mapping[str, Callable[[Network, Section, str], str]] = {
    "convolutional": _convolutional, "conv": _convolutional, "connected": _connected, "conn": _connected,
    "maxpool": _maxpool, "max": _maxpool, "route": _route, "shortcut": _shortcut, "scale_channels": _scaled,
    "avgpool": lambda net, section, row: net.add(pool.GlobalAvgPool, row),
    "avg": lambda net, section, row: net.add(pool.GlobalAvgPool, row),
    "upsample": lambda net, section, row: net.add(resize.Upsample, row, scale=section.number("stride", 2)),
    "reorg": lambda net, section, row: place(
        net.builder, rearrange.PixelUnshuffle, {"factor": section.number("stride", 1)}, net.last, layer=row,
        lost=("Darknet's order of elements",)),
    "reorg3d": lambda net, section, row: net.add(rearrange.PixelUnshuffle, row, factor=section.number("stride", 1)),
    "dropout": lambda net, section, row: net.add(
        regularization.Dropout, row, p=float(section.settings.get("probability", 0.5))),
    "softmax": lambda net, section, row: net.add(activation.Softmax, row),
    "cost": _passed, **dict.fromkeys(_ENDS, _end),
}  # fmt: skip
