"""The one representation of a network: every source produces it, every analysis reads it."""

from cnnscope.ir.graph import DTYPE_BYTES, Graph, Intent, Kind, Layout, Node, Operation, Param, Stored, Value
from cnnscope.ir.steps import Shape

__all__ = ["DTYPE_BYTES", "Graph", "Intent", "Kind", "Layout", "Node", "Operation", "Param", "Shape", "Stored", "Value"]
