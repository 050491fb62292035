"""Network inputs: their shapes as written, and shapes given from outside instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

from cnnscope.errors import CnnscopeError, Span, did_you_mean
from cnnscope.ops.arguments import MAX_INT, ArgumentError, Integers
from cnnscope.spec import problems as check
from cnnscope.spec.marks import Marked, mark
from cnnscope.spec.problems import Problems, kind_of, unknown
from cnnscope.spec.syntax import Document, Input

EXAMPLE = "{shape: [3, 224, 224]}"


def read_inputs(root: Marked, top: Mapping[str, Marked], problems: Problems) -> dict[str, Input]:
    """The inputs by name; `input: {...}` is the one called ``input``."""
    start = root.span and Span(root.span.file, 1, 1)
    if "input" in top and "inputs" in top:
        problems.add("E103", "`input` and `inputs` exclude each other", root.keys.get("inputs", start))
    if "input" in top:
        return _read({"input": top["input"]}, root.keys, problems)
    if "inputs" not in top:
        problems.add("E103", "`input` is missing", start, hint=f"write `input: {EXAMPLE}`")
        return {}
    result: dict[str, Input] = {}
    with problems.caught():
        marks = check.mapping(top["inputs"], "`inputs`", example=f"`inputs: {{left: {EXAMPLE}, ...}}`")
        if not marks:
            problems.add("E103", "`inputs` is empty", top["inputs"].span)
        result = _read(marks, top["inputs"].keys, problems)
    if len({entry.layout for entry in result.values()}) > 1:
        problems.add("E203", "all inputs share one `layout`", top["inputs"].span)
    return result


def _read(marks: Mapping[str, Marked], keys: Mapping[str, Span], problems: Problems) -> dict[str, Input]:
    result: dict[str, Input] = {}
    for name, value in marks.items():
        with problems.caught():
            check.name(name, keys.get(name, value.span))
            result[name] = _input(name, value, problems)
    return result


def _input(name: str, value: Marked, problems: Problems) -> Input:
    entries = check.mapping(value, f"`{name}`", example=f"`{name}: {EXAMPLE}`")
    check.only(value, ("shape", "layout"), f"`{name}`", problems, aliases={"size": "shape", "format": "layout"})
    if "shape" not in entries:
        raise CnnscopeError.of("E204", f"`{name}` needs `shape`", span=value.span, hint=f"write `{name}: {EXAMPLE}`")
    layout = _layout(entries["layout"]) if "layout" in entries else "CHW"
    shape = read_shape(entries["shape"], f"`shape` of `{name}`")
    if "layout" not in entries and looks_like_hwc(shape):  # silence would give plausible nonsense
        message = f"`shape` of `{name}` says {shape[0]} channels of {shape[1]}x{shape[2]}"
        hint = "say `layout: HWC`, or `layout: CHW` if that is meant"
        raise CnnscopeError.of("E203", message, span=entries["shape"].span, hint=hint)
    return Input(shape, layout, entries["shape"].span)


def _layout(value: Marked) -> Literal["CHW", "HWC"]:
    if value.value == "CHW":
        return "CHW"
    if value.value == "HWC":
        return "HWC"
    hint = did_you_mean(str(value.value).upper(), ("CHW", "HWC"))
    raise CnnscopeError.of("E203", f"`layout` is CHW or HWC, not {kind_of(value)}", span=value.span, hint=hint)


def read_shape(value: Marked, what: str) -> tuple[int, ...]:
    """A shape of one number (a vector) or of channels and one to three spatial sizes, or E203."""
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
    """Whether a shape without a layout is nearly surely height, width, channels, such as 224x224x3."""
    return len(shape) == 3 and shape[0] == shape[1] > 4 and shape[2] in (1, 3, 4)


def input_shapes(
    document: Document, given: Sequence[int] | Mapping[str, Sequence[int]] | None
) -> dict[str, tuple[int, ...]]:
    """Replacement shapes by input name; E205 for an unknown name, E203 for what is no shape."""
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
