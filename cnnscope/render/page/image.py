"""A photograph under the receptive fields: brought to the size of the input and embedded."""

from __future__ import annotations

import io
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph, Shape

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_LARGEST_FILE = 64 * 2**20
_LARGEST_AREA = 64_000_000
_LARGEST_SIDE = 1024
_LOSSLESS = 128 * 128
"""Pixels up to which the image is embedded as it is; larger ones lose what no eye misses."""


def data_uri(path: Path, graph: Graph) -> str:
    """The picture in ``path`` as the network sees it, embedded. Errors as in `fitted`."""
    return f"data:image/{_encoded(fitted(path, graph))}"


def fitted(path: Path, graph: Graph) -> Picture:
    """The picture in ``path`` as the network sees it: scaled to cover the input, what stands over cut off evenly.

    E606 where it cannot be read, E607 where the network has no input with a height and a width.
    """
    extents = _extents(graph)
    return _fitted(_read(path), extents, grey=_is_grey(graph))


def _extents(graph: Graph) -> Shape:
    sizes = {value.spatial[-2:] for value in graph.inputs.values() if len(value.spatial) in (2, 3)}
    if not sizes:
        raise CnnscopeError.of("E607", "`--image` needs an input with a height and a width, and this network has none")
    return tuple(max(axis) for axis in zip(*sizes, strict=True))


def _is_grey(graph: Graph) -> bool:
    return all(value.shape[1] == 1 for value in graph.inputs.values() if len(value.spatial) in (2, 3))


def _read(path: Path) -> Picture:
    from PIL import Image, ImageOps

    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _unreadable(path, f"it is larger than {_LARGEST_FILE // 2**20} MiB")
        with Image.open(path) as file:
            if file.width * file.height > _LARGEST_AREA:
                raise _unreadable(path, f"it has {file.width} x {file.height} pixels, more than 64 million")
            return ImageOps.exif_transpose(file).convert("RGBA")
    except OSError as error:
        reason = (error.strerror or "").lower() or "it is no image of a known format, or damaged"
        raise _unreadable(path, reason) from None
    except (Image.DecompressionBombError, ValueError, SyntaxError, EOFError) as error:  # what decoders raise
        raise _unreadable(path, str(error).lower() or type(error).__name__) from None


def _fitted(upright: Picture, extents: Shape, *, grey: bool) -> Picture:
    from PIL import Image, ImageOps

    white = Image.new("RGBA", upright.size, "white")
    picture = Image.alpha_composite(white, upright).convert("L" if grey else "RGB")
    height, width = extents
    scale = min(1.0, _LARGEST_SIDE / max(extents))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return ImageOps.fit(picture, size, Image.Resampling.BICUBIC)


def _encoded(picture: Picture) -> str:
    content = io.BytesIO()
    if picture.width * picture.height <= _LOSSLESS:
        picture.save(content, "PNG", optimize=True)
        return "png;base64," + b64encode(content.getvalue()).decode()
    picture.save(content, "JPEG", quality=85, optimize=True)
    return "jpeg;base64," + b64encode(content.getvalue()).decode()


def _unreadable(path: Path, reason: str) -> CnnscopeError:
    return CnnscopeError.of("E606", f"cannot read the image `{path}`: {reason}", hint="use a PNG or JPEG file")
