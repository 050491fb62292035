"""Text in a limited width: folded between words, and a word that is too long by itself after a dot, a dash or a comma.

Widths are in cells of a terminal: a Chinese character takes two of them, a combining accent none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PIECE = re.compile(r"[^._,/|=:;@-]*[._,/|=:;@-]+|[^._,/|=:;@-]+")
"""The parts of a word between which it may be folded: a path's names, the choices of an option."""
_CLAUSES = re.compile(r"(?<=;) ")
_HANGING = re.compile(r" *(?:- |\S+(?: \S+)? {2,})?")
"""What the further lines of a paragraph are indented by: its own indentation, a bullet, or a heading before a gap."""


def cells(text: str) -> int:
    """The width of a text on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """The text with spaces to fill ``width``, before it if it is to stand on the ``right``."""
    space = " " * (width - cells(text))
    return space + text if right else text + space


def longest(text: str, most: int) -> int:
    """The width of the longest word of a text, at most ``most``: longer words are folded between their parts."""
    indent = len(text) - len(text.lstrip())
    return indent + min(max(map(cells, text.split()), default=0), most)


def folded(text: str, width: int) -> list[str]:
    """The lines of a text, each at most ``width`` cells wide; at least one.

    What semicolons divide stays together where it can. A word is cut in the middle only if it is wider than a line and
    nothing in it separates its parts.
    """
    lines = [""]
    for clause in _CLAUSES.split(text):
        for part in [clause] if cells(clause) <= width else clause.split(" "):
            joined = f"{lines[-1]} {part}" if lines[-1] else part
            if cells(joined) <= width:
                lines[-1] = joined
            else:
                lines += _broken(part, width)
    return [line for line in lines if line] or [""]


def _broken(word: str, width: int) -> Iterator[str]:
    """A word that has a line for itself, in as few lines as it needs."""
    line = ""
    for piece in _PIECE.findall(word) if cells(word) > width else [word]:
        if line and cells(line + piece) > width:
            yield line
            line = ""
        line += piece
        while cells(line) > width:
            head = _head(line, width)
            yield head
            line = line[len(head) :]
    if line:
        yield line


def _head(text: str, width: int) -> str:
    """As many characters as fit, at least one."""
    taken = next((i for i in range(1, len(text) + 1) if cells(text[:i]) > width), len(text) + 1) - 1
    return text[: max(taken, 1)]


def paragraphs(text: str, width: int) -> list[str]:
    """The lines of a text with lines of its own; what is folded hangs below the words that it continues."""
    return [line for paragraph in text.split("\n") for line in _paragraph(paragraph, width)]


def _paragraph(text: str, width: int) -> Iterator[str]:
    if cells(text) <= width:
        yield text
        return
    found = _HANGING.match(text)
    start = found[0] if found and 3 * len(found[0]) <= 2 * width else ""
    first, *rest = folded(text[len(start) :], width - cells(start))
    yield start + first
    yield from (" " * cells(start) + line for line in rest)
