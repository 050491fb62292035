"""The reference of layer types, written from their classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

from cnnscope.ops import CATEGORIES, REGISTRY, Case, Op
from cnnscope.ops.base import shape_text
from cnnscope.render.documents.document import INLINE, Document
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Line, Table, left
from cnnscope.spec.jsonschema import language
from cnnscope.spec.structures import COMMON_KEYS, STRUCTURES_EXPLAINED, Key, Structure


@dataclass(frozen=True, kw_only=True)
class OpArgument:
    """An argument of a layer type."""

    name: str
    required: bool
    default: str | None
    takes: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class OpFacts:
    """A layer type."""

    tag: str
    category: str
    about: str
    accepts: Sequence[str]
    short: str | None
    decorates: bool
    arguments: Sequence[OpArgument]
    examples: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class OpsDocument(Document):
    """All layer types: ``cnnscope ops``."""

    format: Literal["cnnscope.ops"] = "cnnscope.ops"
    ops: Sequence[OpFacts]


@dataclass(frozen=True, kw_only=True)
class OpDocument(Document):
    """One layer type: ``cnnscope ops NAME``."""

    format: Literal["cnnscope.op"] = "cnnscope.op"
    facts: OpFacts = field(metadata=INLINE)


@dataclass(frozen=True)
class OpList(Result):
    """All layer types by category."""

    ops: tuple[type[Op], ...]
    bare: bool = False

    @classmethod
    def of_registry(cls, bare: bool = False) -> OpList:
        """Everything registered, categories in their fixed order."""
        order = {category: i for i, category in enumerate(CATEGORIES)}
        return cls(tuple(sorted(REGISTRY.values(), key=lambda op: (order[op.category], op.tag))), bare)

    def as_document(self) -> Document:
        return OpsDocument(ops=[_facts(op) for op in self.ops])

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"tag": op.tag, "category": op.category, "arguments": signature(op), "about": headline(op)}
            for op in self.ops
        ]

    def table(self) -> Table:
        headings = (*left("layer type"), *left("category", rank=1), *left("arguments", "what it does"))
        lines = (Line((op.tag, op.category, signature(op), headline(op)), name_style="bold") for op in self.ops)
        words = ", ".join(f"`{word}`" for word in STRUCTURES_EXPLAINED)
        notes = () if self.bare else (f"`cnnscope ops NAME` shows all of one type, and explains {words}.",)
        return Table("", headings, tuple(lines), notes=notes)


@dataclass(frozen=True)
class OpReference(Result):
    """The page of one layer type: what it does, its arguments, worked examples."""

    op: type[Op]

    def as_document(self) -> Document:
        return OpDocument(facts=_facts(self.op))

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"argument": name, "default": default, "takes": kind.describe()}
            for name, default, kind in _arguments(self.op)
        ]

    def table(self) -> Table:
        rows = [(name, default, kind.describe()) for name, default, kind in _arguments(self.op)]
        if self.op.decorates:
            rows += [("norm", _UNSET, "a normalisation behind it"), ("act", _UNSET, "an activation behind that")]
        return Table(
            title=f"{self.op.tag}: {headline(self.op)}",
            intro=documentation(self.op).partition("\n\n")[2],
            columns=left("argument", "default", "takes"),
            lines=tuple(Line(row, name_style="bold") for row in rows),
            notes=tuple(self._notes()),
        )

    def _notes(self) -> list[str]:
        notes = [f"takes {' or '.join(self.op.accepts)}; category {self.op.category}"]
        if self.op.short:
            notes.append(f"`{self.op.tag}: VALUE` is short for `{self.op.tag}: {{{self.op.short}: VALUE}}`")
        if self.op.aliases:
            named = ", ".join(f"{theirs} = {ours}" for theirs, ours in self.op.aliases.items())
            notes.append(f"called elsewhere: {named}")
        return [*notes, "", *(example(self.op, case) for case in self.op.cases)]


@dataclass(frozen=True)
class WordReference(Result):
    """The page of a word that builds networks out of layers: `use`, `residual`, `reuse`, `heads`."""

    word: str

    @property
    def _structure(self) -> Structure:
        return STRUCTURES_EXPLAINED[self.word]

    def _keys(self) -> dict[str, Key]:
        common = language()["definitions"][self.word] if self._structure.layer else {}
        own = dict(self._structure.keys)
        return own | {name: key for name, key in COMMON_KEYS.items() if name in _properties(common)}

    def as_document(self) -> Document:
        head = self.word if self._structure.layer else "head"
        properties = _properties(language()["definitions"][head])
        arguments = [
            OpArgument(
                name=name, required=key.default is None, default=None if key.default == _UNSET else key.default,
                takes=key.takes, schema=properties[name],
            )
            for name, key in self._keys().items()
        ]  # fmt: skip
        facts = OpFacts(
            tag=self.word, category="structure", about=self._structure.about, accepts=(), short=None, decorates=False,
            arguments=arguments, examples=self._structure.examples,
        )  # fmt: skip
        return OpDocument(facts=facts)

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"argument": name, "default": key.default or _REQUIRED, "takes": key.takes}
            for name, key in self._keys().items()
        ]

    def table(self) -> Table:
        headline, _, intro = self._structure.about.partition("\n\n")
        rows = [(name, key.default or _REQUIRED, key.takes) for name, key in self._keys().items()]
        place = "a layer of `layers`" if self._structure.layer else "a key of the spec"
        return Table(
            title=f"{self.word}: {headline.rstrip('.')}",
            intro=intro,
            columns=left("key", "default", "takes"),
            lines=tuple(Line(row, name_style="bold") for row in rows),
            notes=(f"{place}; docs/spec-language.md has more of it", "", *self._structure.examples),
        )


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of a schema, or of the one among its alternatives that has some."""
    found = next((choice for choice in schema.get("anyOf", ()) if "properties" in choice), schema)
    properties: Mapping[str, Any] = found.get("properties", {})
    return properties


