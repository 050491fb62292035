"""Tables on a terminal: no line is too wide, no word is cut that fits, and what is left out is said."""

from __future__ import annotations

import io
import random

import pytest
from rich.console import Console

from cnnscope.render.folding import cells, folded, paragraphs
from cnnscope.render.table import Line, Table, left, right
from cnnscope.render.terminal import RichTable

TABLE = Table(
    title="a | title",
    intro="what it is",
    columns=(*left("layer"), *left("type", rank=1), *right("params"), *right("share", rank=2)),
    lines=(
        Line(("block", "kind", "", "")),
        Line(("c1", "conv <5x5>, batchnorm, relu", "156", "0.3 %"), indent=1),
        Line(("fc", "linear", "48,120", "99.7 %")),
    ),
    total=Line(("total", "", "48,276", "all")),
    notes=("a note",),
)


def shown(table: Table, width: int, *, whole: bool = False) -> list[str]:
    """The lines on a terminal without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(RichTable(table, whole))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    return text.split("\n")[:-1]


def test_a_wide_terminal_has_every_column_once() -> None:
    assert shown(TABLE, 100) == [
        "a | title", "", "what it is", "",
        "layer  type                         params   share",
        "\u2500" * 50,
        "block  kind",
        "  c1   conv <5x5>, batchnorm, relu     156   0.3 %",
        "fc     linear                       48,120  99.7 %",
        "\u2500" * 50,
        "total                               48,276     all",
        "", "a note",
    ]  # fmt: skip


def test_text_folds_between_words_before_a_column_is_left_out() -> None:
    lines = shown(TABLE, 41)
    assert "  c1   conv <5x5>,            156   0.3 %" in lines
    assert "       batchnorm, relu" in lines
    assert not any("hidden" in line for line in lines)


def test_the_least_important_column_goes_first_and_is_named_with_its_total() -> None:
    lines = shown(TABLE, 38)
    assert "fc     linear                   48,120" in lines
    assert "99.7 %" not in " ".join(lines)
    assert "hidden here, shown with -v or on a wider terminal: share (total all)" in " ".join(lines)
    narrow = " ".join(shown(TABLE, 20))
    assert "batchnorm" not in narrow
    assert "48,276" in narrow
    assert "type, share" in narrow


@pytest.mark.parametrize("width", [40, 30, 24])
def test_the_whole_table_comes_in_parts_that_all_begin_with_the_name(width: int) -> None:
    lines = shown(TABLE, width, whole=True)
    text = " ".join(lines)
    assert "hidden" not in text
    for cell in ("48,276", "48,120", "156", "99.7 %", "batchnorm,", "relu", "all"):
        assert cell in text
    parts = sum(line.startswith("layer") for line in lines)
    assert sum(line.startswith("total") for line in lines) == parts
    assert width > 30 or parts > 1


def test_no_line_is_too_wide_and_no_character_is_lost() -> None:
    """Tables of random words and figures, at random widths."""
    draw = random.Random(0)
    for _ in range(60):
        columns = (*left("name"), *(draw.choice((left, right))(f"c{i}", rank=draw.randrange(3)) for i in range(4)))
        heads = [column if isinstance(column, tuple) else (column,) for column in columns]
        flat = tuple(one for some in heads for one in some)
        rows = [tuple("." .join("x" * draw.randrange(1, 9) for _ in range(draw.randrange(1, 6))) for _ in flat)
                for _ in range(3)]  # fmt: skip
        table = Table("", flat, tuple(Line(row, draw.randrange(3)) for row in rows))
        width = draw.randrange(8, 90)
        lines = shown(table, width, whole=True)
        assert max(map(cells, lines)) <= width
        found, wanted = "".join(lines).count("x"), sum(cell.count("x") for row in rows for cell in row)
        assert found >= wanted


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("one two", 9, ["one two"]),
        ("one two three", 9, ["one two", "three"]),
        ("backbone.body.layer1.0.conv1", 12, ["backbone.", "body.layer1.", "0.conv1"]),
        ("<overview|block|layer|op>", 16, ["<overview|block|", "layer|op>"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("1 0 -1; 2 0 -2; 1 0 -1", 12, ["1 0 -1;", "2 0 -2;", "1 0 -1"]),
        ("\u5c42\u5c42\u5c42", 4, ["\u5c42\u5c42", "\u5c42"]),
        ("", 4, [""]),
    ],
)
def test_words_stay_whole_where_they_fit(text: str, width: int, lines: list[str]) -> None:
    assert folded(text, width) == lines


def test_what_is_folded_hangs_below_its_beginning() -> None:
    assert paragraphs("compute      1 MACs and\n- a list of words", 22) == [
        "compute      1 MACs", "             and", "- a list of words",
    ]  # fmt: skip
    assert paragraphs("- a list of words", 12) == ["- a list of", "  words"]


def test_wide_characters_are_counted_as_wide() -> None:
    table = Table("", (*left("name"), *right("n")), (Line(("\u5c42.conv", "1")), Line(("a", "22"))))
    assert shown(table, 80)[2:] == ["\u5c42.conv   1", "a        22"]
