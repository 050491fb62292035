"""The legend under a ladder: every sign that the figure uses, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cnnscope.analysis.structure import Block, Part, Repeat, Unit
from cnnscope.render.diagram import metrics
from cnnscope.render.diagram.canvas import Circle, Mark, Path, Point, Text, rectangle
from cnnscope.render.diagram.ladder.boxes import Box
from cnnscope.render.diagram.ladder.places import skip_of
from cnnscope.render.style import Heat, Theme, kind_colour

SIZE, LINE = 7.5, 12.0
HEATS = {"macs": "share of MACs", "params": "share of parameters"}
ABBREVIATIONS = (
    (r"/(\d[\d×]*)", "stride {}"), (r"\bdw\b", "depthwise"), (r"\bg(\d+)\b", "{} groups"),
    (r"\bd(\d+)\b", "dilation {}"), (r"\bSE\b", "squeeze and excitation"), (r"\bLRN\b", "local response norm"),
)  # fmt: skip
"""Notation that a figure may use: how it is found, and what the first one found means."""
KINDS = {"conv": "convolution", "block": "block", "pool": "pooling", "linear": "linear", "attention": "attention",
         "resize": "resampling", "movement": "rearrangement", "norm": "normalisation", "activation": "activation",
         "regularization": "regularisation", "merge": "join", "other": "other"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A drawn sign and what it means."""

    sign: str
    text: str


def entries(
    boxes: Sequence[Box], labels: Sequence[str], letters: Mapping[str, str], heat: Heat, *, rf: bool
) -> Iterator[Entry]:
    """What the legend says, in order."""
    for kind in dict.fromkeys(kind for box in boxes if (kind := category(box)) not in ("input", "merge")):
        yield Entry(f"stripe {kind}", KINDS.get(kind, kind))
    found = {skip_of(box) for box in boxes}
    if "identity" in found:
        yield Entry("skip", "identity skip")
    if "projection" in found:
        yield Entry("dashed skip", "skip with projection")
    signs = {box.cell.sign for box in boxes if box.ringed}
    for sign, text in (("+", "add"), ("‖", "concatenate"), ("×", "multiply"), ("\N{MINUS SIGN}", "subtract")):
        if sign in signs:
            yield Entry(f"ring {sign}", text)
    for letter, text in letters.items():
        yield Entry(f"letter {letter}", text)
    if any(box.cell.training_only for box in boxes):
        yield Entry("training", "only in training")
    if any(box.cell.output for box in boxes):
        yield Entry("dot", "output and its shape")
    written = [*(line for box in boxes for line in box.text), *labels, *letters.values()]
    for pattern, meaning in ABBREVIATIONS:
        if match := next(filter(None, (re.search(pattern, line) for line in written)), None):
            yield Entry("", f"{match[0]}: {meaning.format(*match.groups())}")
    if any(box.cell.count > 1 for box in boxes):
        yield Entry("", "×n: n in series, figures of all n together")
    if any(box.weights for box in boxes):
        yield Entry("", "w1, w2: the same weights")
    if rf:
        yield Entry("", "RF: receptive field in pixels of the input")
    if heat != "none":
        yield Entry("", f"fill: {HEATS[heat]}")


def category(box: Box) -> str:
    """The kind of a box, which gives its stripe the colour: of plain layers in series that of the weightiest."""
    kinds = [kind_of(part) for part in box.cell.stack]
    return next((kind for kind in ("conv", "linear", "attention") if kind in kinds), kinds[-1])


def kind_of(part: Part) -> str:
    """The kind of a part: a category of ops, or ``block``."""
    match part:
        case Unit():
            return part.category
        case Repeat():
            kinds = {kind_of(one) for one in part.parts}
            return kinds.pop() if len(kinds) == 1 else "attention" if "attention" in kinds else "block"
        case Block(kind="attention"):
            return "attention"
        case Block(kind="residual") if any(kind_of(one) == "attention" for one in part.main):
            return "attention"
        case Block():
            return "block"
    return "input"


def legend(found: Sequence[Entry], top: float, width: float, theme: Theme) -> tuple[list[Mark], float]:
    """The entries in lines of at most ``width`` points, and the lower edge of the last."""
    marks: list[Mark] = []
    x, y = 6.0, top + LINE
    for entry in found:
        room = ROOM[entry.sign.partition(" ")[0]]
        wide = room + metrics.width(entry.text, SIZE)
        if x > 6 and x + wide > width:
            x, y = 6.0, y + LINE
        marks += _sign(entry.sign, x, y, theme)
        marks.append(Text(x + room, y, entry.text, SIZE, theme.muted, anchor="start"))
        x += wide + 13
    return marks, y + 5


ROOM = {
    "": 0.0,
    "skip": 22.0,
    "dashed": 22.0,
    "training": 20.0,
    "dot": 10.0,
    "stripe": 8.0,
    "ring": 13.0,
    "letter": 18.0,
}
"""Points that a sign takes."""


def _sign(sign: str, x: float, y: float, theme: Theme) -> Iterator[Mark]:
    name, _, what = sign.partition(" ")
    join = kind_colour("merge")
    match name:
        case "skip" | "dashed":
            yield Path(arch(x, x + 18, y, 6), join, dashed=name == "dashed", width=1.1, radius=5)
        case "ring":
            yield Circle(x + 5, y - 2.7, 4.6, theme.background, join, width=1)
            yield Text(x + 5, y, what, SIZE, join, bold=True)
        case "letter":
            yield rectangle(x, y - 8, 14, 11, theme.fill, theme.frame, width=0.5)
            yield rectangle(x, y - 8, 3, 11, kind_colour("conv"))
            yield Text(x + 8.5, y, what, SIZE, theme.text, bold=True)
        case "training":
            yield rectangle(x, y - 7, 15, 8, theme.background, theme.muted, width=0.9, dashed=True)
        case "dot":
            yield Circle(x + 4, y - 2.6, 2.4, theme.text, theme.text, width=0)
        case "stripe":
            yield rectangle(x, y - 8, 3.5, 11, kind_colour(what))


def arch(left: float, right: float, base: float, tall: float) -> tuple[Point, ...]:
    """The skip over a residual block."""
    return (left, base), (left, base - tall), (right, base - tall), (right, base)
