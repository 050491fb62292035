"""The figures of an audit as a file: one picture with all of them (.svg, .png), or a page for each (.pdf)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnscope.render import style
from cnnscope.render.audit import drawing, words
from cnnscope.render.audit.words import Json
from cnnscope.render.folding import folded
from cnnscope.render.numbers import printable, titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP, _ACROSS = 16.0, 2
"""Points between figures, and figures side by side."""
_HEAD, _LEGEND = 0.32, 0.26
"""Inches for the title of a figure, and for its legend."""
_COLOURS = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


@dataclass
class Album(drawing.Sheet):
    """Figures of matplotlib in the colours of paper, as ``svg``, ``png`` or ``pdf``, in the order they were drawn."""

    form: str = "svg"
    pictures: list[bytes] = field(default_factory=list)
    pages: Any = None

    def svg(self, figure: Figure, label: str) -> str:
        """Keeps the figure with its label as a title; returns the label."""
        _headed(figure, label.partition(";")[0])
        figure.canvas.draw()  # ticks exist from here on
        for artist in figure.findobj():
            _recolour(artist)
        if self.pages is None:
            self.pictures.append(style.encoded(figure, self.form))
        else:
            self.pages.savefig(figure, facecolor="white")
        return label


def picture(document: Json, form: str) -> bytes:
    """All figures of an audit below its name and its verdict. E604 for a format that is not in `style.PICTURES`."""
    from matplotlib.backends.backend_pdf import PdfPages

    from cnnscope.render.audit.page import figures

    content = io.BytesIO()
    if style.check_format(form) != "pdf":
        album = Album(form=form)
        _title(album, document)
        figures(album, document)
        return _svg(album) if form == "svg" else _png(album.pictures)
    with PdfPages(content, metadata={"CreationDate": None, "Creator": None, "Producer": None}) as pages:
        album = Album(form=form, pages=pages)
        _title(album, document)
        figures(album, document)
    return content.getvalue()


def _title(album: Album, document: Json) -> None:
    """The first figure: which network, which verdict, on which images."""
    from matplotlib.figure import Figure

    model, verdict = document["model"], document["verdict"]
    lines = (
        f"{words.VERDICTS[verdict['word']]}: {printable(verdict['text'])}",
        f"{printable(model['weights'])}; {words.images(document)}; {words.settings(document)}",
        f"accuracy {words.interval(document['accuracy'])}",
    )
    with style.look():
        figure = Figure(figsize=(drawing.WIDTH, 1.0))
        text = "\n".join(part for line in lines for part in folded(line, 78))
        figure.text(0.01, 0.74, text, va="top", fontsize=8, color=style.INK, linespacing=1.4)
        album.svg(figure, style.shortened(titled(model["name"], model["source"]), 60))


def _svg(album: Album) -> bytes:
    """The figures as parts of one SVG, each with ids of its own."""
    parts = []
    sizes = [tuple(map(float, re.findall(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', one)[0])) for one in album.pictures]
    places, (width, height) = _places(sizes)
    for content, (x, y), (w, h) in zip(album.pictures, places, sizes, strict=True):
        body = content.decode()
        body = re.sub(r"<metadata>.*?</metadata>", "", body[body.index("<svg") :], flags=re.S)
        body = album.owned(body[body.index(">") + 1 :])
        parts.append(f'<svg x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" viewBox="0 0 {w:g} {h:g}">{body}')
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width:g}pt" '
        f'height="{height:g}pt" viewBox="0 0 {width:g} {height:g}"><rect width="100%" height="100%" fill="#ffffff"/>'
    )
    return "\n".join((start, *parts, "</svg>\n")).encode()


def _png(pictures: Sequence[bytes]) -> bytes:
    from PIL import Image

    images = [Image.open(io.BytesIO(content)).convert("RGB") for content in pictures]
    unit = style.DPI / 72
    places, (width, height) = _places([(image.width / unit, image.height / unit) for image in images])
    sheet = Image.new("RGB", (round(width * unit), round(height * unit)), "white")
    for image, (x, y) in zip(images, places, strict=True):
        sheet.paste(image, (round(x * unit), round(y * unit)))
    content = io.BytesIO()
    sheet.save(content, "PNG", dpi=(style.DPI, style.DPI))
    return content.getvalue()


def _places(sizes: Sequence[tuple[float, ...]]) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Where figures of these sizes stand, in columns that are about equally long, and the size of all of them."""
    wide = max(width for width, _ in sizes)
    columns = [_GAP] * (_ACROSS if len(sizes) > 2 else 1)
    places = []
    for _, height in sizes:
        shortest = columns.index(min(columns))
        places.append((_GAP + shortest * (wide + _GAP), columns[shortest]))
        columns[shortest] += height + _GAP
    return places, (_GAP + len(columns) * (wide + _GAP), max(columns))


def _headed(figure: Figure, title: str) -> None:
    """Makes room above everything in a figure, legends as well, and writes a title there."""
    width, height = figure.get_size_inches()
    row = _LEGEND if figure.legends else 0
    tall = height + _HEAD + row
    figure.set_size_inches(width, tall)
    share = (height + row) / tall
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, 0, 1, height / tall))  # type: ignore[call-arg]  # the constrained one has it
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 0, 1, share), figure.transFigure)
    look: dict[str, Any] = {"va": "center", "fontsize": 10, "fontweight": "bold", "color": style.INK}
    figure.text(0.01, (1 + share) / 2, title, **look)


def _recolour(artist: Any) -> None:
    """Replaces the stand-ins for colours of a page's theme by those of the light one."""
    from matplotlib.colors import is_color_like, to_hex

    for name in _COLOURS:
        getter = getattr(artist, f"get_{name}", None)
        found = None if getter is None else getter()
        several = getattr(found, "ndim", 1) == 2
        colours = list(found) if several and found is not None else [found]
        if not all(is_color_like(one) for one in colours):
            continue
        light = [_LIGHT.get(drawing.variable(to_hex(one))) for one in colours if one is not None]
        if any(light):
            alpha = artist.get_alpha()
            getattr(artist, f"set_{name}")([new or old for new, old in zip(light, colours, strict=True)]
                                           if several else light[0])  # fmt: skip
            artist.set_alpha(alpha)


_LIGHT = {f"var(--{name})": value for name, value in re.findall(r"--(\w+):([^;]+);", drawing.variables("light"))}
"""The light theme's colours by the variables that a page has for them."""
