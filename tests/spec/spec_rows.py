"""Specs written short, and what they expand to, for tables of expectations."""

from __future__ import annotations

from typing import Any

from cnnscope.ir import Graph
from cnnscope.spec import load

Row = tuple[str, str, tuple[int, ...]]
HEAD = "cnnscope: 1\ninput: {shape: [4, 8, 8]}\n"


def graph_of(text: str, **options: Any) -> Graph:
    """The graph of a spec; without a first line of its own it gets a 4x8x8 input."""
    return load("net.yaml", text=text if text.startswith("cnnscope") else HEAD + text, **options).graph


def rows(text: str, **options: Any) -> list[Row]:
    """Name, op and output of every node."""
    return [(node.name, node.op.tag, node.output.features) for node in graph_of(text, **options).nodes]


def names(text: str, **options: Any) -> list[str]:
    """The names of the nodes in order."""
    return [node.name for node in graph_of(text, **options).nodes]


def inputs(text: str, node: str, **options: Any) -> tuple[str, ...]:
    """What a node reads."""
    return graph_of(text, **options).node(node).inputs
