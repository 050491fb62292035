"""The table of a sheet as text: for the terminal, as Markdown, as LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from cnnscope.render import numbers
from cnnscope.render import table as tables
from cnnscope.render.diagram.sheet.figure import Sheet, facts
from cnnscope.render.diagram.sheet.rows import Row
from cnnscope.render.diagram.sheet.table import Cells, amount
from cnnscope.render.diagram.text import escape
from cnnscope.render.result import Cell as RecordCell
from cnnscope.render.style import shortened
from cnnscope.render.table import Line, Table, left, right

BRACKETS = {"top": ("⎡", "⎤"), "between": ("⎢", "⎥"), "bottom": ("⎣", "⎦"), "": (" ", " ")}
WIDEST = 24
"""Characters of a line of layers in a terminal of 80 columns."""
SIGNS = {"×": r"$\times$", "→": r"$\to$", "…": r"\ldots{}", "‖": r"$\|$", "≥": r"$\ge$", "\N{MINUS SIGN}": "$-$",
         "\N{EN DASH}": "--"}  # fmt: skip


def table(content: Sheet, *, bare: bool = False) -> Table:
    """The table for a terminal: a line for each layer of a row, figures beside the middle one. If ``bare``, without
    title and notes."""
    lines = [line for cell, new in _with_change(content) for line in _lines(cell, content, new=new)]
    return Table(
        title="" if bare else numbers.printable(content.found.graph.name),
        intro="" if bare else fill(facts(content), 80),
        columns=(*left("output", fold=False), *right("channels"), *left("layers", fold=False), *right("params", "MACs"),
                 *(right("RF") if content.look.rf else ())),
        lines=tuple(lines),
        total=_total(content),
        notes=() if bare else tuple(_notes(content)),
    )  # fmt: skip


def _with_change(content: Sheet) -> Iterator[tuple[Cells, bool]]:
    before = ""
    for cell in content.cells:
        yield cell, cell.output != before
        before = cell.output


def _lines(cell: Cells, content: Sheet, *, new: bool) -> Iterator[Line]:
    row = cell.row
    lines = [piece for line in row.lines for piece in _folded(line)]
    wide = max(map(len, lines))
    middle = (len(lines) - 1) // 2
    behind = [f"×{row.count}" if row.count > 1 else "", row.note]
    if len(lines) == 1 or not all(behind):
        behind = [" ".join(filter(None, behind)), ""]
    for k, text in enumerate(lines):
        place = "" if len(lines) == 1 else "top" if k == 0 else "bottom" if k == len(lines) - 1 else "between"
        opening, closing = BRACKETS[place]
        here = k == middle
        layers = f"{opening}{text:{wide}}{closing.strip()} {behind[k - middle] if 0 <= k - middle < 2 else ''}"
        cells = [cell.output if here and new else "", row.channels if here else "", layers.rstrip()]
        cells += [cell.params, cell.macs] if here else ["", ""]
        cells += [cell.field if here else ""] if content.look.rf else []
        yield Line(tuple(cells))


def _folded(line: str) -> Iterator[str]:
    """A line on as few lines of at most `WIDEST` characters as it needs, all nearly as long."""
    layers = line.strip().split(" → ")
    longest = max(len(line) / -(-len(line) // WIDEST) + 2, *map(len, layers))
    piece, *rest = layers
    for layer in rest:
        if len(piece) + len(layer) > longest:
            yield f"{piece} →"
            piece = layer
        else:
            piece += f" → {layer}"
    yield piece


def _behind(row: Row) -> str:
    """``×8 first /2``."""
    return " ".join(filter(None, (f"×{row.count}" if row.count > 1 else "", row.note)))


def _total(content: Sheet) -> Line:
    totals = content.found.totals
    sums = "total", "", "", amount(totals.params), amount(totals.macs, partial=totals.partial)
    return Line((*sums, "") if content.look.rf else sums)


def _notes(content: Sheet) -> Iterator[str]:
    written = [line for row in content.rows for line in (*row.lines, row.note)]
    if any("/" in line for line in written):
        yield "/2: stride 2; first /2: only the first of several has it"
    if any(row.count > 1 for row in content.rows):
        yield "×n: n in series, figures of all n together"


def records(content: Sheet) -> list[dict[str, RecordCell]]:
    """A flat record for each row, figures in full."""
    return [
        {
            "output": cell.output, "channels": cell.row.last.channels, "layers": "; ".join(cell.row.lines),
            "count": cell.row.count, "note": cell.row.note, "params": cell.row.cost.params, "macs": cell.row.cost.macs,
            "rf": cell.field,
        }
        for cell in content.cells
    ]  # fmt: skip


def to_markdown(content: Sheet, *, bare: bool = False) -> str:
    """A Markdown table, a line a row; if ``bare``, without title and notes."""
    rf = content.look.rf
    lines = [
        Line((cell.output if new else "", cell.row.channels, "; ".join(line.strip() for line in cell.row.lines),
              _behind(cell.row), cell.params, cell.macs, *([cell.field] if rf else [])))
        for cell, new in _with_change(content)
    ]  # fmt: skip
    total = _total(content)
    whole = Line((*total.cells[:3], "", *total.cells[3:]))
    columns = (*left("output"), *right("channels"), *left("layers", ""), *right("params", "MACs"),
               *(right("RF") if rf else ()))  # fmt: skip
    title, intro = ("", "") if bare else (numbers.printable(content.found.graph.name), facts(content))
    notes = () if bare else tuple(_notes(content))
    return tables.markdown(Table(title, columns, tuple(lines), whole, notes, intro)) + "\n"


def to_latex(content: Sheet) -> str:
    """A ``tabular`` with the rules of booktabs; packages are named in a comment."""
    return "\n".join(_latex(content)) + "\n"


def _latex(content: Sheet) -> Iterator[str]:
    rf = content.look.rf
    yield f"% {shortened(content.found.graph.name, 200)}: {facts(content)}".encode("ascii", "replace").decode()
    yield r"% \usepackage{booktabs}"
    yield rf"\begin{{tabular}}{{lrlrr{'r' * rf}}}"
    yield r"\toprule"
    yield rf"output & channels & layers & params & MACs{' & RF' * rf} \\"
    yield r"\midrule"
    first = True
    for cell, new in _with_change(content):
        if new and not first:
            yield r"\addlinespace"
        first = False
        cells = [_tex(cell.output) if new else "", _tex(cell.row.channels), _stack(cell.row), _tex(cell.params),
                 _tex(cell.macs), *([_tex(cell.field)] if rf else [])]  # fmt: skip
        yield " & ".join(cells) + r" \\"
    yield r"\midrule"
    yield " & ".join(map(_tex, _total(content).cells)) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _stack(row: Row) -> str:
    """The layers of a row; several in brackets."""
    behind = _tex(_behind(row))
    lines = [_tex(line.strip()) for line in row.lines]
    if len(lines) == 1:
        return f"{lines[0]} {behind}".rstrip()
    inside = r"\\".join(lines)
    return rf"$\left[\begin{{tabular}}{{@{{}}l@{{}}}}{inside}\end{{tabular}}\right]$ {behind}".rstrip()


def _tex(text: str) -> str:
    return "".join(SIGNS[c] if c in SIGNS else escape(c) for c in text)
