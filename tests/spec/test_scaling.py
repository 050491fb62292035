"""Work grows with the number of layers and edges: counted in calls, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType

from cnnscope.ir import Graph
from cnnscope.spec import load

HEAD = "cnnscope: 1\ninput: {shape: [16, 8, 8]}\n"


def calls(action: Callable[[], object]) -> int:
    """How many Python functions run, C functions included."""
    count = 0

    def profile(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return count


def residuals(blocks: int) -> Graph:
    text = (
        HEAD
        + f"""defaults: {{conv: {{kernel: 3, pad: half, norm: batch}}}}
blocks:
  unit:
    params: {{w: ~}}
    layers: [residual: {{act: relu, layers: [conv: {{out: "${{2 * w}}", act: relu}}, conv: {{out: $channels}}]}}]
layers: [use: {{block: unit, repeat: {blocks}, with: {{w: 8}}}}]
"""
    )
    return load("net.yaml", text=text).graph


def dense(layers: int) -> Graph:
    """Each layer reads all before it: layers^2 / 2 edges."""
    text = HEAD + "layers:\n  - relu: {name: r0}\n  - add: {name: a1, from: [input, r0]}\n"
    for i in range(1, layers):
        before = ", ".join(f"r{j}" for j in range(i + 1))
        text += f"  - relu: {{name: r{i}, from: a{i}}}\n  - add: {{name: a{i + 1}, from: [input, {before}]}}\n"
    return load("net.yaml", text=text).graph


def test_ten_times_the_layers_are_at_most_twelve_times_the_work() -> None:
    residuals(10)  # imports and caches
    small, large = calls(lambda: residuals(100)), calls(lambda: residuals(1000))
    assert len(residuals(1000).nodes) == 7000
    assert large < 12 * small


def test_dense_graphs_cost_their_edges() -> None:
    dense(4)
    edges = [sum(len(node.inputs) for node in dense(n).nodes) for n in (20, 80)]
    work = [calls(lambda n=n: dense(n)) for n in (20, 80)]  # type: ignore[misc]  # a default binds the loop variable
    assert edges[1] > 12 * edges[0]
    assert work[1] / work[0] < 1.2 * edges[1] / edges[0]


def test_twenty_thousand_layers() -> None:
    graph = residuals(6700)
    assert sum(1 for _ in graph.layers()) == 3 * 6700
