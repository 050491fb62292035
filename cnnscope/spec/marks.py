"""Turns YAML text into a tree of marked values: every value knows where it was written.

The tree is built from ruamel.yaml's parser events on a stack of our own. So excessive depth or size, and every YAML
feature that the language does without, are refused where they appear. Scalars follow the YAML 1.2 core schema: ``no``
is a string, ``1e-3`` a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span
from cnnscope.ops.arguments import shown
from cnnscope.spec.text import MAX_BYTES, Scalar, events, resolve

MAX_DEPTH = 100
MAX_VALUES = 300_000


@dataclass(frozen=True, slots=True)
class Marked:
    """A scalar, a list or a mapping, and the place where it was written. ``keys`` has the places of a
    mapping's keys.
    """

    value: Scalar | list[Marked] | dict[str, Marked]
    span: Span | None = None
    keys: Mapping[str, Span] = field(default_factory=dict)

    @property
    def items(self) -> list[Marked]:
        """The elements of a list."""
        assert isinstance(self.value, list)
        return self.value

    @property
    def entries(self) -> dict[str, Marked]:
        """The entries of a mapping."""
        assert isinstance(self.value, dict)
        return self.value

    def plain(self) -> Any:
        """Returns the value without its marks."""
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def find(self, path: tuple[str | int, ...]) -> Span | None:
        """Returns the place of the value under ``path``, or of the nearest value around it that has one."""
        place = self.span
        here: Marked | None = self
        for key in path:
            here = here.child(key) if here else None
            place = (here.span if here else None) or place
        return place

    def child(self, key: str | int) -> Marked | None:
        """Returns the value directly under ``key``; None if there is none."""
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key]
        return self.value.get(key) if isinstance(self.value, dict) and isinstance(key, str) else None


def mark(value: Any, span: Span | None = None) -> Marked:
    """Returns plain data as marked data with one place for all of it."""
    if isinstance(value, (list, tuple)):
        return Marked([mark(item, span) for item in value], span)
    if isinstance(value, dict):
        return Marked({str(key): mark(item, span) for key, item in value.items()}, span)
    return Marked(value, span)


def parse(text: str | bytes, filename: str) -> Marked:
    """Returns the only document in ``text``; raises `CnnscopeError` with a place for anything but plain YAML of
    reasonable size.
    """
    if len(text) > MAX_BYTES:
        raise CnnscopeError.of(
            "E105", f"the file is larger than {MAX_BYTES // 1_000_000} MB", span=Span(filename, 1, 1),
            hint="write repeated layers with `use: {block: ..., repeat: ...}`",
        )  # fmt: skip
    text = decode(text, filename) if isinstance(text, bytes) else text
    if not text.strip():
        raise CnnscopeError.of("E101", "the file is empty", span=Span(filename, 1, 1), hint=_START)
    return _Builder(filename, text).build()


_START = "a spec starts with `cnnscope: 1`"


def decode(data: bytes, filename: str) -> str:
    """Returns UTF-8 bytes as text, without a byte order mark; raises E101."""
    if b"\0" in data:
        raise CnnscopeError.of("E101", "this is a binary file, not YAML", span=Span(filename, 1, 1), hint=_START)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise CnnscopeError.of(
            "E101", f"byte 0x{data[error.start]:02x} is not UTF-8", span=Span(filename, line, column),
            hint="save the file as UTF-8",
        ) from None  # fmt: skip


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been seen."""

    span: Span
    value: list[Marked] | dict[str, Marked]
    keys: dict[str, Span] = field(default_factory=dict)
    key: str | None = None


class _Builder:
    """The stack machine from events to one `Marked` tree."""

    def __init__(self, filename: str, text: str) -> None:
        self.filename, self.text = filename, text
        self.stack: list[_Open] = []
        self.root: Marked | None = None
        self.count = 0

    def build(self) -> Marked:
        for kind, event in events(self.text, self.filename):
            span = self._span(event)
            match kind:
                case "DocumentStartEvent" if self.root is not None:
                    raise CnnscopeError.of("E107", "a spec is one YAML document, but another starts here", span=span)
                case "AliasEvent":
                    raise _refused(f"alias {shown('*' + event.anchor)}", span)
                case "ScalarEvent":
                    self._scalar(event, span)
                case "SequenceStartEvent" | "MappingStartEvent":
                    self._refuse_properties(event, span)
                    self._open(_Open(span, [] if kind == "SequenceStartEvent" else {}))
                case "SequenceEndEvent" | "MappingEndEvent":
                    self._close(event)
        if self.root is None:
            raise CnnscopeError.of("E101", "the file holds no value", span=Span(self.filename, 1, 1), hint=_START)
        return self.root

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        length = end.column - start.column if end.line == start.line else 1
        return Span(self.filename, start.line + 1, start.column + 1, max(length, 1))

    def _refuse_properties(self, event: Any, span: Span) -> None:
        if event.anchor:
            raise _refused(f"anchor {shown('&' + event.anchor)}", span)
        if event.tag is not None:
            raise _refused(f"tag {shown(event.tag)}", span)

    def _scalar(self, event: Any, span: Span) -> None:
        self._refuse_properties(event, span)
        text = event.value
        if self._expects_key():
            self._key(text, event.style is None, span)
            return
        value = resolve(text, span) if event.style is None else text
        # an empty value has no place of its own: use that of its key
        if text == "" and event.style is None and self.stack:
            span = self.stack[-1].keys.get(self.stack[-1].key or "", span)
        self._place(Marked(value, span))

    def _expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def _key(self, text: str, plain: bool, span: Span) -> None:
        top = self.stack[-1]
        if plain and text == "<<":
            raise _refused("merge key `<<`", span)
        if text in top.keys:
            first = top.keys[text]
            message = f"duplicate key {shown(text)} (first on line {first.line})"
            raise CnnscopeError(Diagnostic("E102", message, span, (Note("first here", first),)))
        top.keys[text] = span
        top.key = text

    def _place(self, node: Marked) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            raise CnnscopeError.of(
                "E105", f"the file holds more than {MAX_VALUES:,} values", span=node.span,
                hint="write repeated layers with `use: {block: ..., repeat: ...}`",
            )  # fmt: skip
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(node)
        else:
            assert top.key is not None
            top.value[top.key] = node
            top.key = None

    def _open(self, opened: _Open) -> None:
        if self._expects_key():
            raise CnnscopeError.of("E101", "a key is a word, not a list or a mapping", span=opened.span)
        if len(self.stack) >= MAX_DEPTH:
            raise CnnscopeError.of("E105", f"values nest deeper than {MAX_DEPTH} levels", span=opened.span)
        self.stack.append(opened)

    def _close(self, event: Any) -> None:
        closed = self.stack.pop()
        span, end = closed.span, event.end_mark
        if end.line + 1 == span.line:
            span = replace(span, length=max(end.column + 1 - span.column, 1))
        self._place(Marked(closed.value, span, closed.keys))


def _refused(what: str, span: Span) -> CnnscopeError:
    hint = "write repeated parts as `blocks:`, repeated values as `params:` or `defaults:`"
    return CnnscopeError.of("E107", f"the spec language has no {what}", span=span, hint=hint)
