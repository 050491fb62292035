"""The page as one HTML text: figures, data, style and script, and a policy that lets nothing else in or out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from cnnscope.analysis.receptive_field.exact import Exact, exact
from cnnscope.analysis.receptive_field.walk import extents, images
from cnnscope.analysis.summary import Row, Summary
from cnnscope.ir import Graph
from cnnscope.render import numbers
from cnnscope.render.columns import FIGURES, Context
from cnnscope.render.diagnostics import file_lines
from cnnscope.render.fields import AXES
from cnnscope.render.html import rendered, text
from cnnscope.render.illustrated import file_name
from cnnscope.render.page.fields import Shelf, exact_bounds, grid_of, theoretical_bounds
from cnnscope.render.page.figures import Figures, figures
from cnnscope.render.page.svg import Palette
from cnnscope.render.page.weights import Histogram
from cnnscope.render.style import KINDS, THEMES, ThemeName, kind_colour

SCRIPTS = (
    "model.js",
    "overview.js",
    "unit.js",
    "details.js",
    "expand.js",
    "plots.js",
    "table.js",
    "search.js",
    "save.js",
    "main.js",
)


def html(
    graph: Graph, source: str, summary: Summary, *, about: Mapping[str, Any] | None = None,
    image: str | None = None, weights: tuple[str, Mapping[str, Sequence[Histogram]]] | None = None,
) -> str:  # fmt: skip
    """The whole page. ``image`` is a data URI to lie under the receptive fields; ``weights`` says where weights are
    from and has histograms of them by layer."""
    drawn = figures(graph, [row.name for row in summary.rows])
    values = {
        "name": numbers.printable(graph.name), "subtitle": _subtitle(graph, source, about or {}),
        "totals": total_records(summary), "notes": (*drawn.notes, *_about_weights(weights)),
        "unsupported": len(summary.unsupported), "heat": len(THEMES["light"].heat),
        "conventions": numbers.conventions(_EXPLAINED).split("; "),
        "style": variables(drawn.palette) + text("page", "page.css") + drawn.palette.classes(),
        "script": '"use strict";\n' + "".join(text("page", name) for name in SCRIPTS),
        "data": embedded(_data(graph, summary, drawn, image, weights)), "overview": drawn.overview,
        "insides": [inner["svg"] for inner in drawn.inner],
    }  # fmt: skip
    return rendered("page", "page.html.j2", values, {})


def embedded(data: Any) -> str:
    """JSON in which nothing can end the HTML element around it."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data(
    graph: Graph, summary: Summary, drawn: Figures, image: str | None,
    weights: tuple[str, Mapping[str, Sequence[Histogram]]] | None,
) -> dict[str, Any]:  # fmt: skip
    fields, series = field_records(graph, summary)
    origin, histograms = weights or ("", {})
    shown = {i: [one.record for one in histograms[row.name]] for i, row in enumerate(summary.rows)
             if row.name in histograms}  # fmt: skip
    return {
        "name": numbers.printable(graph.name), "layers": layer_records(graph, summary), "fields": fields,
        "series": series, "inputs": input_records(graph), "file": file_name(graph.name),
        "boxes": [{key: value for key, value in box.items() if key != "id"} for box in drawn.boxes],
        "insides": [inner["places"] for inner in drawn.inner], "image": image,
        "weights": {"from": numbers.printable(origin), "layers": shown},
    }  # fmt: skip


def _about_weights(weights: tuple[str, Mapping[str, Sequence[Histogram]]] | None) -> Iterator[str]:
    """Where the histograms are from, or why there are none although there are weights."""
    if weights is not None and (weights[1] or weights[0].startswith("not")):
        yield numbers.printable(f"Weights: {weights[0]}.")


def _subtitle(graph: Graph, source: str, about: Mapping[str, Any]) -> str:
    """Where it comes from, what it takes, when and by whom it was published."""
    sizes = [(numbers.printable(name), numbers.shape(value.features)) for name, value in graph.inputs.items()]
    inputs = ", ".join(shape if name == "input" else f"{name} {shape}" for name, shape in sizes)
    published = (str(about[key]) for key in ("year", "source") if about.get(key))
    return numbers.printable(" · ".join((source, f"input {inputs}", *published)))


def variables(palette: Palette) -> str:
    """Colours of both themes as CSS variables: the reader's setting selects one, and the button overrides it. Paper is
    light."""
    light, dark = (_theme(name, palette) for name in ("light", "dark"))
    return (
        f":root{{color-scheme:light;{light}}}\n@media screen{{\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n}}\n"
        + "".join(f".kind-{kind}{{--kind:{kind_colour(kind)}}}" for kind in KINDS)
    )


def _theme(name: ThemeName, palette: Palette) -> str:
    theme = THEMES[name]
    colours = {key: getattr(theme, key) for key in ("background", "text", "muted", "line", "fill", "frame")}
    colours |= {f"heat{i}": colour for i, colour in enumerate(theme.heat)}
    colours["focus"] = "#0072B2" if name == "light" else "#56B4E9"
    return "".join(f"--{key}:{value};" for key, value in colours.items()) + palette.variables(name)


