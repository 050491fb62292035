"""How the cost of analysis grows: 20,000 layers against 2,000, chains and densely connected networks.

    python benchmarks/scaling.py [ROUNDS]

Prints ratios of CPU time (best of ROUNDS) and of peak memory for shapes, costs, liveness and theoretical receptive
fields of graphs that are already built. Target: at most 12 for ten times the layers, and for densely connected
networks at most as much as edges grow.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable

from cnnscope.analysis.summary import summarize
from cnnscope.ir import Graph, Node, Param, Value
from cnnscope.ops import REGISTRY, Op

Build = Callable[[int], Graph]


class Builder:
    """A graph that grows by one layer at a time."""

    def __init__(self) -> None:
        self.values = {"image": Value((1, 8, 64, 64))}
        self.nodes: list[Node] = []
        self.params: dict[str, Param] = {}

    def add(self, op: Op, *inputs: str) -> str:
        """The name of the new node."""
        name = f"n{len(self.nodes)}"
        x = [self.values[i] for i in inputs]
        bound = op.bind(x)
        roles = {role: f"{name}.{role}" for role in bound.weights(x)}
        self.params |= {roles[role]: Param(shape) for role, shape in bound.weights(x).items()}
        self.values[name] = bound.infer(x)
        self.nodes.append(Node(name, bound, inputs, self.values[name], roles))
        return name

    def graph(self, output: str) -> Graph:
        """What has been built."""
        return Graph("grown", {"image": self.values["image"]}, tuple(self.nodes), (output,), self.params)


def conv(channels: int = 8) -> Op:
    return REGISTRY["conv"].read({"out": channels, "kernel": 3, "pad": 1}, 2)


def chain(layers: int) -> Graph:
    """Convolutions and activations in a row, the shape of most networks."""
    builder, here = Builder(), "image"
    for _ in range(layers // 2):
        here = builder.add(REGISTRY["relu"](), builder.add(conv(), here))
    return builder.graph(here)


def residual(layers: int) -> Graph:
    """Blocks with a shortcut each."""
    builder, here = Builder(), "image"
    for _ in range(layers // 4):
        branch = builder.add(REGISTRY["relu"](), builder.add(conv(), here))
        here = builder.add(REGISTRY["add"](), builder.add(conv(), branch), here)
    return builder.graph(here)


def dense(layers: int, block: int = 50) -> Graph:
    """Dense blocks in which every layer reads all layers of the block before it: edges grow as layers * block / 2."""
    builder, here = Builder(), "image"
    for _ in range(layers // (2 * block)):
        read = [here]
        for _ in range(block):
            joined = builder.add(REGISTRY["concat"].read({}, 2), *read) if len(read) > 1 else here
            read.append(builder.add(conv(), joined))
        here = read[-1]
    return builder.graph(here)


def one_dense_block(layers: int) -> Graph:
    """A single dense block: edges grow with the square of the layers."""
    return dense(layers, layers // 2)


def cost(graph: Graph, rounds: int) -> tuple[float, int]:
    """Seconds of CPU time, the best of several, and the peak of memory in bytes."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        summarize(graph)
        times.append(time.process_time() - start)
    tracemalloc.start()
    summarize(graph)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times), peak


def compare(name: str, build: Build, sizes: tuple[int, int], rounds: int) -> None:
    small, large = (build(size) for size in sizes)
    (seconds, memory), (more_seconds, more_memory) = cost(small, rounds), cost(large, rounds)
    print(
        f"{name:16} {len(small.nodes):6,} -> {len(large.nodes):6,} layers, edges x{edges(large) / edges(small):5.1f}: "
        f"time {seconds:6.3f} s -> {more_seconds:6.3f} s, x{more_seconds / seconds:5.1f}; "
        f"memory x{more_memory / memory:5.1f} ({more_memory / 2**20:,.0f} MiB)"
    )


def edges(graph: Graph) -> int:
    return sum(len(node.inputs) for node in graph.nodes)


def main(arguments: Iterable[str]) -> None:
    rounds = int(next(iter(arguments), "3"))
    compare("chain", chain, (2_000, 20_000), rounds)
    compare("residual", residual, (2_000, 20_000), rounds)
    compare("dense blocks", dense, (2_000, 20_000), rounds)
    compare("one dense block", one_dense_block, (200, 800), rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
