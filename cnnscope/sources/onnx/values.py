"""The values of an ONNX graph while it is read: tensors of the network by name, and constants.

The elements of a constant are read only if they say something about shapes. Weights stay in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Shape

Array = npt.NDArray[Any]
MAX_ELEMENTS = 2**18
"""The elements of larger constants are never read."""

DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64", TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16", TensorProto.COMPLEX64: "complex64", TensorProto.INT64: "int64",
    TensorProto.INT32: "int32", TensorProto.INT16: "int16", TensorProto.INT8: "int8", TensorProto.UINT8: "uint8",
    TensorProto.BOOL: "bool", TensorProto.UINT64: "int64", TensorProto.UINT32: "int32", TensorProto.UINT16: "int16",
}  # fmt: skip
"""Element types by number. The graph has one unsigned type; the others have as many bytes as their signed ones."""


def invalid(what: str, hint: str | None = None) -> CnnscopeError:
    """Returns E447: the graph contradicts the ONNX specification, or itself."""
    return CnnscopeError.of("E447", what, hint=hint)


def dtype_of(number: int, what: str) -> str:
    """Returns the name of an element type; raises E447 for one that the graph does not know (strings, 4-bit, 8-bit
    floats).
    """
    if number not in DTYPES:
        known = number in TensorProto.DataType.values()
        word = TensorProto.DataType.Name(number).lower() if known else str(number)
        raise invalid(f"{what} has elements of type {word}, which cnnscope does not read")
    return DTYPES[number]


@dataclass(frozen=True)
class Const:
    """A constant by its name in the file. If it is ``stored`` it is an initializer, and may be a weight.

    ``array`` has the elements of a computed constant, ``proto`` those of one in the file. ``from_shape`` marks the
    elements that were computed from shapes of tensors; None if none was.
    """

    name: str
    shape: Shape
    dtype: str
    stored: bool = False
    array: Array | None = None
    proto: TensorProto | None = None
    from_shape: Array | None = None

    @cached_property
    def value(self) -> Array | None:
        """The elements; None for a large constant, or one whose elements are in another file."""
        if self.array is not None or self.proto is None or prod(self.shape) > MAX_ELEMENTS:
            return self.array
        if self.proto.data_location == TensorProto.EXTERNAL:
            return None
        try:
            array: Array = numpy_helper.to_array(self.proto)
        except (ValueError, TypeError) as error:
            raise invalid(f"the constant `{self.name}` cannot be read: {str(error).lower()}") from None
        if array.shape != self.shape:
            raise invalid(f"the constant `{self.name}` has not as many elements as its shape says")
        return array

    @property
    def is_weight(self) -> bool:
        """Whether it is a stored tensor of several real numbers. Single numbers are constants of the arithmetic."""
        return self.stored and prod(self.shape) > 1 and self.dtype.startswith(("float", "bfloat"))

    @classmethod
    def read(cls, proto: TensorProto, name: str, *, stored: bool) -> Const:
        """Returns the constant in a protobuf message without reading its elements."""
        shape = tuple(proto.dims)
        if any(n < 0 for n in shape):
            raise invalid(f"the constant `{name}` has the shape {list(shape)}")
        return cls(name, shape, dtype_of(proto.data_type, f"the constant `{name}`"), stored, proto=proto)

    @classmethod
    def folded(cls, name: str, array: Array, from_shape: Array | None = None) -> Const:
        """Returns a constant that was computed."""
        number = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        return cls(name, array.shape, dtype_of(number, f"the constant `{name}`"), array=array, from_shape=from_shape)

    def integers(self) -> list[int] | None:
        """Returns the elements in row-major order if they are known whole numbers, otherwise None."""
        if self.value is None or not np.issubdtype(self.value.dtype, np.integer):
            return None
        return [int(n) for n in self.value.reshape(-1)]


Operand = str | Const
"""A tensor of the network, by its name in the graph, or a constant."""
