"""WebDataset tar files: members of one name and different endings belong together (``0001.jpg``, ``0001.cls``).

A tar is a shard. Needs the package `webdataset` (the extra of that name).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError
from cnnscope.trained.images.decode import LARGEST_FILE, SUFFIXES, sample
from cnnscope.trained.images.sample import ImageSet, Sample, Shard, Skipped

LABEL = ("cls", "label", "cls.txt")


def open_tars(path: Path) -> ImageSet:
    """The tars of a folder by name, or one. E456 without the extra, E461 where a tar is damaged."""
    try:
        import webdataset  # noqa: F401  # here, so that what is missing is said before anything runs
    except ModuleNotFoundError as error:
        if error.name != "webdataset":
            raise
        raise CnnscopeError.of(
            "E456", "reading WebDataset tars needs the package `webdataset`",
            hint="install it: `pip install 'cnnscope[webdataset]'`",
        ) from None  # fmt: skip
    files = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    shards = tuple(Shard(file.stem, _identity(file), partial(_read, file)) for file in files)
    return ImageSet(path, "WebDataset tars", shards, (), any(_has_labels(file) for file in files))


def _identity(file: Path) -> str:
    """Over the members' names and sizes: reading the headers alone is quick."""
    digest = hashlib.sha256()
    for member in _members(file):
        digest.update(f"{member.name} {member.size}\n".encode())
    return digest.hexdigest()


def _members(file: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(file, "r:*") as archive:
            yield from (member for member in archive if member.isfile())
    except (OSError, tarfile.TarError, EOFError) as error:
        raise _damaged(file, error) from None


def _has_labels(file: Path) -> bool:
    return any(member.name.endswith(tuple(f".{ending}" for ending in LABEL)) for member in _members(file))


def _read(file: Path) -> Iterator[Sample | Skipped]:
    from webdataset.tariterators import group_by_keys

    try:
        with tarfile.open(file, "r|*") as archive:
            for group in group_by_keys(_contents(archive)):
                yield from _samples(f"{file.name}/{group['__key__']}", group)
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise _damaged(file, error) from None


def _contents(archive: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """Members as `webdataset` groups them; one that is too large is cut to be recognised as such."""
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            yield {"fname": member.name, "data": content.read(LARGEST_FILE + 1), "__url__": archive.name}


def _samples(name: str, group: Mapping[str, Any]) -> Iterator[Sample | Skipped]:
    images = [key for key in group if f".{key.rpartition('.')[2]}" in SUFFIXES]
    if not images:
        yield Skipped(name, "it has no image")
    for key in images[:1]:
        yield sample(f"{name}.{key}", bytes(group[key]), _label(group))


def _label(group: Mapping[str, Any]) -> int | None:
    for ending in LABEL:
        text = io.BytesIO(group.get(ending, b"")).read(32).decode("ascii", "replace").strip()
        if text.isdecimal():
            return int(text)
    return None


def _damaged(file: Path, error: Exception) -> CnnscopeError:
    reason = str(error).splitlines()[0].lower() if str(error) else type(error).__name__
    return CnnscopeError.of("E461", f"cannot read the images in `{file}`: {reason}", hint="is it a whole tar file?")