_EXPLAINED = ("macs", "flops", "output_shape", "param_bytes", "activation_bytes", "rf", "rf_centre")
"""The columns whose conventions stand under the figures."""
_LINE = 200
"""Characters of a spec's line that are shown."""
_NUMBERS = ("params", "macs", "flops", "activation_bytes", "live_bytes", "param_bytes")
_TEXTS = ("name", "op", "input_shapes", "output_shape", "rf", "rf_stride", "rf_padding", "rf_centre", "rf_via")


def layer_records(graph: Graph, summary: Summary) -> list[dict[str, Any]]:
    """One record a layer: figures as numbers, what is written in words as the tables write it."""
    context = Context(graph, summary, {})
    return [_record(row, context) for row in summary.rows]


def _record(row: Row, context: Context) -> dict[str, Any]:
    texts = {key: numbers.printable(FIGURES[key].text(row, context)) for key in _TEXTS}
    figures = {key: write(row, context) for key in _NUMBERS if (write := FIGURES[key].record)}
    field = row.receptive_field
    record = texts | figures | {
        "category": row.category,
        "reads": [numbers.printable(name) for name in row.inputs],
        "args": {key: _value(value) for key, value in row.arguments.items() if value is not None},
        "size": None if field is None or field.size is None else max(field.size),
        "unknown": True if field is None and row.output is not None else None,
        "shortest": None if field is None or field.shortest is None else max(field.shortest),
    }  # fmt: skip
    if row.span:
        lines = file_lines(row.span.file)
        text = lines[row.span.line - 1].strip()[:_LINE] if row.span.line <= len(lines) else ""
        record["spec"] = [f"{PurePath(row.span.file).name}:{row.span.line}", numbers.printable(text)]
    return {key: value for key, value in record.items() if value not in (None, "", [], {})}


def _value(value: Any) -> str:
    """An argument for people: ``3x3``, ``true``, ``0x0``, and ``1+2x1+2`` where padding differs by side."""
    if isinstance(value, list | tuple):
        sides = ("+".join(map(str, side)) if len(set(side)) > 1 else str(side[0]) for side in value) if (
            value and all(isinstance(side, list | tuple) and side for side in value)) else map(str, value)  # fmt: skip
        return numbers.printable("x".join(sides))
    return numbers.printable(str(value).lower() if isinstance(value, bool) else str(value))


def input_records(graph: Graph) -> list[dict[str, Any]]:
    """The images that receptive fields are drawn on, by number of axes; inputs that are merged share one."""
    records = []
    for rank, names in images(graph).items():
        sizes = [max(along) for along in zip(*(extents(graph, name) for name in names), strict=True)]
        records.append({"names": [numbers.printable(name) for name in names], "extents": sizes,
                        "axes": AXES.get(rank, tuple(f"axis {i}" for i in range(rank)))})  # fmt: skip
    return records


def field_records(graph: Graph, summary: Summary) -> tuple[list[dict[str, Any] | None], list[list[int]]]:
    """What the units of every layer see, and the series that these records refer to by number.

    ``at`` are the extents of its positions. ``exact`` follows local paths, ``full`` all paths, where it differs;
    ``theory`` counts padding. ``grid`` says how tokens lie on the image. None where a layer has no field to show.
    """
    answers = exact(graph, [row.name for row in summary.rows if row.receptive_field is not None])
    shelf = Shelf()
    records = [_field(row, answers, shelf) for row in summary.rows]
    grids = {tuple(record["at"]): record["grid"] for record in records if record and record.get("grid")}
    for record in records:
        if record and tuple(record["at"]) in grids:  # behind attention no local path is left, but tokens stay in order
            record["grid"] = grids[tuple(record["at"])]
    return records, [list(series) for series in shelf.places]


def _field(row: Row, answers: Exact, shelf: Shelf) -> dict[str, Any] | None:
    if row.receptive_field is None:
        return None
    units = answers.units[answers.names[row.name]]
    if units is None:
        return None
    local = exact_bounds(answers, row.name, shelf, local=True)
    full = exact_bounds(answers, row.name, shelf, local=False)
    if local is None and full is None:
        return None
    theory = theoretical_bounds(row.receptive_field, units.extents, shelf)
    grid = grid_of(row.receptive_field, units.extents)
    record = {"at": units.extents, "exact": local, "full": None if full == local else full, "theory": theory,
              "grid": grid}  # fmt: skip
    return {key: value for key, value in record.items() if value is not None}


def total_records(summary: Summary) -> Sequence[tuple[str, str]]:
    """The totals as the page's head shows them."""
    least = ">= " if summary.unsupported else ""
    more, totals = ">= " if summary.uncounted else "", summary.totals
    return (
        ("parameters", more + numbers.short(totals.params)),
        ("MACs", least + numbers.short(totals.macs)),
        ("FLOPs", least + numbers.short(totals.flops)),
        ("weights", more + numbers.binary(totals.param_bytes)),
        ("peak activations", numbers.binary(summary.peak_activation_bytes)),
        ("layers", str(len(summary.rows))),
    )
