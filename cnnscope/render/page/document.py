"""The page as one HTML text: figures, data, style and script, and a policy that lets nothing else in or out."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from cnnscope.analysis.summary import Summary
from cnnscope.ir import Graph
from cnnscope.render import conventions, numbers
from cnnscope.render.diagram.style import KINDS, THEMES, ThemeName, kind_colour
from cnnscope.render.page.data import field_records, input_records, layer_records, total_records
from cnnscope.render.page.figures import Figures, figures

SCRIPTS = ("model.js", "overview.js", "unit.js", "details.js", "plots.js", "table.js", "main.js")


def html(
    graph: Graph, source: str, summary: Summary, *, about: Mapping[str, Any] | None = None, image: str | None = None
) -> str:
    """The whole page. ``image`` is a data URI to lie under the receptive fields."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    drawn = figures(graph, [row.name for row in summary.rows])
    style = _variables(drawn) + _text("page.css") + drawn.palette.classes()
    script = '"use strict";\n' + "".join(_text(name) for name in SCRIPTS)
    environment = Environment(
        loader=PackageLoader("cnnscope.render", "page"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    template = environment.get_template("page.html.j2")
    return template.render(
        name=numbers.printable(graph.name), subtitle=_subtitle(graph, source, about or {}),
        totals=total_records(summary), kinds=drawn.kinds, notes=drawn.notes,
        unsupported=len(summary.unsupported), heat=len(THEMES["light"].heat), conventions=_conventions(),
        policy=_policy(style, script), style=style, script=script,
        data=embedded(_data(graph, summary, drawn, image)), overview=drawn.overview,
        insides=[inner["svg"] for inner in drawn.inner],
    )  # fmt: skip


def embedded(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _data(graph: Graph, summary: Summary, drawn: Figures, image: str | None) -> dict[str, Any]:
    fields, series = field_records(graph, summary)
    return {
        "name": numbers.printable(graph.name), "layers": layer_records(graph, summary), "fields": fields,
        "series": series, "inputs": input_records(graph), "boxes": drawn.boxes,
        "insides": [inner["places"] for inner in drawn.inner], "image": image,
    }  # fmt: skip


def _subtitle(graph: Graph, source: str, about: Mapping[str, Any]) -> str:
    """Where it comes from, what it takes, when and by whom it was published."""
    sizes = [(numbers.printable(name), numbers.shape(value.features)) for name, value in graph.inputs.items()]
    inputs = ", ".join(shape if name == "input" else f"{name} {shape}" for name, shape in sizes)
    published = (str(about[key]) for key in ("year", "source") if about.get(key))
    return numbers.printable(" · ".join((source, f"input {inputs}", *published)))


def _conventions() -> list[str]:
    return conventions.line(
        ("macs", "flops", "output_shape", "param_bytes", "activation_bytes", "rf", "rf_centre")
    ).split("; ")


def _variables(drawn: Figures) -> str:
    """Colours of both themes as CSS variables: the reader's setting decides, the button overrules it."""
    light, dark = (_theme(name, drawn) for name in ("light", "dark"))
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
        + "".join(f".kind-{kind}{{--kind:{kind_colour(kind)}}}" for kind in dict.fromkeys((*KINDS, *drawn.kinds)))
    )


def _theme(name: ThemeName, drawn: Figures) -> str:
    theme = THEMES[name]
    colours = {key: getattr(theme, key) for key in ("background", "text", "muted", "line", "fill", "frame")}
    colours |= {f"heat{i}": colour for i, colour in enumerate(theme.heat)}
    return "".join(f"--{key}:{value};" for key, value in colours.items()) + drawn.palette.variables(name)


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
