"""One picture from a file or from bytes: limits of size, all modes as grey or RGB, and why a picture is unreadable."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason, read_named

LARGEST_FILE = 64 * 2**20
LARGEST_AREA = 64_000_000
TOO_LARGE = None
"""Stands for the bytes of a file that was not read because of its size."""


def read_picture(path: Path) -> Image.Image:
    """The picture in a file that a user named, in mode L or RGB. E606 where it cannot be read."""
    try:
        picture = decoded(read_named(path, LARGEST_FILE + 1))
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        picture = os_reason(error)
    if isinstance(picture, str):
        raise CnnscopeError.of("E606", f"cannot read the image `{path}`: {picture}", hint="use a PNG or JPEG file")
    return picture


def decoded(content: bytes | None) -> Image.Image | str:
    """The picture in the bytes of a file, upright and in mode L or RGB; or the reason why it cannot be read.

    Transparent pixels become white, 16 bits become 8, palettes and CMYK become RGB. An animation gives its first frame.
    """
    if content is TOO_LARGE or len(content) > LARGEST_FILE:
        return f"it is larger than {LARGEST_FILE // 2**20} MiB"
    if not content:
        return "it is empty"
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as file:
            warnings.simplefilter("ignore")  # about details that do not matter here; the size is checked below
            if file.width * file.height > LARGEST_AREA:
                return f"it has {file.width} x {file.height} pixels, more than 64 million"
            return _plain(ImageOps.exif_transpose(file))
    except UnidentifiedImageError:
        return "it is no image of a known format"
    except (OSError, Image.DecompressionBombError, ValueError, SyntaxError, EOFError, TypeError) as error:
        reason = str(error).splitlines()[0].lower() if str(error) else type(error).__name__
        return f"it is damaged ({reason[:120]})"


def _plain(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_eight_bits(np.asarray(picture)))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        clear = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert(
            "L" if picture.mode in ("LA", "La") else "RGB"
        )
    return picture if picture.mode in ("L", "RGB") else picture.convert("L" if picture.mode == "1" else "RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """As 8 bits: 16 bits divided by 257; others scaled from 0, or their least value below it, to their greatest."""
    if values.dtype == np.uint16 or (values.dtype.kind in "iu" and 255 < values.max(initial=0) <= 65_535):
        return (values.clip(0, 65_535) / 257 + 0.5).astype(np.uint8)
    if values.dtype.kind in "iu" and values.max(initial=0) <= 255:
        return values.clip(0, 255).astype(np.uint8)
    low, high = min(0.0, float(values.min(initial=0))), float(values.max(initial=0))
    if not np.isfinite([low, high]).all() or high <= low:
        return np.zeros(values.shape, np.uint8)
    return ((values - low) * (255 / (high - low)) + 0.5).astype(np.uint8)
