"""What all HTML pages need: their template, a policy that forbids requests, and pictures as data.

A photograph under receptive fields is scaled to the size of the network's input.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnscope.errors import CnnscopeError
from cnnscope.files import encoded
from cnnscope.ir import Graph, Shape

if TYPE_CHECKING:
    from PIL.Image import Image

_LARGEST_SIDE = 1024
_LOSSLESS = 128 * 128
"""Pixels up to which the image is embedded without loss; larger ones are compressed as JPEG."""


def rendered(folder: str, template: str, values: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]]) -> str:
    """The template in ``cnnscope/render/FOLDER`` with its values; what is not markup of ours is escaped.

    ``style`` and ``script`` among the values are the only ones that the page allows.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cnnscope.render", folder), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= filters
    return environment.get_template(template).render(**values, policy=_policy(values["style"], values["script"]))


def text(folder: str, name: str) -> str:
    """A file in ``cnnscope/render/FOLDER``."""
    return files("cnnscope.render").joinpath(folder, name).read_text(encoding="utf-8")


def data_uri(picture: Image, kind: str = "PNG", **options: Any) -> str:
    """The picture as a ``data:`` URI."""
    content = io.BytesIO()
    picture.save(content, kind, optimize=True, **options)
    return f"data:image/{kind.lower()};base64,{b64encode(content.getvalue()).decode()}"


def _policy(style: str, script: str) -> str:
    """Nothing from anywhere but this style, this script and embedded images (Content Security Policy level 3)."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(encoded(text)).digest()).decode()


def photograph(path: Path, graph: Graph) -> str:
    """The picture in ``path`` as the network sees it, as a ``data:`` URI. It raises the same errors as `fitted`."""
    picture = fitted(path, graph)
    if picture.width * picture.height <= _LOSSLESS:
        return data_uri(picture)
    return data_uri(picture, "JPEG", quality=85)


def fitted(path: Path, graph: Graph) -> Image:
    """The picture in ``path`` as the network sees it: scaled to cover the input, and cropped evenly where it is larger.

    E606 where it cannot be read, E607 where the network has no input with a height and a width.
    """
    from PIL import ImageOps
    from PIL.Image import Resampling

    from cnnscope.pictures import read_picture

    height, width = extents = _extents(graph)
    picture = read_picture(path).convert("L" if _is_grey(graph) else "RGB")
    scale = min(1.0, _LARGEST_SIDE / max(extents))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return ImageOps.fit(picture, size, Resampling.BICUBIC)


def _extents(graph: Graph) -> Shape:
    sizes = {value.spatial[-2:] for value in graph.inputs.values() if len(value.spatial) in (2, 3)}
    if not sizes:
        raise CnnscopeError.of("E607", "`--image` needs an input with a height and a width, and this network has none")
    return tuple(max(axis) for axis in zip(*sizes, strict=True))


def _is_grey(graph: Graph) -> bool:
    return all(value.shape[1] == 1 for value in graph.inputs.values() if len(value.spatial) in (2, 3))
