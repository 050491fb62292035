"""Images to train on: read into memory once, some of each class held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnscope.errors import CnnscopeError
from cnnscope.progress import Progress
from cnnscope.trained.images import ImageSet, Skipped, open_images
from cnnscope.trained.images.npz import open_npz
from cnnscope.trained.preprocess import Preprocess

HELD_OUT = 0.2
"""Share of each class that is held out where the data has no split of its own."""
LARGEST = 4 * 2**30
"""Bytes of pixels that are held in memory."""


@dataclass(frozen=True)
class Images:
    """(N, C, H, W) pixels from 0 to 255 and (N,) classes, to be trained on and held out.

    ``split`` says in words how they were told apart, ``skipped`` how many files gave no image.
    """

    pixels: Tensor
    labels: Tensor
    held_pixels: Tensor
    held_labels: Tensor
    split: str
    skipped: int
    sha256: str


def read_images(path: Path, preprocess: Preprocess, classes: int, seed: int, progress: Progress) -> Images:
    """The images at ``path`` for a network of ``classes`` classes.

    An archive that says which of its images are for training and which for testing is split so, anything else by
    ``seed`` within each class. `CnnscopeError`: E460, E461 for data that cannot be read, E495 for another number of
    classes, E496 for images without labels, classes with too few images, more than fits.
    """
    opened = open_images(path)
    own = _own_split(path)
    train = open_npz(path, split="train") if own else opened
    pixels, labels, skipped = _read(train, preprocess, progress)
    if not own:
        _check(path, opened.classes, labels, classes, least=2)
        rows = _held_out(labels, seed)
        mask = torch.zeros(len(labels), dtype=torch.bool)
        mask[rows] = True
        split = f"{len(rows):,} of {len(labels):,} images held out, {100 * HELD_OUT:.0f} % of each class, seed {seed}"
        return Images(pixels[~mask], labels[~mask], pixels[mask], labels[mask], split, skipped, opened.sha256)
    held, held_labels, held_skipped = _read(opened, preprocess, progress)
    _check(path, opened.classes, labels, classes, least=1)
    _check(path, opened.classes, held_labels, classes, least=1)
    split = f"the data's own: {len(labels):,} images `train`, {len(held_labels):,} `test`"
    return Images(pixels, labels, held, held_labels, split, skipped + held_skipped, train.sha256)


def _own_split(path: Path) -> bool:
    """Whether an archive says which images are for training and which for testing."""
    if path.suffix.lower() != ".npz":
        return False
    with np.load(path, allow_pickle=False) as archive:
        return "split" in archive.files and {"train", "test"} <= set(map(str, np.unique(archive["split"])))


def _read(images: ImageSet, preprocess: Preprocess, progress: Progress) -> tuple[Tensor, Tensor, int]:
    arrays: list[np.ndarray] = []
    labels: list[int] = []
    skipped = len(images.skipped)
    for sample in images:
        if isinstance(sample, Skipped):
            skipped += 1
            continue
        if sample.label is None:
            hint = "name a folder of one folder a class, or an archive with `labels`"
            raise CnnscopeError.of("E496", f"`{sample.name}` of `{images.path}` has no label", hint=hint)
        arrays.append(preprocess.pixels(sample.image))
        labels.append(sample.label)
        if len(arrays) * arrays[0].nbytes > LARGEST:
            hint = "train on fewer images, or at a smaller `--input`"
            raise CnnscopeError.of("E496", f"the images of `{images.path}` take more than 4 GiB", hint=hint)
        progress("reading images", len(arrays), None)
    if not arrays:
        raise CnnscopeError.of("E460", f"there are no readable images in `{images.path}`")
    return torch.from_numpy(np.stack(arrays)), torch.tensor(labels), skipped


def _check(path: Path, names: Sequence[str], labels: Tensor, classes: int, least: int) -> None:
    """E495 unless the labels are of ``classes`` classes, E496 unless each has ``least`` images."""
    counts = Counter(labels.tolist())
    found = max(len(names), max(counts) + 1)
    if found != classes:
        raise CnnscopeError.of("E495", f"`{path}` has {found} classes, not {classes}", hint=f"say `--classes {found}`")
    for label in range(classes):
        if counts[label] < least:
            name = names[label] if label < len(names) else str(label)
            have = f"{counts[label] or 'no'} image{'' if counts[label] == 1 else 's'}"
            raise CnnscopeError.of("E496", f"class `{name}` of `{path}` has {have}", hint=f"each needs {least} or more")


def _held_out(labels: Tensor, seed: int) -> Tensor:
    """Rows of a fifth of each class, one at least, drawn from ``seed``."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for label in sorted(set(labels.tolist())):
        own = torch.nonzero(labels == label).flatten()
        count = max(1, round(HELD_OUT * len(own)))
        rows.append(own[torch.randperm(len(own), generator=generator)[:count]])
    return torch.cat(rows)
