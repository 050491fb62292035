"""Inputs of an ONNX graph: the sizes the file declares, and what ``--input`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ValueInfoProto

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.ir import Kind, Shape, Value
from cnnscope.sources.files import clean
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx.values import dtype_of, invalid

SPATIAL = frozenset({
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
    "BatchNormalization", "InstanceNormalization", "Resize", "Upsample",
})  # fmt: skip
"""Operators whose input is a map."""
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
"""Operators whose input has the time before the batch."""
Dim = int | str


def read_inputs(proto: GraphProto, sizes: Sequence[InputSize]) -> tuple[dict[str, Value], frozenset[str]]:
    """The inputs by name in the file, at batch 1, and which of them are images with their channels last.

    Those are read channels first: the transposes behind them fall away. A free first axis is the batch; E403 for any
    other free axis that no size is given for, and where a given size does not fit.
    """
    stored = {tensor.name for tensor in proto.initializer}
    infos = [info for info in proto.input if info.name not in stored]
    if not infos:
        raise invalid("the graph has no inputs")
    given = _by_input([info.name for info in infos], sizes)
    readers: dict[str, list[tuple[str, list[int]]]] = {}
    for node in proto.node:
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
        for name in node.input:
            readers.setdefault(name, []).append((node.op_type, order))
    values, channels_last = {}, set()
    for info in infos:
        used = readers.get(info.name, [])
        value = _value(info, given.get(info.name), len(infos) > 1)
        if any(kind in RECURRENT for kind, _ in used) and len(value.shape) == 3:
            value = Value(value.shape, value.dtype, 1 if value.shape[1] == 1 else None, "tensor")
        if len(value.shape) == 4 and used and all(reader == ("Transpose", [0, 3, 1, 2]) for reader in used):
            n, h, w, c = value.shape
            value = Value((n, c, h, w), value.dtype, value.batch_axis, "map")
            channels_last.add(info.name)
        elif len(value.shape) == 3 and not any(kind in SPATIAL for kind, _ in used):
            value = Value(value.shape, value.dtype, value.batch_axis, "tensor")
        values[info.name] = value
    return values, frozenset(channels_last)


def _by_input(names: Sequence[str], sizes: Sequence[InputSize]) -> Mapping[str, InputSize]:
    known = {name: own for own in names for name in (own, clean(own))}
    result = {}
    for size in sizes:
        if size.name is None and len(names) > 1:
            listed = ", ".join(f"`{name}`" for name in names)
            raise CnnscopeError.of("E403", f"the model has the inputs {listed}: say which one `--input` is for")
        if size.name is not None and size.name not in known:
            hint = did_you_mean(size.name, known) or "its inputs: " + ", ".join(f"`{name}`" for name in names)
            raise CnnscopeError.of("E403", f"the model has no input `{size.name}`", hint=hint)
        result[known[size.name] if size.name else names[0]] = size
    return result


def _value(info: ValueInfoProto, given: InputSize | None, several: bool) -> Value:
    if info.type.WhichOneof("value") != "tensor_type":
        raise invalid(f"the input `{info.name}` is not a tensor")
    dtype = dtype_of(info.type.tensor_type.elem_type, f"the input `{info.name}`")
    shape = _shape(info, given, several)
    batch = 0 if shape[:1] == (1,) else None
    kinds: dict[int, Kind] = {2: "flat"}
    real = dtype.startswith(("float", "bfloat"))
    kind = "map" if len(shape) > 2 and real and batch == 0 else kinds.get(len(shape), "tensor") if real else "tensor"
    return Value(shape, given.dtype if given and given.dtype else dtype, batch, kind)


def _shape(info: ValueInfoProto, given: InputSize | None, several: bool) -> Shape:
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        if given is None:
            raise _ask(info.name, "has no shape in the file", "3x224x224", several)
        return (1, *given.shape)
    dims: list[Dim] = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    if any(isinstance(d, int) and d < 1 for d in dims):
        raise invalid(f"the input `{info.name}` has the shape {_text(dims)}")
    if given is not None:
        if len(given.shape) not in (len(dims), len(dims) - 1):
            raise CnnscopeError.of(
                "E403", f"the input `{info.name}` is {_text(dims)} in the file but `--input` is {_text(given.shape)}",
                hint="sizes are without the batch, in the file's order of axes",
            )  # fmt: skip
        return given.shape if len(given.shape) == len(dims) else (1, *given.shape)
    sizes = dims[1:] if dims and isinstance(dims[0], str) else dims
    example = "x".join(str(224 if isinstance(d, str) else d) for d in dims[1:])
    free = [str(d) for d in sizes if isinstance(d, str)]
    if free:
        named = ", ".join(f"`{name}`" for name in free)
        raise _ask(info.name, f"is {_text(dims)} in the file, with {named} left open", example, several)
    if len(dims) > 3 and dims[0] != 1 and isinstance(dims[0], int):
        raise _ask(info.name, f"is fixed to a batch of {dims[0]} in the file", example, several)
    return tuple(1 if isinstance(d, str) else d for d in dims)


def _ask(name: str, what: str, example: str, several: bool) -> CnnscopeError:
    label = f"{name}=" if several else ""
    return CnnscopeError.of("E403", f"the input `{name}` {what}", hint=f"say its size: `--input {label}{example}`")


def _text(dims: Sequence[Dim]) -> str:
    return "x".join(map(str, dims))
