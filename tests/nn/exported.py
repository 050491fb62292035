"""Running an exported file the way its reader would: as a module of its own, without cnnscope."""

from __future__ import annotations

from types import ModuleType

from torch import nn

from cnnscope.ir import Graph
from cnnscope.nn.export.pytorch import pytorch_source


def run(source: str) -> type[nn.Module]:
    """The network's class: the last one the file defines."""
    module = ModuleType("exported")
    exec(compile(source, "exported.py", "exec"), module.__dict__)  # the point of the export is that it runs
    classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == "exported"]
    return classes[-1]


def export(graph: Graph) -> type[nn.Module]:
    """The class exported from a graph."""
    return run(pytorch_source(graph))
