"""Groups of transforms of one family and magnitude, and what a metric of groups is.

Transforms on the pixel grid are in other groups than those off it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cnnscope.audits.outcomes import FAMILIES, Family, Outcomes, TransformRecord
from cnnscope.audits.statistics.intervals import Bootstrap, Estimate


@dataclass(frozen=True, slots=True)
class TransformGroup:
    """Transforms of one magnitude; left and right turns have the same one.

    ``members`` are their places in the outcomes.
    """

    family: Family
    magnitude: float
    unit: str
    on_grid: bool
    label: str
    members: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name in gates: ``translation@4``, ``flip@horizontal``."""
        return f"{self.family}@{self.label}"

    @property
    def main(self) -> bool:
        """Whether it counts in its family's averages: whole shifts do, parts of a pixel and quarter turns do not."""
        return self.on_grid == (self.family in ("translation", "flip"))

    @property
    def title(self) -> str:
        """The name in tables: ``4 px``, ``x0.7``, ``30°``, ``horizontal``."""
        if self.family == "scale":
            return f"x{self.label}"
        return self.label + {"px": " px", "deg": "°"}.get(self.unit, "")


def group(transforms: Sequence[TransformRecord]) -> tuple[TransformGroup, ...]:
    """All groups by family; within a family those that count in averages first, then by magnitude."""
    found: dict[tuple[Family, bool, float, str], list[int]] = {}
    units: dict[Family, str] = {}
    for place, transform in enumerate(transforms):
        magnitude = transform.magnitude if transform.family == "scale" else abs(transform.magnitude)
        label = transform.name.removeprefix("flip ") if transform.family == "flip" else f"{magnitude:g}"
        found.setdefault((transform.family, transform.on_grid, magnitude, label), []).append(place)
        units[transform.family] = transform.unit
    groups = [
        TransformGroup(
            family=family, magnitude=magnitude, unit=units[family], on_grid=on_grid, label=label,
            members=tuple(members),
        )
        for (family, on_grid, magnitude, label), members in found.items()
    ]  # fmt: skip
    return tuple(sorted(groups, key=lambda g: (FAMILIES.index(g.family), not g.main, g.magnitude)))


def main_groups(groups: Iterable[TransformGroup], family: Family) -> tuple[TransformGroup, ...]:
    """The groups that count in a family's averages; all groups if none of them is a `TransformGroup.main` one."""
    members = [g for g in groups if g.family == family]
    return tuple(g for g in members if g.main) or tuple(members)


def families(groups: Iterable[TransformGroup]) -> tuple[Family, ...]:
    """The families that were measured."""
    present = {g.family for g in groups}
    return tuple(family for family in FAMILIES if family in present)


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of an audit: ``of`` estimates it for some groups of transforms, each of one magnitude.

    Larger is better, so that a gate can be a lower bound. ``least`` is the smallest bound that makes sense, ``unknown``
    explains a missing estimate. ``labels`` says that labels are needed, ``transforms`` how many transforms are.
    """

    of: Callable[[Outcomes, Sequence[TransformGroup], Bootstrap], Estimate]
    least: float = 0
    labels: bool = False
    transforms: int = 1
    unknown: str = "unknown"
