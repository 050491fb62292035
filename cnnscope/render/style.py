"""The look of everything: of printed text in rich's style language, of diagrams and of plots; and their formats.

Kinds of layers take the Okabe-Ito colours (Okabe & Ito 2008, "Color universal design"), told apart under protanopia and
deuteranopia; in grey they differ in lightness, and every box also names its kind.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnnscope.errors import CnnscopeError, did_you_mean
from cnnscope.render import numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from cnnscope.analysis.cost import Cost

# -- printed text ------------------------------------------------------------------------------------------------------

TITLE = "bold"
HEADER = "bold"
GROUP = "bold"
DIM = "dim"
TOTAL = "bold"
GOOD = "green"
BAD = "bold red"
WARNING = "yellow"
NOTE = "cyan"

CATEGORY = {
    "conv": "blue", "linear": "magenta", "pool": "green", "norm": "dim", "activation": "yellow", "merge": "cyan",
    "movement": "dim", "resize": "green", "attention": "magenta", "regularization": "dim", "constant": "dim",
    "other": "",
}  # fmt: skip
"""The colour of a row's type by the category of its op."""

# -- diagrams ----------------------------------------------------------------------------------------------------------

ThemeName = Literal["light", "dark"]
Heat = Literal["macs", "params", "none"]

KINDS = {
    "conv": "#0072B2",
    "block": "#56B4E9",
    "pool": "#009E73",
    "resize": "#66C2A5",
    "linear": "#CC79A7",
    "attention": "#E69F00",
    "activation": "#F0E442",
    "merge": "#D55E00",
    "norm": "#C9CED5",
    "movement": "#6C6C6C",
    "regularization": "#945844",
    "input": "#3E454E",
    "other": "#E9ECEF",
}
"""The stripe of a box by the category of its op; norms, movements and other ops are grey."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of everything that is not a kind. ``heat`` runs from the coldest fill to the hottest; ``down`` and ``up``
    are arrows to a lower and to a higher resolution."""

    background: str
    text: str
    muted: str
    line: str
    fill: str
    frame: str
    heat: tuple[str, ...]
    down: str
    up: str


THEMES: dict[ThemeName, Theme] = {
    "light": Theme(
        background="#FFFFFF", text="#15181C", muted="#515A66", line="#59636F", fill="#F2F4F6", frame="#7A838E",
        heat=("#FFF8DF", "#FEEBAE", "#FDCE66", "#F79B3C", "#D9611A", "#A83A04"), down="#B4461B", up="#00785A",
    ),
    "dark": Theme(
        background="#14171B", text="#EEF1F4", muted="#A9B3BF", line="#8D98A5", fill="#232830", frame="#7A838E",
        heat=("#2A2B2E", "#40351F", "#664712", "#8F5209", "#B55A08", "#E07A1F"), down="#F08A5D", up="#4CC79A",
    ),
}  # fmt: skip

WINDOW = "#D55E00"
"""The outline of a kernel on the map it reads, of a unit and of what it sees."""

SIZES = {"title": 16, "name": 11, "detail": 8, "edge": 8, "cluster": 9, "note": 8}
"""Text sizes in points."""


def kind_colour(category: str) -> str:
    """The stripe colour of a category."""
    return KINDS.get(category, KINDS["other"])


def share_of(part: Cost, whole: Cost, heat: Heat) -> float:
    """A part's share of what the heat shows, 0 to 1."""
    if heat == "none":
        return 0.0
    some, all_of_it = (part.macs, whole.macs) if heat == "macs" else (part.params, whole.params)
    return (some or 0) / all_of_it if all_of_it else 0.0


def heat_colour(share: float, theme: Theme) -> str:
    """The fill for a share of the whole cost, 0 to 1. The root spreads small shares, where most layers are."""
    return between(theme.heat, min(share, 1.0) ** 0.5) if share > 0 else theme.fill


def between(stops: Sequence[str], share: float) -> str:
    """The colour at a share, 0 to 1, of the way along several colours at equal distances."""
    place = share * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    return _mixed(stops[low], stops[low + 1], place - low)


def text_on(fill: str, theme: Theme) -> str:
    """Black, white or the theme's text, whichever reads best on a fill."""
    return max((theme.text, "#FFFFFF", "#000000"), key=lambda colour: contrast(colour, fill))


