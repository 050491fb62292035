"""What an architecture commutes with: a sentence for each transform, and a line for each layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import lcm
from typing import Any

from cnnscope.analysis.equivariance import Along, Equivariance, Flip, Motion, Shift, Transform, Turn, Verdict, worst
from cnnscope.ir import Graph
from cnnscope.render import numbers, style
from cnnscope.render.documents import architecture as documents
from cnnscope.render.documents.document import Document
from cnnscope.render.documents.network import Conventions, Model
from cnnscope.render.fields import AXES
from cnnscope.render.result import Cell, Result
from cnnscope.render.table import Line, Table, left, right

_WORDS = {"exact": "exact", "geometry_only": "weights", "not_guaranteed": "no"}
_LOOKS = {"exact": style.GOOD, "geometry_only": "", "not_guaranteed": style.DIM}
_LEGEND = (
    "stride: pixels for one position; shift: circular, by multiples of the layer's stride; interior: positions whose "
    "exact receptive field misses the border, where any such shift is exact; weights: the grids fit, the weights decide"
)


@dataclass(frozen=True)
class EquivarianceReport(Result):
    """The ``cnnscope.equivariance`` document."""

    graph: Graph
    source: str
    found: Equivariance
    bare: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """What the image's axes are called."""
        return AXES.get(len(self.found.image), tuple(map(str, range(len(self.found.image)))))

    @property
    def invariant(self) -> bool:
        """Whether the outputs have no positions, so that claims are about invariance."""
        return all(motion.invariant for motion in self.found.outputs)

    def findings(self) -> Iterator[tuple[str, Verdict, int | None]]:
        """Each kind of transform, the verdict on the network's output, and for shifts the pixels they are multiples of.

        Shifts along axes that behave alike are together.
        """
        shifts = [self._shifts(axis) for axis in range(len(self.axes))]
        alike = all(shift == shifts[0] for shift in shifts)
        for name, findings in zip(self.axes[:1] if alike else self.axes, shifts, strict=False):
            for kind, verdict, unit in findings:
                yield kind if alike else f"{kind} along {name}", verdict, unit
        for name, transform in _named(len(self.axes)):
            yield name, self.found.predict(transform).output, None

    def _shifts(self, axis: int) -> list[tuple[str, Verdict, int | None]]:
        """Circular shifts along one axis: those by multiples of the stride if they are exact, and all others."""
        unit = lcm(*(motion.along[axis].unit for motion in self.found.outputs if motion.along))
        if unit % self.found.image[axis] == 0:
            unit = 1
        at_strides = self._shifted(axis, unit)
        if at_strides.claim != "exact":
            return [("circular shifts", at_strides, None)]
        exact = ("circular shifts", at_strides, unit)
        return [exact] if unit == 1 else [exact, ("other circular shifts", self._shifted(axis, 1), None)]

    def _shifted(self, axis: int, pixels: int) -> Verdict:
        by = tuple(pixels if i == axis else 0 for i in range(len(self.axes)))
        return self.found.predict(Shift(by)).output

    # -- documents ----------------------------------------------------------------------------------------------------

    def as_document(self) -> Document:
        return documents.EquivarianceDocument(
            conventions=Conventions(),
            model=Model.of(self.graph, self.source),
            image=self.found.image,
            invariant=self.invariant,
            predictions=[
                documents.PredictedClaim(transform=transform, claim=documents.Claim.of(verdict), multiples_px=pixels)
                for transform, verdict, pixels in self.findings()
            ],
            layers=[self._layer(motion) for motion in self.found.layers],
            unsupported=[motion.name for motion in self.found.layers if motion.unknown],
        )

    def _layer(self, m: Motion) -> documents.EquivariantLayer:
        axes: list[tuple[Any, Along]] = list(zip(self.axes, m.along, strict=False))
        return documents.EquivariantLayer(
            name=m.name, output_shape=m.shape, invariant=m.invariant,
            shifts=[
                documents.ShiftClaim(
                    axis=name, claim=documents.Claim.of(_wrapped(a)), unit_px=a.unit,
                    positions=None if a.chosen else a.step,
                )
                for name, a in axes
            ],
            interior=m.interior,
            interior_fraction=None if m.unknown else float(m.fraction),
            flips=[documents.FlipClaim(axis=name, claim=documents.Claim.of(a.mirror)) for name, a in axes],
            quarter_turns=documents.Claim.of(m.quarter),
        )  # fmt: skip

    def records(self) -> list[dict[str, Cell]]:
        return [
            {
                "name": m.name, "output_shape": numbers.shape(m.shape),
                "unit_px": " ".join(str(a.unit) for a in m.along),
                "shift": None if m.unknown else worst(map(_wrapped, m.along)).claim,
                "interior": None if m.interior is None else " ".join(f"{lo}-{hi}" for lo, hi in m.interior),
                "interior_fraction": None if m.unknown else f"{float(m.fraction):.4f}",
                "flip": None if m.unknown else worst(a.mirror for a in m.along).claim,
                "quarter_turns": m.quarter.claim,
                "reason": _reason(m),
            }
            for m in self.found.layers
        ]  # fmt: skip

    def table(self) -> Table:
        headings = (*left("layer"), *right("output", rank=2), *right("stride"), *left("shift"),
                    *right("interior", rank=1), *left("flips", "turns"),
                    *left("first to break shifts"))  # fmt: skip
        title = f"{numbers.titled(self.graph.name, self.source)}, image {numbers.shape(self.found.image)}"
        intro = "" if self.bare else "\n".join(self._sentences())
        notes = () if self.bare else (_LEGEND,)
        lines = tuple(_line(motion, len(self.axes)) for motion in self.found.layers)
        return Table(title, headings, lines, notes=notes, intro=intro)

    def _sentences(self) -> Iterator[str]:
        alike: dict[tuple[Verdict, int | None], list[str]] = {}
        for transform, verdict, pixels in self.findings():
            alike.setdefault((verdict, pixels), []).append(transform)
        for (verdict, pixels), transforms in alike.items():
            multiples = f" by multiples of {pixels} px" if (pixels or 1) > 1 else ""
            yield f"{', '.join(transforms)}{multiples}: {_sentence(verdict, self.invariant)}"
        inside = [m for m in self.found.layers if m.interior and not m.invariant]
        yield (
            f"other pixels coming in: exact inside every map's interior, up to {numbers.printable(inside[-1].name)}"
            if inside else "other pixels coming in: nothing is exact anywhere"
        )  # fmt: skip


