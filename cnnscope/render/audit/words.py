"""How figures of audits are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnscope.render.numbers import ABSENT, UNKNOWN

Json = Mapping[str, Any]

VERDICTS = {
    "pass": "audit valid", "fail": "FAILED", "invalid": "NOT VALID", "incomplete": "INCOMPLETE",
}  # fmt: skip
CLAIMS = {
    "exact": "exact", "geometry_only": "geometry only: the grid commutes, the weights decide",
    "not_guaranteed": "not guaranteed",
}  # fmt: skip
PASSED = {True: "ok", False: "FAILED", None: UNKNOWN}
"""The result of a control in words."""
PROBES = {"translation": "Translation", "rotation": "Rotation", "scale": "Scale", "flip": "Flips"}
"""In the order of reports."""


def share(value: float | None) -> str:
    """The share with three decimals; ``?`` if unknown."""
    return UNKNOWN if value is None else f"{value:.3f}"


def interval(estimate: Json | None) -> str:
    """``0.978 [0.964, 0.986]``."""
    if estimate is None or estimate["value"] is None:
        return UNKNOWN
    if estimate["low"] is None:
        return share(estimate["value"])
    return f"{share(estimate['value'])} [{share(estimate['low'])}, {share(estimate['high'])}]"


def signed(estimate: Json) -> str:
    """``-0.012 [-0.030, +0.006]``."""
    if estimate["value"] is None:
        return UNKNOWN
    ends = (estimate["value"], estimate["low"], estimate["high"])
    value, low, high = (UNKNOWN if x is None else f"{x:+.3f}".replace("-0.000", "+0.000") for x in ends)
    return f"{value} [{low}, {high}]"


def gated(gate: Json) -> str:
    """What a gate is about, as a share or as a difference."""
    return signed(gate) if gate["difference"] else interval(gate)


def small(value: float | None) -> str:
    """A figure whose size is what matters: ``2.8e-05``, ``0.27``, ``0``."""
    return UNKNOWN if value is None else f"{value:.3g}"


def figure(value: float | None) -> str:
    """A value or a limit that there may not be."""
    return ABSENT if value is None else small(value)


def prediction(claim: Json) -> str:
    """``not guaranteed; measured error 0.95 of the output's norm``; what a claim is about, and what was measured."""
    guaranteed = "exact" if claim["claim"] == "exact" else "not guaranteed"
    measured = claim["measured"]
    return f"{guaranteed}; " + (
        "not measured" if measured is None else f"measured error {small(measured)} of the output's norm"
    )


def local(errors: Sequence[Json]) -> Json:
    """Local equivariance errors as a table: the ``movements`` with their units, and ``rows`` of a value for each."""
    movements = {f"{e['movement']}, per {e['unit']}": (e["movement"], e["unit"]) for e in errors}
    known = {(e["layer"], e["movement"], e["unit"]): e["value"] for e in errors}
    rows = [
        {"layer": layer, "values": [known.get((layer, *key)) for key in movements.values()]}
        for layer in dict.fromkeys(e["layer"] for e in errors)
    ]
    return {"movements": list(movements), "rows": rows}


def radius(record: Json, unit: str) -> str:
    """The magnitude up to which agreement stays at alpha or above, in words."""
    ends = {"px": " px", "deg": "°"}
    alpha = f"{record['alpha']:g}"
    side = f" ({record['side']})" if record["side"] else ""
    if record["magnitude"] is None:
        return f"below the smallest magnitude at {alpha}{side}"
    figure = f"x{record['magnitude']:g}" if unit == "x" else f"{record['magnitude']:g}{ends.get(unit, '')}"
    return f"{'at least ' if record['at_least'] else ''}{figure} at {alpha}{side}"


def settings(document: Json) -> str:
    """Where and how it ran, in one line."""
    return f"{document['preset']}, seed {document['seed']}, {document['device']}, {document['dtype']}"


def images(document: Json) -> str:
    """How many images were found, used and left out."""
    data = document["data"]
    skipped = len(data["skipped"])
    return f"{data['used']:,} of {data['images']:,} images used" + (f", {skipped:,} skipped" if skipped else "")
