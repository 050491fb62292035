"""A weight file beside a network: what matches, and a proposal of which names correspond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cnnscope.ir import Graph, Param
from cnnscope.nn.checkpoint import Checkpoint
from cnnscope.nn.mapping import AUTO, Proposal, name_map
from cnnscope.nn.weights import Comparison, compare, state_dict
from cnnscope.render import numbers, style
from cnnscope.render.documents.document import INLINE, Count, Document
from cnnscope.render.result import Cell, File, Result
from cnnscope.render.table import Line, Table, left

_HEADINGS = left("tensor", "network", "file", "verdict", "nearest")

WEIGHTS = (".safetensors", ".pt", ".pth")
"""Suffixes of files of weights."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor of a weight file or of a network."""

    shape: Sequence[Count]
    """as stored"""
    dtype: str


@dataclass(frozen=True, kw_only=True)
class LoneTensor:
    """A tensor that only one side has."""

    key: str
    tensor: Tensor = field(metadata=INLINE)
    nearest: str | None
    """the most similar name on the other side"""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """A tensor whose shape or type differs."""

    key: str
    wanted: Tensor
    found: Tensor


@dataclass(frozen=True, kw_only=True)
class WeightsCheckDocument(Document):
    """A weight file beside a network: ``cnnscope weights check``."""

    format: Literal["cnnscope.weights_check"] = "cnnscope.weights_check"
    network: str
    file: str
    fits: bool
    matched: Count
    stripped: str
    """a prefix taken off every name in the file"""
    wrapper: Sequence[str]
    """the keys the state dict lay under"""
    ignored: Sequence[str]
    counters: Sequence[str]
    """batch norm counters that only one side has"""
    missing: Sequence[LoneTensor]
    extra: Sequence[LoneTensor]
    misfits: Sequence[Misfit]
    hint: str | None


@dataclass(frozen=True)
class WeightsCheck(Result):
    """The ``cnnscope.weights_check`` document; the table has what does not match, or every tensor if ``verbose``."""

    graph: Graph
    source: str
    checkpoint: Checkpoint
    comparison: Comparison
    verbose: bool = False
    bare: bool = False

    def as_document(self) -> Document:
        found, read = self.comparison, self.checkpoint
        return WeightsCheckDocument(
            network=self.source, file=str(read.path), fits=found.fits, matched=len(found.matched),
            stripped=found.stripped, wrapper=read.wrapper, ignored=read.ignored, counters=found.counters,
            missing=[self._single(key, param) for key, param in found.missing.items()],
            extra=[self._single(key, param) for key, param in found.extra.items()],
            misfits=[
                Misfit(key=key, wanted=_tensor(wanted), found=_tensor(is_))
                for key, (wanted, is_) in found.misfits.items()
            ],
            hint=found.hint,
        )  # fmt: skip

    def _single(self, key: str, param: Param) -> LoneTensor:
        return LoneTensor(key=key, tensor=_tensor(param), nearest=self.comparison.nearest(key))

    def records(self) -> list[dict[str, Cell]]:
        found, params, tensors = self.comparison, self.graph.stored, self.checkpoint.tensors
        matched = found.matched.items() if self.verbose else ()
        rows: list[tuple[Cell, ...]] = [(k, _text(params[k]), _text(tensors[name]), "ok", None) for k, name in matched]
        rows += [(k, _text(p), None, "missing", found.nearest(k)) for k, p in found.missing.items()]
        rows += [(k, None, _text(p), "not the network's", found.nearest(k)) for k, p in found.extra.items()]
        rows += [(k, _text(a, b), _text(b, a), "misshapen", None) for k, (a, b) in found.misfits.items()]
        return [dict(zip(("tensor", "network", "file", "verdict", "nearest"), row, strict=True)) for row in rows]

    def table(self) -> Table:
        lines = tuple(map(_line, self.records()))
        return Table("", _HEADINGS if lines else (), lines, notes=() if self.bare else tuple(self._notes()))

    def _notes(self) -> list[str]:
        found, read = self.comparison, self.checkpoint
        verdict = "fits" if found.fits else "does not fit"
        notes = [f"{verdict}: {len(found.matched):,} of {len(self.graph.stored):,} tensors match"]
        if read.wrapper:
            notes.append(f"read from `{'.'.join(read.wrapper)}`")
        if found.stripped:
            notes.append(f"`{found.stripped}` is taken off every name")
        if found.fits and found.extra:
            notes.append(f"left out, because the network has no such tensors: {len(found.extra):,}")
        if read.ignored:
            notes.append(f"ignored: {', '.join(read.ignored)}")
        if found.counters:
            notes.append(f"batch norm counters only one side has, which is harmless: {len(found.counters):,}")
        return [*notes, *([f"help: {found.hint}"] if found.hint else [])]