def _sentence(verdict: Verdict, invariant: bool) -> str:
    """A verdict on the network's output in words."""
    cause = verdict.cause
    layer = "" if cause is None else numbers.printable(cause.layer)
    if verdict.claim == "exact":
        return f"exact, the output {'does not change' if invariant else 'moves as the image does'}"
    if verdict.claim == "geometry_only":
        return "the grids fit, the weights decide" + ("" if cause is None else f", first those of {layer}")
    return "not guaranteed, broken first by " + ("" if cause is None else f"{layer}: {cause.reason}")


def _named(rank: int) -> Iterator[tuple[str, Transform]]:
    yield "left-right flips", Flip((-1,))
    if rank > 1:
        yield "top-bottom flips", Flip((-2,))
        yield "half turns", Turn(2)
        yield "quarter turns", Turn(1)


def _wrapped(a: Along) -> Verdict:
    """Circular shifts by multiples of the layer's own stride."""
    return Verdict() if a.wraps is None else Verdict("not_guaranteed", a.wraps)


def _reason(m: Motion) -> str | None:
    cause = m.unknown or worst(map(_wrapped, m.along)).cause
    return None if cause is None else f"{cause.layer}: {cause.reason}"


def _line(m: Motion, rank: int) -> Line:
    """The line of a layer for an image of ``rank`` axes; an image of one axis cannot be rotated."""
    name, shape = numbers.printable(m.name), numbers.shape(m.shape)
    if m.unknown:
        return Line((name, shape, *(numbers.UNKNOWN,) * 5, _reason(m) or numbers.ABSENT), style=style.WARNING)
    shift, flip = worst(map(_wrapped, m.along)), worst(a.mirror for a in m.along[-2:])
    units = list(dict.fromkeys(str(a.unit) for a in m.along))
    stride = numbers.ABSENT if m.invariant else "x".join(units if len(units) == 1 else [str(a.unit) for a in m.along])
    inside = numbers.ABSENT if m.invariant else f"{100 * float(m.fraction):.1f} %"
    turns = _WORDS[m.quarter.claim] if rank > 1 else numbers.ABSENT
    cells = (name, shape, stride, _WORDS[shift.claim], inside, _WORDS[flip.claim], turns,
             numbers.printable(_reason(m) or numbers.ABSENT))  # fmt: skip
    return Line(cells, style=_LOOKS[shift.claim])
