"""Shortcuts of residuals in a spec's words: identity, project, none, and what holds for all blocks of a kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from cnnscope.analysis.structure import Group
from cnnscope.nn.code import Lit
from cnnscope.nn.export.spec.entries import Body, Entry, fill, literals
from cnnscope.nn.export.spec.skeletons import named, skeleton


def shortcut_word(branch: Body, shortcut: Body) -> str | None:
    """The word for a shortcut: nothing on it, or the projection the language makes of the defaults; None for others."""
    if not shortcut:
        return "identity"
    (entry, *more) = shortcut
    if more or entry.tag != "conv":
        return None
    plain = all(entry.args[name].implied for name in ("bias", "norm", "dilation", "groups", "pad_mode"))
    strides = prod(e.args["stride"].value for e in branch if isinstance(e.args.get("stride"), Lit))
    fits = entry.args["kernel"].value == 1 and entry.args["stride"].value == strides
    return "project" if plain and fits and entry.args["act"].value == "none" else None


def with_optional_residuals(bodies: Sequence[tuple[Group, Body]]) -> list[tuple[Group, Body]]:
    """Where some groups of a kind are residuals without an activation and others the same layers without shortcut."""
    inner = {
        (group.kind, skeleton(named(body[0].args["layers"], group.path)))
        for group, body in bodies
        if len(body) == 1 and body[0].tag == "residual" and _word(body[0]) == "identity" and body[0].args["act"].implied
    }
    result = []
    for group, body in bodies:
        if (group.kind, skeleton(named(body, group.path))) in inner:
            args = {"act": Lit("none", "act", "none"), "shortcut": Lit("none", "shortcut", "identity"), "layers": body}
            body = (Entry("residual", args),)
        result.append((group, body))
    return result


def _word(entry: Entry) -> str | None:
    shortcut = entry.args.get("shortcut")
    return shortcut.value if isinstance(shortcut, Lit) else None


def shortcuts_of_all(bodies: Sequence[Body]) -> list[Body]:
    """Bodies whose shortcuts say what holds for all: ``identity_or_project`` where some are, some are not."""
    words = [[lit.value for lit in literals(body) if lit.name == "shortcut"] for body in bodies]
    columns = zip(*words, strict=True)
    merged = ["_or_".join(w for w in ("identity", "project", "none") if w in column) for column in columns]
    result = []
    for body in bodies:
        rest = iter(merged)
        values = [replace(lit, value=next(rest)) if lit.name == "shortcut" else lit for lit in literals(body)]
        result.append(fill(body, iter(values)))
    return result