def ink_on(fill: str) -> str:
    """Black or white: one of them always has a contrast of 4.5 (WCAG 2.2)."""
    return max(("#000000", "#FFFFFF"), key=lambda colour: contrast(colour, fill))


def contrast(a: str, b: str) -> float:
    """WCAG 2.2 contrast ratio of two colours, 1 to 21."""
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2), 0 black to 1 white."""
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(colour))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def channels(colour: str) -> tuple[float, float, float]:
    """Red, green and blue, 0 to 1, of a hexadecimal colour."""
    r, g, b = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return r, g, b


def _mixed(a: str, b: str, share: float) -> str:
    parts = (round(255 * (x + (y - x) * share)) for x, y in zip(channels(a), channels(b), strict=True))
    return "#" + "".join(f"{part:02X}" for part in parts)


def shaded(colour: str, amount: float) -> str:
    """Lighter for a positive amount up to 1 (white), darker for a negative one down to -1 (black)."""
    return _mixed(colour, "#FFFFFF" if amount > 0 else "#000000", abs(amount))


# -- plots -------------------------------------------------------------------------------------------------------------

INK = THEMES["light"].text
MUTED = THEMES["light"].muted
FRAME = THEMES["light"].frame
PAPER = THEMES["light"].fill
LINES = (KINDS["conv"], KINDS["merge"], KINDS["pool"])
"""One for each curve; readers with protanopia or deuteranopia can tell them apart, and the marks differ as well."""
MARKERS = ("o", "s", "^")
MARK = WINDOW
"""The outline of a unit and of what it sees."""
DPI = 160

_LOOK: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 12, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.edgecolor": FRAME, "axes.labelcolor": INK, "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "xtick.color": MUTED,
    "ytick.color": MUTED, "legend.frameon": False, "legend.fontsize": 8, "hatch.linewidth": 0.5,
    "text.parse_math": False, "svg.hashsalt": "cnnscope", "svg.fonttype": "path", "pdf.fonttype": 42,
}  # fmt: skip
NO_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None}, "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}  # fmt: skip
"""What is left out of files, so that the same figure has the same bytes."""


@dataclass(frozen=True, slots=True)
class Page:
    """The points of a page inside its margins; ``turned`` says whether it may lie on its side."""

    width: float
    height: float
    turned: bool = False

    def scale(self, width: float, height: float) -> float:
        """By how much a figure is shrunk to fit; 1 if it is small enough."""
        upright = min(1.0, self.width / width, self.height / height)
        return max(upright, min(1.0, self.height / width, self.width / height)) if self.turned else upright


A4, SLIDE = Page(595.0 - 68.0, 842.0 - 68.0, turned=True), Page(960.0, 540.0)
"""A4 inside margins of 12 mm, upright or on its side, and a slide."""
PAGES = {"a4": A4, "slide": SLIDE}

PICTURES = ("svg", "png", "pdf")
"""The formats that every picture can be written in."""
MOVING = (*PICTURES, "gif")
"""The formats of pictures that can move."""


def check_format(form: str, known: Sequence[str] = PICTURES) -> str:
    """Returns the format if it is one of ``known``; else raises E604, which lists them."""
    if form not in known:
        hint = did_you_mean(form, known) or f"the formats are {', '.join(known)}"
        raise CnnscopeError.of("E604", f"no picture format is called `{form}`", hint=hint)
    return form


@contextmanager
def look() -> Iterator[None]:
    """Figures that are drawn inside have this look, whatever the user has configured."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for key, value in _LOOK.items():
            matplotlib.rcParams[key] = value
        yield


def encoded(figure: Figure, form: str, dpi: int = DPI, background: str = "white") -> bytes:
    """The file's bytes: no date and no version in them, so that they are the same on a second run."""
    content = io.BytesIO()
    figure.savefig(content, format=check_format(form), dpi=dpi, metadata=NO_METADATA[form], facecolor=background)
    return content.getvalue()


def shortened(text: str, most: int) -> str:
    """Text from a file as one line of at most ``most`` characters; what is left out is in the middle."""
    line = numbers.printable(text)
    if len(line) <= most:
        return line
    head = (most - 1) // 2
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"
