"""The look of plots, and from a figure to a file's bytes. Colours are those of diagrams."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cnnscope.render import numbers
from cnnscope.render.diagram.style import KINDS, THEMES, WINDOW
from cnnscope.render.formats import check_format

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = THEMES["light"].text
MUTED = THEMES["light"].muted
FRAME = THEMES["light"].frame
PAPER = THEMES["light"].fill
LINES = (KINDS["conv"], KINDS["merge"], KINDS["pool"])
"""One a curve; told apart under protanopia and deuteranopia, and by the marks drawn on them."""
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
_NO_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None}, "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}  # fmt: skip


@contextmanager
def look() -> Iterator[None]:
    """Figures made and written inside look like ours, whatever the user has configured."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for key, value in _LOOK.items():
            matplotlib.rcParams[key] = value
        yield


def encoded(figure: Figure, form: str, dpi: int = DPI) -> bytes:
    """The file's bytes: no date and no version in them, so that they are the same on a second run."""
    content = io.BytesIO()
    figure.savefig(content, format=check_format(form), dpi=dpi, metadata=_NO_METADATA[form], facecolor="white")
    return content.getvalue()


def shortened(text: str, most: int) -> str:
    """Text from a file as one line of at most ``most`` characters; what is left out is in the middle."""
    line = numbers.printable(text)
    if len(line) <= most:
        return line
    head = (most - 1) // 2
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"
