"""Pictures for tests, made with Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def encoded(picture: Image.Image, form: str = "PNG") -> bytes:
    """The bytes of a file."""
    content = io.BytesIO()
    picture.save(content, form)
    return content.getvalue()


def grey(value: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    """One grey of (width, height)."""
    return Image.new("L", size, value)


def noise(seed: int, size: tuple[int, int] = (40, 30), channels: int = 3) -> Image.Image:
    """Pixels drawn at random."""
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))
