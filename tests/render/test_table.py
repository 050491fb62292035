"""Tables as text, Markdown and HTML: nothing is lost in any of them."""

from __future__ import annotations

from cnnscope.render.table import Column, Line, Table, html_table, markdown, plain

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
