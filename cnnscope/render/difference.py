"""Two architectures side by side: which layers are new, gone, changed or equal, and what that adds up to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from cnnscope.analysis.diff import Change, Difference, Part
from cnnscope.render import numbers, style
from cnnscope.render.documents.architecture import DiffDelta, DiffDocument, DiffLayer, DiffSide, DiffTotals, OpCall
from cnnscope.render.documents.document import Document, plain
from cnnscope.render.documents.network import Conventions, Model, Totals, field_of
from cnnscope.render.fields import size_text
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Line, Table, left, right

KEPT = 2
"""Longer runs of equal rows are shown as one line."""
WORDS = {
    "op": "operation", "input_shape": "input shape", "output_shape": "output shape", "dtype": "number type",
    "inputs": "what it reads", "params": "parameters", "output": "whether it is an output",
}  # fmt: skip
"""What may have changed, in words."""
_STYLES = {"+": style.GOOD, "-": style.BAD, "~": style.WARNING, "=": style.DIM}


@dataclass(frozen=True)
class DifferenceReport(Result):
    """The ``cnnscope.diff`` document; ``verbose`` shows equal rows one by one, ``bare`` leaves out remarks."""

    difference: Difference
    source_a: str
    source_b: str
    verbose: bool = False
    bare: bool = False

    @property
    def equal(self) -> bool:
        """Whether the architectures are the same but for names."""
        return self.difference.equal

    def as_document(self) -> Document:
        found = self.difference
        a, b = Totals.of(found.summary_a), Totals.of(found.summary_b)
        counted = [key for key in plain(a) if key != "lower_bound"]
        return DiffDocument(
            conventions=Conventions(),
            equal=found.equal,
            a=Model.of(found.a, self.source_a),
            b=Model.of(found.b, self.source_b),
            layers=[_row(row) for row in found.rows],
            totals=DiffTotals(a=a, b=b, delta={key: getattr(b, key) - getattr(a, key) for key in counted}),
        )

    def records(self) -> list[dict[str, Cell]]:
        return [_record(row) for row in self.difference.rows]

    def table(self) -> Table:
        columns = (
            *left("", "layer", "type"), *left("output", rank=2), *right("delta params", "delta MACs"),
            *left("RF", rank=3), *left("changed", rank=1),
        )  # fmt: skip
        a, b = self.difference.a, self.difference.b
        return Table(
            title=f"{numbers.titled(a.name, self.source_a)} -> {numbers.titled(b.name, self.source_b)}",
            intro="\n".join(self.headline),
            columns=columns,
            lines=tuple(self._lines()),
            notes=() if self.bare else (self.counts, numbers.conventions(("macs", "output_shape", "rf"))),
            keys=2,
        )

    @property
    def headline(self) -> tuple[str, ...]:
        """The totals of both in words: parameters, MACs, receptive field."""
        (a, b), summaries = self.difference.totals, (self.difference.summary_a, self.difference.summary_b)
        bound = ["lower bound: some ops are unsupported"] if any(s.unsupported for s in summaries) else []
        fields = [s.receptive_field for s in summaries]
        return (
            f"parameters  {_counted(a.params, b.params, *(bool(s.uncounted) for s in summaries))}",
            f"MACs        {_counted(a.macs, b.macs)}",
            f"RF          {_from_to(*(numbers.ABSENT if field is None else size_text(field) for field in fields))}",
            *bound,
        )

    @property
    def counts(self) -> str:
        """How many rows are equal, changed, or in one network alone."""
        marks = [row.mark for row in self.difference.rows]
        sorts = {"=": "equal", "~": "changed", "-": "only in the first", "+": "only in the second"}
        text = ", ".join(f"{marks.count(mark)} {words}" for mark, words in sorts.items() if mark in marks)
        return text if self.equal or set(marks) != {"="} else f"{text}; they differ in weights that no layer reads"

    def _lines(self) -> Iterator[Line]:
        for row in collapsed(self.difference.rows, len(self.difference.rows) if self.verbose else KEPT):
            if isinstance(row, Change):
                yield _line(row)
            else:
                cells = ("=", f"... {len(row)} equal layers", *("",) * 6)
                yield Line(cells, style=style.DIM, name_style=style.DIM)


def collapsed(rows: Sequence[Change], kept: int = KEPT) -> Iterator[Change | Sequence[Change]]:
    """The rows, those of equal stretches longer than ``kept`` together."""
    for mark, group in groupby(rows, key=lambda row: row.mark):
        stretch = tuple(group)
        if mark == "=" and len(stretch) > kept:
            yield stretch
        else:
            yield from stretch


def row_name(row: Change) -> str:
    """The layer's path; both where they differ."""
    return both(row, lambda part: numbers.printable(part.name))


