"""Random networks: any op behind any node, joins of whatever fits."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st
from rf_networks import Net

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.ops.arguments import ArgumentError

Draw = Callable[[Random], Any]


def among(*choices: Any) -> Draw:
    return lambda random: random.choice(choices)


ANY_BORDER = among("zeros", "zeros", "reflect", "replicate", "circular")
PER_AXIS = {"stride": among(1, 1, 2, 3), "pad": among(0, 1, 2, "half", "same", "full")}
OPS: dict[str, dict[str, Draw]] = {
    "conv": {"out": among(2, 4), "kernel": among(1, 2, 3, 4), "dilation": among(1, 1, 2, 3), "groups": among(1, 2),
             "pad_mode": ANY_BORDER, **PER_AXIS},
    "upconv": {"out": among(2, 4), "kernel": among(1, 2, 3, 4), "stride": among(1, 2, 3),
               "pad": among(0, 1, "same"), "dilation": among(1, 2)},
    "maxpool": {"kernel": among(2, 3), "stride": among(1, 2, 3), "pad": among(0, 1), "dilation": among(1, 2),
                "ceil": among(False, True)},
    "avgpool": {"kernel": among(2, 3), "stride": among(1, 2, 3), "pad": among(0, 1), "ceil": among(False, True)},
    "blurpool": {"kernel": among(2, 3, 4)},
    "adaptiveavgpool": {"out": among(1, 2, 3, 5)},
    "globalavgpool": {},
    "relu": {},
    "layernorm": {"over": among("channels", "all")},
    "groupnorm": {"groups": among(1, 2)},
    "instancenorm": {},
    "upsample": {"scale": among(2, 3), "mode": among("nearest", "bilinear")},
    "shuffle": {"groups": among(2)},
    "pixelshuffle": {"factor": among(2)},
    "pixelunshuffle": {"factor": among(2)},
    "pad": {"pad": among(0, 1, 2), "pad_mode": ANY_BORDER},
    "crop": {"size": among(2, 3, 5, 7)},
    "slice": {"axis": among(1, 2, 3), "start": among(0, 1, 2), "step": among(1, 2)},
    "roll": {"shift": among(-2, 1, 3), "axis": among(1, 2, 3)},
    "flip": {"axis": among(1, 2, 3)},
}  # fmt: skip
HEAVY = ("conv", "conv", "conv", "conv", "upconv", "maxpool", "avgpool", "upsample", "slice", "crop", "shuffle")


def network(
    seed: int, most: int, *, ops: tuple[str, ...] = tuple(OPS), size: int | None = None, largest: int = 2000
) -> Graph:
    """Up to ``most`` ops on an image of 2 or 4 channels; the same for the same arguments.

    The image is small, of 1 to 3 axes, or has one axis of ``size``. No value has more than ``largest`` elements.
    """
    random = Random(seed)
    ndim = random.choice([1, 2, 2, 2, 3])
    sizes = [size] if size else [random.randint(2, 6 if ndim == 3 else 11) for _ in range(ndim)]
    net = Net(random.choice([2, 4]), *sizes)
    often = (*ops, *(tag for tag in HEAVY if tag in ops))
    for _ in range(5 * most):
        if len(net.nodes) < most:
            _grow(net, random, often, largest)
    if not net.nodes:
        net.add("relu")
    return net.graph()


def _grow(net: Net, random: Random, ops: tuple[str, ...], largest: int) -> None:
    names = ["x", *(node.name for node in net.nodes)]
    try:
        if random.random() < 0.3:
            _join(net, random, names)
        else:
            tag, source = random.choice(ops), random.choice(names[-3:])
            args = {key: draw(random) for key, draw in OPS[tag].items()}
            if tag == "pixelunshuffle" and args["factor"] in net.value(source).spatial:
                return  # a cell as large as the image is all of it, and mixing its channels is global
            net.add(tag, source, **args)
    except (ArgumentError, CnnscopeError):
        return
    if net.value(net.last).numel > largest:
        net.nodes.pop()


def _join(net: Net, random: Random, names: list[str]) -> None:
    """Adds, multiplies or concatenates the last value and another that fits, if there is one beside itself."""
    last = net.value(names[-1]).shape
    fits: dict[str, Callable[[tuple[int, ...]], bool]] = {
        "add": lambda shape: shape == last,
        "mul": lambda shape: all(n in (1, m) for n, m in zip(shape, last, strict=True)),
        "concat": lambda shape: shape[2:] == last[2:],
    }
    options = [(tag, name) for tag, fit in fits.items() for name in names[:-1] if fit(net.value(name).shape)]
    if options:
        tag, other = random.choice(options)
        net.add(tag, names[-1], other)


def networks(most: int = 8, **options: Any) -> st.SearchStrategy[Graph]:
    """Hypothesis' view: a seed to vary and a number of ops to shrink."""
    return st.builds(lambda seed, ops: network(seed, ops, **options), st.integers(0, 2**32), st.integers(1, most))
