"""The JSON Schema of all documents, generated from their dataclasses.

``python -m cnnscope.render.documents.schema`` writes `FILE` anew; a test compares it.

The annotation of a field gives the type and whether null is allowed, ``Literal`` the values, ``keywords`` inside
``Annotated`` the rest, and the string below the field its description. A field that may be `OMITTED` is not required.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cnnscope.entries import attribute
from cnnscope.render.documents.document import FORMAT_VERSION, Omitted, key_of
from cnnscope.render.documents.layers import FIGURES

Json = dict[str, Any]
FILE = Path(__file__).parents[2] / "schemas" / "documents.json"

DOCUMENTS = {
    **dict.fromkeys(FIGURES, "cnnscope.render.documents.layers:Layers"),
    "comparison": "cnnscope.render.comparison:ComparisonDocument",
    "rf_unit": "cnnscope.render.documents.layers:UnitDocument",
    "zoo": "cnnscope.render.comparison:ZooDocument",
    "check": "cnnscope.render.checks:CheckDocument",
    "ops": "cnnscope.render.reference:OpsDocument",
    "op": "cnnscope.render.reference:OpDocument",
    "expand": "cnnscope.render.export:ExpandDocument",
    "diff": "cnnscope.render.documents.architecture:DiffDocument",
    "equivariance": "cnnscope.render.documents.architecture:EquivarianceDocument",
    "ablation": "cnnscope.render.ablation:AblationDocument",
    "transfer": "cnnscope.training.document:TransferDocument",
    "kernels": "cnnscope.render.kernels:KernelsDocument",
    "filters": "cnnscope.render.filters:FiltersDocument",
    "features": "cnnscope.render.features:FeaturesDocument",
    "attribution": "cnnscope.render.attribution:AttributionDocument",
    "files": "cnnscope.render.result:FilesDocument",
    "weights_check": "cnnscope.render.weights:WeightsCheckDocument",
    "weights_map": "cnnscope.render.weights:WeightsMapDocument",
    "graph": "cnnscope.render.export:GraphDocument",
    "audit": "cnnscope.audits.document:AuditDocument",
    "compare": "cnnscope.audits.document:CompareDocument",
    "error": "cnnscope.render.diagnostics:ErrorDocument",
    "edit": "cnnscope.render.edit:EditDocument",
    "unit_values": "cnnscope.render.unit_values:UnitValuesDocument",
}
"""The class of each document. Text, because some of them need packages that only their commands import."""

_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null", Fraction: "string"}


def schema() -> Json:
    """The schema (draft-07) of every document: one of several definitions, named like the document."""
    classes: dict[str, type] = {name: attribute(where) for name, where in DOCUMENTS.items()}
    definitions: Json = {name: _verb(name) if name in FIGURES else _object(found) for name, found in classes.items()}
    known = {found for name, found in classes.items() if name not in FIGURES}
    for part in sorted(_parts(classes.values()) - known, key=_name):
        assert _name(part) not in definitions, f"two parts of documents are called {_name(part)}"
        definitions[_name(part)] = _object(part)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"cnnscope JSON documents, version {FORMAT_VERSION}",
        "oneOf": [{"$ref": f"#/definitions/{name}"} for name in classes],
        "definitions": definitions,
    }


def written() -> str:
    """The content of `FILE`."""
    return _laid_out(schema(), 0) + "\n"


def _laid_out(value: Any, indent: int) -> str:
    """JSON with an item a line where it would not fit on one."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) + indent <= 118 or not isinstance(value, dict | list):
        return text
    pad = "\n" + " " * (indent + 1)
    if isinstance(value, list):
        return "[" + pad + f",{pad}".join(_laid_out(item, indent + 1) for item in value) + "\n" + " " * indent + "]"
    items = (f"{json.dumps(key)}: {_laid_out(item, indent + 1)}" for key, item in value.items())
    return "{" + pad + f",{pad}".join(items) + "\n" + " " * indent + "}"


def _verb(verb: str) -> Json:
    """The document of a verb that lists layers: `Layers` with the format and the figures of the verb."""
    rows = {"type": "array", "items": {"required": list(FIGURES[verb])}}
    own = {"properties": {"format": {"const": f"cnnscope.{verb}"}, "layers": rows}}
    return {
        "description": f"The layers of a network: `cnnscope {verb}`.",
        "allOf": [{"$ref": "#/definitions/layers"}, own],
    }


