"""Errors as a compiler prints them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cnnscope.errors import CnnscopeError, Diagnostic, Note, Span
from cnnscope.render import diagnostics

SPEC = ["cnnscope: 1", "layers:", "  - conv: {filters: 6, kernel: 5}", "\t- x", "  - use: {block: stage}"]


def lines(name: str) -> Sequence[str]:
    return SPEC if name == "net.yaml" else ()


def rendered(*found: Diagnostic) -> str:
    return diagnostics.text(CnnscopeError(*found), lines)


def test_the_place_is_shown_with_a_caret_and_the_help_below() -> None:
    error = Diagnostic(
        "E202", "`conv` has no argument `filters`", Span("net.yaml", 3, 12, 7), hint="did you mean `out`?"
    )
    assert rendered(error) == (
        "error[E202]: `conv` has no argument `filters`\n"
        " --> net.yaml:3:12\n"
        "  |\n"
        "3 |   - conv: {filters: 6, kernel: 5}\n"
        "  |            ^^^^^^^\n"
        "  = help: did you mean `out`?"
    )


def test_notes_have_places_of_their_own() -> None:
    use = Note("in stage.0, expanded from here", Span("net.yaml", 5, 5, 3))
    error = Diagnostic("E301", "it does not fit", Span("net.yaml", 3, 5, 4), (use, Note("and so on")))
    assert rendered(error) == (
        "error[E301]: it does not fit\n"
        " --> net.yaml:3:5\n"
        "  |\n"
        "3 |   - conv: {filters: 6, kernel: 5}\n"
        "  |     ^^^^\n"
        "note: in stage.0, expanded from here\n"
        " --> net.yaml:5:5\n"
        "  |\n"
        "5 |   - use: {block: stage}\n"
        "  |     ^^^\n"
        "  = note: and so on"
    )


def test_several_errors_are_kept_apart() -> None:
    assert rendered(Diagnostic("E401", "one"), Diagnostic("E402", "two")) == "error[E401]: one\n\nerror[E402]: two"


def test_tabs_line_up() -> None:
    assert rendered(Diagnostic("E101", "a tab", Span("net.yaml", 4, 2))).endswith("4 | \t- x\n  | \t^")


@pytest.mark.parametrize("span", [Span("gone.yaml", 3, 1), Span("net.yaml", 99, 1)])
def test_without_the_file_the_place_alone_is_named(span: Span) -> None:
    assert rendered(Diagnostic("E101", "m", span)) == f"error[E101]: m\n --> {span.file}:{span.line}:1".replace(
        " -->", " " * len(str(span.line)) + "-->"
    )


def test_a_long_line_is_cut_round_the_place() -> None:
    long = "a" * 500 + "BAD" + "c" * 500
    shown = diagnostics.text(CnnscopeError(Diagnostic("E101", "m", Span("f", 1, 501, 3))), lambda _: [long])
    excerpt, carets = shown.splitlines()[-2:]
    assert excerpt[carets.index("^") :].startswith("BAD")
    assert carets.count("^") == 3
    assert len(excerpt) < 120


def test_a_caret_never_points_past_the_line() -> None:
    shown = diagnostics.text(CnnscopeError(Diagnostic("E101", "m", Span("f", 1, 3, 50))), lambda _: ["abcd"])
    assert shown.endswith("1 | abcd\n  |   ^^")


def test_control_characters_are_written_out() -> None:
    shown = diagnostics.text(CnnscopeError(Diagnostic("E101", "a \x1b[2J", Span("f", 1, 2))), lambda _: ["\x1b[2Jx"])
    assert "\x1b" not in shown


def test_files_that_are_no_text_files_have_no_lines(tmp_path: Path) -> None:
    binary = tmp_path / "b"
    binary.write_bytes(b"\xff\xfe\x00")
    assert diagnostics.file_lines(str(binary)) == ["\ufffd\ufffd\x00"]
    assert diagnostics.file_lines(str(tmp_path)) == ()
    assert diagnostics.file_lines("nowhere") == ()
    assert diagnostics.file_lines("a\0b") == ()


def test_json_has_the_same_facts() -> None:
    note = Note("here", Span("net.yaml", 5, 5))
    error = CnnscopeError(Diagnostic("E202", "m", Span("net.yaml", 3, 12, 7), (note,), "h"), Diagnostic("E401", "n"))
    assert diagnostics.document(error) == {
        "format": "cnnscope.error",
        "format_version": "1.0",
        "errors": [
            {
                "code": "E202", "message": "m", "file": "net.yaml", "line": 3, "column": 12,
                "notes": [{"message": "here", "file": "net.yaml", "line": 5, "column": 5}], "hint": "h",
            },
            {"code": "E401", "message": "n", "file": None, "line": None, "column": None, "notes": [], "hint": None},
        ],
    }  # fmt: skip
