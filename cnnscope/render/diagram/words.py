"""Layers and blocks in the papers' notation: ``3×3, 64 /2``, ``max 3×3 /2``, ``linear 1000``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cnnscope.analysis.structure import Block, Input, Part, Repeat, Unit, merging
from cnnscope.ir import Node
from cnnscope.render import numbers

SIGNS = {"add": "+", "concat": "‖", "mul": "×", "sub": "\N{MINUS SIGN}"}
"""How a join is drawn."""
POOLS = {"maxpool": "max", "avgpool": "avg", "globalavgpool": "global avg", "globalmaxpool": "global max",
         "adaptiveavgpool": "avg to", "adaptivemaxpool": "max to", "tokenmean": "mean", "mean": "mean"}  # fmt: skip
NORMS = {"batchnorm": "BN", "layernorm": "LN", "groupnorm": "GN", "instancenorm": "IN", "lrn": "LRN"}
CONVS = {"conv": "", "upconv": "upconv "}
LONGEST = 34
"""Characters in a line of a block's branch."""
DETAILS = frozenset({"norm", "activation", "other"})
"""Categories that a block's line leaves out."""
TOLD = {"classtoken": "class token", "position": "positions", "lrn": "LRN"}
"""Followers that get a line of their own."""


def label(part: Part) -> str:
    """One line for a part as a member of a block or of a stack."""
    match part:
        case Unit():
            return unit_label(part)
        case Repeat(parts=(one,)):
            return f"{label(one)} ×{part.count}"
        case Repeat():
            return f"[{', '.join(map(label, part.parts))}] ×{part.count}"
        case Block():
            return block_label(part)
    return "input"


def unit_label(unit: Unit) -> str:
    """The main op of a unit. Numbers that the network does not state are left out."""
    node, op = unit.main, unit.main.op
    match unit.category:
        case "conv":
            return _conv(node)
        case "linear":
            out = getattr(op, "out", None)
            return f"linear {out}" if out else op.tag
        case "pool":
            kind = POOLS.get(getattr(op, "fn", op.tag), getattr(op, "fn", op.tag))
            kind = "global avg" if kind == "mean" and unit.level is None else kind
            return " ".join(filter(None, (kind, kernel(op), slash(op))))
        case "resize":
            return "upsample" if op.tag == "upsample" else op.label()
        case "merge":
            return merging(node) or op.tag
        case "movement":
            return "space to depth" if merging(node) == "concat" else op.label()
        case "attention" if getattr(op, "heads", None):
            heads = getattr(op, "heads", 1)
            return f"self-attention, {heads} head{'s' * (heads > 1)}"
    return NORMS.get(op.tag, numbers.printable(str(getattr(op, "fn", op.tag))))


def _conv(node: Node) -> str:
    op: Any = node.op
    groups, out = getattr(op, "groups", 1), getattr(op, "out", None) or node.output.features[0]
    grouping = "" if groups == 1 else " dw" if groups == out else f" g{groups}"
    dilation = numbers_of(getattr(op, "dilation", 1))
    spread = f" d{_one(dilation)}" if max(dilation) > 1 else ""
    stride = slash(op) if op.tag != "upconv" else ""
    text = f"{CONVS.get(op.tag, op.tag + ' ')}{kernel(op)}{grouping}, {out}{spread}"
    return f"{text} {stride}" if stride else text


def kernel(op: Any) -> str:
    """``3×3``; empty for an op without a window."""
    size = getattr(op, "kernel", None) or getattr(op, "window", None) or getattr(op, "size", None)
    return "×".join(map(str, numbers_of(size))) if size else ""


def slash(op: Any) -> str:
    """``/2`` for a stride of 2 along all axes; empty for a stride of 1."""
    stride = numbers_of(getattr(op, "stride", None) or 1)
    return f"/{_one(stride)}" if max(stride) > 1 else ""


def numbers_of(value: Any) -> tuple[int, ...]:
    """An argument that has one number, or one for each axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _one(values: Sequence[int]) -> str:
    return str(values[0]) if len(set(values)) == 1 else "×".join(map(str, values))


def block_label(block: Block) -> str:
    """A block in a line of another block."""
    match block.kind:
        case "gate":
            return "SE"
        case "attention":
            return "self-attention"
    inner = [" → ".join(branch) for branch in _branches(block)]
    return f"({' | '.join(inner)})" if inner else block.kind


def block_lines(block: Block) -> tuple[str, ...]:
    """A block as a stack of lines: its main branch, or a line for each of its branches, long ones on several lines."""
    if block.kind in ("gate", "attention"):
        return (block_label(block),)
    if block.main:
        return tuple(_main_lines(block.main)) or (block.kind,)
    return tuple(line for branch in _branches(block) for line in _wrapped(branch)) or (block.kind,)


def _branches(block: Block) -> Iterator[list[str]]:
    """The lines of the parts of each branch that has any; of a block with a main branch of that alone."""
    for branch in (block.main,) if block.main else block.branches:
        if inside := [text.replace(", ", " ") for part in branch if (text := _line(part))]:
            yield inside


def _wrapped(branch: Sequence[str]) -> Iterator[str]:
    """A branch on lines of at most `LONGEST` characters, if none of its layers is longer."""
    line = branch[0]
    for text in branch[1:]:
        if len(line) + 3 + len(text) > LONGEST:
            yield f"{line} →"
            line = f"   {text}"
        else:
            line += f" → {text}"
    yield line


def _main_lines(main: Sequence[Part]) -> Iterator[str]:
    lines = [text for part in main if (text := _line(part))]
    widths = [text.removeprefix("linear ") for text in lines]
    if len(lines) > 1 and all(text.startswith("linear ") for text in lines):
        yield f"MLP {' → '.join(widths)}"
    else:
        yield from lines


def _line(part: Part) -> str:
    """The line of a part inside a block; empty for a detail."""
    if isinstance(part, Unit) and (part.category in DETAILS or (part.category == "merge" and len(part.inputs) > 1)):
        return ""
    return label(part)


def lines(part: Part) -> tuple[str, ...]:
    """A part as the text of a box of its own."""
    match part:
        case Input():
            return ("input", numbers.shape(part.shape))
        case Block():
            return block_lines(part)
        case Repeat(parts=(Block() as block,)):
            return block_lines(block)
        case Repeat(parts=(Unit() as unit,)):
            return (unit_label(unit),)
        case Repeat():
            return tuple(
                line for one in part.parts for line in (block_lines(one) if isinstance(one, Block) else (label(one),))
            )
        case Unit():
            told = (TOLD.get(node.op.tag, "") for node in part.ops[1:])
            return (unit_label(part), *filter(None, told))
    return (part.id,)
