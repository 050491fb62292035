"""The JSON Schema (draft-07) of the spec language, generated from the op registry, for completion and checks in
editors.

It covers structure, names and literal values. Only the loader can check what depends on other parts of a file: blocks,
parameters, shapes, and required arguments that ``defaults`` may supply.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from cnnscope.ops.arguments import Maybe
from cnnscope.ops.base import REGISTRY, Op
from cnnscope.spec.arguments import COMMON, ROLES, role_words
from cnnscope.spec.document import VERSION
from cnnscope.spec.layers import SHORTCUTS, STRUCTURES, is_join
from cnnscope.spec.metadata import FIELDS, FILES

Schema = dict[str, Any]
_NAME = {"type": "string", "pattern": "^[A-Za-z0-9_]*[A-Za-z_][A-Za-z0-9_]*$"}
_PATH = {"type": "string", "pattern": "^[A-Za-z0-9_]*[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z0-9_]+)*$"}
_EXPRESSION = {"$ref": "#/definitions/expression"}
_LAYERS = {"$ref": "#/definitions/layers"}
_SOURCE = {"$ref": "#/definitions/source"}
_DEFAULTS = {"$ref": "#/definitions/defaults"}
_EXTENT = {"anyOf": [{"type": "integer", "minimum": 1}, _EXPRESSION]}
_SHAPE = {"type": "array", "items": _EXTENT, "minItems": 1, "maxItems": 4}


def language() -> Schema:
    """Returns the schema of a whole spec."""
    definitions = {
        "expression": {"type": "string", "pattern": r"^\$([A-Za-z_][A-Za-z0-9_]*|\{[^$]+\})$"},
        "source": {"anyOf": [_PATH, _EXPRESSION]},
        "layers": {"type": "array", "items": {"$ref": "#/definitions/layer"}},
        "layer": _layer(),
        "use": _use(),
        "residual": _residual(),
        "reuse": _reuse(),
        "block": _closed({"params": {"type": "object"}, "defaults": _DEFAULTS, "layers": _LAYERS}, "layers"),
        "defaults": _defaults(),
        "head": {"anyOf": [_LAYERS, _head()]},
        "input": _closed({"shape": _SHAPE, "layout": {"enum": ["CHW", "HWC"]}}, "shape"),
    }
    definitions |= {role: _role(role) for role in ROLES}
    definitions |= {f"op.{tag}": _op(op) for tag, op in REGISTRY.items()}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "cnnscope spec",
        **_closed(_top(), "cnnscope", "layers"),
        "oneOf": [{"required": ["input"]}, {"required": ["inputs"]}],
        "definitions": definitions,
    }


def _closed(properties: Mapping[str, Any], *required: str) -> Schema:
    result: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return result | {"required": list(required)} if required else result


def _top() -> Schema:
    named = {"type": "object", "propertyNames": _NAME}
    return {
        "cnnscope": {"const": VERSION},
        "name": {"type": ["string", "number"]},
        "input": {"$ref": "#/definitions/input"},
        "inputs": named | {"additionalProperties": {"$ref": "#/definitions/input"}, "minProperties": 1},
        "params": named,
        "defaults": _DEFAULTS,
        "blocks": named | {"additionalProperties": {"$ref": "#/definitions/block"}},
        "layers": {"allOf": [_LAYERS, {"minItems": 1}]},
        "heads": named | {"additionalProperties": {"$ref": "#/definitions/head"}},
        "freeze": {"type": "array", "items": {"type": "string"}},
        **{key: _closed({name: kind.schema for name, kind in kinds.items()}) for key, kinds in FIELDS.items()},
        **{key: kind.schema for key, kind in FILES.items()},
    }


def _layer() -> Schema:
    ops = dict(REGISTRY.items())
    tags = {tag: {"$ref": f"#/definitions/op.{tag}"} for tag in ops}
    structures = {name: {"$ref": f"#/definitions/{name}"} for name in STRUCTURES}
    pair = _closed(tags | structures) | {"minProperties": 1, "maxProperties": 1}
    return {"anyOf": [{"enum": sorted(tag for tag, op in ops.items() if not is_join(op))}, pair]}


def _common(*names: str) -> Schema:
    sources = {
        "anyOf": [{"$ref": "#/definitions/source"}, {"type": "array", "items": {"$ref": "#/definitions/source"}}]
    }
    every = {
        "name": _PATH,
        "from": sources,
        "when": {"anyOf": [{"type": ["boolean", "number"]}, _EXPRESSION]},
        "frozen": {"anyOf": [{"type": "boolean"}, _EXPRESSION]},
    }
    return {name: every[name] for name in names or COMMON}


def _arguments(op: type[Op]) -> Schema:
    kinds = {name: kind.kind if isinstance(kind, Maybe) else kind for name, (kind, _) in op.parameters().items()}
    roles = {role: {"$ref": f"#/definitions/{role}"} for role in ROLES if op.decorates}
    return {name: _movable(kind.schema()) | {"description": kind.describe()} for name, kind in kinds.items()} | roles


def _op(op: type[Op]) -> Schema:
    properties = _arguments(op) | _common()
    if op.like:
        properties["like"] = _SOURCE
    about = inspect.cleandoc(op.__doc__ or "").partition("\n\n")[0]
    if is_join(op):
        paths = {"type": "object", "propertyNames": _NAME, "additionalProperties": _LAYERS, "minProperties": 1}
        either = {"anyOf": [{"required": ["from"]}, {"required": ["paths"]}]}
        joined = properties | {"paths": paths, "split": {"const": "channels"}}
        return _closed(joined) | either | {"description": about}
    short = [_movable(op.parameters()[op.short][0].schema())] if op.short else []
    return {"anyOf": [_closed(properties), *short], "description": about}


def _movable(schema: Schema) -> Schema:
    """Returns a schema that accepts the value or an expression, also for values inside it."""
    inner = dict(schema)
    if "items" in inner:
        inner["items"] = _movable(inner["items"])
    if "properties" in inner:
        inner["properties"] = {name: _movable(value) for name, value in inner["properties"].items()}
    choices = inner.pop("oneOf", None)
    if choices is not None:
        return {"anyOf": [*(_movable(choice) for choice in choices), _EXPRESSION]}
    return {"anyOf": [inner, _EXPRESSION]}


def _role(role: str) -> Schema:
    words = role_words(role)
    arguments = {word: {"$ref": f"#/definitions/op.{op.tag}"} for word, op in words.items()}
    pair = _closed(arguments) | {"minProperties": 1, "maxProperties": 1}
    return {"anyOf": [{"enum": [*words, "none"]}, pair, _EXPRESSION]}


def _defaults() -> Schema:
    ops = {tag: _arguments(op) for tag, op in REGISTRY.items()}
    return _closed(
        {
            tag: {"anyOf": [_closed(arguments), *([arguments[short]] if (short := REGISTRY[tag].short) else [])]}
            for tag, arguments in ops.items()
        }
    )


def _use() -> Schema:
    table = {"type": "array", "items": {"type": "array"}, "minItems": 2}
    repeat = {"anyOf": [{"type": "integer", "minimum": 1}, _EXPRESSION]}
    properties = {
        "block": _NAME,
        "with": {"type": "object"},
        "first": {"type": "object"},
        "repeat": repeat,
        "each": table,
    }
    return {"anyOf": [_NAME, _closed(properties | _common(), "block")], "description": "a block, put to use"}


def _residual() -> Schema:
    shortcut = {"anyOf": [{"enum": list(SHORTCUTS)}, _LAYERS, _EXPRESSION]}
    layers = {"allOf": [_LAYERS, {"minItems": 1}]}
    properties = {"layers": layers, "shortcut": shortcut, "act": {"$ref": "#/definitions/act"}}
    return _closed(properties | _common(), "layers") | {"description": "a branch and the way around it, added"}


def _reuse() -> Schema:
    return {
        "anyOf": [_SOURCE, _closed({"layer": _SOURCE} | _common("name", "from", "when"), "layer")],
        "description": "a named layer, block or head once more, with the same weights",
    }


def _head() -> Schema:
    return _closed({"from": _SOURCE, "training_only": {"type": "boolean"}, "layers": _LAYERS})
