"""Folders: one class a folder (as torchvision's ImageFolder), or images side by side without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.files import os_reason
from cnnscope.pictures import LARGEST_FILE, TOO_LARGE
from cnnscope.trained.images.sample import (
    SHARD,
    SUFFIXES,
    ImageSet,
    Sample,
    Shard,
    Skipped,
    sample,
)

Entry = tuple[Path, int | None]


def open_folder(path: Path) -> ImageSet:
    """Images by name, classes by name of their folders in alphabetical order. E460 where there is none at all."""
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    classes = tuple(folder.name for folder in folders)
    entries: list[Entry] = []
    others: list[Path] = []
    if classes:
        for label, folder in enumerate(folders):
            entries += [(file, label) for file in _files(folder, others)]
        others += [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
    else:
        entries = [(file, None) for file in _files(path, others)]
    if not entries:
        hint = f"images end in {', '.join(SUFFIXES[:6])}"
        raise CnnscopeError.of("E460", f"there are no images in `{path}`", hint=hint)
    shards = tuple(
        _shard(path, f"{start // SHARD:05d}", entries[start : start + SHARD]) for start in range(0, len(entries), SHARD)
    )
    skipped = tuple(Skipped(str(file.relative_to(path)), "its name is not an image's") for file in sorted(others))
    return ImageSet(
        path=path, kind="folders of classes" if classes else "a folder", shards=shards, classes=classes,
        labelled=bool(classes), skipped=skipped,
    )  # fmt: skip


def _files(folder: Path, others: list[Path]) -> list[Path]:
    """Files below a folder in alphabetical order; those not named as images go to ``others``. Links out of it count."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    others += [file for file in files if file.suffix.lower() not in SUFFIXES]
    return [file for file in files if file.suffix.lower() in SUFFIXES]


def _shard(root: Path, name: str, entries: Sequence[Entry]) -> Shard:
    digest = hashlib.sha256()
    for file, label in entries:
        digest.update(f"{file.relative_to(root)} {label} {file.stat().st_size}\n".encode())
    return Shard(name, digest.hexdigest(), len(entries), partial(_read, root, entries))


def _read(root: Path, entries: Sequence[Entry], places: Sequence[int]) -> Iterator[Sample | Skipped]:
    for file, label in (entries[place] for place in places):
        name = file.relative_to(root).as_posix()
        try:
            content = TOO_LARGE if file.stat().st_size > LARGEST_FILE else file.read_bytes()
        except OSError as error:
            yield Skipped(name, os_reason(error))
            continue
        yield sample(name, content, label)
