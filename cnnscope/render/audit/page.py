"""The report as one HTML text: no request leaves it, and nothing in it is taken for markup that is not ours."""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from cnnscope.render import numbers
from cnnscope.render.audit import drawing, plots, words
from cnnscope.render.audit.report import difference_lines

if TYPE_CHECKING:
    from numpy.typing import NDArray

Json = Mapping[str, Any]
Picture = tuple["NDArray[Any]", "NDArray[Any]"]
"""A case before and after: (H, W, C) uint8 with 1 or 3 channels."""


def html(document: Json, pictures: Sequence[Picture] = ()) -> str:
    """The whole page. ``pictures`` are those of the document's cases, in their order."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    sheet = drawing.Sheet()
    drawn = _figures(sheet, document)
    style = _themes() + _text("audit.css") + _heat() + sheet.css()
    script = _text("audit.js")
    environment = Environment(
        loader=PackageLoader("cnnscope.render", "audit"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "share": words.share, "interval": words.interval, "small": words.small, "signed": words.signed,
        "gated": words.gated, "printable": lambda text: numbers.printable(str(text)), "count": numbers.count,
        "level": drawing.level,
    }  # fmt: skip
    return environment.get_template("audit.html.j2").render(
        d=document, verdict=words.VERDICTS[document["verdict"]["word"]], probes=words.PROBES, claims=words.CLAIMS,
        local=words.local(document["local_equivariance"]), radius=words.radius, images=words.images(document),
        settings=words.settings(document), figures=drawn,
        pictures=[_uris(picture) for picture in pictures], policy=_policy(style, script), style=style, script=script,
        against=difference_lines(document["against"]) if document["against"] else (),
    )  # fmt: skip


def _figures(sheet: drawing.Sheet, document: Json) -> dict[str, Any]:
    """SVG elements by the place they have in the page."""
    probes = document["probes"]
    baseline = {name: [b for b in document["baseline"] if b["family"] == name] for name in probes}
    found: dict[str, Any] = {"layers": {}, **dict.fromkeys(("offsets", "folded", "polar", "forest"), "")}
    for name in ("translation", "scale"):
        if name in probes:
            label = f"Agreement, kappa and accuracy by {name}; the figures are in the table below"
            found[name] = plots.curves(sheet, probes[name], baseline[name], label)
    shifts = _offsets(document)
    if shifts:
        found["offsets"] = plots.offsets(sheet, shifts, "Agreement by offset of the shift")
        stride = document["model"]["stride"]
        folded = _folded(shifts, stride) if stride and max(stride) > 1 else {}
        if folded:
            found["folded"] = plots.remainders(sheet, folded, "Agreement by remainder of the offset")
    angles = {
        t["magnitude"]: (t["agreement"]["value"], t["on_grid"]) for t in document["transforms"]
        if t["family"] == "rotation" and t["agreement"]["value"] is not None and t["dy"] == t["dx"] == 0
    }  # fmt: skip
    if angles:
        found["polar"] = plots.polar(sheet, angles, "Agreement by angle; the figures are in the table beside")
    shown = [d for d in (document["against"] or {"differences": ()})["differences"] if d["metric"] == "agreement"]
    shown = [d for d in shown if d["difference"]["low"] is not None]
    if shown:
        found["forest"] = plots.forest(sheet, shown, "Differences in agreement; the figures are in the table below")
    for name in (name for name in words.PROBES if name in probes):
        rows = [layer for layer in document["layers"] if layer["probe"] == name]
        if rows:
            found["layers"][name] = plots.layers(sheet, rows, f"Distance of every layer's features by {name}")
    return found


def _offsets(document: Json) -> dict[tuple[int, int], float]:
    """Agreement of whole shifts that are the same for every image, by (dy, dx)."""
    return {
        (int(t["dy"]), int(t["dx"])): t["agreement"]["value"] for t in document["transforms"]
        if t["family"] == "translation" and t["on_grid"] and t["agreement"]["value"] is not None
        and max(abs(t["dy"]), abs(t["dx"])) == t["magnitude"]
    }  # fmt: skip


def _folded(shifts: Mapping[tuple[int, int], float], stride: Sequence[int]) -> dict[tuple[int, int], float]:
    """By how much offsets with a remainder by the total stride do better than the mean of their size.

    Sizes apart, or larger shifts would make their remainders look bad. Nothing unless every remainder was measured.
    """
    rings: dict[int, list[float]] = {}
    for (dy, dx), value in shifts.items():
        rings.setdefault(max(abs(dy), abs(dx)), []).append(value)
    cells: dict[tuple[int, int], list[float]] = {}
    for (dy, dx), value in shifts.items():
        ring = rings[max(abs(dy), abs(dx))]
        cells.setdefault((dy % stride[0], dx % stride[1]), []).append(value - sum(ring) / len(ring))
    complete = len(cells) == stride[0] * stride[1]
    return {place: sum(values) / len(values) for place, values in cells.items()} if complete else {}


def _uris(picture: Picture) -> dict[str, Any]:
    """Both pictures as data, and whether they are so small that pixels have to be seen."""
    before, after = picture
    return {"before": _uri(before), "after": _uri(after), "pixels": max(before.shape[:2]) <= 96}


def _uri(pixels: NDArray[Any]) -> str:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(content.getvalue()).decode()


def _themes() -> str:
    """Colours of both themes: the reader's setting decides, the button overrules it, paper is white."""
    light, dark = (drawing.variables(name) for name in ("light", "dark"))
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{color-scheme:dark;{dark}}}}}\n"
    )


def _heat() -> str:
    return "".join(f".k{i}{{background:var(--h{i});color:var(--t{i})}}" for i in range(drawing.LEVELS))


def _policy(style: str, script: str) -> str:
    """Nothing from anywhere but this style, this script and embedded images (Content Security Policy level 3)."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def _text(name: str) -> str:
    return files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
