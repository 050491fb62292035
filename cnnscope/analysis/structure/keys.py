"""Keys by which parts are compared: equal up to the channels they read, or equal in anatomy."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from cnnscope.analysis.structure.parts import Block, Part, Repeat, Unit, merging
from cnnscope.ir import Node

UNSEEN = frozenset({"eps", "momentum", "bias", "affine", "dtype", "shape", "call"})
"""Arguments that tell no two layers of a network apart."""


class Keys:
    """Small whole numbers for parts, equal for equal parts; each part is looked at once."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._exact: dict[Part, int] = {}
        self._loose: dict[Part, int] = {}

    def exact(self, part: Part) -> int:
        """Equal for parts of the same ops, arguments, extents and wiring. The channels that they read may differ."""
        if part not in self._exact:
            self._exact[part] = self._number(("exact", self._content(part, loose=False)))
        return self._exact[part]

    def loose(self, part: Part) -> int:
        """Equal for parts of the same `anatomy`."""
        if part not in self._loose:
            self._loose[part] = self._number(("loose", self._content(part, loose=True)))
        return self._loose[part]

    def chain(self, parts: Sequence[Part]) -> int:
        """Equal for chains of the same anatomy."""
        return self._number(("chain", tuple(self.loose(part) for part in parts)))

    def _number(self, content: Hashable) -> int:
        return self._numbers.setdefault(content, len(self._numbers))

    def _content(self, part: Part, *, loose: bool) -> Hashable:
        if isinstance(part, Unit):
            return _anatomy(part) if loose else (_arguments(part), part.size, part.level)
        if isinstance(part, Block) and loose and part.main:
            return "residual", tuple(self.loose(inner) for inner in part.main)
        inner = part.parts if isinstance(part, (Block, Repeat)) else ()
        index = {one.id: i for i, one in enumerate(inner)}
        key = self.loose if loose else self.exact
        kind = part.kind if isinstance(part, Block) else type(part).__name__
        wires = tuple((key(one), tuple(index.get(name, -1) for name in one.inputs)) for one in inner)
        return kind, wires, 0 if loose or not isinstance(part, Repeat) else part.count


def anatomy(part: Part) -> Hashable:
    """A key that is equal for parts of one anatomy: the same ops in the same wiring, whatever their widths, strides and
    extents. Kernels count but for depthwise convolutions; a residual block's projection does not.
    """
    match part:
        case Unit():
            return _anatomy(part)
        case Block() if part.main:
            return "residual", tuple(anatomy(inner) for inner in part.main)
        case Block() | Repeat():
            index = {one.id: i for i, one in enumerate(part.parts)}
            kind = part.kind if isinstance(part, Block) else "repeat"
            return kind, tuple((anatomy(one), tuple(index.get(name, -1) for name in one.inputs)) for one in part.parts)
    return "input"


def _anatomy(unit: Unit) -> Hashable:
    main, *followers = unit.ops
    return (_kind(main), *(one.op.category for one in followers))


def _kind(node: Node) -> Hashable:
    join = merging(node)
    if join is not None:
        return join
    grouping = _grouping(node)
    kernel = getattr(node.op, "kernel", None)
    return node.op.tag, grouping, None if grouping == "depthwise" else kernel


def _grouping(node: Node) -> str:
    groups = getattr(node.op, "groups", 1)
    if groups in (1, None):
        return "dense"
    return "depthwise" if groups == getattr(node.op, "out", None) else "grouped"


def _arguments(unit: Unit) -> Hashable:
    return tuple((merging(node) or node.op.tag, _plain(_shown(node))) for node in unit.ops)


def _shown(node: Node) -> dict[str, Any]:
    arguments = {name: value for name, value in node.op.arguments().items() if name not in UNSEEN}
    if _grouping(node) == "depthwise":
        arguments["groups"] = "depthwise"
    return arguments


def _plain(value: Any) -> Hashable:
    if isinstance(value, dict):
        return tuple((name, _plain(inner)) for name, inner in sorted(value.items()))
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value
