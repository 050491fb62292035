"""ruamel.yaml's parser events, and its complaints as diagnostics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span


def events(text: str, filename: str) -> Iterator[tuple[str, Any]]:
    """ruamel.yaml's events by class name; its syntax errors as E101."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            yield type(event).__name__, event
    except MarkedYAMLError as error:
        raise CnnscopeError(_syntax_error(error, text, filename)) from None
    except YAMLError as error:  # the reader's, for characters YAML does not allow
        raise CnnscopeError(_character_error(error, text, filename)) from None


def _syntax_error(error: Any, text: str, filename: str) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    span = Span(filename, mark.line + 1, mark.column + 1) if mark else Span(filename, 1, 1)
    problem = str(error.problem or error.context or "it cannot be read").strip().replace("'", "`")
    lines = text.splitlines()
    line = lines[span.line - 1] if span.line <= len(lines) else ""
    hint = None
    if "${" in line and '"${' not in line and "'${" not in line:
        hint = 'quote expressions: "${4 * w}"'
    elif "\t" in line[: len(line) - len(line.lstrip())]:
        hint = "indent with spaces, not tabs"
    elif problem.startswith("mapping values"):
        hint = "quote text that holds a colon"
    notes: tuple[Note, ...] = ()
    if error.context and error.context_mark and error.problem:
        notes = (Note(str(error.context), Span(filename, error.context_mark.line + 1, error.context_mark.column + 1)),)
    return Diagnostic("E101", f"not YAML: {problem}", span, notes, hint)


def _character_error(error: Any, text: str, filename: str) -> Diagnostic:
    position = getattr(error, "position", None)
    if not isinstance(position, int) or position >= len(text):
        return Diagnostic("E101", "not YAML: it holds characters that YAML does not allow", Span(filename, 1, 1))
    before = text[:position]
    place = Span(filename, before.count("\n") + 1, position - before.rfind("\n"))
    return Diagnostic("E101", f"not YAML: character U+{ord(text[position]):04X} is not allowed", place)
