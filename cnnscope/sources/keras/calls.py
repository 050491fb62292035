"""How Keras layers are called: the entries of ``inbound_nodes``, which Keras 2 and 3 write in different ways.

Keras 2 names a tensor ``["conv1", 0, 0, {kwargs}]`` (layer, call, output); Keras 3 has a ``__keras_tensor__`` with that
triple as its ``keras_history``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from cnnscope.errors import CnnscopeError

Json = Mapping[str, Any]
_CONSTANTS = {"__numpy__": "value", "__tensor__": "value"}


@dataclass(frozen=True, slots=True)
class Ref:
    """Output ``index`` of call number ``call`` of a layer."""

    layer: str
    call: int = 0
    index: int = 0
    shape: tuple[int | None, ...] | None = field(default=None, compare=False)
    """As Keras 3 states it beside the reference."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a layer is called with: a `Ref` where a tensor goes, plain values elsewhere, in lists and dicts."""

    args: tuple[Any, ...]
    kwargs: Json

    def refs(self) -> Iterator[Ref]:
        """Every tensor among the arguments."""
        return refs_of([*self.args, self.kwargs])


def shift(value: Any, offsets: Mapping[str, int]) -> Any:
    """``value`` with the calls of every model inside numbered from 0."""
    if isinstance(value, Ref):
        return replace(value, call=value.call - offsets.get(value.layer, 0))
    if isinstance(value, Call):
        return Call(tuple(shift(list(value.args), offsets)), shift(value.kwargs, offsets))
    if isinstance(value, list):
        return [shift(item, offsets) for item in value]
    return {key: shift(item, offsets) for key, item in value.items()} if isinstance(value, dict) else value


def read_call(node: object, layer: str) -> Call:
    if isinstance(node, dict):  # Keras 3
        args, kwargs = decode(node.get("args", [])), decode(node.get("kwargs", {}))
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise malformed(f"layer `{layer}`: a call has no `args` and `kwargs`")
        return Call(tuple(args), kwargs)
    if not isinstance(node, list) or not node:
        raise malformed(f"layer `{layer}`: a call in `inbound_nodes` is {kind_of_json(node)}")
    tensors = [node] if isinstance(node[0], str) else node
    decoded = [decode(tensor) for tensor in tensors]
    last = tensors[0][-1] if isinstance(tensors[0], list) and tensors[0] else None
    kwargs = decode(last) if isinstance(last, dict) else {}
    return Call((decoded[0] if len(decoded) == 1 else decoded,), kwargs)


def decode(value: Any) -> Any:
    """The argument of a call as plain data: `Ref`, `slice` and `...` in place of what stands for them in JSON."""
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and type(value[1]) is int:
            if value[0] == "_CONSTANT_VALUE":
                return value[2]
            if type(value[2]) is int:
                return Ref(*value[:3])
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__ellipsis__":
        return ...
    if kind == "__tuple__":
        return decode(value.get("items", []))
    if isinstance(config, dict) and kind == "__keras_tensor__":
        ref, shape = decode(config.get("keras_history")), config.get("shape")
        if not isinstance(ref, Ref) or not is_shape(shape):
            raise malformed("a tensor has no `keras_history` and `shape`")
        return replace(ref, shape=tuple(shape))
    if isinstance(config, dict) and kind == "__slice__":
        return slice(config.get("start"), config.get("stop"), config.get("step"))
    if isinstance(config, dict) and isinstance(kind, str) and kind in _CONSTANTS:
        return config.get(_CONSTANTS[kind])
    if set(value) == {"start", "stop", "step"}:  # Keras 2
        return slice(value["start"], value["stop"], value["step"])
    return {key: decode(item) for key, item in value.items()}


def refs_of(value: Any) -> Iterator[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from refs_of(item)
    elif isinstance(value, dict):
        yield from refs_of(list(value.values()))


def malformed(what: str, hint: str | None = None) -> CnnscopeError:
    """E443: the config is not one that Keras writes."""
    return CnnscopeError.of("E443", what, hint=hint)


def is_shape(value: object) -> TypeGuard[Sequence[int | None]]:
    """A list of extents, None where one is free."""
    return isinstance(value, (list, tuple)) and all(n is None or (type(n) is int and n > 0) for n in value)


def text(value: object, what: str) -> str:
    """``value`` if it is text; E443 otherwise."""
    if not isinstance(value, str) or not value:
        raise malformed(f"{what} is {kind_of_json(value)}, not text")
    return value


def kind_of_json(value: object) -> str:
    words = {dict: "an object", list: "a list", str: "text", type(None): "missing", bool: "true or false"}
    return words.get(type(value), "a number")
