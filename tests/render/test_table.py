"""Tables as text, Markdown, HTML and on a terminal: nothing is lost in any of them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cnnscope.render.table import Column, Line, RichTable, Table, html_table, markdown, plain

TABLE = Table(
    title="a | title",
    intro="what it is",
    columns=(Column("layer"), Column("type"), Column("params", right=True)),
    lines=(
        Line(("block", "kind", "")),
        Line(("c1", "conv <5x5>, batchnorm, relu", "156"), indent=1),
        Line(("fc", "linear", "48,120")),
    ),
    total=Line(("total", "", "48,276")),
    notes=("a note",),
)


def test_plain_text_is_aligned_without_lines() -> None:
    assert plain(TABLE) == (
        "a | title\n\nwhat it is\n\n"
        "layer  type                         params\n"
        "block  kind\n"
        "  c1   conv <5x5>, batchnorm, relu     156\n"
        "fc     linear                       48,120\n\n"
        "total                               48,276\n\n"
        "a note"
    )


def test_markdown_escapes_what_markdown_would_read() -> None:
    assert markdown(TABLE) == (
        "**a \\| title**\n\nwhat it is\n\n"
        "| layer | type | params |\n| --- | --- | ---: |\n"
        "| block | kind |  |\n"
        "| &nbsp;&nbsp;&nbsp;&nbsp;c1 | conv \\<5x5>, batchnorm, relu | 156 |\n"
        "| fc | linear | 48,120 |\n| total |  | 48,276 |\n\n"
        "a note"
    )


def test_html_escapes_text_and_has_every_cell() -> None:
    page = html_table(TABLE)
    assert "conv &lt;5x5&gt;" in page
    assert "<5x5>" not in page
    for line in TABLE.lines:
        for cell in line.cells[1:]:
            assert cell.replace("<", "&lt;").replace(">", "&gt;") in page


@pytest.mark.parametrize("width", [200, 40, 30, 20])
def test_a_terminal_of_any_width_shows_every_character(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(RichTable(TABLE))
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    assert "\u2026" not in shown  # the ellipsis of a truncated cell
    for cell in ("48,276", "48,120", "156") if width >= TABLE.narrowest else ():
        assert cell in shown
    letters = sorted(c for c in shown if c.isalnum())
    wanted = "".join(cell for line in TABLE.all_lines for cell in line.cells)
    wanted += "".join(column.heading for column in TABLE.columns) + TABLE.title + TABLE.intro + "".join(TABLE.notes)
    assert letters == sorted(c for c in wanted if c.isalnum())
