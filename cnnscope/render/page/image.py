"""A photograph under the receptive fields, scaled to the size of the input."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Shape
from cnnscope.pictures import read_picture
from cnnscope.render import html

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_LARGEST_SIDE = 1024
_LOSSLESS = 128 * 128
"""Pixels up to which the image is embedded without loss; larger ones are compressed as JPEG."""


def data_uri(path: Path, graph: Graph) -> str:
    """The picture in ``path`` as the network sees it, as a ``data:`` URI. Errors as in `fitted`."""
    picture = fitted(path, graph)
    if picture.width * picture.height <= _LOSSLESS:
        return html.data_uri(picture)
    return html.data_uri(picture, "JPEG", quality=85)


def fitted(path: Path, graph: Graph) -> Picture:
    """The picture in ``path`` as the network sees it: scaled to cover the input, and cropped evenly where it is larger.

    E606 where it cannot be read, E607 where the network has no input with a height and a width.
    """
    from PIL import Image, ImageOps

    height, width = extents = _extents(graph)
    picture = read_picture(path).convert("L" if _is_grey(graph) else "RGB")
    scale = min(1.0, _LARGEST_SIDE / max(extents))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return ImageOps.fit(picture, size, Image.Resampling.BICUBIC)


def _extents(graph: Graph) -> Shape:
    sizes = {value.spatial[-2:] for value in graph.inputs.values() if len(value.spatial) in (2, 3)}
    if not sizes:
        raise CnnscopeError.of("E607", "`--image` needs an input with a height and a width, and this network has none")
    return tuple(max(axis) for axis in zip(*sizes, strict=True))


def _is_grey(graph: Graph) -> bool:
    return all(value.shape[1] == 1 for value in graph.inputs.values() if len(value.spatial) in (2, 3))
