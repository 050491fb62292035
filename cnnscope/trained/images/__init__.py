"""Sets of images: `open_images` finds which kind of set a path is; each kind has a file that reads it.

Help texts list the kinds, so what takes long to import is imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.entries import resolved
from cnnscope.errors import CnnscopeError
from cnnscope.files import check_regular, os_reason
from cnnscope.registry import Registry, checked_result

if TYPE_CHECKING:
    from cnnscope.trained.images.sample import ImageSet, Sample, Shard, Skipped

__all__ = ["KINDS", "ImageSet", "Kind", "Sample", "Shard", "Skipped", "open_images"]

Opener = Callable[[Path], "ImageSet"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("cnnscope.trained.images.sample"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of image set: in words, whether a path is one, and what opens it (a function, or ``module:function``).

    ``general`` kinds take almost any path, so they are tried after all others.
    """

    words: str
    holds: Callable[[Path], bool]
    opener: Opener | str
    general: bool = False

    def open(self, path: Path) -> ImageSet:
        """The set at ``path``."""
        return resolved(self.opener)(path)


def _suffix(*suffixes: str) -> Callable[[Path], bool]:
    """Whether a path is a file with one of these endings, or a folder that contains such a file."""

    def holds(path: Path) -> bool:
        if path.is_dir():
            return any(child.name.lower().endswith(suffixes) for child in path.iterdir() if child.is_file())
        return path.name.lower().endswith(suffixes)

    return holds


KINDS: Registry[Kind] = Registry(
    "cnnscope.images",
    "kind of image set",
    {
        "npz": Kind(
            "an .npz file of arrays `images` and `labels`",
            lambda path: path.suffix.lower() == ".npz",
            "cnnscope.trained.images.npz:open_npz",
        ),
        "webdataset": Kind(
            "WebDataset tar files, or a folder of them", _suffix(".tar"), "cnnscope.trained.images.tar:open_tars"
        ),
        "parquet": Kind(
            "parquet files with image bytes, or a folder of them",
            _suffix(".parquet"),
            "cnnscope.trained.images.parquet:open_parquet",
        ),
        "folder": Kind(
            "a folder of images, or of one folder a class",
            Path.is_dir,
            "cnnscope.trained.images.folder:open_folder",
            general=True,
        ),
    },
    form="cnnscope.trained.images:Kind",
)
"""In the order in which they are tried, general ones last."""


def known() -> str:
    """What a set of images may be, for help texts and messages. Kinds of other packages are only named."""
    ready = [(name, KINDS.ready(name)) for name in KINDS.names()]
    return "; ".join(kind.words if kind else f"{name} (of another package)" for name, kind in ready)


def open_images(path: str | Path) -> ImageSet:
    """The images at a path. E460 where there is no such path or it is no set of images, E461 where a set is damaged."""
    from cnnscope.trained.images.sample import ImageSet

    path = Path(path)
    if not path.exists():
        raise CnnscopeError.of("E460", f"there are no images at `{path}`: no such file or folder")
    if not path.is_dir():
        try:
            check_regular(path)
        except OSError as error:
            raise CnnscopeError.of("E460", f"there are no images at `{path}`: {os_reason(error)}") from None
    kinds = sorted(KINDS.values(), key=lambda kind: kind.general)
    for kind in kinds:
        if kind.holds(path):
            found: object = kind.open(path)
            hint = "it opens a `cnnscope.trained.images.sample.ImageSet`"
            images: ImageSet = checked_result(found, ImageSet, f"the kind of image set `{kind.words}`", hint, str(path))
            return images
    raise CnnscopeError.of("E460", f"`{path}` is no set of images", hint=f"known sets: {known()}")
