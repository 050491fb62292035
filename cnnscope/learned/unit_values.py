"""What one unit of a network computes on an image: the inputs it meets, the weights, each channel's sum, the result.

A convolution gives y[o] = b + sum_c sum_k w[c, k] x[c, o * stride + k * dilation - pad]; a transposed one meets, at tap
k, the input i with i * stride + k * dilation - pad = o, where there is one. Max pooling takes the largest, mean pooling
the mean, a linear layer is a convolution of one tap. Sources: Dumoulin & Visin 2016, sections 2 to 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnscope.analysis.receptive_field.walk import find
from cnnscope.errors import CnnscopeError
from cnnscope.ir.graph import Node
from cnnscope.learned.maps import first_image
from cnnscope.nn.build import Network
from cnnscope.options.running import Running
from cnnscope.pictures import read_picture
from cnnscope.render.unit_values import ChannelValues, UnitValues
from cnnscope.sources.resolve import Loaded
from cnnscope.trained.images import open_images
from cnnscope.trained.loading import open_network
from cnnscope.trained.network import TrainedNetwork

_CONVOLUTIONS = ("conv", "depthwise", "upconv")
_POOLS = ("maxpool", "avgpool")
_KINDS = (*_CONVOLUTIONS, *_POOLS, "linear")

Array = NDArray[np.float64]


def unit_values(
    model: Loaded, layer: str, index: Sequence[int], image: str | Path | None = None, running: Running | None = None
) -> UnitValues:
    """The unit at ``index``, (channel, y, x), of a layer on an image, by default the first of the network's.

    `CnnscopeError`: E205 no such layer, E203 no such unit, E464 a layer that computes something else, E607 no image,
    and what `open_network` raises.
    """
    network = open_network(model, running, scores=False)
    node, module = _main(network, layer)
    sample = _image(network, image)
    inputs, output, final = _run(network, node, module, layer, sample[1])
    _check(layer, index, output.shape)
    sums, bias, total = _worked(node, module, index, inputs)
    after = float(final[tuple(index)]) if final is not None and final.shape == output.shape else None
    op = _called(node.op.tag, node.op.label())
    return UnitValues(
        graph=network.graph, source=network.source, layer=layer, index=tuple(index), op=op, operation=node.op.tag,
        image=sample[0], weights=network.weights, channels=tuple(sums), bias=bias, total=total,
        value=float(output[tuple(index)]), activated=after,
    )  # fmt: skip


def _main(network: TrainedNetwork, layer: str) -> tuple[Node, nn.Module]:
    """The one op of the layer that meets a window, and the module that runs it."""
    graph = network.graph
    last = find(graph, layer)  # E205 where there is none
    members = dict(graph.layers()).get(layer) or tuple(node for node in graph.nodes if node.name == last)
    mains = [node for node in members if node.op.tag in _KINDS]
    if len(mains) != 1:
        what = "several ops" if mains else f"`{members[-1].op.tag}`"
        raise _other(f"`{layer}` is {what}, and one convolution, pool or linear layer can be worked out")
    (node,) = mains
    if isinstance(network.module, Network):
        module: Any = network.module.calls[graph.nodes.index(node)]
    else:
        modules = dict(network.module.named_modules())
        module = modules.get(node.name) or modules.get(layer)
    if not isinstance(module, nn.Module):
        raise _other(f"`{layer}` runs in no module of its own")
    return node, module


def _called(tag: str, label: str) -> str:
    """``conv 5x5 6``; the label alone where it has the type in it."""
    return f"{tag} {label}".strip() if tag not in label else label


def _other(what: str) -> CnnscopeError:
    return CnnscopeError.of("E464", what, hint="name a layer whose type is conv, upconv, maxpool, avgpool or linear")


def _image(network: TrainedNetwork, image: str | Path | None) -> tuple[str, NDArray[np.uint8]]:
    """An image's name and its (C, H, W) pixels."""
    if image is not None:
        return str(image), network.preprocess.pixels(read_picture(Path(image)))
    if network.data is None:
        raise CnnscopeError.of("E607", f"there is no image to look at: `{network.source}` comes with none",
                               hint="name one: `--image FILE`")  # fmt: skip
    sample = first_image(open_images(network.data))
    return sample.name, network.preprocess.pixels(sample.image)


