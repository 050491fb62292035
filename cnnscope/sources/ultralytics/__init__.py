"""Networks of Ultralytics (YAML): ``backbone`` and ``head`` are lists of ``[from, repeats, module, arguments]``.

Source: github.com/ultralytics/ultralytics, ``ultralytics/nn/tasks.py`` (`parse_model`) and ``nn/modules``. A scale of
the file (n, s, m, l, x) multiplies repeats and channels. Weights have Ultralytics' names (``model.0.conv.weight``). The
outputs are the maps of each level before boxes are decoded; ``--set scale=s`` and ``--set nc=10`` choose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Value
from cnnscope.ir.builder import Builder
from cnnscope.ops import merge, pool, rearrange, resize
from cnnscope.sources.inputs import InputSize, fit
from cnnscope.sources.resolve import Loaded
from cnnscope.sources.ultralytics.modules import REPEATED, SCALED, Network, detect

MAX_NODES = 50_000
_INPUT = InputSize((3, 640, 640))


def is_network(top: object) -> bool:
    """Returns whether the content of a YAML file is a network of Ultralytics."""
    return isinstance(top, Mapping) and "cnnscope" not in top and {"backbone", "head"} <= top.keys()


def load(source: str, top: Mapping[str, Any], inputs: tuple[InputSize, ...], settings: Mapping[str, Any]) -> Loaded:
    """Returns the network that a YAML file describes. E406 for settings, E441 for lines, E444 for unknown modules."""
    unknown = next((key for key in settings if key not in ("scale", "nc")), None)
    if unknown is not None:
        hint = did_you_mean(unknown, ("scale", "nc")) or "a network of Ultralytics has `scale` and `nc`"
        raise CnnscopeError.of("E406", f"`{source}` has no parameter `{unknown}`", hint=hint)
    size, scale, notes = _scale(source, top, settings)
    classes, channels = settings.get("nc", top.get("nc", 80)), top.get("ch", 3)
    for word, number in (("nc", classes), ("ch", channels)):
        if type(number) is not int or not 0 < number < 10**6:
            raise CnnscopeError.of("E441", f"`{source}`: `{word}` is no number of them: {str(number)[:20]}")
    network = Network(Builder(Path(source).stem), classes, *scale, top.get("anchors"), large=size in ("m", "l", "x"))
    shape = fit(inputs, (InputSize((channels, *_INPUT.shape[1:])),))[0].shape
    network.builder.input("image", Value((1, *shape), kind="map"))
    lines = [*_lines(source, top["backbone"]), *_lines(source, top["head"])]
    if not lines:
        raise CnnscopeError.of("E441", f"`{source}`: it has no layers")
    with network.builder.unfinished():
        for index, line in enumerate(lines):
            network.outputs.append(_line(network, source, index, line))
            if len(network.builder.nodes) > MAX_NODES:
                raise CnnscopeError.of("E442", f"`{source}` is refused: it has more than {MAX_NODES:,} ops")
    ends = network.ends or network.outputs[-1:]
    note = "the outputs are the maps of each level; decoding boxes is not in the graph"
    return Loaded(network.builder.graph(ends), source, notes=(*notes, *([note] if network.ends else [])))


def _scale(
    source: str, top: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[str, tuple[float, float, float], list[str]]:
    """Returns the scale that is asked for, or in the name of the file: depth, width, and the most channels."""
    scales = top.get("scales") or {}
    if not isinstance(scales, Mapping) or not scales:
        return "", (_number(top.get("depth_multiple", 1.0)), _number(top.get("width_multiple", 1.0)), math.inf), []
    named = re.search(r"\d([nsmlx])(?:$|[-_.])", Path(source).stem)
    wanted = settings.get("scale") or (named[1] if named and named[1] in scales else next(iter(scales)))
    if wanted not in scales:
        raise CnnscopeError.of(
            "E406", f"`{source}` has no scale `{wanted}`", hint=f"its scales: {', '.join(map(str, scales))}"
        )
    chosen = scales[wanted]
    factors = [_number(n) for n in chosen] if isinstance(chosen, list) else []
    if len(factors) != 3:
        raise CnnscopeError.of("E441", f"`{source}`: the scale `{wanted}` is not three numbers")
    said = [] if settings.get("scale") or named else [f"read at scale `{wanted}`; `--set scale=` chooses another"]
    return str(wanted), (factors[0], factors[1], factors[2]), said


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < 10**6:
        raise CnnscopeError.of("E441", f"`{str(value)[:20]}` is no factor of a network's size")
    return float(value)


@dataclass
class Line:
    """A line of the file: where it reads, how often it repeats, the module and its arguments."""

    sources: list[int]
    repeats: int
    module: str
    args: list[Any]


def _lines(source: str, part: Any) -> list[Line]:
    found = []
    for row in part if isinstance(part, list) else [part]:
        match row:
            case [int() | list() as origin, int(repeats), str(module), list(args)] if 0 < repeats < 1000:
                origins = origin if isinstance(origin, list) else [origin]
                if origins and all(type(n) is int for n in origins):
                    found.append(Line(origins, repeats, module, args))
                    continue
        what = f"`{source}`: `{str(row)[:60]}` is no line of a network"
        raise CnnscopeError.of("E441", what, hint="write [from, repeats, module, arguments]")
    return found


_KNOWN = (*SCALED, "nn.Upsample", "nn.MaxPool2d", "nn.ZeroPad2d", "Concat", "Detect")


def _line(net: Network, source: str, index: int, line: Line) -> str:
    row, module = f"model.{index}", line.module
    inputs = [_read(net, source, index, origin) for origin in line.sources]
    args = [
        net.classes if a == "nc" else None if a == "None" else a == "True" if a in ("True", "False") else a
        for a in line.args
    ]
    times = max(round(line.repeats * net.depth), 1) if line.repeats > 1 else 1
    net.builder.scopes[row] = module
    try:
        if module in SCALED:
            asked: Any = args[0]
            out = asked if asked == net.classes else math.ceil(min(asked, net.most) * net.width / 8) * 8
            rest = [*args[1:]]
            if module in REPEATED:
                rest, times = [times, *rest], 1
                if module == "C3k2" and net.large:
                    rest[1:2] = [True]
            x = inputs[0]
            for i in range(times):
                x = SCALED[module](net, f"{row}.{i}" if times > 1 else row, x, out, *rest)
            return x
        match module, args:
            case "nn.Upsample", [None, int(factor), str(mode)]:
                return net.add(resize.Upsample, row, inputs[0], scale=factor, mode=mode)
            case "nn.MaxPool2d", [int(k), int(s), int(p)]:
                return net.add(pool.MaxPool, row, inputs[0], kernel=k, stride=s, pad=p)
            case "nn.ZeroPad2d", [[int(left), int(right), int(top), int(bottom)]]:
                pad = {"left": left, "right": right, "top": top, "bottom": bottom}
                return net.add(rearrange.Pad, row, inputs[0], pad=pad)
            case "Concat", [1]:
                return net.add(merge.Concat, row, *inputs)
            case "Detect", [int(classes), *anchors]:
                return detect(net, row, inputs, classes, *anchors[:1])
    except (TypeError, ValueError, IndexError, OverflowError) as error:
        raise CnnscopeError.of("E441", f"`{source}`: line {index} `{module}` has wrong arguments ({error})") from None
    hint = did_you_mean(module, _KNOWN) or f"known: {', '.join(_KNOWN)}"
    raise CnnscopeError.of("E444", f"`{source}`: the module `{module}` of line {index} is not read", hint=hint)


def _read(net: Network, source: str, index: int, origin: int) -> str:
    number = origin + index if origin < 0 else origin
    if number == -1 and index == 0:
        return "image"
    if not 0 <= number < index:
        raise CnnscopeError.of("E441", f"`{source}`: line {index} reads line {origin}, which is not before it")
    return net.outputs[number]
