"""The values of an ONNX graph while it is read: tensors of the network by name, and constants.

A constant is an expression over the tensors that the file stores. Its shape and type are known at once; its elements
are computed when somebody asks for them. While the graph is read, only small constants are asked, for shapes depend on
them; weights stay in the file until the network is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, external_data_helper, numpy_helper

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Shape, Stored

Array = npt.NDArray[Any]
MAX_ELEMENTS = 2**18
"""The elements of larger constants are not computed while the graph is read."""
MAX_WORK = 2**24
"""Nor are those of constants that are computed from more elements than these."""
MAX_GROWTH = 16
"""No weight is computed by way of more elements than so many times those that are stored for it, beyond `MAX_WORK`."""
MAX_WEIGHT = 2**31
"""The elements of the largest tensor that is made when weights are loaded."""

DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "float32", TensorProto.DOUBLE: "float64", TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16", TensorProto.COMPLEX64: "complex64", TensorProto.INT64: "int64",
    TensorProto.INT32: "int32", TensorProto.INT16: "int16", TensorProto.INT8: "int8", TensorProto.UINT8: "uint8",
    TensorProto.BOOL: "bool", TensorProto.UINT64: "uint64", TensorProto.UINT32: "uint32", TensorProto.UINT16: "uint16",
    TensorProto.INT4: "int4", TensorProto.UINT4: "uint4", TensorProto.INT2: "int2", TensorProto.UINT2: "uint2",
    TensorProto.FLOAT8E4M3FN: "float8_e4m3fn", TensorProto.FLOAT8E5M2: "float8_e5m2",
}  # fmt: skip
"""Element types by number."""


def invalid(what: str, hint: str | None = None) -> CnnscopeError:
    """Returns E447: the graph contradicts the ONNX specification, or itself."""
    return CnnscopeError.of("E447", what, hint=hint)


def dtype_of(number: int, what: str) -> str:
    """Returns the name of an element type; raises E447 for one that the graph does not know (strings, 4-bit floats)."""
    if number not in DTYPES:
        known = number in TensorProto.DataType.values()
        word = TensorProto.DataType.Name(number).lower() if known else str(number)
        raise invalid(f"{what} has elements of type {word}, which cnnscope does not read")
    return DTYPES[number]


@dataclass(frozen=True, eq=False)
class Const:
    """A constant by its name in the file: ``run`` makes its elements from those of ``inputs``.

    ``digest`` is equal for equal expressions. ``origin`` has the stored tensors of numbers that may be trained and that
    it is computed from; scales, shapes and single numbers are none. ``work`` counts the elements of all steps.
    ``from_shape`` marks the elements that were computed from shapes of tensors; None if none was. ``order`` is set for
    a transpose: the order of the axes of its input. ``flat`` is set for a reshape. ``leaf`` is the tensor in the file,
    if it is one as it is.
    """

    name: str
    shape: Shape
    dtype: str
    run: Callable[[Sequence[Array]], Array]
    digest: bytes
    inputs: tuple[Const, ...] = ()
    origin: tuple[Stored, ...] = ()
    from_shape: Array | None = None
    order: tuple[int, ...] | None = None
    flat: bool = False
    leaf: Stored | None = None
    work: float = 0
    elsewhere: bool = False
    """Whether its elements are in another file."""
    measured: bool = False
    """Whether it is the scale of a value that each image has another of."""

    # -- elements ---------------------------------------------------------------------------------------------------

    @cached_property
    def value(self) -> Array | None:
        """The elements; None for a large constant, or one whose elements are in another file."""
        if prod(self.shape) > MAX_ELEMENTS or self.work > MAX_WORK or self.elsewhere or self.measured:
            return None
        return evaluate(self)

    def integers(self) -> list[int] | None:
        """Returns the elements in row-major order if they are known whole numbers, otherwise None."""
        if not self.dtype.startswith(("int", "uint")) or self.value is None:
            return None
        return [int(n) for n in self.value.reshape(-1)]

    @property
    def is_weight(self) -> bool:
        """Whether it may be a trained weight: a stored tensor of several real numbers, or computed from one. Single
        numbers are constants of the arithmetic.
        """
        return bool(self.origin)

    # -- views ------------------------------------------------------------------------------------------------------

    def reshaped(self, shape: Shape) -> Const:
        """Returns the same elements in another shape, in row-major order."""
        if shape == self.shape:
            return self
        base = self.inputs[0] if self.flat else self
        if base.shape == shape:
            return base
        return replace(base._view(f"reshape {shape}", shape, lambda x: x[0].reshape(shape)), flat=True)

    def permuted(self, order: Sequence[int]) -> Const:
        """Returns the tensor with its axes in another order. Two transposes become one, or none."""
        base, whole = self, tuple(order)
        if self.order is not None:
            base, whole = self.inputs[0], tuple(self.order[axis] for axis in order)
        if whole == tuple(range(len(whole))):
            return base
        shape = tuple(base.shape[axis] for axis in whole)
        turned = base._view(f"permute {whole}", shape, lambda x: x[0].transpose(whole))
        return replace(turned, order=whole)

    def _view(self, label: str, shape: Shape, run: Callable[[Sequence[Array]], Array]) -> Const:
        return Const.computed(self.name, shape, self.dtype, label.encode(), run, (self,), self.origin)

    # -- making -----------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, proto: TensorProto, name: str, path: Path | None = None) -> Const:
        """Returns the constant in a protobuf message without reading its elements. ``path`` is the model's file: those
        that are stored apart are in it or beside it.
        """
        shape = tuple(proto.dims)
        if any(n < 0 for n in shape):
            raise invalid(f"the constant `{name}` has the shape {list(shape)}")
        dtype = dtype_of(proto.data_type, f"the constant `{name}`")
        leaf = Stored(name, prod(shape), dtype)
        elsewhere = proto.data_location == TensorProto.EXTERNAL and not _is_here(proto, path)
        return cls(
            name, shape, dtype, lambda _: _elements(proto, name, shape, path), _digest(b"stored", name.encode()),
            origin=(leaf,) if leaf.numel > 1 and dtype.startswith(("float", "bfloat")) else (), leaf=leaf,
            work=leaf.numel, elsewhere=elsewhere,
        )  # fmt: skip

    @classmethod
    def known(cls, name: str, array: Array, from_shape: Array | None = None, origin: tuple[Stored, ...] = ()) -> Const:
        """Returns a constant of known elements."""
        dtype = dtype_of(onnx.helper.np_dtype_to_tensor_dtype(array.dtype), f"the constant `{name}`")
        digest = _digest(b"known", str((array.shape, dtype)).encode(), array.tobytes())
        return cls(name, array.shape, dtype, lambda _: array, digest, (), origin, from_shape)

    @classmethod
    def computed(
        cls, name: str, shape: Shape, dtype: str, label: bytes, run: Callable[[Sequence[Array]], Array],
        inputs: Sequence[Const], origin: tuple[Stored, ...],
    ) -> Const:  # fmt: skip
        """Returns what ``run`` makes from ``inputs``; ``label`` stands for the function and its attributes."""
        digest = _digest(label, *(x.digest for x in inputs))
        work = prod(shape) + sum(x.work for x in inputs)
        return cls(name, shape, dtype, run, digest, tuple(inputs), origin, work=float(work),
                   elsewhere=any(x.elsewhere for x in inputs), measured=any(x.measured for x in inputs))  # fmt: skip


def _digest(*parts: bytes) -> bytes:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()


def origins(constants: Iterable[Const | None]) -> tuple[Stored, ...]:
    """Returns the stored weights of several constants, each once."""
    return tuple(dict.fromkeys(stored for x in constants if x is not None for stored in x.origin))


def _is_here(proto: TensorProto, path: Path | None) -> bool:
    """Returns whether a tensor that is stored apart is in the model's own file, where `skim` found it."""
    return path is not None and {"location": path.name}.items() <= _place(proto).items()