def _run(
    network: TrainedNetwork, node: Node, module: nn.Module, layer: str, pixels: NDArray[np.uint8]
) -> tuple[Array, Array, Array | None]:
    """What the op reads and makes on the image, and what the whole layer makes, where that can be caught."""
    caught: list[tuple[Tensor, Tensor]] = []

    def take(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        caught.append((args[0].detach().clone(), output.detach().clone()))

    handle = module.register_forward_hook(take)
    named = [layer] if layer in network.layer_names() else []
    try:
        with torch.inference_mode(), network.capture(named, lambda output: output.detach().clone()) as found:
            network.module(network.input(torch.from_numpy(pixels[None].copy())))
            final = found.get(layer)
    finally:
        handle.remove()
    if len(caught) != 1:
        raise _other(f"`{layer}` runs {len(caught)} times for an image")
    inputs, output = (_array(tensor) for tensor in caught[0])
    if node.op.tag == "linear" and inputs.ndim != 1:
        raise _other(f"`{layer}` is applied to several positions")
    return inputs, output, None if final is None else _array(final)


def _array(tensor: Tensor) -> Array:
    """The first image's values."""
    values: Array = tensor[0].double().cpu().numpy()
    return values


def _check(layer: str, index: Sequence[int], shape: Sequence[int]) -> None:
    size = "x".join(map(str, shape))
    if len(index) != len(shape):
        wanted = ",".join(("c", "z", "y", "x")[:1] + ("z", "y", "x")[4 - len(shape) :])
        raise CnnscopeError.of("E203", f"a unit of `{layer}` ({size}) has {len(shape)} numbers, not {len(index)}",
                               hint=f"write `--unit {layer}:{wanted}`, the channel first")  # fmt: skip
    if any(not 0 <= i < n for i, n in zip(index, shape, strict=True)):
        raise CnnscopeError.of("E203", f"`{layer}` has {size} units, and {','.join(map(str, index))} is none of them",
                               hint="channels and positions count from 0")  # fmt: skip


def _worked(
    node: Node, module: nn.Module, index: Sequence[int], inputs: Array
) -> tuple[list[ChannelValues], float | None, float]:
    """The channels that the unit reads, the bias, and what the op makes of them."""
    arguments: dict[str, Any] = dict(node.op.arguments())
    channel, position = index[0], index[1:]
    if node.op.tag == "linear":
        weight, bias = _parameters(module)
        channels = [
            ChannelValues(channel=i, places=((),), window=(float(value),), weights=(float(weight[channel, i]),),
                          inside=(True,), size=(1,))
            for i, value in enumerate(inputs)
        ]  # fmt: skip
        return channels, _of(bias, channel), sum(one.sum for one in channels) + (_of(bias, channel) or 0.0)
    axes = len(position)
    kernel, stride, dilation = (
        _per_axis(arguments.get(name) or (1,), axes) for name in ("kernel", "stride", "dilation")
    )  # fmt: skip
    if arguments.get("stride") is None:
        stride = kernel
    pads = [tuple(pair) for pair in _per_axis(arguments["pad"], axes)]
    taps = list(_taps(node.op.tag, position, kernel, stride, dilation, pads, inputs.shape[1:]))
    mode = str(arguments.get("pad_mode", "zeros"))
    if node.op.tag in _POOLS:
        one = _channel(inputs, channel, taps, None, kernel, mode)
        return [one], None, _pooled(node.op.tag, one, arguments, pads, inputs.shape[1:])
    weight, bias = _parameters(module)
    groups = int(arguments.get("groups", 1))
    if node.op.tag == "upconv":
        per = weight.shape[1]
        read = range(channel // per * (len(inputs) // groups), (channel // per + 1) * (len(inputs) // groups))
        kernels = [weight[c, channel % per] for c in read]
    else:
        first = channel // (len(weight) // groups) * weight.shape[1]
        read = range(first, first + weight.shape[1])
        kernels = list(weight[channel])
    channels = [_channel(inputs, c, taps, k, kernel, mode) for c, k in zip(read, kernels, strict=True)]
    return channels, _of(bias, channel), sum(one.sum for one in channels) + (_of(bias, channel) or 0.0)


def _per_axis(values: Any, axes: int) -> list[Any]:
    listed = list(values)
    return listed * axes if len(listed) == 1 else listed


def _parameters(module: nn.Module) -> tuple[Array, Array | None]:
    """Weight and bias of a convolution or linear layer, which a wrapper may hold."""
    own: Any = next(one for one in module.modules() if isinstance(getattr(one, "weight", None), Tensor))
    bias: Any = own.bias
    return own.weight.detach().double().cpu().numpy(), None if bias is None else bias.detach().double().cpu().numpy()


def _of(bias: Array | None, channel: int) -> float | None:
    return None if bias is None else float(bias[channel])


def _taps(
    tag: str, position: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
    pads: Sequence[tuple[int, ...]], extents: Sequence[int],
) -> Iterator[tuple[int, ...] | None]:  # fmt: skip
    """The input's place at each of the kernel's taps, in reading order; None where a transposed one meets nothing.

    Places outside the input are padding.
    """
    for tap in product(*map(range, kernel)):
        axes = zip(position, tap, stride, dilation, pads, strict=True)
        if tag != "upconv":
            yield tuple(o * s + k * d - pad[0] for o, k, s, d, pad in axes)
            continue
        reached = [(o + pad[0] - k * d, s) for o, k, s, d, pad in axes]
        met = all(at % s == 0 and 0 <= at // s < n for (at, s), n in zip(reached, extents, strict=True))
        yield tuple(at // s for at, s in reached) if met else None


_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _channel(
    inputs: Array, channel: int, taps: Sequence[tuple[int, ...] | None], weights: Array | None, size: Sequence[int],
    mode: str,
) -> ChannelValues:  # fmt: skip
    extents = inputs.shape[1:]
    inside = [tap is not None and all(0 <= i < n for i, n in zip(tap, extents, strict=True)) for tap in taps]
    window = []
    for tap, there in zip(taps, inside, strict=True):
        if tap is None or (not there and mode == "zeros"):
            window.append(0.0)
            continue
        place = tap if there else tuple(_mirrored(i, n, mode) for i, n in zip(tap, extents, strict=True))
        window.append(float(inputs[(channel, *place)]))
    return ChannelValues(
        channel=channel, places=tuple(taps), window=tuple(window), inside=tuple(inside), size=tuple(size),
        weights=None if weights is None else tuple(map(float, weights.ravel())),
    )  # fmt: skip


def _mirrored(index: int, extent: int, mode: str) -> int:
    """The position whose value the border has at an index outside the map."""
    beyond = max(0, -index, index - extent + 1)
    return int(np.pad(np.arange(extent), beyond, mode=_MODES[mode])[index + beyond])  # type: ignore[call-overload]


def _pooled(
    tag: str, one: ChannelValues, arguments: dict[str, Any], pads: Sequence[tuple[int, ...]], extents: Sequence[int]
) -> float:
    met = [value for value, there in zip(one.window, one.inside, strict=True) if there]
    if tag == "maxpool":
        return max(met)
    counted = sum(
        tap is not None and all(-low <= i < n + high for i, n, (low, high) in zip(tap, extents, pads, strict=True))
        for tap in one.places
    )
    return sum(met) / (arguments.get("divisor") or (counted if arguments.get("count_pad", True) else len(met)))
