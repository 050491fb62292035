"""The measuring loop: runs every image under every transform through the network and gives the numbers to store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnnscope.audits.features import INPUT, SCORES, Features, default_layers, features, pooled
from cnnscope.audits.outcomes import BatchOutcome
from cnnscope.audits.protocol.protocol import Protocol, Slot, Transform, resolve
from cnnscope.audits.protocol.transforms import canvas, reach, sliceable, warp
from cnnscope.errors import CnnscopeError
from cnnscope.trained.network import TrainedNetwork, probabilities, scores

ROWS = 64
"""Images in a forward pass; a batch has several transforms of each."""
_EPSILON = torch.finfo(torch.float32).eps  # avoids the logarithm of 0 where its factor is 0
IDENTITY = Transform("translation", 0.0, "px", "clean")


@torch.inference_mode()
def measure_batch(
    network: TrainedNetwork,
    pixels: Tensor,
    keys: Sequence[str],
    protocol: Protocol,
    seed: int = 0,
    layers: Sequence[str] | None = None,
    batch: int = 256,
) -> BatchOutcome:
    """Measures N images: ``pixels`` (N, C, >= H, >= W) uint8 whose middle (H, W) is the input, ``keys`` their sha256.

    ``layers`` are watched besides the input (default: `default_layers`); ``batch`` is the largest number of samples in
    a forward pass. How samples are grouped depends on the protocol, ``batch`` and N alone; which images are measured
    together changes nothing but ``spread``. Numbers are copied to the host once, at the end.

    The network's weights are put into channels-last order and stay so; their values do not change.

    `CnnscopeError`: E205 unknown layer, E453 no class scores or not finite, E470 pixels that do not fit the input.
    `torch.OutOfMemoryError` where a batch does not fit: measure again with a smaller one.
    """
    _check(network, pixels, keys)
    watch = tuple(default_layers(network) if layers is None else layers)
    results = torch.empty(4 + 1 + len(watch), len(pixels), len(protocol.slots) + 1, device=network.device)
    spread = torch.empty(len(pixels), 1 + len(watch), device=network.device)
    finite = torch.ones((), dtype=torch.bool, device=network.device)
    _channels_last(network.module)
    with network.capture([layer for layer in watch if layer != SCORES], keep=pooled) as kept:
        for rows, x in _chunks(network, pixels, protocol, min(ROWS, batch)):
            clean: tuple[Tensor, Features] | None = None
            for slots, inputs in _stacks(protocol, x, keys[rows], network, seed, batch):
                logits = _scores(network.module(inputs), network, checked=clean is not None)
                found = features(inputs, {**kept, SCORES: logits}, watch)
                finite &= torch.isfinite(logits).all()
                if clean is None:
                    clean = probabilities(logits[: len(x)]), found.first(len(x))
                    spread[rows] = clean[1].distance(clean[1].next()) if len(x) > 1 else torch.nan
                results[:, rows, slots] = _compared(logits, found, *clean)
    if not finite:
        scores(torch.full((1, 1), torch.nan), network.graph.name)  # raises E453, as `network.logits` does
    return _outcome(results.cpu().numpy(), spread.cpu().numpy(), (INPUT, *watch))


def _compared(logits: Tensor, found: Features, p: Tensor, clean: Features) -> Tensor:
    """(4 + layers, images, slots): prediction, its probability, the probability of the image's own prediction, JS
    divergence and distances.

    ``p`` (images, classes) and ``clean`` belong to the images as they are. Samples are ordered slot by slot.
    """
    n = len(p)
    q = probabilities(logits)
    confidence, top1 = q.max(1)
    kept = q.gather(1, p.argmax(1).repeat(len(q) // n)[:, None])[:, 0]
    js = jensen_shannon(p, q.view(-1, n, q.shape[1])).flatten()
    table = torch.cat([torch.stack([top1.float(), confidence, kept, js], 1), found.distance(clean)], 1)
    return table.view(-1, n, table.shape[1]).permute(2, 1, 0)


def _outcome(results: NDArray[np.float32], spread: NDArray[np.float32], layers: tuple[str, ...]) -> BatchOutcome:
    """The outcome from results (4 + layers, N, T + 1), which have the image as it is in the last slot."""
    top1, (confidence, kept) = results[0].astype(np.int32), results[1:3].astype(np.float16)
    distance = np.ascontiguousarray(results[4:, :, :-1].transpose(1, 0, 2))
    return BatchOutcome(
        top1_clean=top1[:, -1].copy(), confidence_clean=confidence[:, -1].copy(), top1=top1[:, :-1].copy(),
        confidence=confidence[:, :-1].copy(), clean_class_probability=kept[:, :-1].copy(),
        js=results[3, :, :-1].copy(), layers=layers, distance=distance, spread=spread,
    )  # fmt: skip


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of distributions along the last axis, divided by ln 2: 0 to 1; broadcasts over other
    axes.

    ``sum m ((1 + r) log(1 + r) + (1 - r) log(1 - r)) / 2`` with ``m = (p + q) / 2``, ``r = (p - q) / (p + q)``: Lin
    1991, eq. 3.1, written so that rounding does not dominate for nearly equal distributions; exactly 0 for equal ones.
    """
    whole = p + q
    r = ((p - q) / whole.clamp_min(torch.finfo(whole.dtype).tiny)).clamp(-1 + _EPSILON, 1 - _EPSILON)
    terms = (1 + r) * torch.log1p(r) + (1 - r) * torch.log1p(-r)
    return ((whole * terms).sum(-1) / (4 * math.log(2))).clamp(0, 1)


