"""The one representation every source becomes and every analysis reads."""

from cnnscope.ir.graph import DTYPE_BYTES, Graph, Kind, Node, Operation, Param, Value
from cnnscope.ir.steps import Shape

__all__ = ["DTYPE_BYTES", "Graph", "Kind", "Node", "Operation", "Param", "Shape", "Value"]
