"""Shapes that an ONNX file states: those of its inputs, which ``--input`` may replace, and those of other
values.

Shapes of other values are used only where no rule knows them better.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from onnx import GraphProto, NodeProto, ValueInfoProto

from cnnscope.errors import CnnscopeError
from cnnscope.ir import Kind, Shape, Value
from cnnscope.ir.declared import fitted
from cnnscope.sources.files import sizes_by_input
from cnnscope.sources.inputs import InputSize
from cnnscope.sources.onnx.values import dtype_of, invalid

SPATIAL = frozenset({
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool",
    "BatchNormalization", "InstanceNormalization", "Resize", "Upsample",
})  # fmt: skip
"""Operators whose input is a map."""
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
"""Operators whose input has the time axis before the batch."""
Dim = int | str


def read_inputs(proto: GraphProto, sizes: Sequence[InputSize]) -> tuple[dict[str, Value], frozenset[str]]:
    """Returns the inputs by name in the file, at batch 1, and the names of those that are images with their
    channels last.

    Such images are read channels first, and the transposes after them disappear. A free first axis is the batch. Raises
    E403 for any other free axis without a given size, and where a given size does not fit.
    """
    stored = {tensor.name for tensor in proto.initializer}
    infos = [info for info in proto.input if info.name not in stored]
    if not infos:
        raise invalid("the graph has no inputs")
    given = sizes_by_input((info.name for info in infos), sizes)
    readers: dict[str, list[tuple[str, list[int]]]] = {}
    for node in proto.node:
        order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
        for name in node.input:
            readers.setdefault(name, []).append((node.op_type, order))
    values, channels_last = {}, set()
    for info in infos:
        used = readers.get(info.name, [])
        value = _value(info, given.get(info.name), [kind for kind, _ in used], _turned(info, used), len(infos) > 1)
        if any(kind in RECURRENT for kind, _ in used) and len(value.shape) == 3:
            value = Value(value.shape, value.dtype, 1 if value.shape[1] == 1 else None, "tensor")
        if _turned(info, used) and len(value.shape) == 4:
            n, h, w, c = value.shape
            value = Value((n, c, h, w), value.dtype, value.batch_axis, "map")
            channels_last.add(info.name)
        elif len(value.shape) == 3 and not _is_signal(info.name, proto):
            value = Value(value.shape, value.dtype, value.batch_axis, "tensor")
        values[info.name] = value
    return values, frozenset(channels_last)


_MOVES = frozenset({
    "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Pad", "Identity", "Cast",
    "Gather", "Expand", "Tile",
})  # fmt: skip
"""Operators that only move elements, so that those behind them say what their input is."""


def _is_signal(name: str, proto: GraphProto) -> bool:
    """Whether an input of three axes is (N, C, length) rather than tokens (N, T, C).

    It is if the first operators that compute with it, behind movements, take maps, or if none computes. A transpose of
    the last two axes leads from one to the other.
    """
    readers: dict[str, list[NodeProto]] = {}
    for node in proto.node:
        for source in node.input:
            readers.setdefault(source, []).append(node)
    seen, waiting, found = set(), [(name, False)], False
    while waiting:
        value, turned = waiting.pop()
        for node in readers.get(value, []):
            if node.op_type in _MOVES:
                order = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
                after = turned != (order == [0, 2, 1])
                new = [(output, after) for output in node.output if (output, after) not in seen]
                seen.update(new)
                waiting += new
            elif node.op_type in SPATIAL and not turned:
                return True
            else:
                found = True
    return not found


def _turned(info: ValueInfoProto, used: Sequence[tuple[str, list[int]]]) -> bool:
    """Returns whether an input is an image with its channels last, which every reader moves to the front."""
    return bool(used) and all(reader == ("Transpose", [0, 3, 1, 2]) for reader in used)


def _value(
    info: ValueInfoProto, given: InputSize | None, readers: Collection[str], channels_last: bool, several: bool
) -> Value:
    if info.type.WhichOneof("value") != "tensor_type":
        raise invalid(f"the input `{info.name}` is not a tensor")
    dtype = dtype_of(info.type.tensor_type.elem_type, f"the input `{info.name}`")
    is_map = not SPATIAL.isdisjoint(readers) or channels_last
    axis = (-1 if channels_last else 0) if is_map else None
    shape = _shape(info, given, axis, several)
    batch = 0 if shape[:1] == (1,) else None
    kinds: dict[int, Kind] = {2: "flat"}
    real = dtype.startswith(("float", "bfloat"))
    kind = "map" if len(shape) > 2 and real and batch == 0 else kinds.get(len(shape), "tensor") if real else "tensor"
    return Value(shape, given.dtype if given and given.dtype else dtype, batch, kind)


def _shape(info: ValueInfoProto, given: InputSize | None, channels: int | None, several: bool) -> Shape:
    """Returns the shape at batch 1: the one given, or the one in the file if no axis but the batch is left open."""
    dims = _declared(info)
    if given is not None:
        return _replaced(info.name if several else "", dims, given.shape, channels)
    if dims is None:
        raise _ask(info.name, "has no shape in the file", "3x224x224", several)
    example = "x".join(str(224 if isinstance(d, str) else d) for d in dims[1:])
    free = [d for d in dims[1:] if isinstance(d, str)]  # a free first axis is the batch
    if free:
        named = ", ".join(f"`{name}`" for name in free)
        raise _ask(info.name, f"is {_text(dims)} in the file, with {named} left open", example, several)
    if len(dims) > 3 and dims[0] != 1 and isinstance(dims[0], int):
        raise _ask(info.name, f"is fixed to a batch of {dims[0]} in the file", example, several)
    return tuple(1 if isinstance(d, str) else d for d in dims)


def _declared(info: ValueInfoProto) -> list[Dim] | None:
    """Returns the extents in the file, with names for those left open; None if the file has no shape at all."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    dims: list[Dim] = [
        d.dim_value if d.HasField("dim_value") and d.dim_value != -1 else d.dim_param or "?" for d in tensor.shape.dim
    ]  # some exporters write -1 for an extent that is left open
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise invalid(f"the input `{info.name}` has the shape {_text(dims)}")
    if len(dims) > 2 and dims[0] == 0:
        dims[0] = "?"  # others write 0 for a batch that is left open
    return dims


def _replaced(name: str, dims: list[Dim] | None, given: Shape, channels: int | None) -> Shape:
    """Returns the shape given for an input, with a batch of 1 in front if it has none."""
    if dims is None:
        return (1, *given)
    own = [d if isinstance(d, int) else None for d in dims[1:]]
    whole = len(given) == len(dims) and (given[0] == 1 or (isinstance(dims[0], int) and dims[0] > 1))
    lead, rest = (given[:1], given[1:]) if whole else ((1,), given)
    return (*lead, *fitted(own, rest, channels if len(own) > 1 else None, name))


def _ask(name: str, what: str, example: str, several: bool) -> CnnscopeError:
    label = f"{name}=" if several else ""
    return CnnscopeError.of("E403", f"the input `{name}` {what}", hint=f"say its size: `--input {label}{example}`")


def _text(dims: Sequence[Dim]) -> str:
    return "x".join(map(str, dims))
