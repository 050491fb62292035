"""The image that maximises the activation of one unit, found by gradient ascent.

Gradient ascent on pixels (Erhan et al. 2009) that are kept in their range, against total variation (Mahendran & Vedaldi
2015, "Understanding deep image representations by inverting them", section 3) and while the image moves by a few pixels
under the unit (jitter: Mordvintsev et al. 2015; both in Olah et al. 2017, "Feature visualization", section on
regularisation). What is maximised is

    activation / s - weight * TV,   TV = mean over pixels of the squared differences to the pixel below and to the right

where s is the L1 norm of the gradient at the start: the gain of a linear unit from its worst image to its best. This
makes one weight suitable for all layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the name everybody knows it by

from cnnscope.learned.features.patches import Patch
from cnnscope.learned.layers import FeatureLayer, Fields, Seen, check_channel
from cnnscope.learned.maps import finite, runner
from cnnscope.trained.network import TrainedNetwork

STEPS = 256
SMOOTHNESS = 0.1
"""Weight of total variation."""
MOST_JITTER = 16
_SETTLED = 0.5
"""Share of the steps, at the end, in which the image does not move."""
_RATE = 0.05
"""Size of the first steps, as a share of the range of pixels; it falls to 0 along a cosine."""
_NOISES = (0.05, 0.15, 0.3)
"""Standard deviations of the noise on grey to start from; the next one is used where the unit has no gradient."""
_CLOUDS, _GRAIN = 16, (3, 5, 9)
"""Number of images of smooth noise that are tried after that, and their numbers of grains across."""


@dataclass(frozen=True)
class Maximised:
    """``pixels`` (C, H, W) from 0 to 1, the unit's ``position`` (row, column), and what it has ``seen`` there.

    The activation rises from ``start`` over ``curve`` (steps,) to ``activation``. ``pixels`` is None where there is no
    such image, for the ``reason``.
    """

    position: tuple[int, int]
    seen: Seen
    steps: int
    jitter: int
    smoothness: float
    pixels: NDArray[np.float32] | None = None
    start: float | None = None
    activation: float | None = None
    curve: tuple[float, ...] = ()
    reason: str | None = None


def maximise(
    network: TrainedNetwork,
    layer: FeatureLayer,
    channel: int,
    *,
    steps: int = STEPS,
    seed: int = 0,
    smoothness: float = SMOOTHNESS,
    jitter: int | None = None,
    patch: Patch | None = None,
    tick: Callable[[int], None] = lambda done: None,
) -> Maximised:
    """Maximises the unit of ``channel`` in the middle of the layer's map, starting from noise drawn from ``seed``.

    A unit after a ReLU may have no gradient on noise; then the unit at the position of ``patch`` is maximised, starting
    from that image. ``jitter`` in pixels is by default an eighth of what the unit sees. ``tick`` is called with the
    number of steps that are done.
    `CnnscopeError`: E203 no such channel, E465 activations that are not finite.
    """
    check_channel(layer, channel)
    fields, run = Fields(network.graph, layer), runner(network, (layer,))
    middle = (layer.size[0] // 2, layer.size[1] // 2)
    tried = "noise" if patch is None else "noise, nor on the image that activates it most"
    for position, image in ((middle, None), *([] if patch is None else [(patch.position, patch.pixels)])):
        seen = fields.at(position)
        reach = min(MOST_JITTER, min(high - low + 1 for low, high in seen.exact) // 8) if jitter is None else jitter
        settings = Maximised(position, seen, steps, reach, smoothness)

        def unit(pixels: Tensor, position: tuple[int, int] = position) -> Tensor:
            """The activation for (1, C, H, W) pixels from 0 to 1."""
            x = network.preprocess.normalise(pixels * 255, network.dtype)
            return run(x)[layer.name][0, channel, position[0], position[1]].float()

        starts = _noises(network.input_shape, seed, reach) if image is None else _grown(image, reach)
        started = _start(layer, unit, starts, reach, network.device)
        if started is not None:
            canvas, scale = started
            first = _value(layer, unit, _middle(canvas, reach))
            curve = tuple(_ascend(unit, canvas, scale, settings, seed, tick))
            pixels = _middle(canvas, reach)
            last = _value(layer, unit, pixels)
            return replace(settings, pixels=pixels[0].cpu().numpy(), start=first, activation=last, curve=curve)
    return replace(settings, reason=f"the unit has no gradient on {tried}")


def _noises(shape: Sequence[int], seed: int, jitter: int) -> Iterator[Tensor]:
    """(1, C, H + 2 jitter, W + 2 jitter) images to start from: noise on grey, then smooth noise."""
    channels, height, width = shape
    size = (height + 2 * jitter, width + 2 * jitter)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, channels, *size), generator=generator)
    for deviation in _NOISES:
        yield (0.5 + deviation * noise).clamp(0, 1)
    for i in range(_CLOUDS):
        grain = _GRAIN[i % len(_GRAIN)]
        coarse = torch.rand((1, channels, grain, grain), generator=generator)
        yield F.interpolate(coarse, size, mode="bilinear", align_corners=True)


def _grown(image: NDArray[np.uint8], jitter: int) -> Iterator[Tensor]:
    """An image (C, H, W), its border repeated for the jitter."""
    pixels = torch.from_numpy(image[None].astype(np.float32) / 255)
    yield F.pad(pixels, (jitter,) * 4, mode="replicate") if jitter else pixels


def _start(
    layer: FeatureLayer, unit: Callable[[Tensor], Tensor], starts: Iterator[Tensor], jitter: int, device: torch.device
) -> tuple[Tensor, float] | None:
    """The first start where the unit has a gradient, and the gradient's L1 norm. E465 where it is not finite."""
    for start in starts:
        canvas = start.to(device)
        _value(layer, unit, _middle(canvas, jitter))
        scale = float(finite(layer.name, _gradient(unit, _middle(canvas, jitter)).abs().sum()))
        if scale > 0:
            return canvas, scale
    return None


