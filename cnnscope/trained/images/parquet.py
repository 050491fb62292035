"""Parquet files with images as bytes, as the Hugging Face hub stores them: a column ``image`` (bytes, or a struct with
``bytes``) and, where known, ``label``. A file is a shard. Needs the package `pyarrow` (the extra ``parquet``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cnnscope.errors import CnnscopeError, explained
from cnnscope.files import encoded
from cnnscope.trained.images.sample import ImageSet, Sample, Shard, Skipped, files_of, sample

IMAGES = ("image", "img", "jpg", "png")
LABELS = ("label", "labels", "fine_label", "cls")


@explained
def open_parquet(path: Path) -> ImageSet:
    """The files of a folder by name, or one. E414 without the extra, E461 where a file is damaged or has no images."""
    import pyarrow.parquet

    files = files_of(path, ".parquet")
    shards, labelled = [], False
    for file in files:
        try:
            metadata = pyarrow.parquet.read_metadata(file)
            schema = metadata.schema.to_arrow_schema()
        except (OSError, pyarrow.ArrowException) as error:
            raise _damaged(file, error) from None
        image = next((name for name in IMAGES if name in schema.names), None)
        if image is None:
            reason = f"it has no column `image` but {', '.join(schema.names[:8])}"
            raise CnnscopeError.of("E461", f"cannot read the images in `{file}`: {reason}")
        label = next((name for name in LABELS if name in schema.names), None)
        labelled = labelled or label is not None
        identity = hashlib.sha256(encoded(f"{file.name} {file.stat().st_size} {metadata.num_rows}"))
        with file.open("rb") as content:
            content.seek(max(0, file.stat().st_size - 65_536))
            identity.update(content.read())  # the footer, which has statistics and offsets of every column
        read = partial(_read, file, image, label)
        shards.append(Shard(file.stem, identity.hexdigest(), metadata.num_rows, read, random_access=False))
    return ImageSet(path, "parquet files", tuple(shards), (), labelled)


def _read(file: Path, image: str, label: str | None, places: Sequence[int]) -> Iterator[Sample | Skipped]:
    import pyarrow.parquet

    wanted, start = set(places), 0
    try:
        table = pyarrow.parquet.ParquetFile(file)
        for batch in table.iter_batches(batch_size=64, columns=[image, *([label] if label else [])]):
            within = [i for i in range(batch.num_rows) if start + i in wanted]
            for i, row in zip(within, batch.take(within).to_pylist(), strict=True):
                name = f"{file.name}/{start + i}"
                content = _bytes(row[image])
                known = row[label] if label and isinstance(row[label], int) and row[label] >= 0 else None
                yield Skipped(name, "it has no bytes") if content is None else sample(name, content, known)
            start += batch.num_rows
    except (OSError, pyarrow.ArrowException) as error:
        raise _damaged(file, error) from None


def _bytes(cell: Any) -> bytes | None:
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) else None


def _damaged(file: Path, error: Exception) -> CnnscopeError:
    reason = str(error).splitlines()[0].lower() if str(error) else type(error).__name__
    return CnnscopeError.of("E461", f"cannot read the images in `{file}`: {reason[:160]}")
