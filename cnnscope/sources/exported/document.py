"""The program in a ``.pt2`` archive as plain data, read from its JSON. No text in it is ever evaluated.

Source: torch/_export/serde/schema.py, versions 1 to 8. A tagged value is an object with one key, ``{"as_int": 3}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cnnscope.sources.exported.archive import SCALARS

DEEPEST = 100
"""Levels of modules, and of graphs inside graphs."""


@dataclass(frozen=True, slots=True)
class Open:
    """An extent that the program leaves open. ``hint`` is the one it was exported with, if that is known."""

    symbol: str
    hint: int | None = None


@dataclass(frozen=True, slots=True)
class Meta:
    """Shape and type of a tensor."""

    shape: tuple[int | Open, ...]
    dtype: str
    trainable: bool = False


@dataclass(frozen=True, slots=True)
class Ref:
    """The value of this name."""

    name: str


@dataclass(frozen=True, slots=True)
class Word:
    """A value of torch that is not a number or text: a ``dtype``, ``layout``, ``memory_format`` or ``device``."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Scope:
    """A module under way: its path, with ``@1`` in its second call, and its class."""

    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of ``target``. ``arguments`` are names and values, ``results`` the names of what it returns: a list is
    one result, which is a list of names.
    """

    target: str
    arguments: tuple[tuple[str, Any], ...]
    results: tuple[str | tuple[str, ...] | None, ...]
    scopes: tuple[Scope, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A graph: its inputs by name, its calls in order, and what it returns."""

    inputs: tuple[str, ...]
    calls: tuple[Call, ...]
    outputs: tuple[Any, ...]
    metas: Mapping[str, Meta] = field(default_factory=dict)

    def all_calls(self) -> Iterator[Call]:
        """Yields the calls, those in graphs inside included."""
        for call in self.calls:
            yield call
            for _, value in call.arguments:
                if isinstance(value, Block):
                    yield from value.all_calls()


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor of the program: its ``name`` as a value, its ``key`` in the state dict.

    A ``constant`` was lifted out of the code of the module; it is in no state dict.
    """

    name: str
    key: str
    parameter: bool
    persistent: bool = True
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """A program: weights, inputs from the user (names of values), inputs that are constants, and the graph."""

    block: Block
    weights: tuple[Weight, ...]
    inputs: tuple[str, ...]
    fixed: Mapping[str, Any]
    outputs: tuple[Any, ...]

    def meta(self, name: str) -> Meta:
        """Returns shape and type of a tensor of the graph; raises KeyError if it is none."""
        return self.block.metas[name]


def read(document: Mapping[str, Any]) -> Program:
    """Returns a program. KeyError, TypeError, ValueError or AttributeError where it is not as torch writes it."""
    module = document["graph_module"]
    block = _block(module["graph"], 0)
    weights, inputs, fixed = [], [], {}
    for spec in module["signature"]["input_specs"]:
        kind, given = _tagged(spec)
        if kind == "user_input":
            inputs.append(_argument(given["arg"], 0))
        elif kind == "constant_input":
            fixed[given["name"]] = _tagged(given["value"])[1]
        elif kind in ("parameter", "buffer", "tensor_constant"):
            key = _text(given[f"{kind}_name"])
            persistent = kind != "tensor_constant" and given.get("persistent", True) is not False
            weights.append(
                Weight(_text(given["arg"]["name"]), key, kind == "parameter", persistent, kind == "tensor_constant")
            )
        else:
            raise ValueError(f"an input of the kind {kind}")
    names = tuple(value.name for value in inputs if isinstance(value, Ref))
    outputs = [_argument(given["arg"], 0) for kind, given in map(_tagged, module["signature"]["output_specs"])
               if kind in ("user_output", "loss_output")]  # fmt: skip
    return Program(block, tuple(weights), names, fixed, tuple(outputs))


def _tagged(value: Mapping[str, Any]) -> tuple[str, Any]:
    ((kind, inner),) = value.items()
    return kind, inner


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value


def _block(graph: Mapping[str, Any], depth: int) -> Block:
    if depth > DEEPEST:
        raise ValueError("graphs nested too deeply")
    inputs = tuple(value.name for value in (_argument(x, depth) for x in graph["inputs"]) if isinstance(value, Ref))
    calls = tuple(_call(node, depth) for node in graph["nodes"])
    metas = {name: _meta(entry) for name, entry in graph["tensor_values"].items()}
    return Block(inputs, calls, tuple(_argument(x, depth) for x in graph["outputs"]), metas)


def _meta(entry: Mapping[str, Any]) -> Meta:
    shape = tuple(_size(size) for size in entry["sizes"])
    return Meta(shape, SCALARS[entry["dtype"]], entry.get("requires_grad") is True)


def _size(size: Mapping[str, Any]) -> int | Open:
    kind, value = _tagged(size)
    if kind == "as_int":
        if type(value) is not int or value < 0:
            raise ValueError(f"the size {value!r:.20}")
        return value
    symbol = re.search(r"Symbol\('(\w+)'", _text(value["expr_str"]))
    hint = _tagged(value["hint"])[1] if value.get("hint") else None
    return Open(symbol[1] if symbol else value["expr_str"][:40], hint if type(hint) is int else None)


def _call(node: Mapping[str, Any], depth: int) -> Call:
    arguments = tuple((_text(given["name"]), _argument(given["arg"], depth)) for given in node["inputs"])
    results = tuple(_result(output) for output in node["outputs"])
    return Call(_text(node["target"]), arguments, results, tuple(_scopes(node["metadata"].get("nn_module_stack", ""))))


def _result(output: Mapping[str, Any]) -> str | tuple[str, ...] | None:
    kind, value = _tagged(output)
    if kind == "as_none":
        return None
    if isinstance(value, list):
        return tuple(_text(item["name"]) for item in value)
    if kind == "as_optional_tensor":
        kind, value = _tagged(value)
    return None if kind == "as_none" else _text(value["as_name" if kind.startswith("as_sym") else "name"])


def _scopes(stack: str) -> Iterator[Scope]:
    """Yields the modules of ``key,path,class;key,path,class``, without the program itself."""
    for entry in _text(stack).split(";")[: DEEPEST + 1]:
        parts = entry.split(",", 2)
        if len(parts) == 3 and re.fullmatch(r"\w+(\.\w+)*(@\d+)?", parts[1]) and not parts[0].startswith("_empty"):
            yield Scope(parts[1], re.sub(r"\W", "_", parts[2].rpartition(".")[2]) or "Module")


_PLAIN = {"as_int", "as_float", "as_bool", "as_string", "as_ints", "as_floats", "as_bools", "as_strings",
          "as_int_lists", "as_float_lists"}  # fmt: skip
_LAYOUTS = {7: "strided"}  # a sparse tensor is refused
_FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}


def _argument(argument: Mapping[str, Any], depth: int) -> Any:
    """Returns an argument: a plain value, `Ref`, `Word`, `Block` or a list of these."""
    kind, value = _tagged(argument)
    if kind in _PLAIN:
        return [_number(item) for item in value] if isinstance(value, list) else _number(value, kind)
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return Ref(_text(value["name"]))
        case "as_tensors":
            return [Ref(_text(item["name"])) for item in value]
        case "as_nested_tensors":
            return [[Ref(_text(item["name"])) for item in items] for items in value]
        case "as_optional_tensor":
            return _argument(value, depth)
        case "as_optional_tensors":
            return [_argument(item, depth) for item in value]
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return _symbolic(value)
        case "as_sym_ints" | "as_sym_floats" | "as_sym_bools":
            return [_symbolic(item) for item in value]
        case "as_scalar_type":
            return Word("dtype", SCALARS[value])
        case "as_layout":
            return Word("layout", _LAYOUTS[value])
        case "as_memory_format":
            return Word("memory_format", _FORMATS.get(value, "preserve_format"))
        case "as_device":
            return Word("device", "cpu")  # wherever it was exported, it is computed here
        case "as_complex":
            return complex(value["real"], value["imag"])
        case "as_graph":
            return _block(value["graph"], depth + 1)
    raise ValueError(f"an argument of the kind {kind}")


def _number(value: Any, kind: str = "") -> Any:
    """Returns a number; JSON has no infinity, so that is a text."""
    if kind in ("", "as_float") and isinstance(value, str) and value in ("Infinity", "-Infinity", "NaN"):
        return float(value)
    return value


def _symbolic(value: Mapping[str, Any]) -> Any:
    kind, inner = _tagged(value)
    return Ref(_text(inner)) if kind == "as_name" else inner
