"""The spec language: YAML files that describe a network. `load` turns one into a graph without importing torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnscope.ir import Graph
from cnnscope.spec.document import read_document
from cnnscope.spec.expand import build
from cnnscope.spec.marks import parse
from cnnscope.spec.metadata import input_shapes
from cnnscope.spec.text import read_file

__all__ = ["Spec", "load"]


@dataclass(frozen=True)
class Spec:
    """An expanded spec: its graph and what it says about it.

    ``reference`` has known totals (``params``, ``macs``, ``source``), ``about`` what a catalogue shows. ``weights``,
    ``data`` and ``labels`` are paths relative to the spec's folder, resolved (``labels`` may be the names themselves).
    ``heads`` maps the name of an output to its node.
    """

    name: str
    graph: Graph
    heads: Mapping[str, str] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    data: Path | None = None
    labels: Path | tuple[str, ...] | None = None


def load(
    path: str | Path,
    *,
    text: str | bytes | None = None,
    set: Mapping[str, object] | None = None,
    input: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
) -> Spec:
    """Reads and expands the spec at ``path``.

    ``text`` replaces the content of the file (standard input). ``set`` replaces parameters. ``input`` replaces the
    shape of the input or, by name, of several, in the author's layout and without batch. Raises `CnnscopeError` with
    every error that could be found, and its subclass `PartialError`, with the graph of the layers so far, if layers do
    not fit.
    """
    path = Path(path)
    root = parse(read_file(path) if text is None else text, str(path))
    document = read_document(root, path.stem)
    graph = build(document, set or {}, input_shapes(document, input))
    heads = dict(zip((head.group.common.name or "" for head in document.heads), graph.outputs, strict=False))
    extra = document.metadata
    folder = path.parent
    labels = extra.get("labels")
    return Spec(
        name=document.name, graph=graph, heads=heads,
        **{key: extra[key] for key in ("reference", "about", "preprocess") if key in extra},
        **{key: folder / extra[key] for key in ("weights", "data") if key in extra},
        labels=tuple(map(str, labels)) if isinstance(labels, list) else None if labels is None else folder / labels,
    )  # fmt: skip