def documentation(op: type[Op]) -> str:
    """The docstring of the class as plain text."""
    return (inspect.getdoc(op) or "").replace("``", "`")


def headline(op: type[Op]) -> str:
    """The first sentence of what it does."""
    paragraph = " ".join(documentation(op).partition("\n\n")[0].split())
    return re.split(r"(?<!\.)\. ", paragraph)[0].rstrip(".")


def signature(op: type[Op]) -> str:
    """``out, kernel, stride=1``; optional arguments without a default are in brackets."""
    shown = {_REQUIRED: "{0}", _UNSET: "[{0}]"}
    return ", ".join(shown.get(default, "{0}={1}").format(name, default) for name, default, _ in _arguments(op))


_REQUIRED = "required"
_UNSET = "-"


def _arguments(op: type[Op]) -> list[tuple[str, str, Any]]:
    return [(name, _default(kind, default), kind) for name, (kind, default) in op.parameters().items()]


def _default(kind: Any, default: Any) -> str:
    if default is MISSING:
        return _REQUIRED
    if kind.spatial and isinstance(default, tuple):  # stated for one axis, meant for all
        (default,) = default
        if isinstance(default, tuple) and len(set(default)) == 1:
            default = default[0]
    return _UNSET if default is None else flow(default)


def flow(value: Any) -> str:
    """A plain value as YAML on one line."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "~"
        case Mapping():
            return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
    return str(value)


def example(op: type[Op], case: Case) -> str:
    """``- conv: {out: 6, kernel: 5}  on 1x32x32 gives 6x28x28, 156 params, 117,600 MACs``."""
    arguments = case.args.get(op.short or "") if len(case.args) == 1 and op.short in case.args else case.args
    layer = f"- {op.tag}: {flow(arguments)}" if case.args else f"- {op.tag}"
    shapes = case.x if case.x and isinstance(case.x[0], tuple) else (case.x,)
    inputs = " and ".join(shape_text(shape) for shape in shapes)  # type: ignore[arg-type]  # narrowed above
    costs = [f"{n:,} {unit}" for n, unit in ((case.params, "params"), (case.macs, "MACs")) if n]
    return f"{layer}  on {inputs} gives {', '.join((shape_text(case.shape), *costs))}"


def _facts(op: type[Op]) -> OpFacts:
    return OpFacts(
        tag=op.tag, category=op.category, about=documentation(op), accepts=op.accepts, short=op.short,
        decorates=op.decorates,
        arguments=[
            OpArgument(
                name=name, required=default == _REQUIRED, default=None if default in (_REQUIRED, _UNSET) else default,
                takes=kind.describe(), schema=kind.schema(),
            )
            for name, default, kind in _arguments(op)
        ],
        examples=[example(op, case) for case in op.cases],
    )  # fmt: skip
