"""What designed kernels do to an image: their responses, and the figures of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnscope.learned.filters.kernels import Grid, Kernel
from cnnscope.learned.filters.spectrum import band, orientation
from cnnscope.render.kernels import KernelRow

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_SIDE = 512
"""Pixels of the longer side; larger images are scaled down."""
DIGIT_SIDE = 32
"""Pixels a bundled digit is scaled up to, as the network on digits reads it."""

_DIGIT = 5


def grey(picture: Image) -> Grid:
    """(height, width) from 0 to 1, its longer side at most `LARGEST_SIDE`."""
    from PIL import Image

    plain = picture.convert("L")
    scale = LARGEST_SIDE / max(plain.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in plain.size)
        plain = plain.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(plain, np.float64) / 255


def bundled_digit() -> tuple[str, Grid]:
    """One of the digits that come with cnnscope, its strokes in every direction: a name, and (32, 32) from 0 to 1."""
    from PIL import Image

    from cnnscope.sources import zoo
    from cnnscope.trained.images import Sample, open_images

    digits = open_images(zoo.folder() / "digits" / "digits.npz")
    chosen = next(sample for sample in digits if isinstance(sample, Sample) and sample.label == _DIGIT)
    side = (DIGIT_SIDE, DIGIT_SIDE)
    return f"a bundled digit ({chosen.label})", grey(chosen.image.resize(side, Image.Resampling.BICUBIC))


def opened(path: Path) -> tuple[str, Grid]:
    """The picture in a file: its name, and (height, width) from 0 to 1. E606 where it cannot be read."""
    from cnnscope.trained.images.decode import read_picture

    return path.name, grey(read_picture(path))


def respond(kernel: Grid, image: Grid) -> Grid:
    """(height, width) cross-correlation of an image with a kernel; beyond the border its last pixels go on.

    y[i, j] = sum w[a, b] x[i + a - height // 2, j + b - width // 2], so that an odd kernel's middle lies on the pixel.
    """
    height, width = kernel.shape
    top, left = height // 2, width // 2
    framed = np.pad(image, ((top, height - 1 - top), (left, width - 1 - left)), mode="edge")
    result = np.zeros_like(image)
    rows, columns = image.shape
    for (a, b), weight in np.ndenumerate(kernel):
        if weight:
            result += weight * framed[a : a + rows, b : b + columns]
    return result


def rows(kernels: Sequence[Kernel], responses: Sequence[Grid]) -> tuple[KernelRow, ...]:
    """The figures of kernels of one size, in their order, and of what they made of an image."""
    filters = np.stack([kernel.weights for kernel in kernels])[:, None]
    degrees, coherence = orientation(filters)
    bands = band(filters)
    return tuple(
        KernelRow(
            kernel.name, tuple(map(tuple, kernel.weights.tolist())), kernel.family, kernel.about,
            known(degrees[i], 1, 180), known(coherence[i], 3), known(bands.frequency[i], 3), known(bands.octaves[i], 2),
            bands.kind[i], float(response.min()), float(response.max()),
        )
        for i, (kernel, response) in enumerate(zip(kernels, responses, strict=True))
    )  # fmt: skip


def known(value: float, digits: int, period: float | None = None) -> float | None:
    """A figure rounded, angles modulo their period; None where there is none."""
    if np.isnan(value):
        return None
    rounded = round(float(value), digits)
    return rounded % period if period else rounded