def _check(network: TrainedNetwork, pixels: Tensor, keys: Sequence[str]) -> None:
    c, h, w = network.input_shape
    n, *rest = pixels.shape
    if len(rest) != 3 or rest[0] != c or rest[1] < h or rest[2] < w or not n:
        got = "x".join(map(str, pixels.shape))
        raise CnnscopeError.of("E470", f"pixels of {got} do not hold images of {c}x{h}x{w}")
    if len(keys) != n:
        raise ValueError(f"{len(keys)} keys for {n} images")


def _channels_last(module: nn.Module) -> None:
    """Puts weights into channels-last order, the order of the inputs, if they are not yet."""
    maps = (p for p in module.parameters() if p.ndim == 4)
    if not all(p.is_contiguous(memory_format=torch.channels_last) for p in maps):
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs


def _chunks(network: TrainedNetwork, pixels: Tensor, protocol: Protocol, most: int) -> Iterator[tuple[slice, Tensor]]:
    """Yields which images go through the network together, and their canvases.

    A chunk has every n-th image: neighbours are often of one class, and images are compared with others of their chunk.
    """
    size = network.input_shape[1:]
    margin = reach(protocol.slots, (size[0], size[1]))
    black = network.preprocess.normalise(torch.zeros(1, pixels.shape[1], 1, 1, device=network.device)).flatten()
    count = -(-len(pixels) // most)
    for first in range(count):
        rows = slice(first, None, count)
        x = network.preprocess.normalise(pixels[rows].to(network.device))
        yield rows, canvas(x, (size[0], size[1]), margin, protocol.border, black, protocol.margin)


def _stacks(
    protocol: Protocol, x: Tensor, keys: Sequence[str], network: TrainedNetwork, seed: int, batch: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Yields slots that go through the network together, and their channels-last inputs (slots x images, C, H, W)."""
    c, h, w = network.input_shape
    n, k = len(x), max(1, batch // len(x))
    order = [-1, *sorted(range(len(protocol.slots)), key=lambda i: _kind(protocol.slots[i], (h, w)))]
    memory = torch.empty(k, n, h, w, c, device=x.device, dtype=network.dtype)
    for start in range(0, len(order), k):
        slots = order[start : start + k]
        inputs = memory[: len(slots)]
        warp(inputs.permute(0, 1, 4, 2, 3), x, [_given(protocol, i, keys, seed) for i in slots])
        yield slots, inputs.view(-1, h, w, c).permute(0, 3, 1, 2)


def _given(protocol: Protocol, slot: int, keys: Sequence[str], seed: int) -> Transform | list[Transform]:
    """The transform of a slot; a list with one for each image if its parameters are drawn."""
    if slot < 0:
        return IDENTITY
    chosen = protocol.slots[slot]
    return chosen if isinstance(chosen, Transform) else [resolve(chosen, seed, key) for key in keys]


def _kind(slot: Slot, size: tuple[int, int]) -> int:
    """A sort key: slices first, interpolated transforms last, so that most stacks have one kind."""
    if isinstance(slot, Transform):
        return 0 if sliceable(slot, size) else 2
    return 1


def _scores(output: Any, network: TrainedNetwork, *, checked: bool) -> Tensor:
    """(N, classes) float32.

    The first output of a chunk is checked completely, which waits for the device. Later ones have the same shape;
    whether they are finite is checked once, at the end.
    """
    if not checked:
        return scores(output, network.graph.name)
    tensor: Tensor = next(iter(output.values())) if isinstance(output, Mapping) else output
    return tensor.flatten(1).float()
