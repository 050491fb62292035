"""Graphviz's SVG made fit for a page: both themes in one picture, shapes and text and nothing else.

The same figure is drawn in the light and in the dark theme; it differs in colours alone, so the two are read side by
side and each pair of colours becomes a CSS class. Links, titles, comments, fonts and styles are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from xml.etree import ElementTree

from cnnscope.render.style import ThemeName

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MARGIN = 6.0
_ADVANCE = 0.62
"""Width of a character of the figure's font, in sizes: enough for a frame round a text."""


@dataclass
class Palette:
    """Pairs of colours, light and dark, by number."""

    places: dict[tuple[str, str], int] = field(default_factory=dict)

    def put(self, light: str, dark: str) -> int:
        return self.places.setdefault((light, dark), len(self.places))

    def variables(self, theme: ThemeName) -> str:
        """CSS variables ``--k0``, ``--k1``, ... of a theme."""
        return "".join(f"--k{i}:{pair[theme == 'dark']};" for pair, i in self.places.items())

    def classes(self) -> str:
        """CSS classes that fill (``f0``) and stroke (``s0``) with them."""
        return "".join(f".f{i}{{fill:var(--k{i})}}.s{i}{{stroke:var(--k{i})}}" for i in self.places.values())


def merged(light: bytes, dark: bytes, palette: Palette, buttons: Mapping[str, tuple[int, str]], label: str) -> str:
    """One inline SVG from the two drawings. ``buttons`` are the nodes one can press: by title, number and label."""
    roots = [next(iter(ElementTree.fromstring(drawing))) for drawing in (light, dark)]
    frame = _Frame()
    body = "".join(_group(a, b, palette, buttons, frame) for a, b in zip(*roots, strict=True))
    left, top, width, height = frame.box
    return (
        f'<svg viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="group" aria-label="{escape(label)}">{body}</svg>'
    )


@dataclass
class _Frame:
    """The smallest box round everything drawn, in the drawing's units."""

    xs: list[float] = field(default_factory=list)
    ys: list[float] = field(default_factory=list)

    def add(self, x: float, y: float) -> None:
        self.xs.append(x)
        self.ys.append(y)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width and height, with a margin round everything."""
        left, top = (min(ends, default=0.0) - _MARGIN for ends in (self.xs, self.ys))
        right, bottom = (max(ends, default=0.0) + _MARGIN for ends in (self.xs, self.ys))
        return left, top, right - left, bottom - top


def _group(
    light: ElementTree.Element, dark: ElementTree.Element, palette: Palette, buttons: Mapping[str, tuple[int, str]],
    frame: _Frame,
) -> str:  # fmt: skip
    """A node, an edge or a frame; the figure's own title, background and legend stay away, for the page has its own."""
    kind = light.get("class")
    title = light.findtext("{*}title", "")
    if kind not in ("node", "edge", "cluster") or title == "legend":
        return ""
    content = "".join(_shapes(light, dark, palette, frame))
    if title not in buttons or kind != "node":
        return f"<g>{content}</g>"
    number, label = buttons[title]
    return f'<g class="n" data-n="{number}" role="button" tabindex="0" aria-label="{escape(label)}">{content}</g>'


def _shapes(light: ElementTree.Element, dark: ElementTree.Element, palette: Palette, frame: _Frame) -> Iterator[str]:
    for a, b in zip(light.iter(), dark.iter(), strict=True):
        name = a.tag.rpartition("}")[2]
        if name in ("polygon", "polyline", "path", "ellipse"):
            yield _shape(name, a, b, palette, frame)
        elif name == "text" and (a.text or "").strip():
            yield _text(a, b, palette, frame)


def _shape(name: str, light: ElementTree.Element, dark: ElementTree.Element, palette: Palette, frame: _Frame) -> str:
    classes = []
    for key, letter in (("fill", "f"), ("stroke", "s")):
        pair = light.get(key, "none"), dark.get(key, "none")
        if pair != ("none", "none"):
            classes.append(f"{letter}{palette.put(*pair)}")
        elif key == "fill":
            classes.append("o")
    if light.get("stroke-dasharray"):  # the frame of a stage
        classes = ["d", *(c for c in classes if c.startswith("s"))]
    look = f' class="{" ".join(classes)}"'
    if name == "ellipse":
        cx, cy, rx, ry = (float(light.get(key, "0")) for key in ("cx", "cy", "rx", "ry"))
        frame.add(cx - rx, cy - ry)
        frame.add(cx + rx, cy + ry)
        return f'<ellipse{look} cx="{_n(cx)}" cy="{_n(cy)}" rx="{_n(rx)}" ry="{_n(ry)}"/>'
    source = light.get("d" if name == "path" else "points", "")
    numbers = [float(number) for number in _NUMBER.findall(source)]
    for x, y in zip(numbers[::2], numbers[1::2], strict=True):
        frame.add(x, y)
    if name == "polygon" and (rectangle := _rectangle(numbers)):
        place = " ".join(f'{key}="{_n(n)}"' for key, n in zip(("x", "y", "width", "height"), rectangle, strict=True))
        return f"<rect{look} {place}/>"
    short = _NUMBER.sub(lambda match: _n(float(match[0])), source)
    return f'<path{look} d="{short}"/>' if name == "path" else f'<{name}{look} points="{short}"/>'


def _rectangle(numbers: list[float]) -> tuple[float, float, float, float] | None:
    xs, ys = sorted(set(numbers[::2])), sorted(set(numbers[1::2]))
    if len(numbers) != 10 or len(xs) != 2 or len(ys) != 2:
        return None
    return xs[0], ys[0], xs[1] - xs[0], ys[1] - ys[0]


def _text(light: ElementTree.Element, dark: ElementTree.Element, palette: Palette, frame: _Frame) -> str:
    colour = palette.put(light.get("fill", "#000000"), dark.get("fill", "#000000"))
    x, y, size = (float(light.get(key, "0")) for key in ("x", "y", "font-size"))
    anchor = light.get("text-anchor", "start")
    words = (light.text or "").strip()
    before = {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * len(words) * size * _ADVANCE
    frame.add(x - before, y - size)
    frame.add(x - before + len(words) * size * _ADVANCE, y + size / 3)
    bold = ' font-weight="700"' if light.get("font-weight") == "bold" else ""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="f{colour}" x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}"{bold}{place}>{escape(words)}</text>'


def _n(number: float) -> str:
    """One decimal: a tenth of a point is nothing to see."""
    return f"{number:.1f}".removesuffix(".0").replace("-0.0", "0")
