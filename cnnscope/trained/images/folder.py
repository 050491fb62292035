"""Folders: one class a folder (as torchvision's ImageFolder), or images side by side without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.files import check_regular, encoded, os_reason
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
_NO_IMAGE = "its name is not an image's"


def open_folder(path: Path) -> ImageSet:
    """Images by name, classes by name of their folders in alphabetical order. E460 where there is none at all."""
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    classes = tuple(folder.name for folder in folders)
    entries: list[Entry] = []
    left_out: dict[Path, str] = {}
    if classes:
        for label, folder in enumerate(folders):
            entries += [(file, label) for file in _images(folder.rglob("*"), left_out)]
        beside = (file for file in path.iterdir() if not file.is_dir() and not file.name.startswith("."))
        left_out |= dict.fromkeys(beside, _NO_IMAGE)
    else:
        entries = [(file, None) for file in _images(path.rglob("*"), left_out)]
    if not entries:
        hint = f"images end in {', '.join(SUFFIXES[:6])}"
        raise CnnscopeError.of("E460", f"there are no images in `{path}`", hint=hint)
    shards = tuple(
        _shard(path, f"{start // SHARD:05d}", entries[start : start + SHARD]) for start in range(0, len(entries), SHARD)
    )
    skipped = tuple(Skipped(str(file.relative_to(path)), reason) for file, reason in sorted(left_out.items()))
    return ImageSet(
        path=path, kind="folders of classes" if classes else "a folder", shards=shards, classes=classes,
        labelled=bool(classes), skipped=skipped,
    )  # fmt: skip


def _images(found: Iterable[Path], left_out: dict[Path, str]) -> list[Path]:
    """The images among files, by path; the others go to ``left_out`` with the reason. Links out of the folder count."""
    images = []
    for file in sorted(found):
        if file.name.startswith(".") or file.is_dir():
            continue
        reason = _refused(file)
        if reason:
            left_out[file] = reason
        else:
            images.append(file)
    return images


def _refused(file: Path) -> str | None:
    """Why a file is not opened: its name is not an image's, or it is a pipe, a device or a link to nothing."""
    if file.suffix.lower() not in SUFFIXES:
        return _NO_IMAGE
    try:
        check_regular(file)
    except OSError as error:
        return os_reason(error)
    return None


def _shard(root: Path, name: str, entries: Sequence[Entry]) -> Shard:
    digest = hashlib.sha256()
    for file, label in entries:
        digest.update(encoded(f"{file.relative_to(root)} {label} {file.stat().st_size}\n"))
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
