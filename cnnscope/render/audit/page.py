"""The report as one HTML text: no request leaves it, and nothing in it is taken for markup that is not ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cnnscope.render import numbers
from cnnscope.render.audit import drawing, plots, words
from cnnscope.render.audit.differences import difference_lines
from cnnscope.render.audit.words import Json
from cnnscope.render.html import data_uri, rendered, text

if TYPE_CHECKING:
    from numpy.typing import NDArray
Picture = tuple["NDArray[Any]", "NDArray[Any]"]
"""A case before and after: (H, W, C) uint8 with 1 or 3 channels."""


def html(document: Json, pictures: Sequence[Picture] = ()) -> str:
    """The whole page. ``pictures`` are those of the document's cases, in their order."""
    sheet = drawing.Sheet()
    drawn = figures(sheet, document)
    values = {
        "d": document, "verdict": words.VERDICTS[document["verdict"]["word"]], "probes": words.PROBES,
        "claims": words.CLAIMS, "local": words.local(document["local_equivariance"]), "radius": words.radius,
        "images": words.images(document), "settings": words.settings(document), "figures": drawn,
        "pictures": [_uris(picture) for picture in pictures],
        "against": difference_lines(document["against"]) if document["against"] else (),
        "style": themes() + text("audit", "audit.css") + heat() + sheet.css(), "script": text("audit", "audit.js"),
    }  # fmt: skip
    filters: dict[str, Callable[..., Any]] = {
        "share": words.share, "interval": words.interval, "small": words.small, "signed": words.signed,
        "gated": words.gated, "printable": lambda text: numbers.printable(str(text)), "count": numbers.count,
        "level": drawing.level,
    }  # fmt: skip
    return rendered("audit", "audit.html.j2", values, filters)


def figures(sheet: drawing.Sheet, document: Json) -> dict[str, Any]:
    """SVG elements by the place they have in the page; an empty text where there is nothing to draw."""
    return {
        **_curves(sheet, document), **_shifts(sheet, document), "polar": _angles(sheet, document),
        "forest": _differences(sheet, document), "layers": _layers(sheet, document),
    }  # fmt: skip


def _curves(sheet: drawing.Sheet, document: Json) -> dict[str, str]:
    """Agreement, kappa and accuracy over the magnitude, by family."""
    found = {}
    for name in ("translation", "scale"):
        if name in document["probes"]:
            baseline = [b for b in document["baseline"] if b["family"] == name]
            label = f"Agreement, kappa and accuracy by {name}; the figures are in the table below"
            found[name] = plots.curves(sheet, document["probes"][name], baseline, label)
    return found


def _shifts(sheet: drawing.Sheet, document: Json) -> dict[str, str]:
    """Agreement by the offset of a shift, and by what the offset leaves when divided by the stride."""
    shifts, stride = _offsets(document), document["model"]["stride"]
    folded = _folded(shifts, stride) if shifts and stride and max(stride) > 1 else {}
    return {
        "offsets": plots.offsets(sheet, shifts, "Agreement by offset of the shift") if shifts else "",
        "folded": plots.remainders(sheet, folded, "Agreement by remainder of the offset") if folded else "",
    }


def _angles(sheet: drawing.Sheet, document: Json) -> str:
    """Agreement by the angle of a rotation about the middle."""
    angles = {
        t["magnitude"]: (t["agreement"]["value"], t["on_grid"]) for t in document["transforms"]
        if t["family"] == "rotation" and t["agreement"]["value"] is not None and t["dy"] == t["dx"] == 0
    }  # fmt: skip
    return plots.polar(sheet, angles, "Agreement by angle; the figures are in the table beside") if angles else ""


def _differences(sheet: drawing.Sheet, document: Json) -> str:
    """Differences in agreement to an earlier audit, with their intervals."""
    differences = document["against"]["differences"] if document["against"] else ()
    shown = [d for d in differences if d["metric"] == "agreement" and d["difference"]["low"] is not None]
    label = "Differences in agreement; the figures are in the table below"
    return plots.forest(sheet, shown, label) if shown else ""


def _layers(sheet: drawing.Sheet, document: Json) -> dict[str, str]:
    """How far the features of every layer move, by family."""
    found = {}
    for name in (name for name in words.PROBES if name in document["probes"]):
        rows = [layer for layer in document["layers"] if layer["probe"] == name]
        if rows:
            found[name] = plots.layers(sheet, rows, f"Distance of every layer's features by {name}")
    return found


def _offsets(document: Json) -> dict[tuple[int, int], float]:
    """Agreement of whole shifts that are the same for every image, by (dy, dx)."""
    return {
        (int(t["dy"]), int(t["dx"])): t["agreement"]["value"] for t in document["transforms"]
        if t["family"] == "translation" and t["on_grid"] and t["agreement"]["value"] is not None
        and max(abs(t["dy"]), abs(t["dx"])) == t["magnitude"]
    }  # fmt: skip


def _folded(shifts: Mapping[tuple[int, int], float], stride: Sequence[int]) -> dict[tuple[int, int], float]:
    """How much higher agreement is for offsets with a remainder by the total stride than the mean of their size.

    Each size is compared with itself, as larger shifts agree less. Empty unless every remainder was measured.
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

    return data_uri(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def themes() -> str:
    """Colours of both themes: the reader's setting selects one, the button overrides it, and paper is white."""
    light, dark = (drawing.variables(name) for name in ("light", "dark"))
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f"@media screen{{:root[data-theme=dark]{{color-scheme:dark;{dark}}}}}\n"
    )


def heat() -> str:
    """Classes of cells that are filled by a share."""
    return "".join(f".k{i}{{background:var(--h{i});color:var(--t{i})}}" for i in range(drawing.LEVELS))