def _object(part: type) -> Json:
    required, properties = _keys(part)
    about = dedent(part.__doc__ or "").partition("\n\n")[0].replace("``", "`").replace("\n", " ")
    return {"type": "object", "description": about, "required": required, "properties": properties}


def _keys(part: Any) -> tuple[list[str], Json]:
    """Which keys a part must have, and the schema of each."""
    hints, texts = get_type_hints(part, include_extras=True), _descriptions(part)
    required: list[str] = []
    properties: Json = {}
    for field in fields(part):
        hint = hints[field.name]
        if "inline" in field.metadata:
            inner = _keys(hint)
            required += inner[0]
            properties |= inner[1]
            continue
        value = _value(hint)
        properties[key_of(field)] = _described(value, texts.get(field.name))
        if not _may_be_omitted(hint):
            required.append(key_of(field))
    return required, properties


def _described(value: Json, text: str | None) -> Json:
    """With a description, which draft-07 does not allow beside a reference."""
    if text is None:
        return value
    return {"allOf": [value], "description": text} if "$ref" in value else {**value, "description": text}


def _value(hint: Any) -> Json:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *keywords = arguments
        return {**_value(inner), **{key: value for some in keywords for key, value in some}}
    if origin in (Union, UnionType):
        return _union([argument for argument in arguments if argument is not Omitted])
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin is tuple and arguments[-1] is not Ellipsis:
        assert all(item == arguments[0] for item in arguments), "items of an array have one type"
        return {"type": "array", "items": _value(arguments[0]), "minItems": len(arguments), "maxItems": len(arguments)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(*arguments)
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": _value(arguments[0])}
    if is_dataclass(hint):
        return {"$ref": f"#/definitions/{_name(hint)}"}  # type: ignore[arg-type]  # it is a class
    return {"type": _TYPES[hint]}


def _mapping(keys: Any, values: Any) -> Json:
    """An object whose keys are not fields: any, or those of a ``Literal`` alone."""
    if values is Any:
        return {"type": "object"}
    if get_origin(keys) is Literal:
        known = {key: _value(values) for key in get_args(keys)}
        return {"type": "object", "properties": known, "additionalProperties": False}
    return {"type": "object", "additionalProperties": _value(values)}


def _union(choices: Sequence[Any]) -> Json:
    """One of several. Null is added to the types of the value where that is possible."""
    some = [_value(choice) for choice in choices if choice is not NoneType]
    if NoneType not in choices:
        return some[0] if len(some) == 1 else {"anyOf": some}
    if len(some) == 1 and "type" in some[0]:
        return {**some[0], "type": [some[0]["type"], "null"]}
    if len(some) == 1 and "enum" in some[0]:
        return {"enum": [*some[0]["enum"], None]}
    return {"anyOf": [*some, {"type": "null"}]}


def _may_be_omitted(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _may_be_omitted(get_args(hint)[0])
    return Omitted in get_args(hint)


def _parts(classes: Iterable[type]) -> set[type]:
    """All dataclasses that these consist of."""
    found: set[type] = set()
    waiting = list(classes)
    while waiting:
        part = waiting.pop()
        if part not in found:
            found.add(part)
            waiting += _within(part)
    return found


def _within(part: Any) -> Iterator[type]:
    """The dataclasses in the fields of a part; an inline part is replaced by those in its fields."""
    hints = get_type_hints(part)
    for field in fields(part):
        hint = hints[field.name]
        yield from _within(hint) if "inline" in field.metadata else _classes(hint)


def _classes(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    for argument in get_args(hint):
        yield from _classes(argument)


def _name(part: type) -> str:
    """``ReceptiveField`` as ``receptive_field``; a document's own name."""
    documents = {where: name for name, where in DOCUMENTS.items() if name not in FIGURES}
    own = documents.get(f"{part.__module__}:{part.__name__}")
    return own or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part.__name__).lower()


@cache
def _descriptions(part: type) -> Mapping[str, str]:
    """The strings below the fields of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(part.__mro__):
        if not is_dataclass(base):
            continue
        (tree,) = ast.parse(dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