@dataclass(frozen=True, kw_only=True)
class AmbiguousLayers:
    """Layers that fit one another equally well."""

    network: Sequence[str]
    file: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class WeightsMapDocument(Document):
    """Which names in a weight file and in the network correspond: ``cnnscope weights map``; ``--map`` reads it."""

    format: Literal["cnnscope.weights_map"] = "cnnscope.weights_map"
    network: str
    file: str
    by: str
    """what the mapping rests on"""
    complete: bool
    pairs: Mapping[str, str]
    """the network's key to the name in the file"""
    ignore: Sequence[str] = ()
    """names in the file that have no place in the network: what a reader moves here is left out"""
    unmapped: Sequence[str]
    unused: Sequence[str]
    ambiguous: Sequence[AmbiguousLayers]


@dataclass(frozen=True)
class WeightsMap(Result):
    """The ``cnnscope.weights_map`` document, which ``--map`` reads back."""

    graph: Graph
    source: str
    checkpoint: Checkpoint
    proposal: Proposal
    bare: bool = False

    def as_document(self) -> Document:
        found = self.proposal
        return WeightsMapDocument(
            network=self.source, file=str(self.checkpoint.path), by=found.by, complete=found.complete,
            pairs=found.pairs, unmapped=found.unmapped, unused=found.unused,
            ambiguous=[AmbiguousLayers(network=ours, file=theirs) for ours, theirs in found.ambiguous],
        )  # fmt: skip

    def write(self, path: str | Path) -> tuple[File, ...]:
        """Writes the mapping as text, or the weights under the network's names (.safetensors .pt .pth).

        E425 where the mapping is incomplete, E404 for another suffix, E405 where the file cannot be written.
        """
        from cnnscope.nn.checkpoint import write_weights

        path = Path(path)
        if path.suffix not in WEIGHTS:
            return super().write(path)
        if self.checkpoint.values is not None:
            write_weights(self.checkpoint.values, path)
        else:
            comparison = compare(self.graph, self.checkpoint, name_map(self.graph, self.checkpoint, AUTO))
            write_weights(state_dict(self.graph, self.checkpoint.path, comparison), path)
        return (File(path, "weights", path.stat().st_size),)

    def records(self) -> list[dict[str, Cell]]:
        found, params, tensors = self.proposal, self.graph.stored, self.checkpoint.tensors
        rows: list[tuple[Cell, ...]] = [(key, name, _text(params[key]), "ok") for key, name in found.pairs.items()]
        for ours, theirs in found.ambiguous:
            rows += [(layer, None, None, "ambiguous") for layer in ours]
            rows += [(None, layer, None, "ambiguous") for layer in theirs]
        rows += [(key, None, _text(params[key]), "not in the file") for key in found.unmapped]
        rows += [(None, name, _text(tensors[name]), "not in the network") for name in found.unused]
        return [dict(zip(("network", "file", "shape", "verdict"), row, strict=True)) for row in rows]

    def table(self) -> Table:
        headings = left("network", "file", "shape", "verdict")
        lines = tuple(map(_line, self.records()))
        return Table("", headings, lines, notes=() if self.bare else tuple(self._notes()))

    def _notes(self) -> list[str]:
        found = self.proposal
        mapped = f"{len(found.pairs):,} of {len(self.graph.stored):,} tensors mapped by {found.by}"
        notes = [mapped if found.complete else f"incomplete: {mapped}"]
        if found.ambiguous and not self.checkpoint.ordered:
            notes.append("safetensors files are sorted by name; a file of `torch.save` would show the order of layers")
        return notes


def _line(record: dict[str, Cell]) -> Line:
    look = "" if record["verdict"] == "ok" else style.BAD
    cells = tuple(numbers.ABSENT if cell is None else numbers.printable(str(cell)) for cell in record.values())
    return Line(cells, style=look, name_style=look)


def _tensor(param: Param) -> Tensor:
    return Tensor(shape=param.shape, dtype=param.dtype)


def _text(param: Param, beside: Param | None = None) -> str:
    """The shape, or the type where that is what differs."""
    if beside is not None and beside.shape == param.shape:
        return param.dtype
    return numbers.shape(param.shape) if param.shape else "scalar"
