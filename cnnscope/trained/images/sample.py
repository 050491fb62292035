"""Sets of images: shards that are read one by one, the samples in them, and how a file's bytes become a picture."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason

SHARD = 1024
"""Images a shard has, where the set has no pieces of its own."""


@dataclass(frozen=True)
class Sample:
    """One image: upright, grey or RGB, 8 bits a channel. ``label`` is None where unknown, ``key`` hashes its file."""

    name: str
    image: Image.Image
    label: int | None
    key: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that gives no image, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """A piece of a set whose ``count`` entries have one order; ``identity`` changes with its content.

    ``reader`` gives the entries at some places, in order. ``random_access`` where it does not have to pass the others.
    """

    name: str
    identity: str
    count: int
    reader: Callable[[Sequence[int]], Iterator[Sample | Skipped]]
    random_access: bool = True

    def read(self, places: Sequence[int] | None = None) -> Iterator[Sample | Skipped]:
        """The entries at ``places``, which ascend from 0, one each; all by default. E461 where the shard is damaged."""
        return self.reader(range(self.count) if places is None else places)


@dataclass(frozen=True)
class ImageSet:
    """A set of images. ``classes`` are the names its labels count, empty where it has none; ``skipped`` what was no
    candidate from the start."""

    path: Path
    kind: str
    shards: tuple[Shard, ...]
    classes: tuple[str, ...] = ()
    labelled: bool = False
    skipped: tuple[Skipped, ...] = ()

    def __len__(self) -> int:
        """Number of entries, whether or not they turn out to be images."""
        return sum(shard.count for shard in self.shards)

    def __iter__(self) -> Iterator[Sample | Skipped]:
        for shard in self.shards:
            yield from shard.read()

    @cached_property
    def sha256(self) -> str:
        """Over the shards' names and identities."""
        lines = "".join(f"{shard.name} {shard.identity}\n" for shard in self.shards)
        return hashlib.sha256(lines.encode()).hexdigest()


LARGEST_FILE = 64 * 2**20
LARGEST_AREA = 64_000_000
TOO_LARGE = None
"""What stands for the bytes of a file that was not read for its size."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pnm", ".jp2")


def decoded(content: bytes | None) -> Image.Image | str:
    """The picture in a file's bytes, upright, in mode L or RGB; or why there is none.

    Transparency lies on white, 16 bits become 8, palettes and CMYK become RGB; of an animation it is the first frame.
    """
    if content is TOO_LARGE or len(content) > LARGEST_FILE:
        return f"it is larger than {LARGEST_FILE // 2**20} MiB"
    if not content:
        return "it is empty"
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as file:
            warnings.simplefilter("ignore")  # of oddities that do not matter here; size is checked below
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
    """16 bits as they are; other whole or real numbers from their own 0 (or least) to their greatest."""
    if values.dtype == np.uint16 or (values.dtype.kind in "iu" and 255 < values.max(initial=0) <= 65_535):
        return (values.clip(0, 65_535) / 257 + 0.5).astype(np.uint8)
    if values.dtype.kind in "iu" and values.max(initial=0) <= 255:
        return values.clip(0, 255).astype(np.uint8)
    low, high = min(0.0, float(values.min(initial=0))), float(values.max(initial=0))
    if not np.isfinite([low, high]).all() or high <= low:
        return np.zeros(values.shape, np.uint8)
    return ((values - low) * (255 / (high - low)) + 0.5).astype(np.uint8)


def sample(name: str, content: bytes | None, label: int | None) -> Sample | Skipped:
    """A sample from a file's bytes, or why it is skipped."""
    picture = decoded(content)
    if content is TOO_LARGE or isinstance(picture, str):
        assert isinstance(picture, str)
        return Skipped(name, picture)
    return Sample(name, picture, label, hashlib.sha256(content).hexdigest())


def read_picture(path: Path) -> Image.Image:
    """The picture in one file that a user named; E606 where it cannot be read."""
    try:
        picture = decoded(TOO_LARGE if path.stat().st_size > LARGEST_FILE else path.read_bytes())
    except OSError as error:
        picture = os_reason(error)
    if isinstance(picture, str):
        raise CnnscopeError.of("E606", f"cannot read the image `{path}`: {picture}", hint="use a PNG or JPEG file")
    return picture
