"""What a spec says once its structure has been checked: typed, frozen, still with expressions in its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnscope.errors import Span
from cnnscope.ops.base import Op
from cnnscope.spec.marks import Marked


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument as written.

    ``moving`` means that it holds an expression; otherwise ``plain`` is its value, which for ``norm`` and ``act`` is a
    `Follower` (None for ``none``). ``spec_level`` marks one from the spec's own ``defaults``, whose expressions see the
    spec's parameters and never a block's. ``like`` is the node whose size the value is.
    """

    mark: Marked
    moving: bool
    plain: Any
    spec_level: bool = False
    like: str | None = None


Args = Mapping[str, Arg]


@dataclass(frozen=True, slots=True)
class Follower:
    """The layer that ``norm:`` or ``act:`` puts behind another."""

    op: type[Op]
    args: Args


Defaults = Mapping[str, Args]
"""Arguments by layer type, ``norm`` and ``act`` among them."""


@dataclass(frozen=True, slots=True)
class Common:
    """What any layer may say. ``span`` is the layer's type as written; ``sources`` are the names after ``from``."""

    span: Span | None
    name: str | None = None
    name_span: Span | None = None
    sources: tuple[Marked, ...] = ()
    when: Marked | None = None
    frozen: Marked | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One op, with what follows it (``norm`` and ``act`` are among ``args``)."""

    op: type[Op]
    args: Args
    common: Common


@dataclass(frozen=True, slots=True)
class Body:
    """A list of layers. ``reserved`` are the names its scope's authors chose, so that generated names avoid them."""

    items: tuple[Item, ...] = ()
    reserved: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TableRow:
    """One repetition of an ``each`` table."""

    name: str | None
    values: Mapping[str, Marked]
    span: Span | None


@dataclass(frozen=True, slots=True)
class Table:
    """What ``each`` says: one repetition a row, a parameter a column. A column ``name`` names the rows."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """A block put to use: once, ``repeat`` times, or once for each row of a table."""

    block: str
    values: Mapping[str, Marked]
    common: Common
    repeat: Marked | None = None
    first: Mapping[str, Marked] = field(default_factory=dict)
    each: Table | None = None


@dataclass(frozen=True, slots=True)
class Residual:
    """A branch and the way around it."""

    body: Body
    shortcut: Marked | Body
    act: Arg | None
    common: Common


@dataclass(frozen=True, slots=True)
class Join:
    """Several values made one: of named layers, or of paths from one input."""

    op: type[Op]
    args: Args
    common: Common
    paths: Mapping[str, Body] | None = None
    split: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Layers under a name of their own: what a head is."""

    body: Body
    common: Common


@dataclass(frozen=True, slots=True)
class Reuse:
    """A named layer, block or head once more, with the same weights."""

    layer: Marked
    common: Common


Item = Layer | Use | Residual | Join | Group | Reuse


@dataclass(frozen=True, slots=True)
class Block:
    """A macro: parameters in order (a null default is a required one), defaults and layers."""

    name: str
    params: Mapping[str, Marked]
    defaults: Defaults
    body: Body
    span: Span | None


@dataclass(frozen=True, slots=True)
class Head:
    """An output and the layers that lead to it."""

    group: Group
    training_only: bool


@dataclass(frozen=True, slots=True)
class Input:
    """A network input in the author's layout, without batch."""

    shape: tuple[int, ...]
    layout: Literal["CHW", "HWC"]
    span: Span | None


@dataclass(frozen=True, slots=True)
class Document:
    """A whole spec."""

    name: str
    inputs: Mapping[str, Input]
    params: Mapping[str, Marked]
    defaults: Defaults
    blocks: Mapping[str, Block]
    body: Body
    heads: tuple[Head, ...]
    freeze: tuple[Marked, ...]
    metadata: Mapping[str, Any]
