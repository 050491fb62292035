"""Which kind of set a path is. A new kind is a file with an opener, and one line in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from cnnscope.errors import CnnscopeError
from cnnscope.trained.images.sample import ImageSet


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of image set: in words, when a path is one, and what opens it."""

    words: str
    holds: Callable[[Path], bool]
    opener: str

    def open(self, path: Path) -> ImageSet:
        """The set at ``path``."""
        module, _, function = self.opener.partition(":")
        opener: Callable[[Path], ImageSet] = getattr(import_module(module), function)
        return opener(path)


def _suffix(*suffixes: str) -> Callable[[Path], bool]:
    """Whether a path is a file with one of these endings, or a folder with such files and no others but text."""

    def holds(path: Path) -> bool:
        if path.is_dir():
            return any(child.name.lower().endswith(suffixes) for child in path.iterdir() if child.is_file())
        return path.name.lower().endswith(suffixes)

    return holds


KINDS = (
    Kind("an .npz file of arrays `images` and `labels`", lambda path: path.suffix.lower() == ".npz",
         "cnnscope.trained.images.npz:open_npz"),
    Kind("WebDataset tar files, or a folder of them", _suffix(".tar"), "cnnscope.trained.images.tar:open_tars"),
    Kind("parquet files with image bytes, or a folder of them", _suffix(".parquet"),
         "cnnscope.trained.images.parquet:open_parquet"),
    Kind("a folder of images, or of one folder a class", Path.is_dir, "cnnscope.trained.images.folder:open_folder"),
)  # fmt: skip
"""In the order they are tried."""


def open_images(path: str | Path) -> ImageSet:
    """The images at a path. E460 where there is no such path or it is no set of images, E461 where a set is damaged."""
    path = Path(path)
    if not path.exists():
        raise CnnscopeError.of("E460", f"there are no images at `{path}`: no such file or folder")
    for kind in KINDS:
        if kind.holds(path):
            return kind.open(path)
    known = "; ".join(kind.words for kind in KINDS)
    raise CnnscopeError.of("E460", f"`{path}` is no set of images", hint=f"known sets: {known}")
