"""A figure as inline SVG for a page: both themes in one picture.

The same figure is made in the light and in the dark theme. The two differ in colours alone: they are read side by side,
and each pair of colours becomes a CSS class.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from cnnscope.render import numbers
from cnnscope.render.diagram.canvas import Circle, Data, Mark, Path, Polygon, Text, commands, head
from cnnscope.render.style import ThemeName

_TENTHS = re.compile(r"(\d)\.0(?!\d)")


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

    def look(self, fill: tuple[str, str], stroke: tuple[str, str]) -> str:
        """The classes of a shape with a fill and a stroke, each in both themes."""
        names = [f"{letter}{self.put(*pair)}" for letter, pair in (("f", fill), ("s", stroke)) if pair[0] != "none"]
        return " ".join(names)


def picture(body: str, frame: tuple[float, float, float, float], label: str) -> str:
    """A whole inline SVG; ``frame`` is its left, top, width and height."""
    left, top, width, height = frame
    return (
        f'<svg viewBox="{left:.0f} {top:.0f} {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="group" aria-label="{escape(numbers.printable(label))}">{body}</svg>'
    )


def button(key: str, number: int, label: str, content: str) -> str:
    """What one can press: ``key`` says of what it is the ``number``-th."""
    return f'<g class="n" data-{key}="{number}" role="button" tabindex="0" aria-label="{escape(label)}">{content}</g>'


def shapes(light: Iterable[Mark], dark: Iterable[Mark], palette: Palette) -> str:
    """The same marks in both themes as SVG elements."""
    return "".join(_shape(a, b, palette) for a, b in zip(light, dark, strict=True))


def _shape(light: Mark, dark: Mark, palette: Palette) -> str:
    match light, dark:
        case Polygon(), Polygon():
            look = palette.look((light.fill, dark.fill), (light.stroke, dark.stroke))
            more = _more(light.stroke, light.width, light.dashed, light.data)
            return f'<{_outline(light)} class="{look}"{more}/>'
        case Path(), Path():
            look = palette.look(("none", "none"), (light.stroke, dark.stroke))
            more = _more(light.stroke, light.width, light.dashed, light.data)
            line = f'<path d="{_short(commands(light))}" class="o {look}"{more}/>'
            if not light.head:
                return line
            tip = palette.look((light.stroke, dark.stroke), ("none", "none"))
            return f'{line}<polygon points="{_points(head(light))}" class="{tip}"/>'
        case Circle(), Circle():
            look = palette.look((light.fill, dark.fill), (light.stroke, dark.stroke))
            place = f'cx="{_n(light.x)}" cy="{_n(light.y)}" r="{light.radius:g}"'
            return f'<circle {place} class="{look}"{_more(light.stroke, light.width, False, light.data)}/>'
        case Text(), Text():
            return _text(light, dark, palette)
    raise AssertionError("both themes have the same marks")


def _outline(mark: Polygon) -> str:
    """The element and its place: a rectangle where it is one."""
    xs, ys = sorted({x for x, _ in mark.points}), sorted({y for _, y in mark.points})
    if len(mark.points) == 4 and len(xs) == 2 and len(ys) == 2:
        return f'rect x="{_n(xs[0])}" y="{_n(ys[0])}" width="{_n(xs[1] - xs[0])}" height="{_n(ys[1] - ys[0])}"'
    return f'polygon points="{_points(mark.points)}"'


def _more(stroke: str, width: float, dashed: bool, data: Data) -> str:
    wide = "" if stroke == "none" else f' stroke-width="{width:g}"'
    dash = ' stroke-dasharray="2.5 2"' if dashed else ""
    wires = "".join(f' data-{name}="{escape(numbers.printable(value))}"' for name, value in data)
    return wide + dash + wires


def _text(light: Text, dark: Text, palette: Palette) -> str:
    look = f"f{palette.put(light.colour, dark.colour)}"
    if light.halo:
        look += f" halo s{palette.put(light.halo, dark.halo)}"
    bold = ' font-weight="700"' if light.bold else ""
    anchor = "" if light.anchor == "start" else f' text-anchor="{light.anchor}"'
    words = escape(numbers.printable(light.text), quote=False)
    place = f'x="{_n(light.x)}" y="{_n(light.y)}"'
    return f'<text class="{look}" {place} font-size="{light.size:g}"{bold}{anchor}>{words}</text>'


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _short(text: str) -> str:
    return _TENTHS.sub(r"\1", text)


def _n(number: float) -> str:
    """One decimal: a tenth of a point is nothing to see."""
    return f"{number:.1f}".removesuffix(".0").replace("-0.0", "0")
