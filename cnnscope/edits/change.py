"""What a user may ask of a network, as plain data that JSON holds both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from cnnscope.errors import CnnscopeError, did_you_mean

Heads = Literal["dim", "count"]


@dataclass(frozen=True, slots=True)
class SetArgs:
    """Other arguments for the layers that a pattern selects: ``layer4.[12].conv2`` with ``{"dilation": 2}``."""

    op: ClassVar[str] = "set"
    layers: str
    args: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Width:
    """``channels`` for the layers that a pattern selects, and for all that a join ties to them.

    With ``alone`` a tied layer is refused.
    """

    op: ClassVar[str] = "width"
    layers: str
    channels: int
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """``factor`` times the channels of every layer that ``only`` selects and ``exclude`` does not.

    Widths are rounded to multiples of ``round``, never below 90 % of what was asked (torchvision's rule for
    MobileNets). With ``keep_ratio`` the convolution that expands before a depthwise one keeps its ratio to what its
    block reads. ``heads`` says whether attention keeps the number of its heads (``dim``) or their size (``count``).
    """

    op: ClassVar[str] = "scale"
    factor: float
    round: int = 8
    keep_ratio: bool = True
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    heads: Heads = "dim"


@dataclass(frozen=True, slots=True)
class Swap:
    """Layers of another type in place of those that ``what`` names (a type or a layer) and ``within`` selects."""

    op: ClassVar[str] = "swap"
    what: str
    to: str
    args: Mapping[str, Any] = field(default_factory=dict)
    within: str = "*"


@dataclass(frozen=True, slots=True)
class Remove:
    """Layers, groups of layers or all layers of a type left out, together."""

    op: ClassVar[str] = "remove"
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """A new layer behind ``after``, which may be an input of the network. Whoever read that reads the new layer."""

    op: ClassVar[str] = "insert"
    after: str
    layer: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resize:
    """Another size of inputs by name, channels first and without batch; ``""`` is the only input."""

    op: ClassVar[str] = "input"
    sizes: Mapping[str, tuple[int, ...]]


Change = SetArgs | Width | Scale | Swap | Remove | Insert | Resize
_CHANGES: dict[str, type[Change]] = {kind.op: kind for kind in (SetArgs, Width, Scale, Swap, Remove, Insert, Resize)}


def to_json(change: Change) -> dict[str, Any]:
    """The change as JSON has it: ``{"op": "set", "layers": "conv1", "args": {"stride": 1}}``."""
    return {"op": change.op} | {one.name: _plain(getattr(change, one.name)) for one in fields(change)}


def from_json(data: Mapping[str, Any]) -> Change:
    """The change that `to_json` wrote. E400 where it is none."""
    kind = _CHANGES.get(str(data.get("op")))
    if kind is None:
        hint = did_you_mean(str(data.get("op")), _CHANGES) or f"there are {', '.join(_CHANGES)}"
        raise CnnscopeError.of("E400", f"no change is called `{data.get('op')}`", hint=hint)
    given = {name: _frozen(name, value) for name, value in data.items() if name != "op"}
    try:
        return kind(**given)
    except TypeError:
        known = ", ".join(one.name for one in fields(kind))
        raise CnnscopeError.of("E400", f"`{kind.op}` takes {known}, not {', '.join(given)}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _frozen(name: str, value: Any) -> Any:
    if name == "sizes" and isinstance(value, Mapping):
        return {key: tuple(size) for key, size in value.items()}
    return tuple(value) if isinstance(value, list) else value
