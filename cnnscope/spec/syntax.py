"""The content of a spec once its structure was checked: typed and frozen, still with expressions in its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cnnscope.errors import Span
from cnnscope.ops.base import Op
from cnnscope.spec.marks import Marked


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument as it was written.

    ``moving`` means that it contains an expression. Otherwise ``plain`` is its value, which for ``norm`` and ``act`` is
    a `Follower` (None for ``none``). ``spec_level`` marks an argument from the spec's own ``defaults``: its expressions
    see the parameters of the spec but never those of a block. ``like`` is the node whose size the value is.
    """

    mark: Marked
    moving: bool
    plain: Any
    spec_level: bool = False
    like: str | None = None


Args = Mapping[str, Arg]


@dataclass(frozen=True, slots=True)
class Follower:
    """The layer that ``norm:`` or ``act:`` adds after another."""

    op: type[Op]
    args: Args


Defaults = Mapping[str, Args]
"""Arguments by layer type, including ``norm`` and ``act``."""


@dataclass(frozen=True, slots=True)
class Common:
    """What any layer may state. ``span`` is the place of its type, ``sources`` are the names after ``from``."""

    span: Span | None
    name: str | None = None
    name_span: Span | None = None
    sources: tuple[Marked, ...] = ()
    when: Marked | None = None
    frozen: Marked | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """One op and its followers (``norm`` and ``act`` are among ``args``)."""

    op: type[Op]
    args: Args
    common: Common


@dataclass(frozen=True, slots=True)
class Body:
    """A list of layers. ``reserved`` are the names that authors chose in its scope; generated names avoid them."""

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
    """An ``each`` table: one repetition a row, one parameter a column. A column ``name`` has the names of the rows."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a block: once, ``repeat`` times, or once for each row of a table."""

    block: str
    values: Mapping[str, Marked]
    common: Common
    repeat: Marked | None = None
    first: Mapping[str, Marked] = field(default_factory=dict)
    each: Table | None = None


@dataclass(frozen=True, slots=True)
class Residual:
    """A branch and its shortcut."""

    body: Body
    shortcut: Marked | Body
    act: Arg | None
    common: Common


@dataclass(frozen=True, slots=True)
class Join:
    """Several values that become one: of named layers, or of paths from one input."""

    op: type[Op]
    args: Args
    common: Common
    paths: Mapping[str, Body] | None = None
    split: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Layers with a common name: a head."""

    body: Body
    common: Common


@dataclass(frozen=True, slots=True)
class Reuse:
    """A named layer, block or head that runs once more with the same weights."""

    layer: Marked
    common: Common


Item = Layer | Use | Residual | Join | Group | Reuse


@dataclass(frozen=True, slots=True)
class Block:
    """A macro: its parameters in order (a null default means that it is required), its defaults and its layers."""

    name: str
    params: Mapping[str, Marked]
    defaults: Defaults
    body: Body
    span: Span | None


@dataclass(frozen=True, slots=True)
class Head:
    """An output and the layers that compute it."""

    group: Group
    training_only: bool


@dataclass(frozen=True, slots=True)
class Input:
    """A network input in the author's layout, without batch. ``parameters`` names the parameter of the spec that an
    axis is, by axis; the shape has their defaults.
    """

    shape: tuple[int, ...]
    layout: Literal["CHW", "HWC"]
    span: Span | None
    parameters: Mapping[int, str] = field(default_factory=dict)


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
