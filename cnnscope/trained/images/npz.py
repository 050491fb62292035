"""NumPy archives: ``images`` (N, H, W), (N, H, W, C) or (N, C, H, W) and, where known, ``labels`` (N,).

Whole numbers are pixels from 0 to 255; real ones are from 0 to 1. ``classes`` may name the labels. With an array
``split`` of texts only the images called ``test`` are read: training images would show too good a result.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cnnscope.errors import CnnscopeError
from cnnscope.files import check_regular, os_reason
from cnnscope.trained.images.sample import SHARD, ImageSet, Sample, Shard, Skipped

LARGEST = 8 * 2**30
"""The largest size of an archive's arrays in bytes."""


def open_npz(path: Path, *, split: str = "test") -> ImageSet:
    """The images of ``split``, or all where the archive has no such array.

    E461 if the archive is damaged or has other arrays.
    """
    arrays = _arrays(path)
    images, labels = arrays["images"], arrays.get("labels")
    chosen = np.arange(len(images))
    if "split" in arrays:
        chosen = np.flatnonzero(arrays["split"].astype(str) == split)
    if not len(chosen):
        hint = "the array `images` has no entry to read"
        raise CnnscopeError.of("E460", f"there are no images in `{path}`", hint=hint)
    classes = tuple(map(str, arrays["classes"])) if "classes" in arrays else ()
    shards = []
    for start in range(0, len(chosen), SHARD):
        piece = chosen[start : start + SHARD]
        digest = hashlib.sha256(images[piece].tobytes() + (b"" if labels is None else labels[piece].tobytes()))
        read = partial(_read, images, labels, piece)
        shards.append(Shard(f"{start // SHARD:05d}", digest.hexdigest(), len(piece), read))
    return ImageSet(path, "an .npz file", tuple(shards), classes, labels is not None)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise _odd(path, f"it unpacks to more than {LARGEST // 2**30} GiB", "write a folder of images")
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {key: archive[key] for key in archive.files}
    except OSError as error:
        raise _odd(path, os_reason(error), None) from None
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0].lower() if str(error) else type(error).__name__
        raise _odd(path, reason, "write it with `numpy.savez_compressed(path, images=..., labels=...)`") from None
    if "images" not in arrays:
        raise _odd(path, f"it has no array `images` but {', '.join(arrays) or 'none'}", None)
    images = arrays["images"]
    if images.dtype.kind not in "uif" or images.ndim not in (3, 4) or 0 in images.shape[1:]:
        raise _odd(path, f"`images` is {images.dtype} of {images.ndim} axes, not pixels", "use (N, H, W, C)")
    if images.ndim == 4 and images.shape[3] not in (1, 3) and images.shape[1] not in (1, 3):
        raise _odd(path, f"`images` has neither 1 nor 3 channels: {images.shape}", None)
    for key in ("labels", "split"):
        if key in arrays and arrays[key].shape != (len(images),):
            raise _odd(path, f"`{key}` has shape {arrays[key].shape} for {len(images)} images", None)
    if "labels" in arrays and arrays["labels"].dtype.kind not in "ui":
        raise _odd(path, f"`labels` are {arrays['labels'].dtype}, not whole numbers", None)
    return arrays


def _read(
    images: np.ndarray, labels: np.ndarray | None, piece: np.ndarray, places: Sequence[int]
) -> Iterator[Sample | Skipped]:
    for i in piece[list(places)]:
        name = f"images[{i}]"
        pixels = images[i]
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            yield Skipped(name, "it has values that are not finite")
            continue
        key = hashlib.sha256(str(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
        label = None if labels is None or labels[i] < 0 else int(labels[i])
        yield Sample(name, Image.fromarray(_eight_bits(pixels)), label, key)


def _eight_bits(pixels: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) of 8 bits."""
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype.kind == "f":
        pixels = pixels * 255 + 0.5
    return np.ascontiguousarray(pixels.clip(0, 255).astype(np.uint8))


def _odd(path: Path, reason: str, hint: str | None) -> CnnscopeError:
    return CnnscopeError.of("E461", f"cannot read the images in `{path}`: {reason}", hint=hint)
