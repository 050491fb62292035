"""The part of a spec that is not layers: its inputs, reference totals, the files beside it, what it is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

from cnnscope.errors import CnnscopeError, Span, did_you_mean
from cnnscope.ops.arguments import MAX_INT, ArgumentError, Integers
from cnnscope.spec import expressions
from cnnscope.spec import problems as check
from cnnscope.spec.marks import Marked, mark
from cnnscope.spec.problems import Problems, kind_of, unknown
from cnnscope.spec.syntax import Document, Input

EXAMPLE = "{shape: [3, 224, 224]}"


def read_inputs(
    root: Marked, top: Mapping[str, Marked], params: Mapping[str, Marked], problems: Problems
) -> dict[str, Input]:
    """Returns the inputs by name; `input: {...}` is the one called ``input``."""
    start = root.span and Span(root.span.file, 1, 1)
    if "input" in top and "inputs" in top:
        problems.add("E103", "`input` and `inputs` exclude each other", root.keys.get("inputs", start))
    if "input" in top:
        return _read({"input": top["input"]}, root.keys, params, problems)
    if "inputs" not in top:
        problems.add("E103", "`input` is missing", start, hint=f"write `input: {EXAMPLE}`")
        return {}
    result: dict[str, Input] = {}
    with problems.caught():
        marks = check.mapping(top["inputs"], "`inputs`", example=f"`inputs: {{left: {EXAMPLE}, ...}}`")
        if not marks:
            problems.add("E103", "`inputs` is empty", top["inputs"].span)
        result = _read(marks, top["inputs"].keys, params, problems)
    if len({entry.layout for entry in result.values()}) > 1:
        problems.add("E203", "all inputs share one `layout`", top["inputs"].span)
    return result


def _read(
    marks: Mapping[str, Marked], keys: Mapping[str, Span], params: Mapping[str, Marked], problems: Problems
) -> dict[str, Input]:
    result: dict[str, Input] = {}
    for name, value in marks.items():
        with problems.caught():
            check.name(name, keys.get(name, value.span))
            result[name] = _input(name, value, params, problems)
    return result


def _input(name: str, value: Marked, params: Mapping[str, Marked], problems: Problems) -> Input:
    entries = check.mapping(value, f"`{name}`", example=f"`{name}: {EXAMPLE}`")
    check.only(value, ("shape", "layout"), f"`{name}`", problems, aliases={"size": "shape", "format": "layout"})
    if "shape" not in entries:
        raise CnnscopeError.of("E204", f"`{name}` needs `shape`", span=value.span, hint=f"write `{name}: {EXAMPLE}`")
    layout = _layout(entries["layout"]) if "layout" in entries else "CHW"
    written, named = _defaults(entries["shape"], params)
    shape = read_shape(written, f"`shape` of `{name}`")
    if "layout" not in entries and looks_like_hwc(shape):  # without this error the results would be wrong but plausible
        message = f"`shape` of `{name}` says {shape[0]} channels of {shape[1]}x{shape[2]}"
        hint = "say `layout: HWC`, or `layout: CHW` if that is meant"
        raise CnnscopeError.of("E203", message, span=entries["shape"].span, hint=hint)
    return Input(shape, layout, entries["shape"].span, named)


def _defaults(shape: Marked, params: Mapping[str, Marked]) -> tuple[Marked, dict[int, str]]:
    """Returns the shape with the default in place of each ``$parameter``, and which axes those are."""
    if not isinstance(shape.value, list):
        return shape, {}
    named = {}
    for axis, item in enumerate(shape.value):
        text = str(item.value)[1:] if expressions.is_expression(item.value) else ""
        if text in params and isinstance(params[text].value, int):
            named[axis] = text
    extents = [params[named[axis]] if axis in named else item for axis, item in enumerate(shape.value)]
    return replace(shape, value=extents), named


def _layout(value: Marked) -> Literal["CHW", "HWC"]:
    if value.value == "CHW":
        return "CHW"
    if value.value == "HWC":
        return "HWC"
    hint = did_you_mean(str(value.value).upper(), ("CHW", "HWC"))
    raise CnnscopeError.of("E203", f"`layout` is CHW or HWC, not {kind_of(value)}", span=value.span, hint=hint)


def read_shape(value: Marked, what: str) -> tuple[int, ...]:
    """Returns a shape: one number (a vector), or channels and one to three spatial sizes. Raises E203."""
    try:
        shape = Integers(1).read(value.plain(), None)
    except ArgumentError as error:
        raise CnnscopeError.of("E203", f"{what}: {error.message}", span=value.find(error.where)) from None
    if len(shape) > 4:
        message = f"{what} has {len(shape)} numbers, but channels and at most three spatial sizes are read"
        raise CnnscopeError.of("E203", message, span=value.span, hint="leave the batch out")
    if prod(shape) > MAX_INT:
        raise CnnscopeError.of("E203", f"{what}: more elements than 64 bits count", span=value.span)
    return shape


def looks_like_hwc(shape: Sequence[int]) -> bool:
    """Returns whether a shape without a layout is almost surely height, width, channels, such as 224x224x3."""
    return len(shape) == 3 and shape[0] == shape[1] > 4 and shape[2] in (1, 3, 4)


def input_shapes(
    document: Document, given: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes given, by input name; raises E205 for an unknown name, E203 for what is no shape."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(document.inputs) > 1:
            names = ", ".join(f"`{name}`" for name in document.inputs)
            raise CnnscopeError.of("E203", f"the network has several inputs: {names}", hint="give each shape its name")
        given = dict.fromkeys(document.inputs, given)
    for name in given:
        if name not in document.inputs:
            raise CnnscopeError(unknown("there is no input", name, document.inputs, None, code="E205"))
    return {name: read_shape(mark(list(shape)), f"the shape of `{name}`") for name, shape in given.items()}


KEYS = ("about", "reference", "weights", "data", "preprocess", "labels")


@dataclass(frozen=True, slots=True)
class FieldKind:
    """What a value must be: in words, as a test of the plain value, as JSON Schema."""

    words: str
    holds: Callable[[Any], bool]
    schema: Mapping[str, Any]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_label(value: Any) -> bool:
    return _is_text(value) or _is_number(value)


def _one_or_more(one: Callable[[Any], bool], most: int) -> Callable[[Any], bool]:
    return lambda value: one(value) or (isinstance(value, list) and 1 <= len(value) <= most and all(map(one, value)))


def _one_or_list(schema: Mapping[str, Any], most: int) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "array", "items": schema, "minItems": 1, "maxItems": most}]}


_MANY = 100_000
_TEXT_SCHEMA = {"type": "string", "minLength": 1}
_SIZE_SCHEMA = {"type": "integer", "minimum": 1}
TEXT = FieldKind("text", _is_text, _TEXT_SCHEMA)
COUNT = FieldKind("a whole number >= 0", _is_count, {"type": "integer", "minimum": 0})
SIZE = FieldKind(
    "a size in pixels, or one per axis",
    _one_or_more(lambda value: _is_count(value) and value > 0, 3), _one_or_list(_SIZE_SCHEMA, 3),
)  # fmt: skip
NUMBERS = FieldKind(
    "a number, or one per channel", _one_or_more(_is_number, _MANY), _one_or_list({"type": "number"}, _MANY)
)
BORDERS = ("crop", "reflect", "zero", "mean", "circular")
"""What is beyond the border of an image that is moved: a larger crop, its mirror image, black, grey, or the image
again.
"""
BORDER = FieldKind(f"one of {', '.join(BORDERS)}", lambda value: value in BORDERS, {"enum": list(BORDERS)})
LABELS = FieldKind(
    "a file, or a list of names",
    lambda value: _is_text(value) or (isinstance(value, list) and _one_or_more(_is_label, _MANY)(value)),
    {"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}]},
)

FIELDS: Mapping[str, Mapping[str, FieldKind]] = {
    "about": {"title": TEXT, "year": COUNT, "source": TEXT},
    "reference": {"params": COUNT, "macs": COUNT, "source": TEXT},
    "preprocess": {"resize": SIZE, "crop": SIZE, "mean": NUMBERS, "std": NUMBERS, "border": BORDER},
}
"""The sections by key, and what each of their values must be."""
FILES: Mapping[str, FieldKind] = {"weights": TEXT, "data": TEXT, "labels": LABELS}


def read_metadata(top: Mapping[str, Marked], problems: Problems) -> dict[str, Any]:
    """Returns plain values by key. What is wrong is recorded and left out."""
    result: dict[str, Any] = {}
    for key, kinds in FIELDS.items():
        if key in top:
            with problems.caught():
                check.mapping(top[key], f"`{key}`", example=f"`{key}: {{{', '.join(f'{f}: ...' for f in kinds)}}}`")
                check.only(top[key], kinds, f"`{key}`", problems)
                result[key] = {
                    field: value.plain()
                    for field, value in top[key].entries.items()
                    if field in kinds and _good(f"`{field}` of `{key}`", value, kinds[field], problems)
                }
    for key, kind in FILES.items():
        if key in top and _good(f"`{key}`", top[key], kind, problems):
            result[key] = top[key].plain()
    return result


def _good(what: str, value: Marked, kind: FieldKind, problems: Problems) -> bool:
    good = kind.holds(value.plain())
    if not good:
        problems.add("E203", f"{what} is {kind.words}, not {kind_of(value)}", value.span)
    return good
