"""Documents of layer types and of specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnscope.render.documents.document import INLINE, Document


@dataclass(frozen=True, kw_only=True)
class OpArgument:
    """An argument of a layer type."""

    name: str
    required: bool
    default: str | None
    takes: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class OpFacts:
    """A layer type."""

    tag: str
    category: str
    about: str
    accepts: Sequence[str]
    short: str | None
    decorates: bool
    arguments: Sequence[OpArgument]
    examples: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class OpsDocument(Document):
    """All layer types: ``cnnscope ops``."""

    format: Literal["cnnscope.ops"] = "cnnscope.ops"
    ops: Sequence[OpFacts]


@dataclass(frozen=True, kw_only=True)
class OpDocument(Document):
    """One layer type: ``cnnscope ops NAME``."""

    format: Literal["cnnscope.op"] = "cnnscope.op"
    facts: OpFacts = field(metadata=INLINE)


@dataclass(frozen=True, kw_only=True)
class ExpandDocument(Document):
    """A spec without blocks, repeats and expressions: ``cnnscope expand``."""

    format: Literal["cnnscope.expand"] = "cnnscope.expand"
    spec: Mapping[str, Any]
