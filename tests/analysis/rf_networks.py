"""Small networks written as calls, without the spec language."""

from __future__ import annotations

from typing import Any

from cnnscope.ir import Graph, Kind, Node, Value
from cnnscope.ir.steps import Step
from cnnscope.ops import REGISTRY, Op
from cnnscope.ops.generic import View


class Net:
    """Builds a graph op by op: ``net.add("conv", "x", out=4, kernel=3)`` returns the new node's name."""

    def __init__(self, *shape: int, kind: Kind = "map") -> None:
        self.inputs = {"x": Value((1, *shape), kind=kind)}
        self.nodes: list[Node] = []

    def value(self, name: str) -> Value:
        return next((node.output for node in self.nodes if node.name == name), None) or self.inputs[name]

    def add(self, tag: str, *sources: str, name: str | None = None, **args: Any) -> str:
        """A node behind ``sources``, or behind the last one; ShapeError if the op does not fit."""
        sources = sources or (self.nodes[-1].name if self.nodes else "x",)
        values = [self.value(source) for source in sources]
        return self.put(REGISTRY[tag].read(args, len(values[0].shape) - 2 or None).bind(values), *sources, name=name)

    def put(self, op: Op, *sources: str, name: str | None = None) -> str:
        """The same for an op at hand."""
        name = name or f"{op.tag}{len(self.nodes)}"
        self.nodes.append(Node(name, op, sources, op.infer([self.value(source) for source in sources])))
        return name

    def view(self, *steps: Step) -> str:
        """The last value in another arrangement, as traces have it."""
        return self.put(View("view", steps), self.last)

    def conv(self, out: int, kernel: Any, *sources: str, name: str | None = None, **args: Any) -> str:
        return self.add("conv", *sources, name=name, out=out, kernel=kernel, **args)

    @property
    def last(self) -> str:
        return self.nodes[-1].name if self.nodes else "x"

    def graph(self, *outputs: str) -> Graph:
        return Graph("net", self.inputs, tuple(self.nodes), outputs or (self.last,))