def _place(proto: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.external_data}


def _whole(proto: TensorProto, path: Path) -> TensorProto:
    """Returns a tensor that is stored apart with its data."""
    whole = TensorProto()
    whole.CopyFrom(proto)
    if not _is_here(proto, path):
        _limit(whole, prod(proto.dims))
        external_data_helper.load_external_data_for_tensor(whole, str(path.parent))
        return whole
    place = _place(proto)
    with path.open("rb") as file:
        file.seek(int(place["offset"]))
        whole.raw_data = file.read(int(place["length"]))
    whole.data_location = TensorProto.DEFAULT
    del whole.external_data[:]
    return whole


def _elements(proto: TensorProto, name: str, shape: Shape, path: Path | None) -> Array:
    """Returns the elements of a stored tensor; raises E447 if there are not as many as its shape says."""
    try:
        if proto.data_location == TensorProto.EXTERNAL and path is not None:
            proto = _whole(proto, path)
        array: Array = numpy_helper.to_array(proto)
    except (ValueError, TypeError, KeyError, OSError, onnx.checker.ValidationError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise invalid(f"the constant `{name}` cannot be read: {reason[:1].lower()}{reason[1:]}") from None
    if array.shape != shape:
        raise invalid(f"the constant `{name}` has not as many elements as its shape says")
    return array


def _limit(proto: TensorProto, numel: int) -> None:
    """States how many bytes of another file a tensor has, if its entry does not: otherwise all of the file is read."""
    expected = numel * onnx.helper.tensor_dtype_to_np_dtype(proto.data_type).itemsize
    stated = [entry.value for entry in proto.external_data if entry.key == "length"]
    if not stated:
        proto.external_data.add(key="length", value=str(expected))
    elif stated[-1].isdecimal() and int(stated[-1]) > expected:
        raise ValueError(f"its {expected:,} bytes are stated to be {int(stated[-1]):,}")


def _check_growth(constant: Const) -> None:
    """Raises E447 if computing a constant would make a tensor far larger than all that is stored for it."""
    steps, waiting = {constant.digest: constant}, [constant]
    while waiting:
        new = {x.digest: x for x in waiting.pop().inputs if x.digest not in steps}
        steps |= new
        waiting += new.values()
    stored = sum(step.leaf.numel for step in steps.values() if step.leaf is not None)
    for step in steps.values():
        if prod(step.shape) > max(MAX_GROWTH * stored, MAX_WORK):
            raise invalid(f"the constant `{step.name}` has {prod(step.shape):,} elements, made of {stored:,}")


def evaluate(constant: Const) -> Array:
    """Returns the elements of a constant. Each step is computed once; raises E447 if one cannot be.

    The steps wait on a stack of their own, so that a long chain needs no deep recursion.
    """
    _check_growth(constant)
    known: dict[bytes, Array] = {}
    waiting = [constant]
    while waiting:
        step = waiting[-1]
        missing = [x for x in step.inputs if x.digest not in known]
        if missing and step.digest not in known:
            waiting += missing
            continue
        waiting.pop()
        if step.digest in known:
            continue
        if prod(step.shape) > MAX_WEIGHT:
            raise invalid(f"the constant `{step.name}` has {prod(step.shape):,} elements, more than any weight")
        array = np.asarray(step.run([known[x.digest] for x in step.inputs]))
        if array.shape != step.shape:
            raise invalid(f"the constant `{step.name}` is {list(array.shape)}, not {list(step.shape)}")
        known[step.digest] = array
    return known[constant.digest]


Operand = str | Const
"""A tensor of the network, by its name in the graph, or a constant."""
