"""Which numbers of a class become parameters, their names, and which numbers follow from other parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cnnscope.nn.code import UNSET, Expr, Lit, Raw

Values = tuple[Any, ...]
"""One value for each scope that a class is written for."""

_CHANNELS_IN = ("in_channels", "in_features", "num_features", "normalized_shape", "channels", "features")
_CHANNELS_OUT = ("out_channels", "out_features")
_CHANNELS = (*_CHANNELS_IN, *_CHANNELS_OUT, "hidden_channels", "num_channels", "num_parameters")
_RANK = {
    "in_channels": 0, "in_features": 0, "channels": 0, "features": 0, "out_channels": 1, "out_features": 1,
    "hidden_channels": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """A parameter of a class's constructor and its value in each scope."""

    name: str
    values: Values
    default: Any = UNSET

    @property
    def has_default(self) -> bool:
        return self.default is not UNSET

    @property
    def annotated(self) -> str:
        """``stride: int = 1``."""
        kinds = sorted({_kind(value) for value in self.values}, key=lambda kind: (kind == "None", kind))
        written = f"{self.name}: {' | '.join(kinds)}"
        return f"{written} = {self.default!r}" if self.has_default else written


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"tuple[{', '.join(_kind(item) for item in value)}]"
    return "None" if value is None else type(value).__name__


def parameters(
    places: Sequence[tuple[str, str]], bodies: Sequence[Sequence[Lit]], channels: Sequence[tuple[int, int]],
    attributes: Collection[str],
) -> tuple[tuple[Parameter, ...], list[Expr]]:  # fmt: skip
    """Returns the parameters of a class, and the expression for each of its literals.

    ``places`` has the attribute and the argument of each literal, ``bodies`` the literals of every scope, ``channels``
    the channels that enter and leave each scope. No parameter gets the name of one of ``attributes``. A number that is
    the same in all scopes stays a number; numbers that are always equal, or multiples of another, share a parameter.
    """
    columns = [tuple(body[k].value for body in bodies) for k in range(len(places))]
    groups: dict[Values, list[int]] = {}
    for k, column in enumerate(columns):
        if any(_differ(value, column[0]) for value in column):
            groups.setdefault(column, []).append(k)
    named: dict[Values, str] = {}
    found: list[Parameter] = []
    derived: dict[Values, str] = {}
    names = _names(places, groups, channels, attributes)
    for column, members in groups.items():
        formula = _formula(column, [places[k][1] for k in members], found)
        if formula:
            derived[column] = formula
            continue
        named[column] = names[column]
        found.append(Parameter(names[column], column, _default([bodies[0][k] for k in members], column)))
    found.sort(key=lambda parameter: (parameter.has_default, _RANK.get(parameter.name, len(_RANK))))
    replaced: list[Expr] = []
    for k, column in enumerate(columns):
        code = named.get(column) or derived.get(column) if column in groups else None
        replaced.append(Raw(code) if code else bodies[0][k])
    return tuple(found), replaced


def _differ(a: Any, b: Any) -> bool:
    return bool(a != b) or type(a) is not type(b)


def _default(literals: Sequence[Lit], column: Values) -> Any:
    """Torch's default, where all the places have it and some scope uses it."""
    defaults = {repr(lit.default) for lit in literals}
    first = literals[0].default
    plain = isinstance(first, (int, float, str, bool)) and len(defaults) == 1
    return first if plain and first in column else UNSET


def _formula(column: Values, arguments: Sequence[str], found: Sequence[Parameter]) -> str | None:
    """Half a kernel for padding, or a multiple of other channels, if enough different values fit the formula."""
    for other in found:
        pairs = list(zip(column, other.values, strict=True))
        if not all(type(a) is int and type(b) is int for a, b in pairs):
            continue
        distinct = len(set(other.values))
        if "padding" in arguments and other.name.endswith("kernel_size") and distinct > 1:
            if all(a == b // 2 for a, b in pairs):
                return f"{other.name} // 2"
        elif _counts_channels(arguments) and distinct > 2 and other.values[0] > 0:
            factor = column[0] // other.values[0]
            if 2 <= factor <= 8 and all(a == factor * b for a, b in pairs):
                return f"{factor} * {other.name}"
    return None


def _counts_channels(arguments: Sequence[str]) -> bool:
    counted = (*_CHANNELS, "groups", "start", "stop")
    return any(argument.endswith("channels") or argument in counted for argument in arguments)


def _names(
    places: Sequence[tuple[str, str]], groups: dict[Values, list[int]], channels: Sequence[tuple[int, int]],
    attributes: Collection[str],
) -> dict[Values, str]:  # fmt: skip
    """A name for each group of equal numbers: its role as channels, else its argument, else with its layer."""
    before, after = (tuple(ends[side] for ends in channels) for side in (0, 1))
    arguments = {column: [places[k][1] for k in members] for column, members in groups.items()}
    flows = {column: _flow(given, column == before, column == after) for column, given in arguments.items()}
    names = {column: name for column, name in flows.items() if name}
    firsts = {column: _first(places, groups[column]) for column in groups if column not in names}
    families = [_family(argument) for _, argument in firsts.values()]
    taken = {*names.values(), *attributes}
    for column, (layer, argument) in firsts.items():
        family = _family(argument)
        alone = families.count(family) == 1
        if alone and family == "channels" and any(argument in _CHANNELS_IN for argument in arguments[column]):
            family, layer = "hidden_channels", ""
        candidates = _candidates(family, layer, alone=alone and family != "channels")
        names[column] = next(name for name in candidates if name not in taken)
        taken.add(names[column])
    return names


def _flow(arguments: Sequence[str], at_start: bool, at_end: bool) -> str | None:
    """``in_channels`` for what enters a block, ``out_channels`` for what leaves it, ``channels`` for both, or None."""
    enters = at_start and any(argument in _CHANNELS_IN for argument in arguments)
    leaves = at_end and any(argument in (*_CHANNELS_OUT, *_CHANNELS_IN) for argument in arguments)
    if not enters and not leaves:
        return None
    side = "" if enters and leaves else "in_" if enters else "out_"
    return side + ("features" if all(argument.endswith("features") for argument in arguments) else "channels")


def _first(places: Sequence[tuple[str, str]], members: Sequence[int]) -> tuple[str, str]:
    """The place that names a group: the first that sets the number of output channels, else the first."""
    makers = [k for k in members if places[k][1] in _CHANNELS_OUT]
    return places[(makers or members)[0]]


def _family(argument: str) -> str:
    return "channels" if argument in _CHANNELS else argument or "value"


def _candidates(family: str, layer: str, *, alone: bool) -> Iterator[str]:
    if alone:
        yield family
    yield f"{layer}_{family}"
    yield from (f"{layer}_{family}{n}" for n in range(2, 1_000))