def _ascend(
    unit: Callable[[Tensor], Tensor],
    canvas: Tensor,
    scale: float,
    settings: Maximised,
    seed: int,
    tick: Callable[[int], None],
) -> list[float]:
    """Runs Adam (Kingma & Ba 2015) on ``canvas`` in place and returns the activation at each step."""
    moves = np.random.default_rng(seed)
    jitter, steps = settings.jitter, settings.steps
    moving = steps - int(_SETTLED * steps)
    (top, bottom), (left, right) = settings.seen.exact
    canvas.requires_grad_()
    optimiser = torch.optim.Adam([canvas], lr=_RATE)
    curve = []
    for step in range(steps):
        dy, dx = moves.integers(-jitter, jitter + 1, 2) if step < moving and jitter else (0, 0)
        for group in optimiser.param_groups:
            group["lr"] = _RATE * (1 + cos(pi * step / steps)) / 2
        with torch.enable_grad():
            height, width = canvas.shape[2] - 2 * jitter, canvas.shape[3] - 2 * jitter
            view = canvas[:, :, jitter + dy : jitter + dy + height, jitter + dx : jitter + dx + width]
            activation = unit(view)
            part = view[0, :, top : bottom + 1, left : right + 1]
            objective = activation / scale - settings.smoothness * total_variation(part)
            (canvas.grad,) = torch.autograd.grad(-objective, canvas)
        optimiser.step()
        with torch.no_grad():
            canvas.clamp_(0, 1)
        curve.append(float(activation.detach()))
        tick(step + 1)
    canvas.requires_grad_(False)
    return curve


def total_variation(image: Tensor) -> Tensor:
    """Mean over the pixels of (C, H, W) of the squared differences to the pixel below and to the right: beta = 2."""
    down, across = image.diff(dim=1), image.diff(dim=2)
    return (down.square().sum() + across.square().sum()) / image.numel()


def _gradient(unit: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
    with torch.enable_grad():
        pixels = pixels.detach().requires_grad_()
        (found,) = torch.autograd.grad(unit(pixels), pixels, allow_unused=True, materialize_grads=True)
    return found


def _middle(canvas: Tensor, jitter: int) -> Tensor:
    return canvas[:, :, jitter : canvas.shape[2] - jitter, jitter : canvas.shape[3] - jitter].detach()


def _value(layer: FeatureLayer, unit: Callable[[Tensor], Tensor], pixels: Tensor) -> float:
    with torch.no_grad():
        return float(finite(layer.name, unit(pixels)))
