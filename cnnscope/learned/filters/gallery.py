"""Designed kernels on an image: responses, figures of both, and a picture of each kernel above its response."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnscope.learned.filters.figures import known
from cnnscope.learned.filters.kernels import Grid, Kernel
from cnnscope.learned.filters.spectrum import band, orientation
from cnnscope.render import style
from cnnscope.render.kernels import DesignedKernel, Extremes, span, total
from cnnscope.render.sheet import Spot, bare, drawn, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

LARGEST_SIDE = 512
"""Largest longer side in pixels; larger images are scaled down."""
DIGIT_SIDE = 32
"""Side in pixels to which a bundled digit is scaled up, as for the network on digits."""

_DIGIT = 5


def grey(picture: Image) -> Grid:
    """(height, width) grey values from 0 to 1, the longer side at most `LARGEST_SIDE`."""
    from PIL import Image

    plain = picture.convert("L")
    scale = LARGEST_SIDE / max(plain.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in plain.size)
        plain = plain.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(plain, np.float64) / 255


def bundled_digit() -> tuple[str, Grid]:
    """A bundled digit with strokes in every direction: its name, and (32, 32) pixels from 0 to 1."""
    from PIL import Image

    from cnnscope.sources import zoo
    from cnnscope.trained.images import Sample, open_images

    digits = open_images(zoo.folder() / "digits" / "digits.npz")
    chosen = next(sample for sample in digits if isinstance(sample, Sample) and sample.label == _DIGIT)
    side = (DIGIT_SIDE, DIGIT_SIDE)
    return f"a bundled digit ({chosen.label})", grey(chosen.image.resize(side, Image.Resampling.BICUBIC))


def opened(path: Path) -> tuple[str, Grid]:
    """The picture in a file: its name, and (height, width) pixels from 0 to 1. E606 where it cannot be read."""
    from cnnscope.pictures import read_picture

    return path.name, grey(read_picture(path))


def respond(kernel: Grid, image: Grid) -> Grid:
    """(height, width) cross-correlation of an image with a kernel; the image's border is repeated.

    y[i, j] = sum w[a, b] x[i + a - height // 2, j + b - width // 2], so an odd kernel's middle is at the pixel.
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


def rows(kernels: Sequence[Kernel], responses: Sequence[Grid]) -> tuple[DesignedKernel, ...]:
    """The figures of kernels of one size, in their order, and of their responses to an image."""
    filters = np.stack([kernel.weights for kernel in kernels])[:, None]
    degrees, coherence = orientation(filters)
    bands = band(filters)
    return tuple(
        DesignedKernel(
            name=kernel.name, family=kernel.family, about=kernel.about, weights=kernel.weights.tolist(),
            sum=total(kernel.weights.tolist()), orientation_deg=known(degrees[i], 1, 180),
            coherence=known(coherence[i], 3), frequency_cycles_per_pixel=known(bands.frequency[i], 3),
            bandwidth_octaves=known(bands.octaves[i], 2), band=bands.kind[i],
            response=Extremes(min=float(response.min()), max=float(response.max())),
        )
        for i, (kernel, response) in enumerate(zip(kernels, responses, strict=True))
    )  # fmt: skip


_TILE = 1.75
"""Inches of a tile's side."""
_NARROW = 6.0
"""Pages up to this width in inches have the note below the colour bar, wider ones beside it."""
_LETTERS = 14
"""Letters of a note in an inch."""
_WRITTEN = 25
"""Kernels of up to this many weights have each weight written into the tile."""
_MOST_GABORS = 4
_ROUNDING = 1e-9
"""Responses to pixels from 0 to 1 that differ by less are the same: a plain image must not look like noise."""
_NOTE = (
    "each response has its own scale: signed ones up to their largest magnitude on both sides of 0, grey ones from "
    "black, the lowest, to white, the highest; both are the numbers below it"
)


def shown(kernels: Sequence[Kernel]) -> list[int]:
    """The kernels in a picture: all but Gabor functions, and of these four odd ones of the middle wavelength."""
    plain = [i for i, kernel in enumerate(kernels) if not kernel.name.startswith("Gabor")]
    odd = [i for i, kernel in enumerate(kernels) if kernel.name.startswith("Gabor") and kernel.name.endswith("odd")]
    wavelengths = list(dict.fromkeys(kernels[i].name.split()[3] for i in odd))
    middle = [i for i in odd if wavelengths and kernels[i].name.split()[3] == wavelengths[len(wavelengths) // 2 - 1]]
    return plain + middle[:: max(1, len(middle) // _MOST_GABORS)]


def draw(kernels: Sequence[Kernel], responses: Sequence[Grid], image: Grid, title: str, form: str) -> bytes:
    """The picture as ``png``, ``svg`` or ``pdf``.

    Weights are blue below 0 and red above it, each kernel on a scale of its own. So is each response: that of a
    smoothing kernel in grey from its lowest value to its highest, a signed one blue below 0 and red above it, as far as
    its value of largest magnitude on both sides. The range is written below it. E604 for another format.
    """
    tiles = len(kernels) + 1
    columns = min(tiles, 4 if tiles <= 8 else 6)
    aspect = min(max(image.shape[0] / image.shape[1], 0.4), 2.0)
    line = _TILE * (1 + aspect) + 0.75
    width = columns * (_TILE + 0.2) + 0.2
    height = ceil(tiles / columns) * line + (1.05 if width > _NARROW else 1.45)

    def paint(page: Spot) -> None:
        page.title(0.2, 0.3, title)
        shaded: Any = None
        for i in range(tiles):
            row, column = divmod(i, columns)
            spot = page.at(0.2 + column * (_TILE + 0.2), 0.85 + row * line)
            upper, lower = spot.axes(0, 0, _TILE, _TILE), spot.axes(0, _TILE + 0.08, _TILE, _TILE * aspect)
            if i == 0:
                _image(upper, lower, image)
                continue
            _weights(upper, kernels[i - 1])
            shaded = _response(lower, kernels[i - 1], responses[i - 1]) or shaded
        if shaded is not None:
            _legend(page.at(0, height), shaded, width)

    return drawn(width, height, form, paint)


def _weights(axes: Axes, kernel: Kernel) -> None:
    weights = kernel.weights
    largest = float(np.abs(weights).max()) or 1.0
    signed(axes, weights, largest, aspect="equal")
    if weights.size <= _WRITTEN:
        for (y, x), weight in np.ndenumerate(weights):
            colour = "white" if abs(weight) > 0.6 * largest else style.INK
            size = 9 if weights.size <= 9 else 6
            axes.text(x, y, _brief(weight), ha="center", va="center", fontsize=size, color=colour)
    axes.set_title(_heading(kernel.name), fontsize=9, loc="center", pad=4)
    bare(axes)


def _heading(name: str) -> str:
    return name.replace(" deg", "°").removesuffix(" odd") if name.startswith("Gabor") else name


def _brief(weight: float) -> str:
    near = Fraction(weight).limit_denominator(256)
    return str(near) if abs(float(near) - weight) < 1e-12 else f"{weight:.2f}".replace("0.", ".", 1)


def _image(upper: Axes, lower: Axes, image: Grid) -> None:
    upper.set_axis_off()
    upper.text(0, 0, "above: the weights\nbelow: what they\nmake of the image", fontsize=8, color=style.MUTED,
               va="bottom", transform=upper.transAxes, linespacing=1.5)  # fmt: skip
    lower.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none", aspect="auto")
    lower.set_xlabel("the image", fontsize=7.5, color=style.MUTED, labelpad=3)
    bare(lower)


def _response(axes: Axes, kernel: Kernel, response: Grid) -> Any:
    """Draws the response on its own scale; returns what a colour bar needs where it is signed."""
    low, high = float(response.min()), float(response.max())
    axes.set_xlabel(span(low, high), fontsize=7.5, color=style.MUTED, labelpad=3)
    bare(axes)
    if kernel.family != "edge":
        flat = 0.5 if high - low < _ROUNDING else 0.0  # an even grey, not black
        axes.imshow(response, cmap="gray", vmin=low - flat, vmax=high + flat, interpolation="none", aspect="auto")
        return None
    most = max(-low, high)
    return signed(axes, response / (most if most > _ROUNDING else 1.0), 1.0)


def _legend(corner: Spot, shaded: Any, width: float) -> None:
    """The colour bar of signed responses and a note, above the lower left corner of a page that is ``width`` wide."""
    narrow = width <= _NARROW
    place = corner.axes(0.45, -0.89 if narrow else -0.47, 1.5, 0.09)
    corner.bar(place, shaded, (-1, 0, 1), ("-most", "0", "most"), 7.5)
    left, bottom = (0.2, 0.3) if narrow else (2.3, 0.42)
    note = textwrap.wrap(_NOTE, int((width - left) * _LETTERS))
    corner.text(left, -bottom, "\n".join(note), linespacing=1.4)
