"""The one representation every source becomes and every analysis reads."""

from cnnscope.ir.graph import DTYPE_BYTES, Graph, Intent, Kind, Layout, Node, Operation, Param, Value
from cnnscope.ir.steps import Shape

__all__ = ["DTYPE_BYTES", "Graph", "Intent", "Kind", "Layout", "Node", "Operation", "Param", "Shape", "Value"]
