"""What all HTML pages need: their template, a policy that forbids requests, and pictures as data."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image


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
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