def label(part: Part) -> str:
    """``conv 3x3, 64 + batchnorm + relu``."""
    if not part.nodes:
        return "input"
    main, *followers = part.nodes
    text = main.op.label()
    kind = text if text.startswith(main.op.tag) else f"{main.op.tag} {text}".rstrip()
    return " + ".join((kind, *(node.op.tag for node in followers)))


def shape(part: Part) -> str:
    """The shape of its output."""
    return numbers.shape(part.value.features)


def field_text(part: Part) -> str:
    """Its theoretical receptive field."""
    if part.field is None:
        return numbers.UNKNOWN if part.nodes else numbers.ABSENT
    return size_text(part.field)


def changed_text(row: Change) -> str:
    """In words, what changed apart from what the columns of type and output show."""
    if row.a is None or row.b is None:
        return ""
    seen = {"output_shape", "params"} if len(row.changed) > 1 else {"output_shape"}
    if label(row.a) != label(row.b):
        seen |= {"op", "input_shape"}
    return ", ".join(_arguments(row.a, row.b) if key == "op" else WORDS[key] for key in row.changed if key not in seen)


def _arguments(a: Part, b: Part) -> str:
    """Which arguments changed where the types read alike: ``pad``, ``batchnorm.eps``."""
    names = []
    for i, (one, other) in enumerate(zip(a.nodes, b.nodes, strict=True)):
        before, after = one.op.arguments(), other.op.arguments()
        scope = f"{one.op.tag}." if i else ""
        names += [f"{scope}{key}" for key in before if before[key] != after.get(key)]
    return ", ".join(names) or WORDS["op"]


def delta(before: int | None, after: int | None) -> int | None:
    """The change; None where one is unknown."""
    return None if before is None or after is None else after - before


def deltas(row: Change) -> tuple[int | None, int | None]:
    """The change in parameters and in MACs."""
    params = [part.cost.params if part else 0 for part in (row.a, row.b)]
    macs = [part.cost.macs if part else 0 for part in (row.a, row.b)]
    return delta(*params), delta(*macs)


def signed(n: int | None, text: Callable[[int | None], str] = numbers.count) -> str:
    """``+1,024``, ``-96``, ``0``; ``?`` if unknown."""
    return text(n) if not n else f"{'+' if n > 0 else '-'}{text(abs(n))}"


def _line(row: Change) -> Line:
    look = _STYLES[row.mark]
    figures = ("", "") if row.mark == "=" else tuple(map(signed, deltas(row)))
    cells = (row.mark, row_name(row), both(row, label), both(row, shape), *figures, both(row, field_text),
             changed_text(row))  # fmt: skip
    return Line(cells, style=look, name_style=look)


def both(row: Change, text: Callable[[Part], str]) -> str:
    """A text of the layer in either network; both texts where they differ."""
    return _from_to(*(text(part) for part in (row.a, row.b) if part))


def _from_to(*texts: str) -> str:
    return texts[0] if len(set(texts)) == 1 else " -> ".join(texts)


def _counted(before: int | None, after: int | None, *more: bool) -> str:
    """The change of a figure; ``more`` says of each end whether it is a lower bound."""
    change = delta(before, after)
    ends = [(">= " if bound else "") + numbers.count(n) for n, bound in zip_longest((before, after), more)]
    return _from_to(*ends) + (f" ({signed(change)})" if change else "")


def _row(row: Change) -> DiffLayer:
    params, macs = deltas(row)
    assert params is not None, "parameters are always known"
    return DiffLayer(
        change=row.mark, a=_side(row.a), b=_side(row.b), changed=row.changed,
        delta=DiffDelta(params=params, macs=macs),
    )  # fmt: skip


def _side(part: Part | None) -> DiffSide | None:
    if part is None:
        return None
    return DiffSide(
        name=part.name, op=part.tag, category=part.category, label=label(part),
        ops=[OpCall(op=node.op.tag, args=node.op.arguments()) for node in part.nodes],
        output_shape=part.value.features, params=part.cost.params, macs=part.cost.macs,
        receptive_field=field_of(part.field),
    )  # fmt: skip


def _record(row: Change) -> dict[str, Cell]:
    params, macs = deltas(row)
    sides: dict[str, Callable[[Part], Cell]] = {
        "name": lambda part: part.name, "type": label, "output_shape": shape, "params": lambda part: part.cost.params,
        "macs": lambda part: part.cost.macs, "rf": field_text,
    }  # fmt: skip
    cells: dict[str, Cell] = {"change": row.mark}
    for key, of in sides.items():
        cells[f"{key}_a"], cells[f"{key}_b"] = (of(part) if part else None for part in (row.a, row.b))
    return cells | {"delta_params": params, "delta_macs": macs, "changed": " ".join(row.changed)}
