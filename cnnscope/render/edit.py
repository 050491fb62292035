"""A changed network: what followed and why, totals before and after, what became of its weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from cnnscope.analysis.summary import summarize
from cnnscope.edits.apply import Edited, apply
from cnnscope.edits.change import Change, to_json
from cnnscope.edits.followed import What
from cnnscope.edits.parse import parse
from cnnscope.edits.parse import written as as_text
from cnnscope.edits.refit import MisfitError
from cnnscope.edits.remedies import remedies
from cnnscope.errors import CnnscopeError
from cnnscope.ir import Graph
from cnnscope.options.network import ExportFormat
from cnnscope.render import numbers
from cnnscope.render.ablation import _change
from cnnscope.render.documents.document import Count, Document, Shape
from cnnscope.render.documents.network import Conventions, Model, ReceptiveField, Totals, field_of
from cnnscope.render.export import SUFFIXES, export
from cnnscope.render.result import Cell, File, Result, written
from cnnscope.render.table import Line, Table, left, right

KINDS = ("yaml", "yml", "py", "onnx")
"""Suffixes of files that a network is written into."""

SHOWN = 40
"""Lines of what followed that the table has at most."""


def written_as(path: Path) -> ExportFormat | Literal["changes"] | None:
    """What a file of this name has: the network in a format, the changes alone, or None for a table or document."""
    for name, kind in (("changes.json", "changes"), ("graph.json", "json")):
        if path.name.lower().endswith(name):
            return kind  # type: ignore[return-value]  # one of the two above
    return None if path.suffix.lower() == ".json" else SUFFIXES.get(path.suffix.lower())


@dataclass(frozen=True, kw_only=True)
class EditFollowed:
    """What followed from the changes in a layer that nobody named."""

    layer: str
    what: What
    was: str = field(metadata={"key": "from"})
    """what it was"""
    to: str
    because: str


@dataclass(frozen=True, kw_only=True)
class EditTotals:
    """The totals of the network as it was and as it is."""

    before: Totals
    after: Totals | None
    """null where the changes do not fit"""


@dataclass(frozen=True, kw_only=True)
class EditWeights:
    """What became of the weights and buffers, by key."""

    kept: Count
    resized: Sequence[str]
    """no value of these fits any more"""
    new: Sequence[str]
    gone: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class EditRemedy:
    """Further changes with which everything fits, verified by inference."""

    changes: Sequence[Mapping[str, Any]]
    totals: Totals


@dataclass(frozen=True, kw_only=True)
class EditBroken:
    """Where the changes do not fit."""

    layer: str
    op: str
    inputs: Sequence[Shape]
    message: str
    remedies: Sequence[EditRemedy]


@dataclass(frozen=True, kw_only=True)
class EditDocument(Document):
    """A changed network: ``cnnscope edit``."""

    format: Literal["cnnscope.edit"] = "cnnscope.edit"
    conventions: Conventions
    model: Model
    source: str
    changes: Sequence[Mapping[str, Any]]
    followed: Sequence[EditFollowed]
    totals: EditTotals
    receptive_field: ReceptiveField | None
    weights: EditWeights | None
    broken: EditBroken | None


@dataclass(frozen=True)
class EditReport(Result):
    """The ``cnnscope.edit`` document of a network that was changed, or of changes that do not fit."""

    KINDS: ClassVar[Sequence[str]] = KINDS

    before: Graph
    source: str
    changes: tuple[Change, ...]
    edited: Edited | None
    broken: MisfitError | None = None
    remedies: tuple[Edited, ...] = ()
    bare: bool = False

    def as_document(self) -> Document:
        edited = self.edited
        summary = None if edited is None else summarize(edited.graph)
        return EditDocument(
            conventions=Conventions(), model=Model.of(edited.graph if edited else self.before, self.source),
            source=self.source, changes=[to_json(change) for change in self.changes],
            followed=[
                EditFollowed(layer=f.layer, what=f.what, was=f.was, to=f.now, because=f.because)
                for f in (edited.followed if edited else ())
            ],
            totals=EditTotals(
                before=Totals.of(summarize(self.before)), after=None if summary is None else Totals.of(summary)
            ),
            receptive_field=None if summary is None else field_of(summary.receptive_field),
            weights=None if edited is None else EditWeights(
                kept=len(edited.weights.kept), resized=edited.weights.resized, new=edited.weights.new,
                gone=edited.weights.gone,
            ),
            broken=self._broken(),
        )  # fmt: skip

    def _broken(self) -> EditBroken | None:
        if self.broken is None:
            return None
        return EditBroken(
            layer=self.broken.layer, op=self.broken.op, inputs=self.broken.inputs,
            message=self.broken.diagnostics[0].message,
            remedies=[
                EditRemedy(
                    changes=[to_json(change) for change in one.changes[len(self.changes) :]],
                    totals=Totals.of(summarize(one.graph)),
                )
                for one in self.remedies
            ],
        )  # fmt: skip

    def error(self) -> CnnscopeError:
        """The error of changes that do not fit, with what would make them fit as its hint."""
        assert self.broken is not None
        lines = explained(self.remedies, len(self.changes))
        (found,) = self.broken.diagnostics
        self.broken.diagnostics = (replace(found, hint="; ".join(lines) or found.hint),)
        return self.broken

    def records(self) -> list[dict[str, Cell]]:
        return [
            {"layer": f.layer, "what": f.what, "from": f.was, "to": f.now, "because": f.because}
            for f in (self.edited.followed if self.edited else ())
        ]

    def table(self) -> Table:
        if self.edited is None:
            raise self.error()
        headings = (*left("followed", "what"), *right("was", "is"), *left("because"))
        found = self.edited.followed
        lines = tuple(Line((f.layer, f.what, f.was, f.now, f.because)) for f in found[:SHOWN])
        asked = ", ".join(as_text(change) for change in self.changes)
        title = f"{numbers.titled(self.before.name, self.source)}: {asked}"
        return Table("" if self.bare else title, headings, lines, notes=tuple(self._notes(len(found) - SHOWN)))

    def _notes(self, hidden: int) -> Iterable[str]:
        assert self.edited is not None
        if hidden > 0:
            yield f"and {hidden} more; -f json lists all"
        a, b = (summarize(graph) for graph in (self.before, self.edited.graph))
        lower = ">= " if a.unsupported or b.unsupported else ""
        for name, one, other in (
            ("parameters", a.totals.params, b.totals.params),
            ("MACs", a.totals.macs, b.totals.macs),
        ):
            change = _change(other, one)
            more = lower if name == "MACs" else ""
            yield f"{name}: {more}{numbers.count(one)} -> {more}{numbers.count(other)}" + (
                f" ({change})" if change else ""
            )
        weights = self.edited.weights
        parts = (
            ("stay", weights.kept),
            ("are resized", weights.resized),
            ("are new", weights.new),
            ("are gone", weights.gone),
        )
        yield "weights: " + ", ".join(f"{len(keys)} {what}" for what, keys in parts if keys)
        for what, keys in parts[1:3]:
            if keys:
                yield f"{what}: {', '.join(keys[:4])}" + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the network (.yaml .py .onnx), its graph (graph.json), the changes alone (changes.json), or the table
        as `Result.write` does. E404 for another suffix, E43x for a network that cannot be written in that format, the
        error of changes that do not fit.
        """
        place = Path(path)
        form = written_as(place)
        if form is None:
            return super().write(place)
        if self.edited is None:
            raise self.error()
        if form == "changes":
            text = json.dumps({"changes": [to_json(change) for change in self.changes]}, indent=2) + "\n"
            return (written(place, "changes", text),)
        return export(self.edited.graph, form).write(place)


def explained(remedies: Sequence[Edited], asked: int) -> list[str]:
    """What would make changes fit, in words."""
    lines = []
    for one in remedies:
        totals = summarize(one.graph).totals
        more = " ".join(as_text(change) for change in one.changes[asked:])
        figures = f"{numbers.count(totals.params)} parameters, {numbers.count(totals.macs)} MACs"
        lines.append(f"with `{more}` too it fits ({figures})")
    return lines


def edited(graph: Graph, source: str, changes: Sequence[str | Change]) -> EditReport:
    """The report of changes, as texts or as they are; of changes that do not fit it has what would make them fit.

    `CnnscopeError` for changes that are not understood.
    """
    found = tuple(parse(change) if isinstance(change, str) else change for change in changes)
    try:
        return EditReport(graph, source, found, apply(graph, found))
    except MisfitError as error:
        return EditReport(graph, source, found, None, error, remedies(graph, found, error))
