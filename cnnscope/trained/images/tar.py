"""WebDataset tar files: members of one name and different endings belong together (``0001.jpg``, ``0001.cls``).

A tar is a shard. Needs the package `webdataset` (the extra of that name).
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError, explained
from cnnscope.files import encoded
from cnnscope.pictures import LARGEST_FILE
from cnnscope.trained.images.sample import SUFFIXES, ImageSet, Sample, Shard, Skipped, files_of, sample

LABEL = ("cls", "label", "cls.txt")


@explained
def open_tars(path: Path) -> ImageSet:
    """The tars of a folder by name, or one. E414 without the extra, E461 where a tar is damaged."""
    import webdataset  # noqa: F401  # here, so that a missing package is reported before anything runs

    files = files_of(path, ".tar")
    contents = [_contents(file) for file in files]
    shards = tuple(content.shard for content in contents)
    unnamed = tuple(skipped for content in contents for skipped in content.skipped)
    return ImageSet(
        path=path, kind="WebDataset tars", shards=shards, classes=(),
        labelled=any(content.labelled for content in contents), skipped=unnamed,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Contents:
    """What the headers of a tar contain; reading them is quick."""

    shard: Shard
    labelled: bool
    skipped: tuple[Skipped, ...]


def _contents(file: Path) -> _Contents:
    from webdataset.tariterators import base_plus_ext

    members = list(_members(file))
    digest = hashlib.sha256()
    for member in members:
        digest.update(encoded(f"{member.name} {member.size}\n"))
    nameless = [member.name for member in members if base_plus_ext(member.name)[0] is None]
    left = [Skipped(f"{file.name}/{name}", "its name has no ending") for name in nameless]
    groups = list(_groups(file, ({"fname": m.name, "data": b"", "__url__": ""} for m in members)))
    for group in groups:
        more = _images(group)[1:]
        left += [Skipped(f"{file.name}/{group['__key__']}.{key}", "another image has its name") for key in more]
    return _Contents(
        Shard(file.stem, digest.hexdigest(), len(groups), partial(_read, file), random_access=False),
        any(member.name.endswith(tuple(f".{ending}" for ending in LABEL)) for member in members), tuple(left),
    )  # fmt: skip


def _members(file: Path) -> Iterator[tarfile.TarInfo]:
    try:
        with tarfile.open(file, "r:*") as archive:
            yield from (member for member in archive if member.isfile())
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise _damaged(file, error) from None


def _groups(file: Path, members: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Members of one name; E461 where a name comes twice."""
    from webdataset.tariterators import group_by_keys

    try:
        yield from group_by_keys(members)
    except (ValueError, AssertionError) as error:
        raise _damaged(file, error) from None


def _read(file: Path, places: Sequence[int]) -> Iterator[Sample | Skipped]:
    wanted = set(places)
    try:
        with tarfile.open(file, "r|*") as archive:
            for place, group in enumerate(_groups(file, _unpacked(archive))):
                if place in wanted:
                    yield _sample(f"{file.name}/{group['__key__']}", group)
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise _damaged(file, error) from None


def _unpacked(archive: tarfile.TarFile) -> Iterator[dict[str, Any]]:
    """Yields members for `webdataset` to group; one that is too large is cut, so that it is recognised as such."""
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            yield {"fname": member.name, "data": content.read(LARGEST_FILE + 1), "__url__": ""}


def _sample(name: str, group: Mapping[str, Any]) -> Sample | Skipped:
    images = _images(group)
    if not images:
        return Skipped(name, "it has no image")
    return sample(f"{name}.{images[0]}", bytes(group[images[0]]), _label(group))


def _images(group: Mapping[str, Any]) -> list[str]:
    return [key for key in group if f".{key.rpartition('.')[2]}" in SUFFIXES]


def _label(group: Mapping[str, Any]) -> int | None:
    for ending in LABEL:
        text = io.BytesIO(group.get(ending, b"")).read(32).decode("ascii", "replace").strip()
        if text.isdecimal():
            return int(text)
    return None


def _damaged(file: Path, error: Exception) -> CnnscopeError:
    reason = str(error).splitlines()[0].lower() if str(error) else type(error).__name__
    return CnnscopeError.of("E461", f"cannot read the images in `{file}`: {reason}", hint="is it a whole tar file?")
