"""The outcomes of an audit: what is stored per image and transform, from which all statistics are computed.

Nothing here is an average. Intervals, worst cases and comparisons are computed later, offline, from these arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnscope.errors import CnnscopeError
from cnnscope.files import check_regular, os_reason, write_bytes

Family = Literal["translation", "scale", "rotation", "flip"]
FAMILIES: tuple[Family, ...] = ("translation", "scale", "rotation", "flip")

_DTYPES: dict[str, tuple[type[np.generic], str]] = {
    "label": (np.int32, "N"), "shard": (np.int32, "N"), "top1_clean": (np.int32, "N"),
    "confidence_clean": (np.float16, "N"), "top1": (np.int32, "NT"), "confidence": (np.float16, "NT"),
    "clean_class_probability": (np.float16, "NT"), "js": (np.float32, "NT"), "distance": (np.float32, "NLT"),
    "spread": (np.float32, "NL"),
}  # fmt: skip
_HASHED = tuple(name for name in _DTYPES if name != "shard")  # how the work was divided is no outcome
_HEADER = "header"


@dataclass(frozen=True, slots=True)
class TransformRecord:
    """One transform that was applied to every image.

    ``magnitude`` is in ``unit``: translation ``px`` (the larger of ``|dy|`` and ``|dx|``), scale ``x`` (the factor, 1
    leaves the image as it is), rotation ``deg`` (counter-clockwise), flip ``""`` (0; ``name`` says which).
    ``on_grid`` where no pixel is interpolated: whole shifts, quarter turns, flips. ``dy`` and ``dx`` are px down and to
    the right, 0 but for translations.
    """

    name: str
    family: Family
    magnitude: float
    unit: str
    on_grid: bool
    dy: float = 0.0
    dx: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """What the measuring loop gives for N images under T transforms, with L layers watched.

    Predictions are the class with the highest score. ``top1_clean`` (N,) int32 is the prediction for the image as it is
    and ``confidence_clean`` (N,) float16 its probability; ``top1`` (N, T) int32 and ``confidence`` (N, T) float16 are
    those under each transform. ``clean_class_probability`` (N, T) float16 is the probability, under each transform, of
    the class that was predicted for the image as it is. ``js`` (N, T) float32 is the Jensen-Shannon divergence between
    the two distributions over classes, divided by ln 2. ``distance`` (N, L, T) float32 is ``||f_l(T_g x) - f_l(x)||``
    for the features f_l that are kept of a layer. ``spread`` (N, L) float32 is the distance between the features of the
    image and those of another image, NaN where it was not measured.
    """

    top1_clean: NDArray[np.int32]
    confidence_clean: NDArray[np.float16]
    top1: NDArray[np.int32]
    confidence: NDArray[np.float16]
    clean_class_probability: NDArray[np.float16]
    js: NDArray[np.float32]
    layers: tuple[str, ...]
    distance: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes(BatchOutcome):
    """What is stored of N images: the outcomes, the ``transforms``, and the images themselves.

    For each image ``name`` is the name of its file, ``key`` the sha256 of its content, ``label`` (N,) int32 its class
    with -1 where unknown, and ``shard`` (N,) int32 the shard it was measured in.

    ValueError where an array does not have that shape and type.
    """

    transforms: tuple[TransformRecord, ...]
    name: tuple[str, ...]
    key: tuple[str, ...]
    label: NDArray[np.int32]
    shard: NDArray[np.int32]

    def __post_init__(self) -> None:
        sizes = {"N": len(self.name), "T": len(self.transforms), "L": len(self.layers)}
        if len(self.key) != len(self.name):
            raise ValueError(f"{len(self.key)} keys for {len(self.name)} images")
        for name, (dtype, axes) in _DTYPES.items():
            array, shape = getattr(self, name), tuple(sizes[axis] for axis in axes)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.name)

    def select(self, images: Sequence[int] | NDArray[np.intp]) -> Outcomes:
        """The same outcomes for some of the images, in the order given."""
        index = np.asarray(images, dtype=np.intp)
        arrays = {name: getattr(self, name)[index] for name in _DTYPES}
        names, keys = (tuple(values[i] for i in index) for values in (self.name, self.key))
        return Outcomes(transforms=self.transforms, layers=self.layers, name=names, key=keys, **arrays)

    def result_hash(self) -> str:
        """sha256 of everything but the division into shards, images in the order of their keys and names.

        Every NaN counts as the same, and -0 as 0.
        """
        order = sorted(range(len(self)), key=lambda i: (self.key[i], self.name[i]))
        ordered = self.select(order)
        digest = hashlib.sha256(json.dumps(_header(ordered), sort_keys=True, ensure_ascii=True).encode())
        for name in _HASHED:
            array = getattr(ordered, name)
            if array.dtype.kind == "f":
                array = np.where(np.isnan(array), array.dtype.type(np.nan), array + array.dtype.type(0))
            digest.update(name.encode() + np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def to_bytes(self, more: Mapping[str, Any] | None = None) -> bytes:
        """An .npz without pickles: the arrays, and names and transforms as JSON; equal outcomes give equal bytes.

        ``more`` are further entries of the JSON header, which `load` passes over.
        """
        return packed(_header(self) | dict(more or {}), {name: getattr(self, name) for name in _DTYPES})

    def save(self, path: Path) -> None:
        """Writes the .npz completely or not at all; E405 where it cannot be written."""
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Outcomes:
        """What `save` wrote; E475 where the file is missing, damaged or something else."""
        header, arrays = unpacked(path)
        try:
            known: dict[str, Any] = {key: tuple(header[key]) for key in ("name", "key", "layers")}
            known["transforms"] = tuple(TransformRecord(**record) for record in header["transforms"])
            return cls(**known | {name: arrays[name] for name in _DTYPES})
        except (KeyError, TypeError, ValueError) as error:
            raise _unreadable(path, os_reason(error)) from None


def concatenate(parts: Sequence[Outcomes]) -> Outcomes:
    """Outcomes of further images under the same transforms, in the order given.

    ValueError where there are none or they differ in transforms or layers.
    """
    first, *others = parts
    if any((part.transforms, part.layers) != (first.transforms, first.layers) for part in others):
        raise ValueError("outcomes of different transforms or layers")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _DTYPES}
    names, keys = (tuple(text for part in parts for text in getattr(part, field)) for field in ("name", "key"))
    return Outcomes(transforms=first.transforms, layers=first.layers, name=names, key=keys, **arrays)


def _header(outcomes: Outcomes) -> dict[str, Any]:
    return {
        "transforms": [_record(transform) for transform in outcomes.transforms], "layers": list(outcomes.layers),
        "name": list(outcomes.name), "key": list(outcomes.key),
    }  # fmt: skip


def _record(transform: TransformRecord) -> dict[str, Any]:
    """Plain values; a magnitude of 1 and one of 1.0 give the same."""
    record = asdict(transform)
    return {key: float(value) if key in ("magnitude", "dy", "dx") else value for key, value in record.items()}


def packed(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> bytes:
    """A compressed .npz of arrays and a JSON header, without dates."""
    text = np.frombuffer(json.dumps(header, ensure_ascii=True, separators=(",", ":")).encode(), np.uint8)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, array in {_HEADER: text, **arrays}.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980, the default of ZipInfo
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return content.getvalue()


def unpacked(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The header and the arrays of what `packed` wrote; E475 where the file holds something else."""
    try:
        check_regular(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(arrays.pop(_HEADER).tobytes())
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file") from None
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, os_reason(error)) from None
    if not isinstance(header, dict):
        raise _unreadable(path, "its header is not an object")
    return header, arrays


def _unreadable(path: Path, reason: str) -> CnnscopeError:
    return CnnscopeError.of("E475", f"`{path}` holds no outcomes of an audit: {reason}")
