"""Figures of matplotlib as SVG inside a page: colours that follow the page's theme, and nothing that reaches outside.

A figure is drawn in stand-in colours; in its SVG each look becomes a CSS class, in which the stand-ins are variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from cnnscope.render import style
from cnnscope.render.style import THEMES, ThemeName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIES = {"blue": ("#0072B2", "#56B4E9"), "orange": ("#D55E00", "#F0803C"), "green": ("#007A59", "#2EC49A")}
"""What curves are drawn in, light and dark: the Okabe-Ito hues of all our figures."""
INK, MUTED, FRAME, SOFT, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505"
BLUE, ORANGE, GREEN = "#110101", "#110202", "#110303"
LEVELS = 24
"""Steps of the ramp that heat maps are filled with."""
WIDTH = 4.7
"""Inches: 451 px, of which a telephone shows four fifths."""

_STYLE = re.compile(r' style="([^"]*)"')
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_NAMED = {INK: "text", MUTED: "muted", FRAME: "frame", SOFT: "soft", PAPER: "background", BLUE: "blue",
          ORANGE: "orange", GREEN: "green"}  # fmt: skip
LOOK: dict[Any, Any] = {
    "axes.edgecolor": FRAME, "axes.labelcolor": INK, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.facecolor": "none", "grid.color": SOFT, "font.size": 9, "svg.image_inline": True,
}  # fmt: skip
"""What `matplotlib.rc_context` is to set inside `style.look`."""


def fill(share: float) -> str:
    """The stand-in of a heat map's fill: 0 is cold, 1 hot."""
    return f"#20{level(share):02x}00"


def text_on(share: float) -> str:
    """The stand-in of what is written on `fill`."""
    return f"#21{level(share):02x}00"


def diverging(value: float) -> str:
    """The stand-in of a fill between worse, -1, and better, 1."""
    return f"#22{level((value + 1) / 2):02x}00"


def level(share: float) -> int:
    """The step of the ramp for a share, 0 to 1."""
    return round(min(max(share, 0.0), 1.0) * (LEVELS - 1))


@dataclass
class Sheet:
    """The CSS classes of all figures of a page, by their declarations."""

    classes: dict[str, str] = field(default_factory=dict)
    figures: int = 0

    def svg(self, figure: Figure, label: str) -> str:
        """The figure as an element; ``label`` is read out in its place."""
        text = style.encoded(figure, "svg").decode()
        text = text[text.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", text, flags=re.S)
        text = _STYLE.sub(lambda match: f' class="{self._named(match[1])}"', text)
        text = self.owned(text)
        width, height = (float(n) for n in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0])
        box = f'viewBox="0 0 {width:g} {height:g}" width="{width * 4 / 3:.0f}"'
        body = re.sub(r"\s*\n\s*", " ", text[text.index(">") + 1 :]).strip()
        wide = ' class="wide"' if width > 72 * WIDTH + 1 else ""
        return f'<svg{wide} {box} role="img" aria-label="{escape(label)}">{body}'

    def css(self) -> str:
        """The classes, and the colours of both themes."""
        rules = "".join(f".{name}{{{look}}}" for look, name in self.classes.items())
        return ".plot svg *{stroke-linejoin:round;stroke-linecap:butt}" + rules

    def _named(self, look: str) -> str:
        parts = [part.strip() for part in look.split(";") if part.strip()]
        themed = ";".join(_COLOUR.sub(lambda match: variable(match[0]), part.replace(": ", ":")) for part in parts)
        return self.classes.setdefault(themed, f"p{len(self.classes)}")

    def owned(self, text: str) -> str:
        """Ids that nothing else on the page has, and none that nothing refers to."""
        self.figures += 1
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        prefix = f"g{self.figures}-"
        text = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", text)
        return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", text)


def variable(colour: str) -> str:
    """The CSS variable that a stand-in stands for; any other colour as it is."""
    if colour == "#ffffff":  # the figure's own ground; what is white in both themes is no part of a figure
        return "none"
    if colour in _NAMED:
        return f"var(--{_NAMED[colour]})"
    if colour.startswith(("#20", "#21", "#22")):
        return f"var(--{'htd'[int(colour[2])]}{int(colour[3:5], 16)})"
    return colour


def variables(theme: ThemeName) -> str:
    """The CSS variables that figures use, in one theme."""
    t, dark = THEMES[theme], theme == "dark"
    colours = {"text": t.text, "muted": t.muted, "frame": t.frame, "background": t.background, "fill": t.fill,
               "line": t.line, "soft": "#30363E" if dark else "#E3E7EB"}  # fmt: skip
    colours |= {name: pair[dark] for name, pair in SERIES.items()}
    for level in range(LEVELS):
        colours[f"h{level}"] = style.between(t.heat, level / (LEVELS - 1))
        colours[f"t{level}"] = style.ink_on(colours[f"h{level}"])
        colours[f"d{level}"] = style.between((SERIES["orange"][0], t.fill, SERIES["blue"][0]), level / (LEVELS - 1))
    return "".join(f"--{name}:{value};" for name, value in colours.items())
